"""The mapping language: what it accepts, and one sentence for each mistake."""

import io
import os
import re
from pathlib import Path

import pytest
import yaml
from compiled import mapping_of, routes_of

from runbook_lib import yaml_files
from runbook_lib.errors import MappingError
from runbook_lib.mapping.create import Create
from runbook_lib.mapping.file.load import load_mapping, with_creates
from runbook_lib.mapping.text.paths import EACH, JSON
from runbook_lib.parameters import build_parameters
from runbook_lib.yaml_files import read_whole

ROOT = Path(__file__).resolve().parents[2]
HEAD = "defaults: {source: '{table}-s', target: '{table}-t'}\n"


def entry(body, head=HEAD):
    """A mapping with the entries Contacts and Leads, the latter with this body."""
    return f"{head}tables:\n  Contacts: {{}}\n  Leads: {{{body}}}"


CREATE = "create: {key: {PK: S, SK: S}, indexes: {GSI1: {GSI1PK: S, GSI1SK: S}}}"
FIELDS = CREATE + ", fields: {PK: LEAD, SK: '{id}', GSI1PK: x}, rest: r"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # unknown keys, with a suggestion or what is known
        (entry("refrences: {a: Contacts}"), "tables.Leads.refrences: unknown key; did you mean 'references'?"),
        (entry("fields: {a: {form: b}}"), "tables.Leads.fields.a.form: unknown key; did you mean 'from'?"),
        (entry("references: {a: {too: Contacts}}"), "tables.Leads.references.a.too: unknown key; did you mean 'to'?"),
        (entry("create: {keys: {id: S}}"), "tables.Leads.create.keys: unknown key; did you mean 'key'?"),
        (
            entry("queries: {q: {key: {id: a}, indx: b}}"),
            "tables.Leads.queries.q.indx: unknown key; did you mean 'index'?",
        ),
        (entry("") + "\nunruoted: ignore", "unruoted: unknown key; did you mean 'unrouted'?"),
        (
            entry("zzz: 1"),
            re.compile(r"tables\.Leads\.zzz: unknown key; known are accept, create, drop, expired, fields, id, .*\."),
        ),
        (entry("", head="defaults: {sorce: a}\n"), "defaults.sorce: unknown key; did you mean 'source'?"),
        # tables
        (HEAD, "tables is missing; add it."),
        (HEAD + "tables:", "tables is empty; give at least 1."),
        (HEAD + "tables: [A]", "tables is ['A']; write {key: value}."),
        (HEAD + "tables: {A: 5}", "tables.A is 5; write {key: value}."),
        ("defaults: 7\ntables: {A: {source: s, target: t}}", "defaults is 7; write {key: value}."),
        ("tables: {A: {target: t}}", "tables.A.source is missing; name the source table in the entry or in defaults."),
        ("tables: {A: {source: s}}", "tables.A.target is missing; name the target table in the entry or in defaults."),
        (
            entry("source: 'a b'"),
            "tables.Leads.source: 'a b' is not a table name; use letters, digits, '_', '-' and '.', 255 at most.",
        ),
        (entry("source: '{tabel}'"), "tables.Leads.source: unknown hole {tabel}; did you mean 'table'?"),
        (
            entry("source: '{source.env}'"),
            "tables.Leads.source: unknown hole {source.env}; did you mean 'source.environment'?",
        ),
        (entry("source: '{table:%Y}'"), re.compile(r"tables\.Leads\.source: unknown hole \{table\}.*")),
        (
            entry("source: '{source.region}-x'"),
            "tables.Leads.source: '{source.region}-x' needs a value that the parameters file does not give; add it there.",
        ),
        (entry("source: '{table'"), "tables.Leads.source: a single '{' in '{table'; write '{{' for a brace."),
        (entry("source: 5"), "tables.Leads.source is 5; write text, in quotes."),
        (entry("drop: [a, no]"), "tables.Leads.drop.1 is False; write text, in quotes."),
        (entry("id: ''"), "tables.Leads.id is empty; write some text."),
        (entry("") + "\nunrouted: maybe", "unrouted is 'maybe'; use 'review' or 'ignore'."),
        (entry("id_format: uid"), "tables.Leads.id_format: 'uid' is unknown; did you mean 'uuid'?"),
        # references
        (
            entry("references: {a: Contcts}"),
            "tables.Leads.references.a: refers to 'Contcts', which is not an entry; did you mean 'Contacts'?",
        ),
        (
            entry("references: {a: 'C#{Contcts}'}"),
            "tables.Leads.references.a: refers to 'Contcts', which is not an entry; did you mean 'Contacts'?",
        ),
        (
            entry("references: {a: {dangling: map}}"),
            "tables.Leads.references.a: needs one of `to` (an entry), `table_named_by` (an attribute) and `record_of`.",
        ),
        (
            entry("references: {a: {to: Contacts, table_named_by: b}}"),
            "tables.Leads.references.a: needs one of `to` (an entry), `table_named_by` (an attribute) and `record_of`.",
        ),
        (
            entry("references: {a: {to: Contacts, dangling: drop}}"),
            "tables.Leads.references.a.dangling is 'drop'; use 'map', 'keep', 'null', 'remove' or 'stop'.",
        ),
        *(
            (
                entry(f"references: {{'{path}': {{to: Contacts, dangling: null}}}}"),
                f"tables.Leads.references.{path}: {text} cannot be null; write `dangling: remove`.",
            )
            for path, text in (
                ("m{keys}", "a map's key"),
                ("a:split(,)[]", "a part of a text"),
                ("a:split(;)[]:split(,)[]", "a part of a text"),
                ("j:json.a:split(,)[]", "a part of a text"),
            )
        ),
        *(
            (
                entry(f"{CREATE}, references: {{GSI1SK: {{to: '{to}', dangling: null}}}}{fields}"),
                "tables.Leads.references.GSI1SK: `dangling: null` makes GSI1SK null, a key of an index of the target, "
                "which DynamoDB refuses; write `dangling: remove`, which leaves the attribute out.",
            )
            for to in ("Contacts", "C#{Contacts}")
            for fields in ("", ", fields: {GSI1SK: {from: GSI1SK}, PK: x, SK: '{id}'}", ", fields: {x: y}, rest: copy")
        ),
        (
            entry(
                FIELDS.replace("GSI1PK: x", "GSI1PK: {from: a}") + ", references: {a: {to: Contacts, dangling: null}}"
            ),
            re.compile(
                "tables.Leads.references.a: `dangling: null` makes GSI1PK null, a key of an index of the target, .*"
            ),
        ),
        *(
            (
                entry(f"{CREATE}, references: {{{path}: {{to: Contacts, dangling: {policy}}}}}{fields}"),
                re.compile(
                    f"tables.Leads.references.{path}: `dangling: {policy}` takes away SK, a key of the target table, which "
                    "every item needs; write map, keep or stop."
                ),
            )
            for path, policy, fields in (
                ("SK", "null", ""),
                ("SK", "remove", ""),
                ("SK:json", "remove", ""),
                ("a", "null", ", fields: {PK: x, SK: {from: a}}, rest: r"),
                ("a", "remove", ", fields: {PK: x, SK: 'A#{a}'}, rest: r"),
                ("a", "null", ", fields: {PK: x, SK: 'A#{b}', b: 'B{c}', c: {from: a}}, rest: r"),
            )
        ),
        (
            entry("references: {a: '{Contacts}{Leads}'}"),
            "tables.Leads.references.a: two holes with nothing between them cannot be told apart; add the separator.",
        ),
        (
            entry("references: {a: '{Contacts|x}'}"),
            "tables.Leads.references.a: {Contacts} takes no format or default; name the entry alone.",
        ),
        (
            entry("references: {a: '{{x}}'}"),
            "tables.Leads.references.a: names no entry; write one in braces, as in 'ORG#{Orgs}'.",
        ),
        (
            entry("references: {a: '{Contacts'}"),
            "tables.Leads.references.a: a single '{' in '{Contacts'; write '{{' for a brace.",
        ),
        (
            entry("references: {id: Contacts}"),
            "tables.Leads.references.id is the id attribute itself; remove the reference (the id is always rewritten).",
        ),
        (
            entry("references: {a: Contacts}").replace("Contacts: {}", "Contacts: {id: null}"),
            "tables.Leads.references.a: refers to Contacts, which has no ids (`id: null`); give it an id attribute.",
        ),
        (entry("references: {a: 5}"), "tables.Leads.references.a is 5; write {key: value} or text in quotes."),
        (entry("references: [a]"), "tables.Leads.references is ['a']; write {key: value}."),
        # fields, rest, drop
        (entry("fields: {a: 5}"), "tables.Leads.fields.a is 5; write {value: 5}, or text in quotes."),
        (
            entry("fields: {a: {type: number}}"),
            "tables.Leads.fields.a: needs one of text (a template), {from: path} and {value: constant}.",
        ),
        (
            entry("fields: {a: {template: x, from: b}}"),
            re.compile(r"tables\.Leads\.fields\.a: needs one of text \(a template\), .*"),
        ),
        (
            entry("fields: {a: {template: x, default: b}}"),
            "tables.Leads.fields.a: a template takes no default; remove it, or write {from: …} instead.",
        ),
        (
            entry("fields: {a: '{b:%Q}'}"),
            re.compile(r"tables\.Leads\.fields\.a: date format '%Q' in '\{b:%Q\}'; known directives are %Y .*\."),
        ),
        (entry("fields: {a: '{}'}"), "tables.Leads.fields.a: a hole without a name in '{}'."),
        (
            entry("fields: {a: {from: b, type: date}}"),
            "tables.Leads.fields.a.type is 'date'; use 'string', 'number', 'boolean', 'list', 'map' or 'datetime'.",
        ),
        (
            entry("fields: {a: {from: b, on_error: rest}}"),
            "tables.Leads.fields.a: on_error needs one of type, as and values; add it or remove on_error.",
        ),
        (
            entry("fields: {a: {from: b, type: list, on_error: default}}"),
            "tables.Leads.fields.a: on_error: default needs a default; add it.",
        ),
        (
            entry("fields: {a: {from: b, type: list, on_error: rest}}"),
            "tables.Leads.fields.a: on_error: rest needs the entry's rest; add `rest: NAME`.",
        ),
        (
            entry("fields: {a: {from: b}}, rest: a"),
            "tables.Leads.rest: 'a' is also a field; give one of them another name.",
        ),
        (entry("rest: a"), "tables.Leads.rest: works only with fields; without fields everything is copied."),
        (
            entry("fields: {a: '{b}', b: '{c}', c: '{a}', d: '{a}'}"),
            "tables.Leads.fields: a, b, c, d read each other in a cycle; let one of them read the source.",
        ),
        (
            entry("create: {key: {PK: S}}, fields: {a: x}"),
            "tables.Leads.fields: the key attribute 'PK' of the target is missing; add it.",
        ),
        # rules that can write no item
        (
            entry("create: {key: {pk: S}}, fields: {pk: 'TENANT#{pk}'}, rest: copy, drop: [x]"),
            "tables.Leads.fields.pk: `rest: copy` keeps the source's pk beside the field of that name, so no item that has it "
            "can be written; say `drop: [x, pk]`: the field can still read it.",
        ),
        (
            entry("where: {kind: a}, fields: {kind: LEAD}, rest: copy"),
            re.compile("tables.Leads.fields.kind: `rest: copy` keeps the source's kind .* say `drop: \\[kind\\]`: .*"),
        ),
        (
            entry("where: {kind: a, at: b}, fields: {x: {from: y}}, drop: [z]"),
            "tables.Leads.fields: no rule uses up at, kind, which every item has, and the entry has no `rest`; copy with "
            "{from: …}, or say `drop: [z, at, kind]`, or add `rest`.",
        ),
        (
            entry("create: {key: {PK: S, SK: S}}, fields: {PK: x, SK: '{b}#{c|0}', d: '{e}'}"),
            "tables.Leads.fields: no rule uses up b, which a key needs, and the entry has no `rest`; copy with "
            "{from: …}, or say `drop: [b]`, or add `rest`.",
        ),
        *(
            (
                entry(f"create: {{key: {{{key}}}, indexes: {{byN: {{n: N}}}}}}, fields: {{{fields}}}, rest: r"),
                f"tables.Leads.fields.{sentence}",
            )
            for key, fields, sentence in (
                ("a: N", "a: x", "a is a key of type N, and a template makes text; write {from: …, type: number}."),
                ("a: B", "a: x", "a is a key of type B, and a template makes text; write {from: …} without a type."),
                (
                    "a: S",
                    "a: x, n: '{b}'",
                    "n is a key of type N, and a template makes text; write {from: …, type: number}.",
                ),
                (
                    "a: S",
                    "a: {from: b, type: number}",
                    "a is a key of type S, and `type: number` makes another; write {from: …, type: string}.",
                ),
                ("a: S", "a: ''", "a is a key, which cannot be empty; write some text."),
            )
        ),
        (
            entry("create: {key: {id: S}}, drop: [id]"),
            "tables.Leads.drop: leaves out id, a key of the target table, which every item needs; remove it there.",
        ),
        (
            entry("create: {key: {id: S}}, fields: {old: {from: id}}, rest: copy"),
            "tables.Leads.fields: the key attribute 'id' of the target is missing; add it.",
        ),
        (entry("drop: x"), "tables.Leads.drop is 'x'; write a list, as in [a, b]."),
        (
            entry("fields: {a: {from: b, default: .nan}}"),
            "tables.Leads.fields.a.default: not a finite number; write a value that DynamoDB can hold.",
        ),
        (
            entry(f"fields: {{a: {{from: b, default: {'1' * 39}}}}}"),
            "tables.Leads.fields.a.default: a number of more than 38 digits; write a value that DynamoDB can hold.",
        ),
        (
            entry("fields: {a: {from: b, default: !!binary aGk=}}"),
            "tables.Leads.fields.a.default: a value of type bytes; write a value that DynamoDB can hold.",
        ),
        (
            entry("fields: {a: {from: b, type: number, default: many}}"),
            "tables.Leads.fields.a: the default is not a number: text that is not a plain decimal number; correct it.",
        ),
        (
            entry("fields: {a: {from: b, type: list, default: 0}}"),
            "tables.Leads.fields.a: the default is not a list: type N does not convert to list; correct it.",
        ),
        *(
            (
                entry(f"fields: {{a: {{from: b, type: {wanted}, default: {empty}{more}}}}}"),
                re.compile(f"tables.Leads.fields.a: the default is not a {wanted}: .*; correct it."),
            )
            for wanted, empty in (
                ("number", "''"),
                ("boolean", "''"),
                ("map", "''"),
                ("string", "[]"),
                ("string", "{}"),
                ("number", "[]"),
                ("list", "{}"),
                ("map", "[]"),
            )
            for more in ("", ", on_error: default")
        ),
        # where, create
        (
            entry("where: {a: []}"),
            "tables.Leads.where.a is an empty list, which selects nothing; give a value.",
        ),
        (
            entry("where: {a: [1, {begins_with: b}]}"),
            "tables.Leads.where.a is a list that holds a map; give values alone, or words without [ ]: {begins_with: x}.",
        ),
        (
            entry("where: {a: [1, !!set {b}]}"),
            "tables.Leads.where.a: a value of type set; write a value that DynamoDB can hold.",
        ),
        (
            entry("where: {a: 1.0e+200}"),
            "tables.Leads.where.a: a number out of DynamoDB's range; write a value that DynamoDB can hold.",
        ),
        (entry("create: {key: {id: X}}"), "tables.Leads.create.key.id is 'X'; use 'S', 'N' or 'B'."),
        (entry("create: {key: {a: S, b: S, c: S}}"), re.compile(r"tables\.Leads\.create\.key: .*at most 2 items.*")),
        (
            entry("create: {key: {id: S}, indexes: {G1: {a: S}}}"),
            "tables.Leads.create.indexes: 'G1' is not an index name; use 3 to 255 letters, digits, '_', '-' and '.'.",
        ),
        (
            entry("create: {key: {id: S}, indexes: {byId: {at: S, id: N}}}"),
            "tables.Leads.create: id is a key of types S and N; give it one type.",
        ),
        (entry("create: {key: {id: S}, billing: X}"), "tables.Leads.create.billing is 'X'; use 'PAY_PER_REQUEST'."),
        (
            entry("create: {key: {id: S}, billing: {read: true, write: 5}}"),
            "tables.Leads.create.billing.read is True; write a number.",
        ),
        (
            entry("create: {key: {id: S}, billing: {read: 5, write: .inf}}"),
            "tables.Leads.create.billing.write: input should be a finite number; correct the value.",
        ),
        (
            entry("create: {key: {id: S}, indexes: {byAt: {key: {at: S}, partition: true}}}"),
            "tables.Leads.create.indexes.byAt.partition is True; write a number.",
        ),
        (
            entry("create: {key: {id: S}, deletion_protection: 1}"),
            "tables.Leads.create.deletion_protection is 1; write true or false.",
        ),
        (entry("accept: {extra: 1.0}"), "tables.Leads.accept.extra is 1.0; write true or false."),
        (entry("create: like"), "tables.Leads.create: 'like' is unknown; write like_source, or {key: …}."),
        (
            entry("create: like_source, fields: {id: {from: id}}, rest: r"),
            "tables.Leads.create: like_source makes a table with the source's keys, and `fields` makes other items; "
            "describe the table, or write `create: null`.",
        ),
        *(
            (entry(f"create: {{key: {{PK: S, SK: S}}, {body}}}"), f"tables.Leads.create{sentence}")
            for body, sentence in [
                (
                    "indexes: {byA: {a: S, projection: KEYS_ONLY}}",
                    ".indexes.byA: projection stands beside key attributes; write {key: {…}, projection: …}.",
                ),
                (
                    "indexes: {byA: {key: {a: S}, projection: SOME}}",
                    ".indexes.byA.projection: 'SOME' is not a projection; write ALL, KEYS_ONLY or a list of attributes.",
                ),
                (
                    "local_indexes: {byA: {key: {PK: S, a: S}, projection: []}}",
                    ".local_indexes.byA.projection: [] is not a projection; write ALL, KEYS_ONLY or a list of attributes.",
                ),
                (
                    "indexes: {byA: {key: {a: S}, projection: [b, b]}}",
                    ".indexes.byA.projection: an attribute stands twice; name each once.",
                ),
                (
                    "indexes: {byA: {key: {a: S}, projektion: ALL}}",
                    ".indexes.byA.projektion: unknown key; did you mean 'projection'?",
                ),
                ("indexes: {byA: {key: {a: X}}}", ".indexes.byA.key.a is 'X'; use 'S', 'N' or 'B'."),
                (
                    "local_indexes: {by: {PK: S, a: S}}",
                    ".local_indexes: 'by' is not an index name; use 3 to 255 letters, digits, '_', '-' and '.'.",
                ),
                (
                    "indexes: {byA: {a: S}}, local_indexes: {byA: {PK: S, a: S}}",
                    ": local_indexes: byA is also under indexes; give one of them another name.",
                ),
                (
                    "local_indexes: {byA: {a: S, SK: S}}",
                    ": local_indexes: byA needs the table's partition key PK and one sort key of its own; "
                    "correct its key, or move it to indexes.",
                ),
                (
                    "local_indexes: {byA: {PK: S}}",
                    ": local_indexes: byA needs the table's partition key PK and one sort key of its own; "
                    "correct its key, or move it to indexes.",
                ),
                (
                    f"local_indexes: {{{', '.join(f'by{n}: {{PK: S, a{n}: S}}' for n in range(10, 16))}}}",
                    ": local_indexes: 6 are more than the 5 that a table can have; remove some.",
                ),
                (
                    f"indexes: {{{', '.join(f'by{n}: {{a{n}: S}}' for n in range(10, 31))}}}",
                    ": indexes: 21 are more than the 20 that a table can have; remove some.",
                ),
                (
                    f"indexes: {{byA: {{key: {{a: S}}, projection: [{', '.join(f'b{n}' for n in range(101))}]}}}}",
                    ": the indexes project 101 attributes by name, more than the 100 that a table can have; project ALL.",
                ),
                (
                    "indexes: {byA: {a: S, b: S, c: S}}",
                    ".indexes.byA: key has 3 attributes, 1 of them the partition key (`partition`); give at most 4 of each, "
                    "and more than one sort key attribute only with `partition`.",
                ),
                (
                    "indexes: {byA: {key: {a: S}, partition: 2}}",
                    ".indexes.byA: key has 1 attributes, 2 of them the partition key (`partition`); give at most 4 of each, "
                    "and more than one sort key attribute only with `partition`.",
                ),
                ("ttl: SK", ": ttl: SK is a key of type S; items expire only by a number (N)."),
                (
                    "stream: ALL",
                    ".stream is 'ALL'; use 'KEYS_ONLY', 'NEW_IMAGE', 'OLD_IMAGE' or 'NEW_AND_OLD_IMAGES'.",
                ),
            ]
        ),
        (
            entry("create: {key: {PK: S}, local_indexes: {byA: {PK: S, a: S}}}"),
            "tables.Leads.create: local_indexes: byA needs a table with a sort key; add one, or move it to indexes.",
        ),
        (
            HEAD + "tables: {A: {target: t, create: like_source}, B: {target: t}}",
            "tables.B.create is not the one of A, but both write to t; make them the same.",
        ),
        (
            HEAD + "tables: {A: {target: t, create: {key: {a: S}}}, B: {target: t}}",
            "tables.B.create is not the one of A, but both write to t; make them the same.",
        ),
        # queries
        (
            entry(FIELDS + ", queries: {q: {index: GSI2, key: {GSI1PK: x}}}"),
            "tables.Leads.queries.q: index 'GSI2' is unknown; did you mean 'GSI1'?",
        ),
        (
            entry(FIELDS + ", queries: {q: {key: {SK: x}}}"),
            "tables.Leads.queries.q: key must give PK and SK (the partition key at least).",
        ),
        (
            entry(FIELDS + ", queries: {q: {index: GSI1, key: {PK: x}}}"),
            "tables.Leads.queries.q: key must give GSI1PK and GSI1SK (the partition key at least).",
        ),
        (
            entry(FIELDS + ", queries: {q: {key: {PK: {begins_with: L}}}}"),
            "tables.Leads.queries.q: the partition key PK needs one value; compare the sort key.",
        ),
        (
            HEAD
            + "tables: {A: {target: t, create: {key: {a: S}, indexes: {byC: {key: {c: S, d: S, e: S}, partition: 2}}}, "
            "queries: {q: {index: byC, key: {c: x}}}}}",
            "tables.A.queries.q: key must give c and d and e (c and d at least).",
        ),
        (
            entry(FIELDS + ", queries: {q: {key: {PK: L, SK: {contains: L}}}}"),
            re.compile(
                r"tables\.Leads\.queries\.q\.key\.SK: 'contains' is no word of a condition; known are begins_with, .*, not\."
            ),
        ),
        (
            entry(FIELDS + ", queries: {q: {key: {PK: L}, filter: {a: {'<': 1}}}}"),
            "tables.Leads.queries.q.filter.a: '<' is no word of a condition; write lt.",
        ),
        (
            entry(FIELDS + ", queries: {q: {key: {PK: L, SK: {between: [a]}}}}"),
            "tables.Leads.queries.q.key.SK: between needs two values; write [from, to].",
        ),
        (
            entry(FIELDS + ", queries: {q: {key: {PK: L}, filter: {n: {between: 5}}}}"),
            "tables.Leads.queries.q.filter.n: between needs two values; write [from, to].",
        ),
        # YAML
        (HEAD + "tables:\n  A: {}\n  A: {}", "line 4: duplicate key 'A', as on line 3; keep one of them."),
        (entry("fields: {a: x, a: y}"), "line 4: duplicate key 'a', as on line 4; keep one of them."),
        (HEAD + "tables: {NO: {}}", "line 2: the key 'NO' is not text; put it in quotes."),
        (entry("fields: {on: x}"), "line 4: the key 'on' is not text; put it in quotes."),
        (entry("where: {12: x}"), "line 4: the key '12' is not text; put it in quotes."),
        (
            "tables: !!python/object/apply:os.system ['exit 1']",
            re.compile(r"could not determine a constructor for the tag .*python/object.*; correct the YAML there\."),
        ),
        (
            HEAD + "tables: {A: !!python/name:os.system }",
            re.compile(r"could not determine a constructor for the tag .*"),
        ),
        (
            HEAD + "tables:\n\tA: {}",
            "line 3: found character '\\t' that cannot start any token; indent with spaces, not with tabs.",
        ),
        (HEAD + "tables: &t {A: *t}", "line 2: the alias *t leads into itself; correct the YAML there."),
        (entry("where: {a: !!int ''}"), "line 4: '' is not what its tag says; correct the YAML there."),
        (entry("where: {a: !!bool maybe}"), "line 4: 'maybe' is not what its tag says; correct the YAML there."),
        ("", "holds no keys; see the files in parameters/ for the form."),
        ("- a", "holds no keys; see the files in parameters/ for the form."),
        ("just text", "holds no keys; see the files in parameters/ for the form."),
        # variables
        (
            entry("source: '${NOT_SET_ANYWHERE}'"),
            "tables.Leads.source: ${NOT_SET_ANYWHERE} is not set; export NOT_SET_ANYWHERE or write ${NOT_SET_ANYWHERE:-default}.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(text, sentence):
    """It names the file, the line, the entry, what is wrong and the mend."""
    with pytest.raises(MappingError) as problem:
        mapping_of(text)
    message = str(problem.value)
    assert message.startswith("mapping.yaml: ")
    assert "\n" not in message
    said = message.removeprefix("mapping.yaml: ")
    without_line = re.sub(r"^line \d+: ", "", said)
    assert sentence.fullmatch(without_line) if isinstance(sentence, re.Pattern) else sentence in (said, without_line)


KEYED = "create: {key: {k: S}, indexes: {byN: {n: N}}}, fields: "
SPELT = "write epoch_seconds, epoch_millis, iso or a format such as '%d.%m.%Y'"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        # constants
        ("fields: {a: {value: 1, from: b}}", ".a: needs one of text (a template), {from: path} and {value: constant}."),
        ("fields: {a: {as: '{value}x'}}", ".a: needs one of text (a template), {from: path} and {value: constant}."),
        (
            "fields: {a: {value: 1, type: number, on_error: stop, as: x}}",
            ".a: a constant takes no as, on_error, type; remove it, or write {from: …} instead.",
        ),
        ("fields: {a: {value: !!set {b}}}", ".a.value: a value of type set; write a value that DynamoDB can hold."),
        (
            "fields: {a: {value: [1.0e+200]}}",
            ".a.value: a number out of DynamoDB's range; write a value that DynamoDB can hold.",
        ),
        # paths
        ("fields: {a: {from: b.}}", ".a.from is not a path; it ends where a name should follow."),
        *(
            (
                f"fields: {{a: {{from: '{path}'}}}}",
                ".a.from: leads to several values, or to a part of a text, and a field takes one; write names and :json alone.",
            )
            for path in ("b[]", "b[].c", "b{}", "b{keys}", "b:split(,)[]", "b:json[].c")
        ),
        (
            "fields: {a: 'x{b[]}'}",
            ".a: {b[]} leads to several values, or into text; here a path has names alone, as in a.b.",
        ),
        ("fields: {a: '{b..c}'}", re.compile(r"\.a: \{b\.\.c\} is not a path; .*")),
        *(
            (
                f"fields: {{'{name}': x}}",
                f".{name} is a path, and a field is one attribute; if its name holds these characters, write {plain!r}.",
            )
            for name, plain in (
                ("profile.name", "profile\\.name"),
                ("a[0]", "a\\[0\\]"),
                ("a:b", "a\\:b"),
                ("a{}", "a\\{\\}"),
            )
        ),
        ("fields: {'': x}", " is not a name; name an attribute."),
        # as
        *(
            (
                f"fields: {{a: {{from: b, as: '{form}'}}}}",
                f".a.as: '{form}' needs the hole {{value}} once, and else only {{*}}; write it as in 'VISIT#{{value}}'.",
            )
            for form in ("", "VISIT#", "{*}#", "{id}#", "{value}#{value}")
        ),
        (
            "fields: {a: {from: b, as: '{value:%Y}x'}}",
            re.compile(r"\.a\.as: .* take no format or default; write \{value\} alone\."),
        ),
        (
            "fields: {a: {from: b, as: '{*}{value}'}}",
            re.compile(r"\.a\.as: .*cannot be told apart; add the separator\."),
        ),
        (
            "fields: {a: {from: b, as: '{value}'}}",
            ".a.as: '{value}' takes all of the text; remove it, or write `type: string`.",
        ),
        ("fields: {a: {from: b, as: 'x{'}}", ".a.as: a single '{' in 'x{'; write '{{' for a brace."),
        # values
        ("fields: {a: {from: b, values: {}}}", ".a.values is empty; give text: value."),
        (
            "fields: {a: {from: b, values: {'': 1}}}",
            ".a.values: an empty value is copied, or takes the default; remove the empty text.",
        ),
        (
            "fields: {a: {from: b, type: string, values: {x: 1}}}",
            ".a.values: gives typed values, so `type` has nothing to convert; remove one of them.",
        ),
        (
            "fields: {a: {from: b, values: {x: !!set {b}}}}",
            ".a.values.x: a value of type set; write a value that DynamoDB can hold.",
        ),
        # dates
        ("fields: {a: {from: b, type: datetime, read: iso}}", f".a.write is missing; {SPELT}."),
        ("fields: {a: {from: b, type: datetime, write: iso}}", f".a.read is missing; {SPELT}."),
        ("fields: {a: {from: b, type: datetime, read: unix, write: iso}}", f".a.read: no spelling 'unix'; {SPELT}."),
        (
            "fields: {a: {from: b, type: datetime, read: iso, write: '%m/%Y'}}",
            ".a.write: '%m/%Y' does not say the day; it needs %Y, and %m with %d, or %j.",
        ),
        ("fields: {a: {from: b, read: iso}}", ".a.read: belongs to `type: datetime`; add that, or remove read."),
        (
            "fields: {a: {from: b, type: string, write: iso}}",
            ".a.write: belongs to `type: datetime`; add that, or remove write.",
        ),
        (
            "fields: {a: {from: b, type: datetime, read: iso, write: '%d.%m.%Y', default: 1970/01/01}}",
            ".a: the default is not a datetime: it is spelt neither as `write: %d.%m.%Y` says nor as `read: iso`; correct it.",
        ),
        (
            "fields: {a: {from: b, type: datetime, read: iso, write: epoch_seconds, default: none}}",
            ".a: the default is not a datetime: it is spelt neither as `write: epoch_seconds` says nor as `read: iso`; "
            "correct it.",
        ),
        # on_error
        (
            "fields: {a: {from: b.c, on_error: stop}}",
            ".a: on_error needs one of type, as and values; add it or remove on_error.",
        ),
        (
            "fields: {a: {from: b.c, type: number, on_error: rest}}, rest: r, drop: [b]",
            ".a: on_error: rest leaves the value where it is, and drop leaves out b; remove one of them.",
        ),
        # keys
        (KEYED + "{k: {value: 1}}, rest: r", ".k is a key of type S, and the value has type N; correct it."),
        (KEYED + "{k: {value: null}}, rest: r", ".k is a key of type S, and the value has type NULL; correct it."),
        (KEYED + "{k: {value: ''}}, rest: r", ".k is a key, which cannot be empty; write another value."),
        (
            KEYED + "{k: x, n: {from: b, values: {x: one}}}, rest: r",
            ".n is a key of type N, and `values` gives no such value; correct them.",
        ),
        (
            KEYED + "{k: x, n: {from: b, type: datetime, read: iso, write: iso}}, rest: r",
            ".n is a key of type N, and `write: iso` makes text; correct it.",
        ),
        (
            KEYED + "{k: {from: b, type: datetime, read: iso, write: epoch_millis}}, rest: r",
            ".k is a key of type S, and `write: epoch_millis` makes a number; correct it.",
        ),
        (
            KEYED + "{k: x, n: {from: b, as: 'N{value}'}}, rest: r",
            ".n is a key of type N, and `as` takes out text; add a `type`.",
        ),
        (
            KEYED + "{k: {from: info.a}}",
            ": no rule uses up info, which a key needs, and the entry has no `rest`; copy with {from: …}, or say "
            "`drop: [info]`, or add `rest`.",
        ),
        (
            KEYED + "{k: '{info.a}'}",
            ": no rule uses up info, which a key needs, and the entry has no `rest`; copy with {from: …}, or say "
            "`drop: [info]`, or add `rest`.",
        ),
        *(
            (
                f"fields: {{info: {rule}}}, rest: copy",
                ".info: `rest: copy` keeps the source's info beside the field of that name, so no item that has it can be "
                "written; say `drop: [info]`: the field can still read it.",
            )
            for rule in ("{from: info.a}", "'{info.a}'")
        ),
    ],
)
def test_a_mistake_in_a_field_is_one_sentence(body, sentence):
    """Each says which rule, what is wrong and what to write."""
    with pytest.raises(MappingError) as problem:
        mapping_of(entry(body))
    said = str(problem.value).removeprefix("mapping.yaml: line 4: tables.Leads.fields")
    assert sentence.fullmatch(said) if isinstance(sentence, re.Pattern) else said == sentence


@pytest.mark.parametrize(
    ("path", "rule", "policy", "problem"),
    [
        ("info.a", "{from: info.a}", "remove", "takes away k"),
        ("info.a", "'x{info.a}'", "null", "takes away k"),
        ("'js:json.a'", "{from: 'js:json.a'}", "remove", "takes away k"),
        ("info", "{from: info.a}", "null", "takes away k"),
        ("info", "{from: info.a, as: 'A{value}'}", "remove", "takes away k"),
        ("info.a", "{from: info.b}", "remove", ""),
        ("info.a", "{from: info.a, default: x}", "remove", ""),
        ("info.a", "'x{info.a|none}'", "null", ""),
        ("info.a", "{value: x}", "null", ""),
        ("info.a.b", "{from: info.a}", "remove", ""),
    ],
)
def test_a_key_that_reads_what_a_reference_loses(path, rule, policy, problem):
    """A field and a hole may read what `dangling` takes away inside an attribute."""
    body = f"references: {{{path}: {{to: Contacts, dangling: {policy}}}}}, {KEYED}{{k: {rule}}}, rest: r"
    if problem:
        with pytest.raises(MappingError, match=problem):
            mapping_of(entry(body))
    else:
        assert mapping_of(entry(body))


def test_a_field_whose_name_holds_a_dot():
    """Written with a backslash, as in a path; everywhere else it is the attribute's name."""
    fields = mapping_of(entry("fields: {'profile\\.name': x, 'a\\\\b': y}")).entries["Leads"].model.fields
    assert list(fields) == ["profile.name", "a\\b"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "[]",
        ".",
        "a.",
        ".a",
        "a..b",
        "a[",
        "a]",
        "a[0]",
        "a[]b",
        "a:jsonx",
        "a:",
        ":json",
        "a.:json",
        "a:json:",
        "a:yaml",
    ],
)
def test_bad_paths(path):
    """One sentence, also of paths that are none of a reference: it says how to write one."""
    says = r" is (not a path; (.*write a\.b for maps|it ends|it is empty|write :split\()|empty; write some text)"
    for group in ("references: {'PATH': Contacts}", "not_references: ['PATH']", "drop: ['PATH']"):
        with pytest.raises(MappingError, match=rf"line 4: tables\.Leads\.{group.partition(':')[0]}.*{says}"):
            mapping_of(entry(group.replace("PATH", path)))


def test_what_is_no_reference_may_be_spelled_in_any_way_but_is_some_text():
    """The analysis spells paths that `references` cannot say."""
    with pytest.raises(MappingError, match=r"tables\.Leads\.not_references"):
        mapping_of(entry("not_references: ['']"))
    with pytest.raises(MappingError, match=r"not_references: a\.b: is also under references; remove it from one"):
        mapping_of(entry("not_references: [a.b], references: {a.b: Contacts}"))


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ("a[]", ("a", EACH)),
        ("a[][].b", ("a", EACH, EACH, "b")),
        ("a:json", ("a", JSON)),
        ("a:json[].b:json.c", ("a", JSON, EACH, "b", JSON, "c")),
        ("größe.emoji 🏠-x", ("größe", "emoji 🏠-x")),
        ("json", ("json",)),
        ("a b", ("a b",)),
    ],
)
def test_paths(path, steps):
    """Names, `[]` and `:json`, in any order that makes sense."""
    assert mapping_of(entry(f"references: {{'{path}': Contacts}}")).entries["Leads"].paths == {path: steps}


def test_missing_unreadable_and_too_large_files(tmp_path):
    """Each is said with its name."""

    def load(path):
        return load_mapping(
            build_parameters({"mapping": str(path), "source": {"environment": "a"}, "target": {"environment": "b"}})
        )

    with pytest.raises(MappingError, match=r"nowhere\.yaml: no such file; check the path"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(MappingError, match=r"cannot be read"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"tables: {\xe9: {}}")
    with pytest.raises(MappingError, match=r"latin\.yaml: cannot be read: it is not UTF-8 text"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_text("# " + "x" * 5_000_001)
    with pytest.raises(
        MappingError, match=r"large\.yaml: cannot be read: it is larger than 5,000,000 bytes; name a YAML"
    ):
        load(tmp_path / "large.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")  # nobody ever writes to it: last, because whoever opened it would wait
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "pipe.yaml"):
        with pytest.raises(MappingError, match=rf"^{path}: cannot be read: it is not a regular file; name a YAML file"):
            load(path)
    with pytest.raises(MappingError, match="cannot be read: File name too long"):
        load(tmp_path / ("x" * 300))
    with pytest.raises(MappingError, match="cannot be read: embedded null byte"):
        load("a\0b")


class Endless(io.FileIO):
    """Gives as many bytes as are asked for, unless that is all of them."""

    def read(self, size=-1):
        assert 0 <= size <= 11
        return b"x" * size


def test_no_more_is_read_than_a_file_may_hold(tmp_path, monkeypatch):
    """Whatever its size was before: somebody may write to it."""
    (tmp_path / "small").write_bytes(b"x" * 10)
    assert read_whole(tmp_path / "small", most=10) == b"x" * 10
    monkeypatch.setattr(yaml_files, "open", Endless, raising=False)
    with pytest.raises(ValueError, match="it is larger than 10 bytes"):
        read_whole(tmp_path / "small", most=10)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "line 6: aliases make it more than 500,000 values, or 100 levels; correct the YAML there."),
        (
            "m0: &m0 {k: 1}\n"
            + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 12)),
            "line 7: aliases make it more than 500,000 values, or 100 levels; correct the YAML there.",
        ),
        (
            "".join(f"c{n}: &c{n} [{f'*c{n - 1}' if n else 1}]\n" for n in range(200)),
            "line 100: aliases make it more than 500,000 values, or 100 levels; correct the YAML there.",
        ),
        ("a: " + "[" * 50_000, "line 1: nested more than 100 levels deep; correct the YAML there."),
        ("a: &a {b: [*a]}", "line 1: the alias *a leads into itself; correct the YAML there."),
        ("a: &a {<<: *a}", "line 1: the alias *a leads into itself; correct the YAML there."),
    ],
)
def test_a_file_that_grows_without_end_is_refused(text, problem, monkeypatch):
    """Before its values are made, whatever its size: by the number of values and the nesting that its aliases stand for."""

    def make(*_):
        pytest.fail("its values are made", pytrace=False)  # to make them, or to print them, could take for ever

    monkeypatch.setattr(yaml.SafeLoader, "construct_document", make)
    with pytest.raises(MappingError) as raised:
        mapping_of(text)
    assert str(raised.value) == f"mapping.yaml: {problem}"


def test_half_a_character_is_refused():
    with pytest.raises(MappingError, match=r"^mapping\.yaml: line 1: half a character \(a lone surrogate\); correct"):
        mapping_of('tables: {"\\udc00\\ud83d": {}}')


def test_aliases_and_what_json_writes_are_read():
    """A mapping made by a JSON library has characters outside the basic plane as two escapes."""
    smile = '"\\ud83d\\ude00"'
    text = f"tables: {{{smile}: &e {{references: &r {{a: {smile}}}}}, B: {{references: *r}}, C: *e}}"
    entries = mapping_of(f"defaults: {{source: s, target: t}}\n{text}").entries
    assert [entry.parents() for entry in entries.values()] == [{"😀"}] * 3


def test_variables_in_every_value(monkeypatch):
    """Of the environment, with a default; a set but empty one takes the default, too."""
    names = "source: '${SOURCE_:-old}', target: 'x-${TARGET_:-new}-${T2_:-z}'"
    text = f"tables: {{A: {{{names}, where: {{a: ['${{W_:-w}}']}}, drop: ['${{D_:-d}}']}}}}"
    plain = mapping_of(text).entries["A"]
    assert (plain.source, plain.target, plain.model.where, plain.model.drop) == ("old", "x-new-z", {"a": ["w"]}, ["d"])
    monkeypatch.setenv("SOURCE_", "Old2")
    monkeypatch.setenv("TARGET_", "")
    changed = mapping_of(text)
    assert (changed.entries["A"].source, changed.entries["A"].target) == ("Old2", "x-new-z")
    assert changed.fingerprint != mapping_of(text.replace("SOURCE_", "NONE_")).fingerprint


def test_the_default_of_a_variable_may_hold_braces(monkeypatch):
    """A template, for one: the whole of it is replaced."""
    text = "tables: {A: {source: '${OLD_:-{table}-{source.environment}}', target: '${NEW_:-{table}}-x', where: {a: '${B_:-{}'}}}"
    plain = mapping_of(text).entries["A"]
    assert (plain.source, plain.target, plain.model.where["a"]) == ("A-dev", "A-x", "{")
    monkeypatch.setenv("OLD_", "old")
    monkeypatch.setenv("NEW_", "new")
    changed = mapping_of(text).entries["A"]
    assert (changed.source, changed.target) == ("old", "new-x")


def test_table_names_from_the_environments():
    """The entry's name, and environment, region and account of both sides; an entry's own name wins over defaults."""
    text = "defaults: {source: '{table}-{source.environment}-NONE', target: '{table}-{target.environment}-{target.region|eu}'}\n"
    entries = mapping_of(text + "tables:\n  A:\n  B: {target: 'b.{target.account}'}", account="123456789012").entries
    assert (entries["A"].source, entries["A"].target) == ("A-dev-NONE", "A-prod-eu")
    assert entries["B"].target == "b.123456789012"


def test_defaults_hold_for_every_entry():
    """An entry's own keys replace them whole."""
    text = (
        HEAD[:-2] + ", id: key, id_format: short, drop: [x]}\ntables: {A: {}, B: {id: null, id_format: keep, drop: []}}"
    )
    entries = mapping_of(text).entries
    assert [entries["A"].model.id, entries["A"].model.id_format, entries["A"].model.drop] == ["key", "short", ["x"]]
    assert [entries["B"].model.id, entries["B"].model.id_format, entries["B"].model.drop] == [None, "keep", []]


@pytest.mark.parametrize("written", ["null", "'null'", "~"])
def test_dangling_null_is_written_without_quotes(written):
    """YAML reads `dangling: null` as no value; it means the policy."""
    model = mapping_of(entry(f"references: {{a: {{to: Contacts, dangling: {written}}}}}")).entries["Leads"].model
    assert model.references["a"].dangling == "null"


@pytest.mark.parametrize(
    "body",
    [
        "create: {key: {pk: S}}, fields: {pk: 'TENANT#{pk}'}, rest: copy, drop: [pk]",
        "fields: {pk: 'TENANT#{pk}'}, rest: r",
        "fields: {pk: {from: pk, type: string, on_error: rest}}, rest: copy",
        "fields: {pk: '{b}', b: {from: pk}}, rest: copy",
        "where: {kind: a}, fields: {kind: {from: kind}}",
        "where: {kind: a}, references: {kind: {to: Contacts, dangling: remove}}, fields: {x: {from: y}}",
        "create: {key: {PK: S}}, fields: {PK: '{b|0}'}",
        "create: {key: {PK: S}, indexes: {byN: {n: S}}}, fields: {PK: '{b}', b: {from: c}, n: ''}, drop: [d]",
    ],
)
def test_a_mapping_that_can_write_an_item_is_accepted(body):
    """However few: what some items lack, what a rule keeps elsewhere, what is dropped and read all the same."""
    mapping_of(entry(body))


@pytest.mark.parametrize(
    ("wanted", "default", "made"),
    [
        ("string", "''", {"S": ""}),
        ("string", "5", {"S": "5"}),
        ("number", "'0.50'", {"N": "0.5"}),
        ("list", "''", {"L": []}),
        ("list", "'a, b'", {"L": [{"S": "a"}, {"S": "b"}]}),
        ("list", "[]", {"L": []}),
        ("map", "{}", {"M": {}}),
        *((wanted, "null", {"NULL": True}) for wanted in ("string", "number", "boolean", "list", "map")),
    ],
)
def test_a_default_is_converted_as_a_value_is(wanted, default, made):
    """Whether it stands in for nothing or for what does not convert. Null is no value, of any type."""
    rule = f"{{from: b, type: {wanted}, default: {default}, on_error: default}}"
    route = routes_of(entry(f"fields: {{id: {{from: id}}, a: {rule}}}, rest: r"))["Leads"].route
    for value in ({"NULL": True}, {"NS": ["1"]}):
        assert route({"id": {"S": "l"}, "b": value}).item["a"] == made


@pytest.mark.parametrize(
    "body",
    [
        f"{CREATE}, references: {{GSI1SK: {{to: Contacts, dangling: remove}}}}",
        f"{CREATE}, references: {{a: {{to: Contacts, dangling: null}}, 'GSI1SK:json': {{to: Contacts, dangling: null}}}}",
        f"{CREATE}, references: {{'SK:json.a': {{to: Contacts, dangling: remove}}}}",
        f"{CREATE}, references: {{a: {{to: Contacts, dangling: null}}}}, "
        "fields: {PK: 'A#{a|none}', SK: {from: a, default: none}, GSI1PK: 'A#{a}'}, rest: r",
        f"{CREATE}, references: {{GSI1SK: {{to: Contacts, dangling: null}}}}, fields: {{PK: x, SK: y}}, rest: r",
    ],
)
def test_a_key_that_keeps_a_value_may_lose_a_reference(body):
    """An index needs no attribute; a default stands in; text with a null in it is text; a field may have another source."""
    mapping_of(entry(body))


def test_numbers_keep_their_digits():
    """In where, defaults and queries; dates stay text."""
    text = entry(
        f"where: {{a: 0.10, b: {'1' * 38}, c: 2025-08-01}}, rest: r, fields: {{x: {{from: y, default: 1.{'3' * 30}}}}}"
    )
    model = mapping_of(text).entries["Leads"].model
    assert str(model.where["a"]) == "0.10"
    assert model.where["b"] == int("1" * 38)
    assert model.where["c"] == "2025-08-01"
    assert str(model.fields["x"].default) == f"1.{'3' * 30}"


@pytest.mark.parametrize("time", ["12:30", "12:30:45", "08:30:00.5", "-1:30"])
def test_a_time_of_day_is_text(time):
    """YAML 1.1 reads 12:30 as 750, by sixties."""
    model = (
        mapping_of(entry(f"where: {{a: {time}}}, rest: r, fields: {{x: {{from: y, default: {time}}}}}"))
        .entries["Leads"]
        .model
    )
    assert (model.where["a"], model.fields["x"].default) == (time, time)


@pytest.mark.parametrize("digits", ["010", "-010", "+010", "089", "00"])
def test_a_number_with_zeros_before_it_is_text(digits):
    """YAML 1.1 reads 010 as 8, by eights."""
    assert mapping_of(entry(f"where: {{a: {digits}}}")).entries["Leads"].model.where["a"] == digits


def test_the_fingerprint_is_of_the_meaning():
    """Order, comments and spelled-out defaults do not count; every value does, with its type."""
    base = entry("where: {a: 1.5}, references: {b: Contacts}")
    same = [
        base + "  # why",
        entry("references: {b: {to: Contacts, dangling: map}}, where: {a: 1.5}"),
        base.replace("Contacts: {}", "Contacts:"),
    ]
    others = [
        entry("where: {a: '1.5'}, references: {b: Contacts}"),
        entry("where: {a: 1.25}, references: {b: Contacts}"),
        entry("where: {a: 1.5}, references: {b: Leads}"),
        entry("where: {a: 1.5}, references: {b: {to: Contacts, dangling: keep}}"),
        entry("where: {a: 1.5}, references: {b: Contacts}, id_format: keep"),
        entry("where: {a: true}, references: {b: Contacts}"),
        entry("where: {a: 1}, references: {b: Contacts}"),
        base + "\nunrouted: ignore",
        *(
            base.replace("Leads: {", f"Leads: {{fields: {{a: {rule}}}, rest: r, ")
            for rule in (
                "{from: b}",
                "{from: b, default: null}",
                "{value: null}",
                "{value: 1}",
                "{value: '1'}",
                "{from: b, as: 'x{value}'}",
                "{from: b, values: {x: 1}}",
                "{from: b, values: {x: true}}",
                "{from: b, type: datetime, read: iso, write: epoch_seconds}",
                "{from: b, type: datetime, read: iso, write: epoch_millis}",
            )
        ),
        base.replace("{table}-s", "{table}-s2"),
    ]
    fingerprint = mapping_of(base).fingerprint
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    assert {mapping_of(text).fingerprint for text in same} == {fingerprint}
    assert len({mapping_of(text).fingerprint for text in [base, *others]}) == len(others) + 1


def test_levels_come_from_the_references():
    """Parents first; a cycle shares a level; what an attribute names at run time does not count."""
    text = HEAD + (
        "tables: {C: {references: {a: B, l: {table_named_by: x}}}, B: {references: {a: A, c: B2}}, A: {},"
        " B2: {references: {b: B}},"
        " D: {references: {t: 'x#{A}#{C}', me: D}}}"
    )
    assert mapping_of(text).levels() == {"A": 1, "B": 2, "B2": 2, "C": 3, "D": 4}


def test_chosen_tables_must_be_entries():
    """A misspelt name is refused with a suggestion."""
    mapping = mapping_of(entry(""))
    mapping.check_names(["Leads", "Contacts"])
    with pytest.raises(MappingError, match=r"^mapping.yaml: no entry 'Contact'; did you mean 'Contacts'\?$"):
        mapping.check_names(["Leads", "Contact"])


DESIGN_COPY = """
defaults:
  source: "{table}-{source.environment}-NONE"
  target: "{table}-{target.environment}-NONE"
  id: id
  id_format: uuid
tables:
  Properties:
  Contacts: {}
  NotificationTemplate: {}
  Requests:
    references: {agentContactId: Contacts, homeownerContactId: Contacts, addressId: Properties}
  Projects:
    references: {addressId: {to: Properties, dangling: stop}}
  NotificationQueue:
    references: {templateId: NotificationTemplate, "recipientIds:json[]": Contacts}
  AuditLog:
    references: {recordId: {table_named_by: tableName}}
"""
DESIGN_SPLIT = """
defaults: {id_format: keep}
tables:
  Leads:
    source: "${OLD_TABLE_NAME_:-expressnext-crm}"
    where: {entity_type: LEAD}
    target: "${LEADS_TABLE_:-CRM-Leads-v2}"
    create:
      key: {PK: S, SK: S}
      indexes: {GSI1: {GSI1PK: S, GSI1SK: S}, GSI2: {GSI2PK: S, GSI2SK: S}}
      tags: {application: crm}
    fields:
      PK: LEAD
      SK: "{created_at:%Y-%m|0000-00}#{id}"
      GSI1PK: "STATUS#{status|new}"
      id: {from: id}
      followers: {from: followers, type: number, default: 0}
      tags: {from: tags, type: list, default: []}
    rest: custom_fields
    drop: [pk, sk, entity_type]
    queries:
      by_month: {key: {PK: LEAD, SK: {begins_with: "2025-08"}}}
      by_status: {index: GSI1, key: {GSI1PK: "STATUS#new"}}
      by_industry: {key: {PK: LEAD}, filter: {custom_fields.industry: Healthcare}}
"""


def test_the_examples_of_the_design_are_accepted():
    """Word by word (with the tables that its copy example refers to)."""
    copy = mapping_of(DESIGN_COPY)
    assert copy.entries["Requests"].target == "Requests-prod-NONE"
    assert copy.levels()["AuditLog"] == 1
    assert copy.levels()["NotificationQueue"] == 2
    leads = mapping_of(DESIGN_SPLIT).entries["Leads"]
    assert (leads.source, leads.target) == ("expressnext-crm", "CRM-Leads-v2")
    assert leads.model.create.billing == "PAY_PER_REQUEST"
    assert leads.model.fields["tags"].default == []
    assert not mapping_of(DESIGN_SPLIT).ignore_unrouted
    assert mapping_of(DESIGN_SPLIT + "unrouted: ignore\n").ignore_unrouted


@pytest.mark.parametrize("path", sorted((ROOT / "parameters" / "mappings").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_mappings_that_come_along_are_accepted(path):
    """And hold no key twice, which another YAML reader would not notice."""
    sides = {"source": {"environment": "dev"}, "target": {"environment": "prod"}}
    mapping = load_mapping(
        build_parameters({"mapping": str(path), **sides})
    )  # where it stands: code may stand beside it
    assert list(mapping.entries) == list(yaml.safe_load(path.read_text(encoding="utf-8"))["tables"])


def test_an_index_may_be_by_attributes_called_like_the_long_form():
    """In the short form every value is a type letter: `key: S` is an attribute, `key: {…}` is the index's key."""
    short = "{byKey: {key: S, projection: N}, byP: {partition: B}, long: {key: {key: S}, projection: [b, a]}}"
    create = mapping_of(entry(f"create: {{key: {{id: S}}, indexes: {short}}}")).entries["Leads"].model.create
    assert {name: (index.key, index.projection) for name, index in create.indexes.items()} == {
        "byKey": ({"key": "S", "projection": "N"}, "ALL"),
        "byP": ({"partition": "B"}, "ALL"),
        "long": ({"key": "S"}, ["b", "a"]),
    }


def test_both_forms_of_an_index_are_one_mapping():
    """A run goes on where somebody has only written a projection out."""
    forms = ("{a: S}", "{key: {a: S}}", "{key: {a: S}, projection: ALL, partition: 1}")
    texts = [entry(f"create: {{key: {{id: S}}, indexes: {{byA: {form}}}}}") for form in forms]
    assert len({mapping_of(text).fingerprint for text in texts}) == 1


def test_like_source_may_stand_in_the_defaults():
    """An entry's own `create` wins, `null` among them."""
    text = (
        "defaults: {source: s, target: '{table}', create: like_source}\n"
        "tables: {A: {}, B: {create: null}, C: {create: {key: {a: S}}}}"
    )
    entries = mapping_of(text).entries
    assert [entries[name].model.create for name in "AB"] == ["like_source", None]
    assert entries["C"].model.create.key == {"a": "S"}


def test_like_source_is_checked_once_it_is_resolved():
    """Queries against the indexes that it brings; and two sources that differ, behind one target."""
    queries = "queries: {q: {index: byB, key: {b: x}}}"
    text = f"{HEAD}tables: {{A: {{target: t, create: like_source, {queries}}}, B: {{target: t, create: like_source}}}}"
    mapping = mapping_of(text)
    like = Create(key={"id": "S"}, indexes={"byB": {"b": "S"}})
    resolved = with_creates(mapping, {"A": like, "B": like})
    assert resolved.entries["A"].model.create is like
    assert resolved.entries["A"].like_source
    assert (resolved.fingerprint, mapping.entries["A"].model.create) == (mapping.fingerprint, "like_source")
    other = Create(key={"id": "S"}, indexes={"byC": {"b": "S"}})
    with pytest.raises(MappingError, match=r"tables\.A\.queries\.q: index 'byB' is unknown"):
        with_creates(mapping, {"A": other, "B": other})
    says = r"tables\.B\.create: like_source makes another table than in A, and both write to t; describe the table in both\."
    with pytest.raises(MappingError, match=says):
        with_creates(mapping, {"A": like, "B": other})


def test_a_record_of_an_entry_with_a_mistake():
    """What is wrong in that entry is said, and nothing fails on the way."""
    with pytest.raises(MappingError, match=r"tables\.Users\.fields\.a: "):
        mapping_of(
            "defaults: {source: '{table}-s', target: '{table}-t'}\n"
            "tables: {Users: {fields: {a: {from: a, on_error: rest}}}, Logs: {references: {r: {record_of: Users}}}}"
        )
