"""Relationships in the journal: what stands for an id is the same in every run, and for a parent and its children."""

import base64
from hashlib import blake2b

from compiled import routes_of

from runbook_lib.journal.intents import encode_ids

HEAD = "defaults: {source: '{table}-s', target: '{table}-t', id: id}\n"
NOWHERE = bytes(8)


def link(entry, letter, content):
    """Eight bytes for an old id, from their description."""
    return blake2b(b"\0".join((entry.encode(), letter.encode(), content)), digest_size=8).digest()


def links(row):
    blob = base64.b64decode(encode_ids(row))
    return [blob[at : at + 8] for at in range(0, len(blob), 8)]


def test_a_row_is_encoded_as_its_own_id_and_those_it_refers_to():
    """In the order of the mapping; each by entry, type and bytes of the old id; zeros where no entry can be told."""
    tables = "P: {}, N: {id_format: number}, B: {}, K: {id_format: keep}"
    refs = '{p: P, q: P, "l[]": P, n: N, t: N, b: B, k: K, "j:json[]": P, of: {table_named_by: kind}, x: P}'
    routes = routes_of(
        f"{HEAD}tables: {{{tables}, A: {{references: {refs}}}}}", {"N": {"id": "N"}, "B": {"id": "B"}, "A": {"pk": "S"}}
    )
    item = {
        "pk": {"S": "1"},
        "id": {"S": "é"},
        "p": {"S": "one"},
        "q": {"S": "one"},
        "l": {"L": [{"S": "two"}, {"S": ""}, {"S": "one"}]},
        "n": {"N": "7.0"},
        "t": {"S": "7"},
        "b": {"B": "AP8="},
        "k": {"S": "kept"},
        "j": {"S": '["one"]'},
        "of": {"S": "z"},
        "x": {"N": "5"},
    }
    one, two = link("P", "S", b"one"), link("P", "S", b"two")
    seven, named = link("N", "N", b"7"), NOWHERE
    wanted = [link("A", "S", "é".encode()), one, one, two, one, seven, seven, link("B", "B", b"\0\xff")]
    for _ in range(2):  # the second time some of it is remembered
        row = routes["A"].route(item)
        assert links(row) == [*wanted, link("K", "S", b"kept"), one, named, NOWHERE]


def test_an_item_without_an_id_is_encoded_too():
    """As zeros, so that its references can be counted."""
    routes = routes_of(f"{HEAD}tables: {{P: {{}}, A: {{references: {{p: P}}}}}}", {"A": {"pk": "S"}})
    assert links(routes["A"].route({"pk": {"S": "1"}, "p": {"S": "one"}})) == [NOWHERE, link("P", "S", b"one")]
    assert links(routes["A"].route({"pk": {"S": "1"}})) == [NOWHERE]


def test_more_parents_than_are_remembered():
    """The same new ids and links before and after they are forgotten."""
    from runbook_lib.mapping.references import REMEMBERED

    route = routes_of(f"{HEAD}tables: {{P: {{}}, A: {{references: {{p: P}}}}}}")["A"].route
    olds = [f"p{number}" for number in range(REMEMBERED + 10)]
    rows = [route({"id": {"S": "i"}, "p": {"S": old}}) for old in olds]
    again = [route({"id": {"S": "i"}, "p": {"S": old}}) for old in (olds[0], olds[-1])]
    assert again == [rows[0], rows[-1]]
    assert [links(row)[1] for row in again] == [link("P", "S", old.encode()) for old in (olds[0], olds[-1])]
