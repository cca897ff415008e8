"""Where ids stay on purpose: the paths of the source that a mapping names, followed into the target."""

import pytest
from compiled import mapping_of

from runbook_lib.discover.left_out import LeftOut, Mixed, left_out, places_of
from runbook_lib.mapping.model import Entry


def of_entry(body: str) -> LeftOut:
    """What is left out of the entry Orders. Kept keeps its ids, Users get new ones."""
    entries = entries_of(body)
    return left_out(entries["Orders"], entries)


def entries_of(body: str) -> dict[str, Entry]:
    """The entries, of which Orders has this body."""
    tables = f"{{Users: {{}}, Kept: {{id_format: keep}}, Orders: {body}}}"
    text = f'{{defaults: {{source: "{{table}}-old", target: "{{table}}-new"}}, tables: {tables}}}'
    return mapping_of(text).entries


@pytest.mark.parametrize(
    ("body", "paths", "made"),
    [
        ("{not_references: [code, 'a.b[]']}", {"code", "a.b[]"}, set()),
        ("{not_references: [code], drop: [code]}", set(), set()),
        ("{references: {old: Kept, both: '{Kept}#{Users}', new: Users}}", {"old"}, set()),
        ("{id_format: keep, fields: {PK: 'O#{id}', id: {from: id}}}", {"id"}, {"PK"}),
        ("{not_references: [code.x], fields: {c: {from: code}, d: {from: codes}}, rest: more}", {"c.x"}, set()),
        ("{not_references: [code], fields: {id: {from: id}}, rest: more}", {"more.code"}, set()),
        ("{not_references: [more.code], fields: {id: {from: id}}, rest: more}", {"more.code"}, set()),
        ("{not_references: [code], fields: {id: {from: id}}, rest: copy}", {"code"}, set()),
        ("{not_references: [code], fields: {code: {from: other}}, drop: [code], rest: copy}", set(), set()),
        (
            "{not_references: [code], fields: {n: {from: code, type: number, on_error: rest}}, rest: more}",
            {"n", "more.code"},
            set(),
        ),
        ("{not_references: ['js:json.c'], fields: {z: {from: js, type: map}}}", {"z.c"}, set()),
        ("{not_references: ['js:json[]'], fields: {z: {from: js, type: list}}}", {"z[]"}, set()),
        ("{not_references: [code], fields: {z: {from: code, type: list}}}", {"z[]"}, set()),
        ("{not_references: [code], fields: {label: 'M-{code}'}}", set(), {"label"}),
        ("{not_references: [code], fields: {label: 'M-{code|none}-{at:%Y}'}}", set(), {"label"}),
        ("{not_references: [code, 'code:json.a'], fields: {label: '{code}'}}", {"label", "label:json.a"}, set()),
        ("{not_references: [code], fields: {c: {from: code}, a: 'M-{c}', b: 'N-{a}'}}", {"c"}, {"a", "b"}),
        ("{not_references: [code], fields: {code: 'C-{code}'}}", set(), {"code"}),
        ("{not_references: [code], fields: {code: {from: other}, a: 'M-{code}'}}", set(), set()),
        ("{not_references: [code.x], fields: {a: 'M-{code}'}}", set(), set()),
        ("{not_references: [in.code], fields: {c: {from: in.code}}}", {"c"}, set()),
        ("{not_references: [in.code], fields: {c: {from: in.code}}, rest: more}", {"c", "more.in.code"}, set()),
        ("{not_references: [in.code.x], fields: {c: {from: in.code}, d: {from: in.co}}}", {"c.x"}, set()),
        ("{not_references: ['js:json.c.d'], fields: {z: {from: 'js:json.c'}}}", {"z.d"}, set()),
        ("{not_references: ['a\\.b'], fields: {'c\\.d': {from: 'a\\.b'}}}", {"c\\.d"}, set()),
        ("{not_references: [in.code], fields: {a: 'M-{in.code}'}}", set(), {"a"}),
        ("{not_references: [code], fields: {k: {value: K}, a: '{k}-{code}'}}", set(), {"a"}),
        ("{not_references: [code], fields: {p: {from: code, as: 'C{value}'}}}", {"p"}, set()),
        ("{id_format: keep, id: {in: PK, as: 'O#{id}'}}", {"PK"}, set()),
        ("{id_format: keep, id: a.b}", {r"a\.b"}, set()),
        ("{references: {'codes:split(,)[]': Kept}}", {"codes"}, set()),
        ("{references: {'by{}.who': {to: [Kept]}}}", {"by{}.who"}, set()),
    ],
)
def test_values_that_stay_are_followed_into_the_target(body, paths, made):
    found = of_entry(body)
    assert (found.paths, found.made, found.mixed) == (paths, made, {})


@pytest.mark.parametrize(
    "body", ["{id_format: keep, id: {in: PK, as: 'O#{*}#{id}'}}", "{references: {PK: 'O#{*}#{Kept}'}}"]
)
def test_what_stands_beside_an_id_that_stays_is_looked_at(body):
    """The text that {*} takes may hold an id that is new elsewhere."""
    found = of_entry(body)
    assert (found.paths, found.mixed) == (set(), {"PK": Mixed(("O#", "#", ""), (False, True))})


def test_a_template_of_both_kinds_is_told_apart_by_its_literals():
    """Also through fields that it reads."""
    fields = "{c: {from: code}, inner: '{c}/{owner}', label: 'M-{kind}-{inner}'}"
    found = of_entry(f"{{not_references: [code], fields: {fields}}}")
    assert found.mixed == {
        "inner": Mixed(("", "/", ""), (True, False)),
        "label": Mixed(("M-", "-", "/", ""), (False, True, False)),
    }


@pytest.mark.parametrize(
    ("text", "part", "explained"),
    [
        ("M-x-U1", "U1", True),
        ("M-U1-x", "U1", False),
        ("M-U1-U1", "U1", False),  # one of them is no such value
        ("M-x-U1-y", "U1", False),  # either hole may hold it
        ("M-x-a/U1", "U1", True),
        ("N-x-U1", "U1", False),  # somebody edited it
        ("U1", "U1", False),
        ("M-U1", "U1", False),
        ("M-x-y", "U1", False),
        ("M-" + "x" * 400_000 + "-U1", "U1", True),
        ("M-x-" + "U1 " * 100_000, "U1", False),
    ],
)
def test_a_part_is_explained_where_it_can_stand_in_nothing_else(text, part, explained):
    """The template is `M-{kind}-{code}`, and code stays."""
    assert Mixed(("M-", "-", ""), (False, True)).explains(text, part) is explained


@pytest.mark.parametrize(
    ("body", "paths", "are_copies"),
    [
        ("{}", {"code"}, True),
        ("{fields: {x: {from: code}}, rest: more}", {"x"}, True),
        ("{fields: {x: {from: id}}, rest: more}", {"more.code"}, True),
        ("{fields: {x: {from: code}, y: {from: code, as: 'C#{value}'}}}", {"x", "y"}, False),
        ("{fields: {x: {from: code, type: number, on_error: rest}}, rest: more}", {"x", "more.code"}, False),
        ("{fields: {x: 'M-{code}', y: '{x}-{id}', z: '{id}'}, rest: copy}", {"x", "y", "code"}, False),
        ("{drop: [code]}", set(), True),
    ],
)
def test_where_the_values_of_a_path_stand_in_the_target(body, paths, are_copies):
    found = places_of(entries_of(body)["Orders"], "code")
    assert (found.paths, found.are_copies, found.are_known) == (paths, are_copies, True)
    assert all(found.hold(f"{path}:json.a") for path in paths)
    assert not found.hold("codes")
