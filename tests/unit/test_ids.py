"""New ids: the formula, the four shapes, and what they depend on."""

import base64
import hashlib
import re
import struct
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import numbers, scalars, spellings, texts

from runbook_lib.mapping.ids import FORMATS, id_function
from runbook_lib.values import canonical_number

FITTING = [(id_format, letter) for id_format, letters in FORMATS.items() for letter in letters]


def formula(environment, entry, value):
    """SHA-256 as the design says it, written from its text: each part after its length in 4 big-endian bytes."""
    ((letter, content),) = value.items()
    key = {"S": str.encode, "N": lambda n: canonical_number(n).encode(), "B": base64.b64decode}[letter](content)
    parts = [b"runbook-id-1", environment.encode(), entry.encode(), letter.encode(), key]
    return hashlib.sha256(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()


@given(texts, texts, texts)
def test_a_uuid_is_the_hash_with_version_and_variant(environment, entry, old):
    """RFC 9562 version 8: 122 bits of the hash, in their places."""
    new = id_function(environment, entry, "uuid")({"S": old})["S"]
    parsed = uuid.UUID(new)
    assert str(parsed) == new
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    fixed = 0xF << 76 | 0b11 << 62
    assert parsed.int & ~fixed == int.from_bytes(formula(environment, entry, {"S": old})[:16], "big") & ~fixed


@given(st.binary(max_size=20))
def test_a_binary_key_takes_the_16_bytes_of_the_uuid(raw):
    """A new id of the same type, with the same version and variant bits."""
    old = {"B": base64.b64encode(raw).decode()}
    new = id_function("prod", "A", "uuid")(old)
    parsed = uuid.UUID(bytes=base64.b64decode(new["B"], validate=True))
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    fixed = 0xF << 76 | 0b11 << 62
    assert parsed.int & ~fixed == int.from_bytes(formula("prod", "A", old)[:16], "big") & ~fixed


@given(texts)
def test_a_short_id_is_8_hex_and_8_base36(old):
    """All of it from the hash: the hex part is its beginning."""
    new = id_function("prod", "A", "short")({"S": old})["S"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-z]{8}", new)
    assert new[:8] == formula("prod", "A", {"S": old}).hex()[:8]


@given(numbers)
def test_a_number_id_has_20_digits(old):
    """The first of them not 0; a canonical number, so that DynamoDB gives back what was written."""
    new = id_function("prod", "A", "number")({"N": old})
    assert re.fullmatch(r"[1-9][0-9]{19}", new["N"])
    assert canonical_number(new["N"]) == new["N"]


@given(scalars)
def test_keep_keeps(old):
    """The same typed value."""
    assert id_function("prod", "A", "keep")(old) == old


@given(numbers.flatmap(lambda n: st.tuples(st.just(n), spellings(Decimal(n)))))
def test_a_number_has_one_new_id_however_it_is_spelled(pair):
    """1, 1.0 and 1E0 are one id."""
    new_id = id_function("prod", "A", "number")
    assert new_id({"N": pair[0]}) == new_id({"N": pair[1]})


@pytest.mark.parametrize(("id_format", "letter"), FITTING)
def test_the_new_id_has_the_type_of_the_old(id_format, letter):
    """A key keeps its type."""
    assert list(id_function("prod", "A", id_format)({letter: {"S": "x", "N": "7", "B": "eA=="}[letter]})) == [letter]


@pytest.mark.parametrize("id_format", ["uuid", "short", "number"])
@pytest.mark.parametrize("letter", ["S", "N", "B"])
def test_a_format_that_does_not_fit_the_type_is_refused(id_format, letter):
    """Number ids are for numbers, short ids for text, uuids for text and binary."""
    value = {letter: {"S": "x", "N": "7", "B": "eA=="}[letter]}
    if letter in FORMATS[id_format]:
        id_function("prod", "A", id_format)(value)
    else:
        with pytest.raises(ValueError, match=f"{id_format} does not fit a key of type {letter}"):
            id_function("prod", "A", id_format)(value)


@pytest.mark.parametrize("value", [{"BOOL": True}, {"M": {}}, {"L": []}, {"SS": ["a"]}, {"NULL": True}])
@pytest.mark.parametrize("id_format", ["uuid", "short", "number"])
def test_what_is_no_key_gets_no_id(value, id_format):
    """Text, numbers and binary alone."""
    with pytest.raises(ValueError):
        id_function("prod", "A", id_format)(value)


def test_ids_depend_on_environment_entry_type_and_key_and_on_nothing_else():
    """Each part counts, parts cannot run into each other, and a second function gives the same."""
    places = [("prod", "A"), ("prod2", "A"), ("pro", "dA"), ("prodA", ""), ("", "prodA"), ("prod", "B"), ("prod", "a")]
    olds = [{"S": "1"}, {"S": "1.0"}, {"S": "01"}, {"B": "MQ=="}, {"S": "MQ=="}, {"S": ""}, {"S": "\u0000"}]
    made = [id_function(*place, "uuid")(old) for place in places for old in olds]
    text = [new.get("S") or uuid.UUID(bytes=base64.b64decode(new["B"])).hex for new in made]
    assert len(set(text)) == len(places) * len(olds)
    assert made == [id_function(*place, "uuid")(old) for place in places for old in olds]


def test_known_ids():
    """Written down, so that a change of the formula, which would duplicate every migrated item, is noticed."""
    old = {"S": "0b7e3a52-1111-4222-8333-444455556666"}
    hashed = formula("prod", "Contacts", old)
    assert hashed.hex() == "8c1a7c2c5d3dc158a019fbd3342460c74114b92c201534899a2272723de4c357"
    assert id_function("prod", "Contacts", "uuid")(old) == {"S": "8c1a7c2c-5d3d-8158-a019-fbd3342460c7"}
    assert id_function("prod", "Contacts", "short")(old) == {"S": "8c1a7c2c-rcug1bn0"}
    assert id_function("prod", "Contacts", "number")({"N": "7"}) == {"N": "47018228303323615133"}
