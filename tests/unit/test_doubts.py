"""What a mapping probably means otherwise: YAML that is right by itself, and that the items make doubtful. Each is a note."""

import pytest
from compiled import mapping_of, watched

from runbook_lib.discover.profile import profile_items
from runbook_lib.stages.analyze.doubts import Doubts, doubtful

HEAD = "defaults: {source: crm, target: '{table}', id: null, create: {key: {id: S}}}\ntables:\n"
KEEPS = "fields: {id: {from: id}, %s}\nrest: copy"


def s(text: str) -> dict:
    return {"S": text}


def item(id_: str, **attributes) -> dict:
    return {"id": {"S": id_}, **{n: {"S": v} if isinstance(v, str) else v for n, v in attributes.items()}}


ITEMS = [
    item("a", kind="LEAD", size={"N": "1"}, name="Al", m={"M": {"nick": {"S": "A"}}}),
    item("b", kind="PROSPECT", size={"N": "2"}, name="Bo", gone={"BOOL": True}),
]


def doubts(body: str, *, page: int = 100, others: str = "") -> list[str]:
    text = HEAD + "  Leads:\n" + "".join(f"    {line}\n" for line in body.splitlines()) + others
    keys = {"Leads": {"id": "S"}, "Others": {"id": "S"}}
    watching, tables = watched(Doubts, text, {"crm": ITEMS}, keys, page)
    return [f"{one.said}; {one.action}" for one in watching.found(tables)]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        # Under `not`, what is misspelt leaves nothing out.
        ("kindd: {not: LEAD}", "leaves out no item by its condition on kindd; Nothing to do, if that is meant; else write kind"),
        ("archived: {exists: false}", "leaves out no item by its condition on archived; "),
        ("kind: {not: LAED}", "by its condition on kind; Nothing to do, if that is meant; else correct its name or its value"),
        ("size: {not: '1'}", "by its condition on size; "),
        ("kind: {not: {begins_with: LAED}}", "by its condition on kind; "),
        ("kind: {exists: true, not: LAED}", "by its condition on kind; "),
        ("m.nik: {not: A}", "by its condition on m.nik; "),
        # So does one value beside others.
        ("kind: [LEAD, PROSPCT, PROSPECT]", "no item has PROSPCT as kind, which `where` lists; "),
        ("size: ['1', 2]", "no item has 1 as size, which `where` lists; "),
        ("kind: {not: [LEAD, LAED]}", "no item has LAED as kind, which `where` lists; "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("page", [100, 1])
def test_a_part_of_where_without_effect(where, said, page):
    """An absent attribute meets every `not`, so a wrong name there selects everything and is no name that selects nothing."""
    (found,) = doubts(f"where: {{{where}}}", page=page)
    assert said in found


@pytest.mark.parametrize("page", [100, 1])
def test_a_part_of_where_with_an_effect(page):
    """Whatever leaves out an item, or takes one; and `{exists: true, not: null}`, which 01 itself tells people to write."""
    for where in (
        "kind: {not: LEAD}, gone: {exists: false}",
        "kind: [LEAD, PROSPECT], size: {ge: 1}",
        "name: {exists: true, not: null}",
        "m.nick: {not: [A]}",
        "size: {not: {gt: 1}}",
    ):
        assert doubts(f"where: {{{where}}}", page=page) == []


@pytest.mark.parametrize(
    ("field", "said"),
    [
        # A default is text, whatever it is called.
        ("l: '{nick|name}'", "the default of {nick} in l is the text name, and name is also the name of an attribute; "),
        ("l: '{nick|name|none}'", "the default of {nick} in l is the text name|none, and name is also"),
        ("l: 'X#{nick|m.nick}'", "the default of {nick} in l is the text m.nick, and m.nick is also"),
        # What other languages write for a hole.
        *(
            (f"l: '{text}'", f'the text {sign} in l goes in as it stands, and {path} is also the name of an attribute; '
             f'Nothing to do, if the text is meant; else write "{{{path}}}": one brace')
            for text, sign, path in (
                ("{{name}}", "{name", "name"),
                ("Hello {{ name }}", "{ name", "name"),
                ("{id}-$name", "$name", "name"),
                ("%m.nick%", "%m.nick", "m.nick"),
                ("<kind>", "<kind", "kind"),
            )
        ),
        ('l: "{name}\\n"', "the text of l ends with a line break; "),  # as | and > make it
        ('l: {value: "x\\n"}', "the text of l ends with a line break; "),
        ("l: {value: '{{name}}'}", "the text {name in l goes in as it stands"),
        # What is a rule, or DynamoDB's own JSON, elsewhere.
        ("l: {value: {from: name}}", "`value` of l is a map, and goes in as a map with the name from; "),
        ("l: {value: {value: 2}}", "`value` of l is a map, and goes in as a map with the name value; "),
        ("l: {value: {S: x}}", "`value` of l is a map, and goes in as a map with the name S; "),
        ("l: {from: size, default: {N: '0'}}", "`default` of l is a map, and goes in as a map with the name N; "),
        ("l: {from: size, values: {'1': {from: name, type: number}, '2': 2}}", "`values.1` of l is a map, and goes in as a map"),
    ],
)  # fmt: skip
def test_what_goes_in_as_it_stands(field, said):
    """A text or a map that every item gets, and that looks like a rule."""
    (found,) = doubts(KEEPS % field)
    assert found.startswith(said)


def test_constants_that_are_what_they_look_like():
    """A map with other names, a word that is no attribute, a sign before one."""
    fields = "a: {value: {by: runbook}}, b: {value: {from: 1, to: 9}}, c: {value: {S: 1, M: 2}}, d: 'US$ {name|none}', e: '100 %'"
    assert doubts(KEEPS % fields) == []
    assert doubts(KEEPS % "a: {value: []}, b: {value: {}}, c: '{size|<none>}', d: '{name} & $sum'") == []


def test_attributes_that_only_create_names():
    """The TTL attribute, which has to be a number, and what an index projects; judged by the items that are made."""
    create = "create: {key: {id: S}, ttl: %s, indexes: {byKind: {key: {kind: S}, projection: [%s]}}}"
    ttl = "as {}, by which the items of the target are to expire; "
    assert [one.partition("; ")[0] + "; " for one in doubts(create % ("expires", "name, nmae"))] == [
        f"no item has a number {ttl.format('expires')}",
        "no item has nmae, which the index byKind projects; ",
    ]
    (found,) = doubts(create % ("name", "size"))
    assert ttl.format("name") in found
    assert doubts(create % ("size", "gone, m")) == []
    made = "fields: {id: {from: id}, kind: K, at: {from: size}}\nrest: r\n"
    assert doubts(made + create % ("at", "r")) == []
    assert (
        doubts(create % ("expires", "nmae") + "\nfields: {id: {from: kind, values: {X: y}}}\nrest: r\ndrop: [id]") == []
    )  # none is


def test_items_that_two_entries_take_for_one_table():
    """`begins_with: ORDER` also takes the order lines, which have an entry of their own."""
    fields = "fields: {id: 'X{id}'}\nrest: copy\ndrop: [id]\n"
    other = "  Others: {target: Leads, where: {kind: LEAD}}\n"
    assert doubts(f"{fields}where: {{kind: {{begins_with: L}}}}", others=other) == [
        "Leads and Others both select 1 item, for one target table; Nothing to do, if that is meant; else let their conditions "
        "exclude each other."
    ]
    assert doubts(f"{fields}where: {{kind: {{begins_with: P}}}}", others=other) == []
    assert doubts(f"{fields}where: {{kind: LEAD}}", others=other.replace("Leads", "Elsewhere")) == []


@pytest.mark.parametrize(
    ("form", "text", "doubt"),
    [
        ("V#{id}#{*}", "V#2024-05-{:02}#x{}", "begin with dates, and new ones are in no order of time"),
        ("V#{id}", "V#2024-05-{:02}T10:00:00Z#x{}", "begin with dates, and new ones are in no order of time"),
        ("V#{id}", "V#202405{:02}#x{}", "begin with dates, and new ones are in no order of time"),
        ("V#{*}#{id}", "V#2024-05-{:02}#x{}", ""),
        ("V#{id}", "V#20240{:03}{}", ""),  # a number
        ("V#{id}", "V#202405{:02}-1b2c-4d5e-8f90-0123456789{}", ""),
        ("V#{id}", "V#{:02}-2024-05-0{}", ""),
        ("V#{id}", "V#{}#U#{}", "hold #, which stands before them in `as`, too"),
        ("{*}#{id}", "V#{}#U#{}", "hold #, which stands before them in `as`, too"),
        ("V{id}", "V{}V{}", ""),
        ("{*}#U#{id}", "V#{}#U#{}", ""),
        ("V:{id}", "V:{}#U#{}", ""),
    ],
)
def test_ids_that_are_more_than_the_id(form, text, doubt):
    """A hole that takes the date as well gives the key another order; one that takes other parts of it makes them unreadable."""
    items = [{"id": s(text.format(day, 10 + day))} for day in range(1, 29)]
    mapping = HEAD + f"  Visits: {{id: {{in: id, as: '{form}'}}}}\n  Kept: {{id_format: keep, id: id}}\n"
    watching, tables = watched(Doubts, mapping, {"crm": items}, page=5)
    found = [one.said for one in watching.found(tables) if "both select" not in one.said]
    assert found == ([f"the ids {doubt}"] if doubt else [])


def test_an_entry_that_selects_nothing_has_no_doubts():
    """It is told once, as a condition that selects nothing."""
    assert doubts("where: {kind: [LAED, PROSPCT], gone: {not: x}}") == []


def test_doubts_are_notes_of_01():
    """They need the items of an entry alone, as far as they are about its names."""
    model = mapping_of(HEAD + "  Leads: {fields: {id: {from: id}, l: name}}\n").entries["Leads"]
    assert [*doubtful(model, profile_items(ITEMS), 2)] != []
