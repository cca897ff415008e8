"""Near misses: YAML that looks right to a reader of docs/mapping.md. Each is refused with the mend, or does what it says."""

import json

import pytest
from compiled import mapping_of, routes_of

from runbook_lib.cli import main
from runbook_lib.discover.profile import profile_items
from runbook_lib.errors import MappingError, ParametersError
from runbook_lib.mapping.file.checks import check_keys
from runbook_lib.mapping.model import Keys
from runbook_lib.parameters import build_parameters, load_parameters
from runbook_lib.stages.analyze.doubts import doubtful

HEAD = "defaults: {source: '{table}-s', target: '{table}-t'}\ntables:\n  Contacts: {}\n  Leads:\n"
QUOTES = "put paths with [ ] { } or : in quotes, and text with { } or #."
TEXT_QUOTES = "put text with { } or # in quotes."
CUT = f"the text ends before `#`, which begins a comment; {TEXT_QUOTES}"
VALUE = "give a value, or one of begins_with, between, exists, lt, le, gt, ge, not."
HOLE = "needs the hole {id} once, and else only {*}; write it as in 'USER#{id}'."
FORMATS = "needs one of uuid, short, number, number15 in braces, as in CUS-{short}."
CREATE = "5: tables.Leads.create"
ESCAPE = "write two backslashes, or put the text in single quotes."
INDENT = "is an option, and stands where a field should; indent it elsewhere, or write"


NOT_FILLED = "is filled in only where a template stands"


BRACES = "or write {{h}} for the braces."


def bare(inside):
    return f"is a map, because {{{inside}}} stands there without quotes; {TEXT_QUOTES}"


def entry(body):
    """A mapping whose entry Leads, from line 5 on, has this body."""
    return HEAD + "".join(f"    {line}\n" for line in body.splitlines())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        # keys
        ("reference: {a: Contacts}", "5: tables.Leads.reference: unknown key; did you mean 'references'?"),
        (
            "unrouted: ignore",
            "5: tables.Leads.unrouted: unknown key here; write it at the top of the file, without indentation.",
        ),
        (
            "create: {key: {PK: S}, global_indexes: {g: {a: S}}}",
            f"{CREATE}.global_indexes: unknown key; did you mean 'indexes'?",
        ),
        ("create: {key: {PK: S}, GSIs: {g: {a: S}}}", f"{CREATE}.GSIs: unknown key; did you mean 'indexes'?"),
        ("create: {key: {PK: S}, lsi: {g: {a: S}}}", f"{CREATE}.lsi: unknown key; did you mean 'local_indexes'?"),
        ("dangling: keep", "5: tables.Leads.dangling: unknown key here; write it in `references.NAME`."),
        ("dangling: [a]", "5: tables.Leads.dangling: unknown key here; write it in `accept`."),
        ("ttl: at", "5: tables.Leads.ttl: unknown key here; write it in `create`."),
        ("key: {PK: S}", "5: tables.Leads.key: unknown key here; write it in `create` or `queries.NAME`."),
        ("as: 'U#{id}'", "5: tables.Leads.as: unknown key here; write it in `id` or `fields.NAME`."),
        (
            "create: {key: {PK: S}, expired: skip}",
            f"{CREATE}.expired: unknown key here; write it beside `create`, in tables.Leads.",
        ),
        (
            "references: {a: {to: Contacts, id_format: keep}}",
            "5: tables.Leads.references.a.id_format: unknown key here; write it beside `references`, in tables.Leads.",
        ),
        (
            "fields: {a: {from: a, dangling: keep}}",
            "5: tables.Leads.fields.a.dangling: unknown key here; write it in `tables.Leads.references.NAME`.",
        ),
        # lists, maps and text in each other's place
        (
            "references: {a: [Contacts, Leads]}",
            "5: tables.Leads.references.a is [Contacts, Leads]; write {to: [Contacts, Leads]}.",
        ),
        (
            "references: {a: ['C#{Contacts}', Leads]}",
            '5: tables.Leads.references.a is ["C#{Contacts}", Leads]; write {to: ["C#{Contacts}", Leads]}.',
        ),
        ("fields: {a: 2}", "5: tables.Leads.fields.a is 2; write {value: 2}, or text in quotes."),
        (
            "fields: {a: [1, true, null]}",
            "5: tables.Leads.fields.a is [1, true, null]; write {value: [1, true, null]}, or text in ",
        ),
        (
            "fields: {a: [[2.50], x: y]}",
            "5: tables.Leads.fields.a is [[Decimal('2.50')], {'x': 'y'}]; write {key: value} or text ",
        ),
        ("references: [a, b]", "5: tables.Leads.references is ['a', 'b']; write {key: value}."),
        ("references:\n- a: Contacts", "5: tables.Leads.references is [{'a': 'Contacts'}]; write {key: value}."),
        ("drop: a", "5: tables.Leads.drop is 'a'; write a list, as in [a, b]."),
        ("drop:\n- a\n- b: c", "7: tables.Leads.drop.1 is {'b': 'c'}; write text, in quotes."),
        ("not_references: a.b", "5: tables.Leads.not_references is 'a.b'; write a list, as in [a, b]."),
        ("accept: [dangling]", "5: tables.Leads.accept is ['dangling']; write {key: value}."),
        ("accept: {dangling: true}", "5: tables.Leads.accept.dangling is True; write a list, as in [a, b]."),
        ("id: [a, b]", "5: tables.Leads.id is ['a', 'b']; write text, in quotes."),
        ("create: {key: [PK, SK]}", "5: tables.Leads.create.key is ['PK', 'SK']; write {key: value}."),
        ("where: kind = LEAD", "5: tables.Leads.where is 'kind = LEAD'; write {key: value}."),
        # quotes
        ("references: {watchers[]: Contacts}", f"5: expected ',' or '}}', but got '['; {QUOTES}"),
        ("references: {members{keys}: Contacts}", f"5: expected ',' or '}}', but got '{{'; {QUOTES}"),
        ("references: {a:json[]: Contacts}", f"5: expected ',' or '}}', but got '['; {QUOTES}"),
        *((f'drop: ["a\\{sign}b"]', f"5: found unknown escape character '{sign}'; {ESCAPE}") for sign in ".:["),
        ("references: {PK: org#{org}}", f"5: expected ',' or '}}', but got '{{'; {QUOTES}"),
        ("drop: [a[], b]", f"5: expected ',' or ']', but got '['; {QUOTES}"),
        ("fields: {a: STATUS: x}", f"5: expected ',' or '}}', but got ':'; {QUOTES}"),
        ("fields:\n  SK: {created}-{id}", f"6: expected <block end>, but found '<scalar>'; {QUOTES}"),
        (
            "fields:\n  SK: STATUS: x",
            "6: mapping values are not allowed here; indent it like its neighbours, or put text that holds ': ' in quotes.",
        ),
        ("fields:\n  SK: {created}#{id}", f"6: {CUT}"),
        ("fields:\n  SK: '{created}'#{id}", f"6: {CUT}"),
        ("references:\n  a: USER #{Contacts}", f"6: {CUT}"),
        (
            "references:\n  a: # {Contacts}",
            "6: tables.Leads.references.a is None; write {key: value} or text in quotes.",
        ),
        ("fields:\n  SK: {id}\nrest: r", f"6: tables.Leads.fields.SK {bare('id')}"),
        ("fields: {SK: {id:%Y|x}}", f"5: tables.Leads.fields.SK {bare('id:%Y|x')}"),
        ("fields: {SK: {{id}}}", "5: a map or a list is no key; put text with { } or [ ] in quotes."),
        ("references: {a: {Contacts}}", f"5: tables.Leads.references.a {bare('Contacts')}"),
        ("references: {a: {to: {Contacts}}}", f"5: tables.Leads.references.a.to {bare('Contacts')}"),
        ("source: {table}", f"5: tables.Leads.source {bare('table')}"),
        ("id: {in: PK, as: {id}}", f"5: tables.Leads.id.as {bare('id')}"),
        ("id_format: {short}", f"5: tables.Leads.id_format {bare('short')}"),
        ("create: {like_source}", f"5: tables.Leads.create {bare('like_source')}"),
        ("where: {kind: {LEAD}}", f"5: tables.Leads.where.kind {bare('LEAD')}"),
        ("queries: {q: {key: {PK: {id}}}}", f"5: tables.Leads.queries.q.key.PK {bare('id')}"),
        ("\tid: x", "5: found character '\\t' that cannot start any token; indent with spaces, not with tabs."),
        ("rest: *", "5: expected alphabetic or numeric character, but found '\\n'; correct the YAML there."),
        ("rest: @x", "5: found character '@' that cannot start any token; put text that begins with a sign in quotes."),
        ("drop: ['a]", "6: found unexpected end of stream; close the quotes or brackets that are open."),
        *(
            (body, f"{5 + body.count(chr(10))}: the quote {sign} is text to YAML; write a straight one, ' or \".")
            for body, sign in {
                "fields: {a: \u201cLEAD\u201d}": "\u201c",
                "where:\n  a: [x, \u2018LEAD\u2019]": "\u2018",
                "drop:\n- \u201eb\u201c": "\u201e",
                "references: {\u201ca\u201d: Contacts}": "\u201c",
            }.items()
        ),
        # words that YAML reads as true and false
        (
            "where: {country: NO}",
            "5: tables.Leads.where.country: NO without quotes means false; write false, or put the ",
        ),
        ("where: {country: {not: [DE, NO]}}", "5: tables.Leads.where.country.not.1: NO without quotes means false; "),
        ("fields: {a: {value: off}}", "5: tables.Leads.fields.a.value: off without quotes means false; "),
        (
            "fields: {a: {from: a, values: {x: on}}}",
            "5: tables.Leads.fields.a.values.x: on without quotes means true; ",
        ),
        ("fields: {a: {from: a, default: yes}}", "5: tables.Leads.fields.a.default: yes without quotes means true; "),
        # and numbers that it reads as text
        *(
            (
                f"{body}: {written}}}}}",
                f"5: tables.Leads.{at}: {written} without quotes is text; write the number out, or put ",
            )
            for written in ("1e3", "-1.5E3", ".5e10", "1_0e-2")
            for body, at in (
                ("fields: {a: {value", "fields.a.value"),
                ("fields: {a: {from: a, default", "fields.a.default"),
                ("where: {a: {gt", "where.a.gt"),
            )
        ),
        # where
        (
            "where: {a: [begins_with: x]}",
            "5: tables.Leads.where.a is a list that holds a map; give values alone, or words without [ ]: {begins_with: x}.",
        ),
        (
            "where: {a: {begins_with: [x, y]}}",
            "5: tables.Leads.where.a: begins_with compares with one text, in quotes; give that alone.",
        ),
        ("where: {a: {gt: {lt: 5}}}", "5: tables.Leads.where.a: gt compares with one text or number; give that alone."),
        (
            'where: {"a[]": x}',
            "5: tables.Leads.where.a[]: leads to several values, or into text; here a path has names alone, as in a.b.",
        ),
        ("where: {a: {in: [x, y]}}", "5: tables.Leads.where.a: 'in' is no word of a condition; write a list."),
        ("where: {a: {eq: x}}", "5: tables.Leads.where.a: 'eq' is no word of a condition; write the value alone."),
        *(
            (
                f"where: {{a: {{'{old}': 5}}}}",
                f"5: tables.Leads.where.a: '{old}' is no word of a condition; write {new}.",
            )
            for old, new in {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "!=": "not"}.items()
        ),
        (
            "queries: {q: {key: {PK: x, SK: {'>=': y}}}}",
            "5: tables.Leads.queries.q.key.SK: '>=' is no word of a condition; write ge.",
        ),
        (
            "where: {a: {between: [9, 1]}}",
            "5: tables.Leads.where.a: between needs two values of one type, the smaller one first; correct them.",
        ),
        (
            "where: {a: {exists: 'yes'}}",
            "5: tables.Leads.where.a: exists: 'yes' is neither true nor false; write one of them.",
        ),
        *(
            (
                f"where: {{a: {{{words}}}}}",
                f"5: tables.Leads.where.a: no value meets {said} together; correct them, or ",
            )
            for words, said in {
                "gt: 9, lt: 5": "gt and lt",
                "ge: 5, lt: 5": "ge and lt",
                "gt: 5, lt: x": "gt and lt",
                "between: [1, 3], gt: 3": "between and gt",
                "exists: false, begins_with: x": "exists and begins_with",
                "exists: true, not: {exists: true}": "exists and not",
                "begins_with: ab, not: {begins_with: a}": "begins_with and not",
                "begins_with: b, lt: a": "begins_with and lt",
                "begins_with: b, ge: c": "begins_with and ge",
                "ge: 5, le: 5, not: [5, 6]": "ge and le and not",
                "not: {gt: 9, lt: 5}": "gt and lt",
                "not: {not: {exists: false, lt: 5}}": "exists and lt",
            }.items()
        ),
        (
            "where: {a: {lt: ''}}",
            "5: tables.Leads.where.a: no value meets lt; correct its value.",
        ),
        (
            "queries: {q: {key: {PK: x}, filter: {a: {gt: 9, le: 9}}}}",
            "5: tables.Leads.queries.q.filter.a: no value meets gt and le together; correct them, or ",
        ),
        (
            "where: {a.b.c: x, a.b: {begins_with: y}}",
            "5: tables.Leads.where.a.b.c is inside a.b, which the condition beside it says is no map; remove one of them.",
        ),
        # conditions take no templates
        (
            "where: {SK: 'ORDER#{*}'}",
            f'5: tables.Leads.where.SK: {{*}} {NOT_FILLED}; write {{begins_with: "ORDER#"}}, or ',
        ),
        ("where: {SK: [x, '{*}']}", f"5: tables.Leads.where.SK: {{*}} {NOT_FILLED}; write {{exists: true}}, or "),
        ("where: {SK: '{h}#x'}", f"5: tables.Leads.where.SK: {{h}} {NOT_FILLED}; ask for another attribute, {BRACES}"),
        (
            "queries: {q: {key: {PK: 'ORG#{Contacts}'}}}",
            f'5: tables.Leads.queries.q.key.PK: {{Contacts}} {NOT_FILLED}; write {{begins_with: "ORG#"}}, or ',
        ),
        ("where: {a: {not: {}}}", f"5: tables.Leads.where.a: compares with nothing; {VALUE}"),
        (
            "where: {a: {not: []}}",
            "5: tables.Leads.where.a: `not: []` leaves nothing out; give a value or a list of values, or ",
        ),
        # ids
        ("id: {in: PK}", "5: tables.Leads.id.as is missing; add it."),
        ("id: {as: 'USER#{id}'}", "5: tables.Leads.id.in is missing; add it."),
        ("id: {in: PK, as: 'c#{ID}'}", f"5: tables.Leads.id: `as: c#{{ID}}` {HOLE}"),
        ("id: {in: PK, as: c#id}", f"5: tables.Leads.id: `as: c#id` {HOLE}"),
        (
            "id: {in: PK, as: '{*}{id}'}",
            "5: tables.Leads.id: two holes with nothing between them cannot be told apart; add the separator.",
        ),
        ('id_format: "CUS-{short"', f"5: tables.Leads.id_format: 'CUS-{{short' {FORMATS}"),
        *(
            (
                f"id: {{in: PK, as: '{form}'}}\nid_format: '{id_format}'",
                f"6: tables.Leads.id_format: '{text}' stands beside the id in `as`, and would stand there twice; write short.",
            )
            for form, id_format, text in (
                ("CUS-{id}", "CUS-{short}", "CUS-"),
                ("{*}#CUS-{id}#{*}", "S-{short}", "S-"),
                ("{id}-EU", "{short}-EU", "-EU"),
            )
        ),
        ("id_format: CUS-short", "5: tables.Leads.id_format: 'CUS-short' is unknown; write CUS-{short}."),
        # references
        (
            "references:\n  PK: org#{org}",
            "6: tables.Leads.references.PK: refers to 'org', which is not an entry; known ",
        ),
        (
            "references: {a: contacts}",
            "5: tables.Leads.references.a: refers to 'contacts', which is not an entry; did you mean 'Contacts'?",
        ),
        (
            "references: {a: {record_of: LEADS}}",
            "5: tables.Leads.references.a: refers to 'LEADS', which is not an entry; did you mean 'Leads'?",
        ),
        (
            "references:\n  a:\n    to: Contacts\n  dangling: keep",
            "8: tables.Leads.references.dangling: refers to 'keep', which is not an entry; known are Contacts, Leads.",
        ),
        (
            "references: {a: {to: []}}",
            "5: tables.Leads.references.a: `to` is empty or names an entry twice; name one entry or more, each once.",
        ),
        (
            "references: {a: {to: Contacts, dangling: Keep}}",
            "5: tables.Leads.references.a.dangling is 'Keep'; use 'map', 'keep', 'null', 'remove' or 'stop'.",
        ),
        (
            "references: {id: Contacts}",
            "5: tables.Leads.references.id is the id attribute itself; remove the reference (the id is always rewritten).",
        ),
        *(
            (
                f"id: {{in: PK, as: 'c#{{id}}'}}\nreferences: {{PK: {to}}}",
                "6: tables.Leads.references.PK: takes the id itself, which is always rewritten; write {*} where the id stands.",
            )
            for to in ("Contacts", "'c#{Contacts}'", "{table_named_by: a}")
        ),
        *(
            (
                f"references:\n  {path}: Contacts",
                f"6: tables.Leads.references.a:split({separator})[]: takes a separator as it is written, without quotes or "
                f"a backslash; write :split({said})[].",
            )
            for path, separator, said in (
                ("a:split(';')[]", "';'", ";"),
                ("""'a:split(";")[]'""", '";"', ";"),
                ("a:split('')[]", "''", ","),
                (r"a:split(\|)[]", r"\|", "|"),
            )
        ),
        *(
            (
                f"references: {{'{one}': Contacts, '{other}': Leads}}",
                f"5: tables.Leads.references.{other}: leads to a value that {one} leads to, too, and would rewrite it once more; "
                "write one of them, with {to: [ENTRY, ENTRY]} where ids of several stand.",
            )
            for one, other in (
                ("m{}", "m.owner"),
                ("m.owner", "m{}"),
                ("m[]{}.a", "m[].b.a"),
                ("t", "t:split(,)[]"),
                ("t:split(,)[]", "t:split(;)[]"),
                ("t:json.a:json.b", "t:json.a"),
            )
        ),
        (
            "id: PK\nreferences: {'PK:split(#)[]': Contacts}",
            "6: tables.Leads.references.PK:split(#)[]: takes the id apart, which is always rewritten; write a template, as in ",
        ),
        (
            "references: {before: {record_of: Leads}, before.by: Contacts, by: Contacts}",
            "5: tables.Leads.references.before.by is rewritten by the rules of the record that stands above it; remove it.",
        ),
        # fields, rest, drop
        (
            "fields: {SK: '{*}'}",
            "5: tables.Leads.fields.SK: {*} stands for text that a template reads, and this one writes; name an attribute.",
        ),
        (
            "fields: {SK: '${id}'}",
            "5: tables.Leads.fields.SK: ${id} is not set; export id or write ${id:-default}, or {id} for an attribute.",
        ),
        ("fields:\n  a: {from: b}\n  rest: copy", f"7: tables.Leads.fields.rest {INDENT} {{value: copy}}."),
        (
            "fields:\n  a: {from: b}\n  type: number\nrest: r",
            f"7: tables.Leads.fields.type {INDENT} {{value: number}}.",
        ),
        (
            'drop: ["a:json.b"]',
            "5: tables.Leads.drop.a:json.b: drop leaves out attributes, members of maps and elements; ",
        ),
        # text with holes where nothing fills them
        (
            "fields: {a: {value: 'X#{h}'}}",
            f"5: tables.Leads.fields.a.value: {{h}} {NOT_FILLED}; write it without {{value: …}}, {BRACES}",
        ),
        (
            "fields: {a: {value: [{by: '{user|none}'}]}}",
            f"5: tables.Leads.fields.a.value: {{user|none}} {NOT_FILLED}; build it by `transform`, ",
        ),
        (
            "fields: {a: {from: b, default: '{h}'}}",
            f"5: tables.Leads.fields.a.default: {{h}} {NOT_FILLED}; give a default without it, {BRACES}",
        ),
        (
            "fields: {a: {from: b, values: {x: 'X {c:%Y}'}}}",
            f"5: tables.Leads.fields.a.values.x: {{c:%Y}} {NOT_FILLED}; give a value without it, ",
        ),
        # dates
        (
            "fields: {a: {from: b, type: datetime, read: '%d%d%m%Y', write: iso}}",
            "5: tables.Leads.fields.a.read: '%d%d%m%Y': %d stands there twice; write each directive once.",
        ),
        (
            "fields: {a: {from: b, type: datetime, read: iso, write: epoch_seconds, default: none}}",
            "5: tables.Leads.fields.a: the default is not a datetime: it is spelt neither as ",
        ),
        # names that look like something else
        (
            "id: '{id}'",
            "5: tables.Leads.id is the name of an attribute; write {in: NAME, as: '{id}'} for an id inside its text.",
        ),
        (
            "id: USER#{id}",
            "5: tables.Leads.id is the name of an attribute; write {in: NAME, as: 'USER#{id}'} for an id ",
        ),
        *(
            (
                f"fields: {{a: b}}\nrest: '{word}'",
                f"6: tables.Leads.rest: names the map for the rest, and '{word}' looks like an option; {said}",
            )
            for word, said in {
                "drop": "list the ",
                "quarantine": "leave `rest` out",
                "None": "leave `rest` out",
                "null": "leave `rest` out",
                "keep": "write copy.",
                "Copy": "write copy.",
                " copy": "write copy.",
                "ALL": "write copy.",
                "*": "write copy.",
            }.items()
        ),
        (
            "fields: {a: b}\nrest: '{x}'",
            "6: tables.Leads.rest is a name, taken as it is written; write one without { }.",
        ),
        (
            "fields: {a: b}\nrest: 'custom '",
            "6: tables.Leads.rest: names a map with a space beside it; write custom.",
        ),
        ("fields: {' a': b}", "5: tables.Leads.fields. a: names an attribute with a space beside it; write a."),
        ("fields: {'*': {from: b}}", "5: tables.Leads.fields.* is the name of one field, and "),
        (
            "fields: {a: '{b | new}'}",
            "5: tables.Leads.fields.a: {b } names an attribute with a space beside it; write {b}.",
        ),
        (
            "create: {key: {PK: S}, indexes: {GSI: {key: {A: S}, projection: [ALL]}}}",
            "5: tables.Leads.create.indexes.GSI.projection: a list names attributes, and ALL is none; write ALL without [ ].",
        ),
        (
            "create: {key: {PK: S}, tags: {stage: '{target.environment}'}}",
            "5: tables.Leads.create.tags: stage: '{target.environment}' is no template, and no tag holds braces; write ",
        ),
        (
            "create: {key: {'${PK}': S}}",
            "5: tables.Leads.create.key.${PK} is a key, and ${…} stands for a variable in values alone; write the name itself.",
        ),
        (
            "queries: {q: {key: {PK: x}, filter: {PK: x}}}",
            "5: tables.Leads.queries.q.filter.PK is a key attribute, which no filter may name; give it under key.",
        ),
        (
            "create: {key: {PK: S, SK: S}}\nqueries: {q: {key: {PK: x}, filter: {SK: {begins_with: y}}}}",
            "6: tables.Leads.queries.q.filter.SK is a key attribute, which no filter may name; give it under key.",
        ),
        (
            "id: null\nid_format: short",
            "6: tables.Leads.id_format: the entry has no ids (`id: null`); remove one of them.",
        ),
        # a key without a value
        (
            "references:\n  a:\n    to: Contacts\n    dangling:",
            "8: tables.Leads.references.a.dangling is empty; write map, keep, null, remove or stop.",
        ),
        *(
            (
                body,
                f"{5 + body.count(chr(10))}: tables.Leads.{place} is empty; write a value, or null if you mean that.",
            )
            for body, place in {
                "id:": "id",
                "fields:": "fields",
                "transform:": "transform",
                "where:\n  a:": "where.a",
                "where:\n  a:\n  - x\n  -": "where.a.1",
                "fields:\n  a: {value: }": "fields.a.value",
                "fields:\n  a: {from: b, default: }": "fields.a.default",
                "create: {key: {PK: S}, ttl: }": "create.ttl",
                "queries: {q: {key: {PK: }}}": "queries.q.key.PK",
            }.items()
        ),
        ("source:", "5: tables.Leads.source is missing; name the source table in the entry or in defaults."),
        # words
        ("expired: skipp", "5: tables.Leads.expired is 'skipp'; use 'copy' or 'skip'."),
        ("create: likesource", "5: tables.Leads.create: 'likesource' is unknown; write like_source, or {key: …}."),
        ("create: {key: {PK: s}}", "5: tables.Leads.create.key.PK is 's'; use 'S', 'N' or 'B'."),
    ],
)
def test_it_is_refused_in_one_sentence_with_the_mend(body, said):
    with pytest.raises(MappingError) as problem:
        mapping_of(entry(body))
    message = str(problem.value)
    assert "\n" not in message
    assert message.startswith(f"mapping.yaml: line {said}")
    assert message == f"mapping.yaml: line {said}" or not said.endswith((".", "?"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tables:\nLeads: {source: a, target: b}", "2: Leads: unknown key; an entry stands below `tables`: indent it."),
        (
            "tables:\n  Leads:\n  source: a",
            "3: tables.source is a key of an entry, and stands beside the entries; indent it below its entry.",
        ),
        (
            "tables:\n  Leads: {source: a, target: b}\ndrop: [a]",
            "3: drop is a key of an entry; indent it below its entry in `tables`, or put it into `defaults`.",
        ),
        ("tables: [Leads]", "1: tables is ['Leads']; write {key: value}."),
        ("tables: {Leads: Contacts}", "1: tables.Leads is 'Contacts'; write {key: value}."),
        (
            "tables: {Leads: {source: a, target: b}}\nunrouted: Ignore",
            "2: unrouted is 'Ignore'; use 'review' or 'ignore'.",
        ),
        (
            "dangling: keep\ntables: {Leads: {source: a, target: b}}",
            "1: dangling: unknown key here; write it in `defaults.references.NAME` or `tables.NAME.references.NAME`.",
        ),
        (
            "tables: {U: {source: a, target: b}, P: {source: a, target: b, references: {a: u}}}",
            "1: tables.P.references.a: refers to 'u', which is not an entry; did you mean 'U'?",
        ),
        ("tabels: {Leads: {}}", "1: tabels: unknown key; did you mean 'tables'?"),
        (
            "source: {environment: a}\nmapping: m.yaml",
            "2: this is a parameters file; under `mapping`, name the file that holds `tables`.",
        ),
        ("tables: {A: {source: a, target: b}}\n---\n", "2: but found another document; correct the YAML there."),
    ],
)
def test_a_file_that_is_built_otherwise_is_refused(text, said):
    """What stands too far out, what is no map, and another file than this."""
    with pytest.raises(MappingError) as problem:
        mapping_of(text)
    assert str(problem.value) == f"mapping.yaml: line {said}"


ID = {"id": {"S": "l-1"}}
ONE, NULL = {"N": "1"}, {"NULL": True}


@pytest.mark.parametrize(
    ("body", "item", "made"),
    [
        # A name is taken as it is written; a path leads into the map.
        ("id: null\nrest: a.b\nfields: {id: {from: id}}", {**ID, "x": ONE}, {**ID, "a.b": {"M": {"x": ONE}}}),
        ("id: null\ndrop: [a.b]", {**ID, "a": {"M": {"b": ONE}}, "a.b": ONE}, {**ID, "a": {"M": {}}, "a.b": ONE}),
        ('id: null\ndrop: ["a\\\\.b"]', {**ID, "a": {"M": {"b": ONE}}, "a.b": ONE}, {**ID, "a": {"M": {"b": ONE}}}),
        # A format puts text round the id alone: what `as` has beside it is another text.
        ("id: {in: PK, as: 'U#{id}'}\nid_format: 'U-{number15}'", {**ID, "PK": ONE}, {**ID, "PK": ONE}),
        # Null where it is written; an entry without rules is empty.
        ("id: null\nfields: {id: {from: id}, a: {value: ~}, b: {value: null}}", ID, {**ID, "a": NULL, "b": NULL}),
        # A default is written as any other value is; `write` may say a directive twice.
        (
            "id: null\nfields: {id: {from: id}, "
            "d: {from: d, type: datetime, read: iso, write: '%Y/%d.%m.%Y', default: 1970-01-02}, "
            "e: {from: e, type: datetime, read: '%d.%m.%Y', write: iso, default: 1.2.1970}}",
            ID,
            {**ID, "d": {"S": "1970/02.01.1970"}, "e": {"S": "1970-02-01T00:00:00Z"}},
        ),
        # Text: a template without holes, and braces that are written twice.
        ("id: null\nfields: {id: {from: id}, a: id, b: '{{id}}'}", ID, {**ID, "a": {"S": "id"}, "b": {"S": "{id}"}}),
        ("id: null\nfields:\n  id: {from: id}\n  a: x#{id}", ID, {**ID, "a": {"S": "x#l-1"}}),
        (  # So a constant writes braces; JSON text and a single brace are as they look.
            "id: null\nfields: {id: {from: id}, a: {value: ['{{x}}', '{\"b\": {\"c\": 1}}']}, "
            "d: {from: e, default: '{}{ {{f}}'}}",
            ID,
            {**ID, "a": {"L": [{"S": "{x}"}, {"S": '{"b": {"c": 1}}'}]}, "d": {"S": "{}{ {f}"}},
        ),
        ("id: null\nwhere: {a: '/{{id}}'}", {**ID, "a": {"S": "/{id}"}}, {**ID, "a": {"S": "/{id}"}}),
        # Inside straight quotes any other stands for itself.
        (
            "id: null\nwhere: {a: '\u201cx\u201d'}",
            {**ID, "a": {"S": "\u201cx\u201d"}},
            {**ID, "a": {"S": "\u201cx\u201d"}},
        ),
        # A list in `where` means any of its values; a time is text.
        ("id: null\nwhere: {a: [12:30, x]}", {**ID, "a": {"S": "12:30"}}, {**ID, "a": {"S": "12:30"}}),
        # Block style needs no quotes round [ ] and { } in a path.
        ("id: null\nreferences:\n  a[]: Contacts", {**ID, "a": {"L": []}}, {**ID, "a": {"L": []}}),
    ],
)
def test_it_does_what_it_looks_like(body, item, made):
    route = routes_of(entry(body))["Leads"].route(item)
    assert route.item == made


@pytest.mark.parametrize(
    ("fields", "attribute", "said"),
    [
        ("{c: email}", {"S": "x"}, ["every item gets the text email as c, which is also the name of an attribute"]),
        (
            "{c: {value: email}}",
            {"S": "x"},
            ["every item gets the text email as c, which is also the name of an attribute"],
        ),
        (
            "{c: email.home}",
            {"M": {}},
            ["every item gets the text email.home as c, which is also the name of an attribute"],
        ),
        (
            "{c: {from: d, default: email}}",
            {"S": "x"},
            ["the default of c is the text email, which is also the name of an attribute"],
        ),
        ("{c: email.home, d: '{email}', e: {from: email}, f: e-mail, g: {value: [email]}}", {"S": "x"}, []),
        (
            "{c: {from: email, values: {'1.0': a, '2': b, '1e1': c, 'True': d, x: e}}}",
            {"N": "1"},
            ["`values` of c: no number is compared as 1.0", "`values` of c: no number is compared as 1e1"],
        ),
        (
            "{c: {from: email, values: {'Yes': 1, 'True': 1}}}",
            {"BOOL": True},
            ["`values` of c: no boolean is compared as True"],
        ),
        ("{c: {from: email, values: {'1.0': a, 'True': b}}}", {"S": "1.0"}, []),
        ("{c: {from: email, as: 'x{value}', values: {'1.0': a}}}", {"N": "1"}, []),
    ],
)
def test_what_is_only_probably_a_mistake_is_a_note(fields, attribute, said):
    """01 sees the items, the file alone does not say it; each note says what to write."""
    model = mapping_of(entry(f"fields: {fields}\nrest: copy")).entries["Leads"]
    found = [*doubtful(model, profile_items([{"email": attribute}]), 1)]
    assert [what for what, _ in found] == said
    mends = (
        "{from: email}",
        "{from: email.home}",
        "A template reads an attribute",
        'Write "1"',
        'Write "10"',
        'Write "true"',
    )
    assert all(any(mend in action for mend in mends) for _, action in found)


def test_what_a_mapping_says_of_nothing_is_a_note():
    """A condition that also takes what lacks the attribute, a word that stands for itself alone, a path that no item has."""
    model = mapping_of(
        entry(
            "where: {a: {not: null}, b: {exists: true, not: null}, c: {not: null}}\nnot_references: [a.x, gone.y, '{keys}']\n"
            "fields: {f: {from: a, values: {'*': 1}}}\nrest: copy"
        )
    ).entries["Leads"]
    found = [
        *doubtful(model, profile_items([{"a": {"S": "x"}, "b": {"S": "x"}, "c": {"S": "x"}}, {"b": ONE, "c": ONE}]), 2)
    ]
    assert found == [
        (
            "`where` takes 1 item without a, because {not: null} does",
            "To leave them out, write {exists: true, not: null}.",
        ),
        ("`values` of f: * stands for itself alone", "For all other values give a default, and `on_error: default`."),
        ("no item has gone.y, which is under `not_references`", "Correct it there, or remove it."),
    ]


def test_values_of_a_key_that_is_a_number_are_spelt_as_numbers_are():
    """Refused as soon as the tables say so, before an item is read."""
    text = entry("fields: {id: {from: id, values: {'1.0': a, '2': b, x: c}}}")
    (found,) = check_keys(mapping_of(text).entries["Leads"], Keys({"id": "N"}, {"id": "S"}))
    place = "tables.Leads.fields.id.values.1.0"
    assert str(found) == f"{place}: no number is compared as this, and id is a key of type N; write '1'."
    assert [*check_keys(mapping_of(text).entries["Leads"], Keys({"id": "S"}, {"id": "S"}))] == []


def test_a_reference_beside_the_id_in_one_attribute_is_rewritten():
    """Each takes its own part of the text."""
    text = entry("id: {in: PK, as: 'O#{*}#c#{id}'}\nreferences: {PK: 'O#{Contacts}#c#{*}'}")
    row = routes_of(text, {"Leads": {"PK": "S"}})["Leads"].route({"PK": {"S": "O#5#c#1"}})
    assert row.item["PK"]["S"] == f"O#{row.references[0].new['S']}#c#{row.new_id}"


MANY = """defaults: {source: '{table}-s', target: '{table}-t', references: {x: Nobody}, id_format: uid}
tables:
  Leads:
    refrences: {a: Nobody}
    fields: {PK: {id}, a: 5}
  Deals:
    references: {a: Leads, b: Leed, c: '${NOT_SET_A}', d: '${NOT_SET_B}'}
    where:
      kind: {'>=': 5}
  Notes:
  Tasks: &tasks
    drop: x
  Calls: {<<: *tasks, rest: 5}
unrouted: maybe
"""


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path, capsys):
    """In its order; those of `defaults` once; what entries mean, where their form is right; none that follows from another."""
    with pytest.raises(MappingError) as problem:
        mapping_of(MANY)
    lines = str(problem.value).splitlines()
    assert [line.removeprefix("mapping.yaml: line ").split(";")[0] for line in lines[:-1]] == [
        "1: defaults.references.x: refers to 'Nobody', which is not an entry",
        "1: defaults.id_format: 'uid' is unknown",
        "4: tables.Leads.refrences: unknown key",
        "5: tables.Leads.fields.PK is a map, because {id} stands there without quotes",
        "5: tables.Leads.fields.a is 5",
        "7: tables.Deals.references.b: refers to 'Leed', which is not an entry",
        "7: tables.Deals.references.c: ${NOT_SET_A} is not set",
        "7: tables.Deals.references.d: ${NOT_SET_B} is not set",
        "9: tables.Deals.where.kind: '>=' is no word of a condition",
        "12: tables.Tasks.drop is 'x'",
        "12: tables.Calls.drop is 'x'",
        "13: tables.Calls.rest is 5",
        "14: unrouted is 'maybe'",
    ]
    assert lines[-1] == "13 mistakes; nothing was written."
    (tmp_path / "m.yaml").write_text(MANY, encoding="utf-8")
    (tmp_path / "p.yaml").write_text(
        f"mapping: {tmp_path / 'm.yaml'}\nsource: {{environment: a}}\ntarget: {{environment: b}}", encoding="utf-8"
    )
    assert main(["analyze", str(tmp_path / "p.yaml"), "--outputs", str(tmp_path / "o"), "--json"]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == [line.replace("mapping.yaml", "m.yaml") for line in lines]
    assert json.loads(said.out)["error"].splitlines() == said.err.splitlines()


def test_what_every_entry_lacks_or_inherits_is_told_once():
    for text, said in (
        ("tables: {A: {target: a}, B: {target: b}}", "defaults.source is missing"),
        ("defaults: {source: s, target: t, drop: ['']}\ntables: {A: {}, B: {}, C: {drop: []}}", "defaults.drop"),
        ("defaults: {sorce: s, target: t}\ntables: {A: {}, B: {}}", "defaults.sorce: unknown key"),
    ):
        with pytest.raises(MappingError) as problem:
            mapping_of(text)
        (line,) = str(problem.value).splitlines()
        assert line.startswith(f"mapping.yaml: line 1: {said}")


def test_a_reference_to_an_entry_whose_form_is_wrong_is_right():
    with pytest.raises(MappingError) as problem:
        mapping_of(
            "tables:\n  A: {source: a, target: b, zzz: 1}\n  B: {source: a, target: c, references: {x: A, y: C}}"
        )
    zzz, y, _ = str(problem.value).splitlines()
    assert zzz.startswith("mapping.yaml: line 2: tables.A.zzz: unknown key")
    assert y.startswith("mapping.yaml: line 3: tables.B.references.y: refers to 'C'")


def test_duplicate_keys_are_told_together():
    with pytest.raises(MappingError) as problem:
        mapping_of("tables:\n  A: {}\n  A: {}\n  on: {}\n")
    assert str(problem.value).splitlines() == [
        "mapping.yaml: line 3: duplicate key 'A', as on line 2; keep one of them.",
        "mapping.yaml: line 4: the key 'on' is not text; put it in quotes.",
        "2 mistakes; nothing was written.",
    ]


def test_a_comment_may_follow_anything():
    """Behind a space, also without one of its own; and a whole line, whatever it holds."""
    text = "# {a}\ntables: #all\n  A: {source: a, target: b} # {c}\n  #{B}: {}\n  #C#{d}\n  D: {source: 'a', target: c}  #x\n"
    assert list(mapping_of(text).entries) == ["A", "D"]


def test_all_mistakes_of_parameters(tmp_path):
    """With lines; what `-p` gives has none, and is called so; without a file there is none either."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "mapping: m\nsource: {environment: a, regoin: b}\ntarget:\n  environment: '${NOT_SET_A}'\n", encoding="utf-8"
    )
    with pytest.raises(ParametersError) as problem:
        load_parameters(path, {"limits.workers": "x", "target.production": 1})
    assert [line.split(";")[0] for line in str(problem.value).splitlines()] == [
        "p.yaml: line 2: source.regoin: unknown key",
        "p.yaml: line 4: target.environment: ${NOT_SET_A} is not set",
        "-p limits.workers: input should be a valid integer, unable to parse string as an integer",
        "-p target.production is 1",
        "4 mistakes",
    ]
    with pytest.raises(
        ParametersError, match=r"^parameters: mapping is missing; add it\.\nparameters: source\.environment is"
    ):
        build_parameters({"source": {}, "target": {"environment": "b"}})
    path.write_text("defaults: {}\ntables: {A: {}}", encoding="utf-8")
    with pytest.raises(
        ParametersError, match=r"^p\.yaml: line 2: this is a mapping; give the parameters file that names it"
    ):
        load_parameters(path)
