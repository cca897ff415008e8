"""Random mappings, and random items that mostly fit their rules, for `unit/test_naive.py`. Everything follows from a `Random`."""

import json
import re
from random import Random
from typing import Any

from naive import Naive, parts_of, steps_of
from support_worlds import plain

IDS = {
    "S": ["a", "b", "7", "07", "é", "a b", "x/y", "1.0", "u-1", "😀", "-3", "c;d"],
    "N": ["7", "7.0", "1E3", "1000", "-0", "0", "12", "1.50", "99999999999999999999"],
    "B": ["AA==", "YWI=", "/w=="],
}
KEYS = [{"id": "S"}, {"id": "S"}, {"id": "N"}, {"id": "B"}, {"PK": "S", "SK": "S"}, {"PK": "S", "id": "N"}]
FORMATS = {
    "S": ["uuid", "short", "keep", "CUS-{short}", "{uuid}!", "N{number}", "{number15}"],
    "N": ["number", "number15", "keep"],
    "B": ["uuid", "keep"],
}
INSIDE = ["X#{id}", "{*}#doc#{id}", "X#{id}#{*}", "<{id}>", "{id}/end", "X#{*}#{*}#{id}"]
SHAPES = (
    [""] * 4
    + [".a", "[]", "[]", "[]", "[].a", "{}", "{keys}", ".x\\.y", "[][]", "{}.b", "{}[].b"]
    + [":json", ":json.a", ":json[]", ":json[].a", ":json{}", ":json{keys}", ":json.a.b[]", ".a:json.b[]", ".a:json"]
    + [":json.a:json.b", ":json{}.c", ":split(,)[]", ":split(,)[]", ":split( / )[]", ".a:split(;)[]"]
    + [":json.a:split(;)[]", "[]:split(,)[]", "[]:json.a", ":split(|)[]"]
)
PLACES = ["X#{0}", "{0}#{1}", "{*}#{0}", "X{*}/{0}/{*}", "<{0}>", "{0}", "é{0}|{*}|{1}", "{0}\\{1}", '"{0}"']
ODD = [
    {"S": ""},
    {"S": "x"},
    {"S": "#"},
    {"S": "a#b#c"},
    {"S": "é😀\u0000"},
    {"S": "12k"},
    {"S": '{"a": "b", "a": "c"}'},
    {"S": "{"},
    {"S": "null"},
    {"S": ' ["a", 7, 1E3, 07] '},
    {"S": ' ["a", 7, 1E3, 1.0, null, {}] '},
    {"N": "1E3"},
    {"N": "1.0"},
    {"N": "-0"},
    {"N": "12345678901234567890123456789012345678"},
    {"B": "AA=="},
    {"B": ""},
    {"BOOL": True},
    {"BOOL": False},
    {"NULL": True},
    {"L": []},
    {"M": {}},
    {"L": [{"S": "a"}, {"NULL": True}, {"N": "7"}, {"L": [{"S": "a"}]}]},
    {"M": {"a": {"S": "a"}, "b": {"NULL": True}, "x.y": {"N": "7"}}},
    {"M": {"a": {"M": {"a": {"S": "a"}}}, "": {"S": "b"}}},
    {"SS": ["a", "b"]},
    {"NS": ["7", "1E1"]},
    {"BS": ["AA=="]},
]
LONG = ["é" * 512, "x" * 1022, "x" * 1023, "x" * 1024]  # as a key, with and without what a template adds
WORDS = ["", "z", "2025-01", "é", "a b", "q#r"]
DATES = ["2025-08-09", "20250809", "2025-08-09T10:00:00+02:00", "2025-08-09T23:59:59.123Z", "2025-8-9", "2025-13-01"]
DATES += [
    "2024-02-29T00:00",
    "2023-02-29",
    "2025-08-09 10:00",
    "0001-01-01T00:00:00+05:00",
    "9999-12-31T23:59:59.999999",
]
DATES += [
    "1.2.2024",
    "01.02.2024",
    "31.04.2024",
    "2024-060",
    "1740823200",
    "",
    "2025-08-09T10:00:00.1234567",
    "٢٠٢٥-08-09",
]
DAYS = {"iso": "2025-01-02T00:00:00Z", "%d.%m.%Y": "02.01.2025", "%Y-%m-%d %H:%M:%S": "2025-01-02 00:00:00"}
NUMBERS = ["7", "-7.50", "1,024", "1e3", ".5", " 7", "007", "1.", "+7", "-0", "1" * 38, "1" * 39, "٧", "1740823200.5"]


class World:
    """A mapping, the keys of its source tables, the ids that they hold; and items for it."""

    def __init__(self, seed: int):
        self.random = r = Random(seed)
        self.entries = r.sample(["Users", "Orders", "Files"], r.choice([1, 2, 2, 3]))
        self.keys = {name: r.choice(KEYS) for name in self.entries}
        self.ids: dict[str, Any] = {name: self._id_rule(name) for name in self.entries}
        self.with_ids = [name for name in self.entries if self.ids[name] is not None]
        self.makers: dict[str, dict[str, Any]] = {}  # entry -> attribute -> what makes its values
        bodies = {name: self._entry(name) for name in self.entries}
        self.mapping = {"defaults": {"source": "{table}-s", "target": "{table}-t"}, "tables": bodies}
        self.existing = set()
        for name in self.with_ids:
            letters = ["S"] if isinstance(self.ids[name], dict) else [self.keys[name].get(self.ids[name])]
            for letter in letters if letters[0] else ["S", "N"]:
                held = r.sample(IDS[letter], len(IDS[letter]) // 2)
                self.existing |= {(name, json.dumps(plain({letter: old}))) for old in held}

    def naive(self) -> Naive:
        """The naive implementation of this mapping."""
        return Naive(self.mapping, "prod", self.keys, self.existing)

    def exists(self, entry: str, old: dict) -> bool:
        """Whether a source holds the id."""
        return (entry, json.dumps(plain(old))) in self.existing

    # Mappings

    def _id_rule(self, name: str) -> Any:
        r, key = self.random, self.keys[name]
        if "id" in key:
            return "id" if r.random() < 0.85 else r.choice(["uid", None])
        return r.choice([{"in": "SK", "as": r.choice(INSIDE)}] * 4 + [{"in": "PK", "as": r.choice(INSIDE)}, "id", None])

    def _entry(self, name: str) -> dict:
        r, body, rule = self.random, {}, self.ids[name]
        makers = self.makers[name] = {}
        for attribute, letter in self.keys[name].items():
            makers[attribute] = lambda letter=letter: {
                letter: r.choice(IDS[letter] if letter != "S" or r.random() < 0.97 else LONG)
            }
        if rule != "id":
            body["id"] = rule
        if rule is not None:
            inside = isinstance(rule, dict)
            letter = "S" if inside else self.keys[name].get(rule) or r.choice("SN")
            body["id_format"] = r.choice(FORMATS[letter] + (["number", "number15"] if inside else []))
            if inside:
                makers[rule["in"]] = lambda: self._filled(rule["as"], [])
            elif rule not in makers:
                makers[rule] = lambda: self._nearly({letter: r.choice(IDS[letter])})
        if r.random() < 0.75:
            body["references"] = self._references(name)
        if r.random() < 0.4:
            body["where"] = self._where(name)
        if r.random() < 0.45:
            body.update(self._fields(name))
        elif r.random() < 0.3:
            body["drop"] = self._drops(name)
        return body

    def _references(self, name: str) -> dict:
        r, rules = self.random, {}
        if not self.with_ids:
            return rules
        for n in range(r.randint(1, 5)):
            root, shape = f"r{n}", r.choice(SHAPES)
            rule, leaf = self._target(shape)
            rules[root + shape] = rule
            steps = steps_of(root + shape)[1:]
            self.makers[name][root] = lambda steps=steps, leaf=leaf: self._at(steps, leaf)
        inside = self.ids[name]
        if "PK" in self.keys[name] and r.random() < 0.5:
            attribute = inside["in"] if isinstance(inside, dict) and r.random() < 0.4 else "PK"
            place = "R#{0}#S" if attribute == "PK" else "R#{0}#{*}"
            if isinstance(inside, dict) and attribute == inside["in"]:
                if inside["as"] != "X#{*}#{*}#{id}":
                    return rules
                place = "X#{0}#{*}#{*}"
            parent = r.choice(self.with_ids)
            rules[attribute] = place.replace("0", parent)
            full = "X#{0}#{*}#{id}".replace("0", parent) if place[0] == "X" else rules[attribute]
            self.makers[name][attribute] = lambda: self._filled(full, [parent])
        return rules

    def _target(self, shape: str) -> tuple[Any, Any]:
        """A rule for the end of a path, and what makes values there."""
        r, kind = self.random, self.random.random()
        entry = r.choice(self.with_ids)
        careful = "keys" in shape or "split" in shape
        policy = {"dangling": r.choice(["map", "keep", "null", "remove"])} if r.random() < 0.6 else {}
        if careful and policy.get("dangling") == "null":
            policy = {"dangling": "remove"}
        if kind < 0.45:
            return ({"to": entry, **policy} if policy else entry), lambda: self._id_of(entry)
        if kind < 0.65:
            template, entries = self._place()
            return ({"to": template, **policy} if policy else template), lambda: self._filled(template, entries)
        if kind < 0.78 and len(self.with_ids) > 1:
            to = r.sample(self.with_ids, r.randint(2, len(self.with_ids)))
            if r.random() < 0.4:
                to = [["U#{0}", "G#{0}", "{*}#{0}"][n].replace("0", one) for n, one in enumerate(to)]
                return {"to": to, **policy}, lambda: self._filled(r.choice(to), self.with_ids)
            return {"to": to, **policy}, lambda: self._id_of(r.choice(to))
        if kind < 0.9:
            return {"table_named_by": "kind", **policy}, lambda: self._id_of(entry)
        if careful or ("[]" in shape[-2:] and "json" not in shape):
            return entry, lambda: self._id_of(entry)
        of = r.choice(self.entries) if r.random() < 0.7 else {"table_named_by": "kind"}
        about = of if isinstance(of, str) else r.choice(self.entries)
        return {"record_of": of}, lambda: {"M": self.item(about, deep=False)}

    def _place(self) -> tuple[str, list[str]]:
        entries = [self.random.choice(self.with_ids) for _ in range(2)]
        template = self.random.choice(PLACES)
        for n, entry in enumerate(entries):
            template = template.replace(str(n), entry)
        return template, entries

    def _where(self, name: str) -> dict:
        r = self.random
        value = lambda: r.choice(["a", "b", "7", 7, 1000, 1.5, True, False, None, "é"])  # noqa: E731
        ordered = lambda: r.choice(["a", "b", "é", 7, 12, 1000, -1])  # noqa: E731

        def condition(deep: bool = True) -> Any:
            kind = r.randrange(9)
            if kind < 2:
                return value()
            if kind == 2:
                return [value(), value()]
            if kind == 3:
                return {"begins_with": r.choice(["a", "X", "é"])}
            if kind == 4:
                return {"exists": r.random() < 0.5}
            if kind == 5:
                return {r.choice(["lt", "le", "gt", "ge"]): ordered()}
            if kind == 6:
                return {"between": r.choice([[1, 7], ["a", "b"], [7, 1000]])}
            if kind == 7:
                return {"ge": 1, "lt": r.choice([12, 1000])}
            return {"not": condition(False)} if deep else value()

        paths = r.sample(["w", "v.a", "v.x\\.y", "w2"], r.randint(1, 2))
        makers = self.makers[name]
        makers["w"] = makers["w2"] = lambda: self._nearly(
            r.choice([{"S": "a"}, {"S": "b"}, {"N": "7.0"}, {"N": "1e3"}])
        )
        makers["v"] = lambda: self._nearly({"M": {"a": makers["w"](), "x.y": makers["w"]()}})
        return {path: condition() if r.random() < 0.6 else {"not": condition(False)} for path in paths}

    def _drops(self, name: str) -> list[str]:
        rule, r = self.ids[name], self.random
        kept = {*self.keys[name], rule["in"] if isinstance(rule, dict) else rule}
        free = [attribute for attribute in self.makers[name] if attribute not in kept]
        paths = r.sample(free, min(len(free), r.randint(0, 2)))
        if "drop" not in self.makers[name] and r.random() < 0.6:
            path = r.choice(["d.a", "d[].a", "d{}.a", "d.x\\.y", "d.b[].c"])
            paths.append(path)
            self.makers[name]["d"] = lambda: self._at(steps_of(path)[1:], lambda: r.choice(ODD))
        return paths

    def _fields(self, name: str) -> dict:
        r, makers, fields = self.random, self.makers[name], {}
        rest = r.random()
        self.has_rest = rest < 0.75
        for n in range(r.randint(1, 6)):
            rule = self._field(name, f"s{n}")
            fields[r.choice([f"f{n}", f"f{n}", f"f{n}", f"s{n}"])] = rule
        for n in range(r.randint(0, 3)):
            fields[f"t{n}"] = self._template([*makers, *fields, "none", "x\\.y"])
        create = {"key": {"tk": "S"}}
        own = r.choice(list(self.keys[name]))
        fields["tk"] = r.choice([f"T#{{{own}}}", f"T#{{{own}}}", self._template([own, *makers])])
        if self.keys[name][own] == "S" and r.random() < 0.4:
            fields["tk"] = {"from": own}
        if r.random() < 0.3:
            create["key"]["tn"] = "S"
            fields["tn"] = self._template([*makers])
        if r.random() < 0.6:
            create["indexes"] = {"byG": {"g": "S", "x0": "S"}}
            fields["x0"] = {"from": "s0"} if r.random() < 0.5 else self._template([*makers])
            fields["g"] = self._template([*makers, "none"])
        body = {"fields": fields, "create": create}
        body["drop"] = drop = self._drops(name)
        if rest < 0.45:
            body["rest"] = r.choice(["more", "more", "r0", "s9"])
        elif rest < 0.75:
            body["rest"] = "copy"
            drop += [a for a in self.keys[name] if a in fields and a not in drop]
        else:
            taken = {steps_of(f["from"])[0][1] for f in fields.values() if isinstance(f, dict) and "from" in f}
            needed = self.keys[name]
            drop += [a for a in makers if a not in drop and (a in needed or a not in taken) and r.random() < 0.97]
            drop += [a for a in (*needed, "kind", "w", "w2", "v") if a not in drop]
        tops = {steps_of(path)[0][1] for path in drop if len(steps_of(path)) == 1}
        body["drop"] = [path for path in dict.fromkeys(drop) if len(steps_of(path)) == 1 or path[0] not in tops]
        return body

    def _template(self, names: list[str]) -> str:
        r, text = self.random, ""
        for _ in range(r.randint(1, 2)):
            hole = r.choice(names) if r.random() < 0.8 else "v.a"
            form = r.choice([":%Y-%m", ":%d.%m.%y %H%%", ":%j"]) if r.random() < 0.25 else ""
            default = r.choice(["|", "|none", "|0 0"]) if r.random() < 0.6 else ""
            text += r.choice(["", "P#", "{{é}}", "#"]) + "{" + hole + form + default + "}"
        return text

    def _field(self, name: str, source: str) -> Any:
        """A field with `from` or `value`, and what makes its source attribute."""
        r, makers, rule = self.random, self.makers[name], {}
        near = self._nearly

        def one_of(texts, letter="S"):
            return lambda: near({letter: r.choice(texts)})

        kind = r.randrange(8)
        if kind == 0:
            return {"value": r.choice([2, True, None, "x", ["a", 1], {"by": "runbook"}, 1.5])}
        if kind == 1:
            makers[source], conversion = one_of(NUMBERS), {"type": "number"}
        elif kind == 2:
            makers[source], conversion = one_of(["true", "FALSE", "yes", "True"]), {"type": "boolean"}
        elif kind == 3:
            lists = [
                "a, b,,c ",
                '["a", 1.50, null, true, {"k": [1E3]}]',
                '{"L": [{"S": "a"}, {"N": "7"}]}',
                " [1",
                "{}",
                '["é", "\\u00e9"]',
            ]
            makers[source], conversion = one_of(lists), {"type": "list"}
        elif kind == 4:
            maps = [
                '{"a": 1, "b": {"c": []}}',
                '{"M": {"a": {"S": "x"}}}',
                '{"a": {"S": "x"}}',
                '{"a": 1, "a": 2}',
                "[]",
                "a,b",
            ]
            makers[source], conversion = one_of(maps), {"type": "map"}
        elif kind == 5:
            read = r.choice(["iso", "epoch_seconds", "epoch_millis", "%d.%m.%Y", "%Y%j", "%Y-%m-%dT%H:%M:%S"])
            write = r.choice(["iso", "epoch_seconds", "epoch_millis", "%d.%m.%Y", "%Y-%m-%d %H:%M:%S"])
            if read == write:
                read = "iso" if write != "iso" else "epoch_millis"
            makers[source] = (
                one_of(DATES)
                if "epoch" not in read
                else lambda: near(
                    {r.choice("NNS"): r.choice(["1740823200", "1740823200123", "1.5", "-1", "1E9", "1" * 17, "0.0005"])}
                )
            )
            conversion = {"type": "datetime", "read": read, "write": write}
        elif kind == 6:
            conversion = {"values": {"yes": True, "no": False, "1": "one", "true": 5}}
            makers[source] = lambda: near(
                r.choice([{"S": "yes"}, {"S": "no"}, {"N": "1.0"}, {"BOOL": True}, {"S": "Yes"}])
            )
        else:
            conversion = {"type": "string"} if r.random() < 0.5 else {}
            makers[source] = lambda: near(r.choice(ODD))
        rule = {"from": source, **conversion}
        inner = makers[source]
        shape = r.random()
        if shape < 0.2:
            rule["from"] = source + ".a"
            makers[source] = lambda: near({"M": {"a": inner(), "b": {"S": "b"}}})
        elif shape < 0.35:
            rule["from"] = source + ":json.a.b"
            makers[source] = lambda: near({"S": self._json({"M": {"a": {"M": {"b": inner(), "": {"N": "1E3"}}}}})})
        elif shape < 0.55:
            rule["as"] = r.choice(["V#{value}", "{*}#{value}", "{value}#{*}#{*}", "<{value}>"])
            makers[source] = lambda: self._wrapped(rule["as"], inner())
        if r.random() < 0.4:
            fitting = {"number": 5, "boolean": "true", "list": [], "map": {}, "string": "s", None: 0}
            form = conversion.get("type")
            if form != "datetime":
                rule["default"] = fitting.get(form)
            else:
                rule["default"] = DAYS.get(rule["write"], 86400)
            if r.random() < 0.3:
                rule["default"] = None
        if ("type" in rule or "values" in rule or "as" in rule) and r.random() < 0.6:
            rule["on_error"] = r.choice(
                ["quarantine", *(["rest"] if self.has_rest else []), *(["default"] * 2 if "default" in rule else [])]
            )
        return rule

    # Items

    def item(self, name: str, *, deep: bool = True) -> dict:
        """An item that mostly fits the rules of an entry; its key is as its table wants it."""
        r, key = self.random, self.keys[name]
        made = {}
        for attribute, make in self.makers[name].items():
            if attribute in key:
                value = make()
                made[attribute] = (
                    value
                    if set(value) == {key[attribute]} and value[key[attribute]]
                    else {key[attribute]: r.choice(IDS[key[attribute]])}
                )
            elif r.random() < 0.9 and (deep or r.random() < 0.5):
                made[attribute] = make() if deep else {"S": r.choice(IDS["S"])}
        if r.random() < 0.08:
            made["more"] = {"M": {r.choice(["kind", "own", "r0", "s0"]): r.choice(ODD)}}
        if r.random() < 0.8:
            made["kind"] = self._nearly({"S": r.choice([*self.entries, "users"])})
        if r.random() < 0.15:
            made[r.choice(["f0", "t0", "more", "zz", "x.y"])] = r.choice(ODD)
        if r.random() < 0.02:
            made["deep"] = _deep(r.randint(29, 32))
        if r.random() < 0.02:
            made["long"] = {"S": "é" * r.choice([511, 512, 513, 1023, 1025])}
        return made if deep else {n: v for n, v in made.items() if n not in ("deep", "long")}

    def _nearly(self, value: dict, chance: float = 0.07) -> dict:
        return self.random.choice(ODD) if self.random.random() < chance else value

    def _id_of(self, entry: str) -> dict:
        r, rule = self.random, self.ids[entry]
        letter = "S" if isinstance(rule, dict) else self.keys[entry].get(rule) or r.choice("SN")
        if letter == "N" and r.random() < 0.3:
            return {"S": r.choice(IDS["N"])}
        return self._nearly({letter: r.choice(IDS[letter])})

    def _filled(self, template: str, entries: list[str]) -> dict:
        """A text that mostly fits a template of ids."""
        r, text = self.random, ""
        for kind, what in parts_of(template):
            if kind == "text":
                text += what if r.random() > 0.02 else ""
            elif what == "*":
                text += r.choice(WORDS[:5]) if r.random() < 0.9 else r.choice(WORDS)
            else:
                value = self._id_of(what) if what in self.ids else {"S": r.choice(IDS["S"])}
                text += str(value.get("S") or value.get("N") or "q#")
        return self._nearly({"S": text}, 0.04)

    def _wrapped(self, template: str, value: dict) -> dict:
        inner = value.get("S") or value.get("N") or "w"
        return self._nearly(
            {"S": re.sub(r"\{value\}", lambda _: inner, template).replace("{*}", self.random.choice(WORDS))}
        )

    def _at(self, steps: list, leaf: Any) -> dict:
        """A value that mostly has what a path leads to."""
        r = self.random
        if not steps:
            return self._nearly(leaf(), 0.04)
        if r.random() < 0.03:
            return r.choice(ODD)
        (kind, what), rest = steps[0], steps[1:]

        def below():
            return self._at(rest, leaf)

        if kind == "name":
            more = {"o": {"N": "1E3"}} if r.random() < 0.5 else {}
            return {"M": {**more, what: below()} if r.random() < 0.95 else more}
        if kind == "values":
            return {"M": {r.choice("abcxé"): below() for _ in range(r.randint(0, 3))}}
        if kind == "keys":
            names = [below().get("S") or "k" for _ in range(r.randint(0, 3))]
            return {"M": {name: {"N": str(n)} for n, name in enumerate(names)}}
        if kind == "split":
            parts = [str(next(iter(below().values()))) if r.random() < 0.95 else "" for _ in range(r.randint(1, 3))]
            return {"S": what.join(r.choice(["", "", " ", "\t"]) + part + r.choice(["", "", " "]) for part in parts)}
        if kind == "json":
            return {"S": self._json(below())}
        members = [below() for _ in range(r.choice([0, 1, 1, 2, 3, 4]))]
        letters = {letter for member in members for letter in member}
        if r.random() < 0.5 and len(letters) == 1 and (letter := letters.pop()) in "SNB" and not rest:
            unique = {str(plain(member)): member[letter] for member in members if member[letter]}
            return {letter + "S": list(unique.values())} if unique else {"L": []}
        return {"L": members}

    def _json(self, value: dict) -> str:
        """A value as JSON with spacing and escapes of some kind."""
        r = self.random
        gap = lambda: r.choice(["", "", "", " ", "  ", "\n"])  # noqa: E731

        def text(value: dict) -> str:
            ((letter, content),) = value.items()
            if letter == "L" or letter in ("SS", "NS", "BS"):
                members = [member if letter == "L" else {letter[0]: member} for member in content]
                return "[" + gap() + ",".join(gap() + text(member) + gap() for member in members) + "]"
            if letter == "M":
                inner = [gap() + text({"S": n}) + gap() + ":" + gap() + text(m) + gap() for n, m in content.items()]
                return "{" + gap() + ",".join(inner) + "}"
            if letter == "N":
                return content
            return "null" if letter == "NULL" else json.dumps(content, ensure_ascii=r.random() < 0.5)

        return gap() + text(value) + gap()


def _deep(levels: int) -> dict:
    value = {"S": "x"}
    for n in range(levels):
        value = {"L": [value]} if n % 2 else {"M": {"k": value}}
    return value
