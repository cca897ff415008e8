"""`match` in a mapping: what it may say, one sentence for each mistake, and in which order entries are matched."""

import re

import pytest
from compiled import mapping_of

from runbook_lib.errors import MappingError
from runbook_lib.mapping.matching.ids import holder_of_id
from runbook_lib.mapping.matching.order import match_levels, needed

FINGERPRINT = "f57af645bb52cc58784333f914fccfd39772b64d25f58812a64a68742e303587"
HEAD = "defaults: {source: '{table}-s', target: '{table}-t'}\ntables:\n"
TABLES = "  Contacts: {}\n  Leads: "
MATCH = "match: {by: [email]}"


def sentences(text):
    """What the mapping is refused for."""
    with pytest.raises(MappingError) as told:
        mapping_of(HEAD + text)
    return str(told.value)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("match: {by: []}", "match.by is empty; give at least 1."),
        ("match: {found: stop}", "match.by is missing; add it."),
        ("match: {by: email}", "match.by is 'email'; write a list, as in [a, b]."),
        ("match: {by: [email], found: keep}", "match.found is 'keep'; use 'reuse', 'insert' or 'stop'."),
        ("match: {by: [email], fund: stop}", "match.fund: unknown key; did you mean 'found'?"),
        ("mach: {by: [email]}", "mach: unknown key; did you mean 'match'?"),
        ("match: {by: ['mails[]']}", "leads to several values, or into text; here a path has names alone, as in a.b."),
        ("match: {by: ['a..b']}", re.compile("is not a path")),
        ("match: {by: [email, email]}", "match.by: names an attribute twice; name each once."),
        (
            "match: {by: [email]}, fields: {id: {from: id}, mail: {from: email}}, rest: more",
            "match.by: no target item of this entry has email; name an attribute that it writes.",
        ),
        ("match: {by: [email]}, drop: [email]", "no target item of this entry has email; name an attribute"),
        ("id: null, match: {by: [email]}", "and the entry has no ids; write `found: insert`."),
        *(
            (
                f"match: {{by: [email]}}, {fields}",
                "match: reuse takes over the id of the target's item, and no field copies id; add one, or write "
                "`found: insert`.",
            )
            for fields in (
                "fields: {PK: '{id}#{email}', email: {from: email}}",
                "fields: {PK: 'X#{id|none}', email: {from: email}}",
                "fields: {n: {from: id, type: number}, email: {from: email}}, rest: copy",
                "fields: {email: {from: email}}, rest: copy, drop: [id]",
                "fields: {PK: 'X#{id}', id: {from: email}, email: {from: email}}",
                "drop: [id]",
            )
        ),
        ("match: {by: [id]}", "match.by: holds an id of the entry itself, which the match decides; name attributes"),
        (
            "match: {by: [PK]}, fields: {PK: 'L#{id}', id: {from: id}}",
            "match.by: holds an id of the entry itself, which the match decides; name attributes that hold none.",
        ),
        (
            "match: {by: [above]}, references: {above: Leads}",
            "match.by: holds an id of the entry itself, which the match decides; name attributes that hold none.",
        ),
        (
            "match: {by: [owner]}, references: {owner: {table_named_by: kind}}",
            "match.by: holds an id of the entry itself, which the match decides; name attributes that hold none.",
        ),
    ],
)
def test_one_sentence_for_each_mistake(body, sentence):
    """It names file, entry and what to write."""
    told = sentences(f"{TABLES}{{{body}}}")
    assert sentence.search(told) if isinstance(sentence, re.Pattern) else sentence in told, told
    assert "mapping.yaml" in told
    assert "Leads" in told


def test_entries_whose_matches_decide_each_other_are_refused():
    """One sentence each, and no order could help."""
    told = sentences(
        "  A: {match: {by: [b]}, references: {b: B}}\n  B: {match: {by: [a]}, references: {a: A}}\n  C: {}"
    )
    assert "tables.A.match.by: holds an id of B, whose own `by` holds one of this entry" in told
    assert "tables.B.match.by: holds an id of A, whose own `by` holds one of this entry" in told


def test_entries_are_matched_after_those_whose_ids_their_values_hold():
    """Only where those are reused; a circle of references that `by` does not read is none of them."""
    mapping = mapping_of(
        HEAD
        + "  A: {match: {by: [owner.b, name]}, references: {owner.b: B, near: C}}\n"
        + "  B: {match: {by: [tax]}, references: {first: A}}\n"
        + "  C: {match: {by: [b], found: insert}, references: {b: B, a: A}}\n"
        + "  D: {match: {by: [c]}, references: {c: C, b: B}}\n"
        + "  E: {match: {by: [whole.name]}, references: {whole: {record_of: A}}}\n"
    )
    needs = {name: needed(entry, mapping.entries) for name, entry in mapping.entries.items()}
    assert needs == {"A": {"B"}, "B": set(), "C": {"B"}, "D": set(), "E": {"A", "B"}}
    level = match_levels(needs)
    assert level["B"] < level["A"] < level["E"]
    assert mapping.entries["A"].match_paths == (("owner", "b"), ("name",))


@pytest.mark.parametrize(
    ("body", "steps", "is_template"),
    [
        ("", ("id",), False),
        ("id: {in: PK, as: 'L#{id}'}", ("PK",), False),
        ("fields: {PK: 'L#{id}', email: {from: email}}", ("PK",), True),
        ("fields: {PK: 'L#{id}', lead: {from: id}, email: {from: email}}", ("lead",), False),
        ("fields: {PK: x, email: {from: email}}, rest: copy", ("id",), False),
        ("fields: {PK: x, email: {from: email}}, rest: more", ("more", "id"), False),
    ],
)
def test_where_the_target_holds_the_id(body, steps, is_template):
    """A copy before a template, a field before the rest."""
    entry = mapping_of(f"{HEAD}  Leads: {{{', '.join(filter(None, (MATCH, body)))}}}").entries["Leads"]
    holder = holder_of_id(entry)
    assert (holder.steps, bool(holder.parts)) == (steps, is_template)


def test_it_counts_in_the_fingerprint_and_nothing_counts_without_it():
    """A mapping without `match` has the fingerprint that it had before there was such a rule."""
    plain = HEAD + "  A: {}\n  B: {id_format: short, references: {a: A}}"
    assert mapping_of(plain).fingerprint == FINGERPRINT
    texts = [plain.replace("{}", f"{{match: {{{rule}}}}}") for rule in ("by: [a]", "by: [b]", "by: [a], found: stop")]
    assert len({mapping_of(text).fingerprint for text in [plain, *texts]}) == 4
    assert mapping_of(texts[0]).fingerprint == mapping_of(texts[0].replace("[a]", "[a], found: reuse")).fingerprint


def test_an_entry_that_reuses_renews_its_ids_also_where_it_keeps_them():
    """The ids of matched items are others, so references to them change."""
    entries = mapping_of(
        HEAD + "  A: {id_format: keep, match: {by: [a]}}\n  B: {id_format: keep, match: {by: [a], found: stop}}"
    ).entries
    assert [entries[name].model.reuses for name in "AB"] == [True, False]
    assert [entries[name].model.renews_ids for name in "AB"] == [True, False]
