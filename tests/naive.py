"""The mapping language once more: slow, obvious, written from docs/mapping.md, without any of runbook_lib.

Values are typed as on the wire: {"S": "x"}. A mapping is the plain data of its YAML file.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

from naive_values import (
    GONE,
    NULL,
    Unfit,
    blank,
    constant,
    converted,
    is_base64,
    json_tree,
    moment_of_iso,
    plain,
    plain_number,
    show,
    text_of,
)
from support_worlds import new_id

KEPT_DIGITS = Context(prec=38)


@dataclass
class Outcome:
    """What becomes of one item in one entry. `causes`: attributes for which it is quarantined."""

    item: dict | None = None
    causes: list[str] = field(default_factory=list)
    references: list[tuple] = field(default_factory=list)  # path, parent or None, old id
    unreadable: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    sparse: list[str] = field(default_factory=list)
    early: bool = False  # quarantined before all references are found
    loose: bool = False  # JSON text lost an element: which space goes with it, the docs leave open

    def add(self, other: "Outcome") -> None:
        """Adds what was found in a part of the item."""
        self.references += other.references
        self.unreadable += other.unreadable
        self.several += other.several
        self.loose = self.loose or other.loose


# Paths and templates of parts


def steps_of(path: str) -> list[tuple[str, str]]:
    """The steps of a path: (name, x), (json, ""), (split, separator), (each, ""), (values, ""), (keys, "")."""
    steps, name, at = [], None, 0
    while at < len(path):
        rest = path[at:]
        if rest[0] == "\\":
            name, at = (name or "") + rest[1], at + 2
            continue
        found = re.match(r"\.|:json|:split\((.+?)\)\[\]|\[\]|\{\}|\{keys\}", rest)
        if not found:
            name, at = (name or "") + rest[0], at + 1
            continue
        if name is not None:
            steps.append(("name", name))
            name = None
        word = found[0]
        if word != ".":
            known = {":json": "json", "[]": "each", "{}": "values", "{keys}": "keys"}
            steps.append((known.get(word, "split"), found[1] or ""))
        at += len(word)
    return [*steps, ("name", name)] if name is not None else steps


def parts_of(template: str) -> list[tuple[str, str]]:
    """The parts of a template of ids: (text, x) or (hole, name); `*` is the name of what is no id."""
    pieces = re.split(r"\{([^{}]*)\}", template)
    return [("hole" if n % 2 else "text", piece) for n, piece in enumerate(pieces) if n % 2 or piece]


def ways(parts: list[tuple[str, str]], text: str, at: int = 0) -> list[list[tuple[str, int, int]]]:
    """Every way in which a text fits: the holes with where they begin and end."""
    if not parts:
        return [[]] if at == len(text) else []
    (kind, what), rest = parts[0], parts[1:]
    if kind == "text":
        return ways(rest, text, at + len(what)) if text.startswith(what, at) else []
    if what == "*":
        end = text.find(rest[0][1], at) if rest else len(text)
        return [[(what, at, end), *way] for way in ways(rest, text, end)] if end >= 0 else []
    return [[(what, at, end), *way] for end in range(at + 1, len(text) + 1) for way in ways(rest, text, end)]


def fit(template: str, text: str) -> list[tuple[str, int, int]] | None:
    """The holes that hold something, where a text fits in exactly one way."""
    found = ways(parts_of(template), text)
    return [hole for hole in found[0] if hole[0] != "*"] if len(found) == 1 else None


# Conditions


def meets(condition: Any, value: dict | None) -> bool:
    """Whether a value (None: absent) meets a condition of `where`."""
    if isinstance(condition, list):
        return any(meets(one, value) for one in condition)
    if not isinstance(condition, dict):
        return value is not None and plain(value) == plain(constant(condition))
    return all(_word(word, what, value) for word, what in condition.items())


def _word(word: str, what: Any, value: dict | None) -> bool:
    if word == "not":
        return not meets(what, value)
    if word == "exists":
        return (value is not None) == what
    if value is None:
        return False
    if word == "begins_with":
        return "S" in value and value["S"].startswith(what)
    if word == "between":
        return _word("ge", what[0], value) and _word("le", what[1], value)
    bound = constant(what)
    ((letter, one),), ((other, two),) = value.items(), bound.items()
    if letter != other:
        return False
    one, two = (Decimal(one), Decimal(two)) if letter == "N" else (one.encode(), two.encode())
    return {"lt": one < two, "le": one <= two, "gt": one > two, "ge": one >= two}[word]


def at_maps(item: dict, path: str) -> dict | None:
    """The value at a path into maps, or None."""
    value = {"M": item}
    for _, name in steps_of(path):
        value = value.get("M", {}).get(name)
        if value is None:
            return None
    return value


# Entries


class Naive:
    """A mapping with the keys of its source tables (entry → {attribute: letter}) and the ids that the sources hold."""

    def __init__(self, mapping: dict, environment: str, keys: dict, existing: set[tuple[str, str]]):
        self.entries = {
            name: {**mapping.get("defaults", {}), **(about or {})} for name, about in mapping["tables"].items()
        }
        self.environment, self.keys, self.existing = environment, keys, existing
        self.around = ""

    def outcome(self, entry: str, item: dict) -> Outcome | None:
        """What the entry makes of the item; None where it does not select it."""
        about = self.entries[entry]
        if not all(meets(condition, at_maps(item, path)) for path, condition in about.get("where", {}).items()):
            return None
        out = Outcome()
        moved = self._moved(entry, item, out)
        item = self._built(about, moved, out) if "fields" in about else self._left(about, moved)
        self._check(entry, item, out)
        if not out.causes:
            out.item = item
        return out

    # Ids

    def _id(self, entry: str) -> tuple[str | None, str | None]:
        """The attribute of the id (None: none), and the template around it (None: the whole)."""
        rule = self.entries[entry].get("id", "id")
        return (rule["in"], rule.get("as")) if isinstance(rule, dict) else (rule, None)

    def _letter(self, entry: str) -> str | None:
        """The type of the entry's ids: None where each item has its own."""
        attribute, inside = self._id(entry)
        return "S" if inside else self.keys[entry].get(attribute)

    def _mint(self, entry: str, old: dict) -> dict:
        """The new id; Unfit where the format cannot give it."""
        about = self.entries[entry].get("id_format", "uuid")
        ((letter, content),) = plain(old).items()
        if about == "keep":
            return old
        before, form, after = re.fullmatch(r"(.*?)\{?(uuid|short|number15|number)\}?(.*)", about).groups()
        number = form in ("number", "number15")
        text = "{" in about or self._id(entry)[1] is not None
        if not {"S": text or not number, "N": number and not text, "B": form == "uuid" and not text}[letter]:
            raise Unfit
        return {letter: before + new_id(self.environment, entry, form, letter, content) + after}

    # References

    def _moved(self, entry: str, item: dict, out: Outcome) -> dict:
        """The item with its id and its references rewritten."""
        attribute, inside = self._id(entry)
        moved = dict(item)
        for path, rule in self.entries[entry].get("references", {}).items():
            steps, top = steps_of(path), steps_of(path)[0][1]
            if top not in moved or (inside and top == attribute):
                continue
            leaf = self._leaf(entry, path, rule, item, out)
            self.around = ""
            if isinstance(leaf, tuple):
                new = self._record(moved[top], steps[1:], leaf[1], path, out)
            else:
                new = self._walk(moved[top], steps[1:], leaf, path, out)
            moved[top] = new
            if new is GONE:
                del moved[top]
        if attribute is None or blank(item.get(attribute)):
            return moved
        if inside is None:
            if set(item[attribute]) & {"S", "N", "B"}:
                try:
                    moved[attribute] = self._mint(entry, item[attribute])
                except Unfit:
                    out.causes.append(attribute)
                    out.early = True
            return moved
        new = self._with_own_id(entry, item[attribute], out)
        return {name: value for name, value in {**moved, attribute: new}.items() if value is not GONE}

    def _with_own_id(self, entry: str, value: dict, out: Outcome, path: str | None = None) -> Any:
        """A text with an id inside, and perhaps with references beside it: all of them at their places."""
        attribute, inside = self._id(entry)
        holes = fit(inside, value["S"]) if "S" in value else None
        if holes is None:
            out.unreadable.append(path or attribute)
        else:
            ((_, begin, end),) = holes
            old = {"S": value["S"][begin:end]}
            value = {"S": value["S"][:begin] + self._mint(entry, old)["S"] + value["S"][end:]}
            if path:
                out.references.append((path, entry, old))
        for name, rule in self.entries[entry].get("references", {}).items():
            if steps_of(name) == [("name", attribute)]:
                to, dangling = self._said(rule)
                more = self._in_text(value, to[0], dangling, path or name, out)
                if not isinstance(more, list):
                    return more
                value = {"S": _cut(value["S"], more)} if more else value
        return value

    def _said(self, rule: Any) -> tuple[Any, str]:
        """The entries and templates of a rule, and what it says of dangling ones."""
        if not isinstance(rule, dict):
            return [rule], "map"
        to = rule.get("to")
        dangling = rule.get("dangling", "map")
        return (to if isinstance(to, list) else [to]), "null" if dangling is None else dangling

    def _leaf(self, entry: str, path: str, rule: Any, item: dict, out: Outcome):
        """What rewrites the value at the end of a path."""
        to, dangling = self._said(rule)
        if isinstance(rule, dict) and "table_named_by" in rule:
            named = item.get(rule["table_named_by"], {}).get("S")

            def leaf(value):
                if named in self.entries and self._id(named)[0] is not None:
                    return self._one(value, named, dangling, path, out)
                if self._is_id(value, path, out):
                    out.references.append((path, None, None))
                return value
        elif isinstance(rule, dict) and "record_of" in rule:
            of = rule["record_of"]
            of = item.get(of["table_named_by"], {}).get("S") if isinstance(of, dict) else of
            return ("record", of if of in self.entries else None)
        elif len(to) > 1:

            def leaf(value):
                return self._choose(value, to, dangling, path, out)
        else:

            def leaf(value):
                return self._to(value, to[0], dangling, path, out)

        return leaf

    def _to(self, value: dict, to: str, dangling: str, path: str, out: Outcome) -> Any:
        if re.fullmatch(r"[{]?[^{}]+[}]?", to):
            to = to.strip("{}")
            return self._one(value, to, dangling, path, out)
        if blank(value):
            return value
        cuts = self._in_text(value, to, dangling, path, out)
        return cuts if not isinstance(cuts, list) else {"S": _cut(value["S"], cuts)} if cuts else value

    def _is_id(self, value: dict, path: str, out: Outcome) -> bool:
        if blank(value):
            return False
        if set(value) & {"S", "N", "B"}:
            return True
        out.unreadable.append(path)
        return False

    def _read(self, value: dict, parent: str) -> dict | None:
        """The value as an id of the parent; None where no item of the parent can have it."""
        letter = self._letter(parent)
        ((own, content),) = value.items()
        if letter is None or own == letter:
            return plain(value)
        if letter == "S" and own == "N":
            return {"S": plain(value)["N"]}
        if own == "S" and letter == "N" and plain_number(content) == content:
            return {"N": content}
        if own == "S" and letter == "B" and is_base64(content):
            return {"B": content}
        return None

    def _holds(self, parent: str, old: dict) -> bool:
        return (parent, json.dumps(plain(old))) in self.existing

    def _one(self, value: dict, parent: str, dangling: str, path: str, out: Outcome) -> Any:
        """A value that is an id as a whole."""
        if not self._is_id(value, path, out):
            return value
        ((letter, _),) = value.items()
        old = self._read(value, parent)
        try:
            new = value if old is None else self._mint(parent, old)
        except Unfit:
            old = None
        if old is not None and new != old:
            ((made, text),) = new.items()
            new = {letter: text}
            if made != letter and (letter == "B" or (letter == "N" and plain_number(text) != text)):
                old = None  # a value of this type cannot hold the new id
        if old is None:
            out.references.append((path, None, None))
            return value
        out.references.append((path, parent, old))
        if dangling in ("keep", "null", "remove") and not self._holds(parent, old):
            return {"keep": value, "null": NULL, "remove": GONE}[dangling]
        return value if new == old else new

    def _in_text(self, value: dict, template: str, dangling: str, path: str, out: Outcome) -> Any:
        """The cuts that rewrite the ids inside a text; or what takes the place of the whole value."""
        holes = fit(template, value["S"]) if "S" in value else None
        if holes is None:
            out.unreadable.append(path)
            return []
        cuts, missing = [], False
        for parent, begin, end in holes:
            part = {"S": value["S"][begin:end]}
            new = self._one(part, parent, dangling, path, out)
            if new is GONE or new == NULL:
                missing = new
            elif new != part:
                cuts.append((begin, end, new["S"]))
        return missing or cuts

    def _choose(self, value: dict, to: list[str], dangling: str, path: str, out: Outcome) -> Any:
        """A value that is an id of one of several entries."""
        if blank(value):
            return value
        fitting, holding, unknown = [], [], []
        for one in to:
            if not re.fullmatch(r"[{]?[^{}]+[}]?", one):
                holes = fit(one, value["S"]) if "S" in value else None
                parts = holes and [(parent, {"S": value["S"][begin:end]}) for parent, begin, end in holes]
            else:
                parts = [(one, value)] if set(value) & {"S", "N", "B"} else None
            if parts is None:
                continue
            olds = [(parent, self._read(part, parent)) for parent, part in parts]
            if any(old is None for _, old in olds):
                unknown.append(one)
            else:
                fitting.append(one)
                if all(self._holds(parent, old) for parent, old in olds):
                    holding.append(one)
        if not fitting + unknown:
            out.unreadable.append(path)
            return value
        if len(holding) > 1:
            out.several.append(path)
        return self._to(value, (holding or fitting or unknown)[0], dangling, path, out)

    def _record(self, value: dict, steps: list, entry: str | None, path: str, out: Outcome) -> dict:
        """An attribute with a record of another entry at these steps: its id and its references."""
        inner, seen = Outcome(), []
        if entry is None:
            self._walk(value, steps, lambda v: v if blank(v) else seen.append(v) or v, path, inner)
            out.references += [(path, None, None) for _ in seen + inner.unreadable]
            return value
        for more, leaf in self._record_rules(entry, path, inner):
            value = self._walk(value, steps + more, leaf, path, inner) if value is not GONE else GONE
        inner.unreadable = sorted(set(inner.unreadable))  # once an item
        out.add(inner)
        return value

    def _record_rules(self, entry: str, path: str, out: Outcome) -> list[tuple]:
        attribute, inside = self._id(entry)
        rules = []
        renews = self.entries[entry].get("id_format", "uuid") != "keep"
        if renews and inside:
            rules.append(([("name", attribute)], lambda v: v if blank(v) else self._with_own_id(entry, v, out, path)))
        elif renews and attribute:
            rules.append(([("name", attribute)], lambda v: self._one(v, entry, "map", path, out)))
        for name, rule in self.entries[entry].get("references", {}).items():
            if isinstance(rule, dict) and ("table_named_by" in rule or "record_of" in rule):
                continue
            if not (inside and steps_of(name) == [("name", attribute)]):
                rules.append((steps_of(name), self._leaf(entry, path, rule, {}, out)))
        return rules

    # Walks

    def _walk(self, value: Any, steps: list, leaf: Any, path: str, out: Outcome) -> Any:
        """The value with what stands at the steps rewritten; GONE where nothing is left."""
        if not steps:
            return leaf(value)
        if blank(value):
            return value
        (kind, what), rest = steps[0], steps[1:]
        ((letter, content),) = value.items()

        def go(member):
            return self._walk(member, rest, leaf, path, out)

        if kind == "name" and letter == "M":
            return {"M": _kept({n: go(m) if n == what else m for n, m in content.items()})}
        if kind == "values" and letter == "M":
            return {"M": _kept({n: go(m) for n, m in content.items()})}
        if kind == "keys" and letter == "M":
            new = [(go({"S": name}), member) for name, member in content.items()]
            kept = [(name["S"], member) for name, member in new if name is not GONE]
            if len(dict(kept)) < len(kept):
                out.causes.append(path)
                out.early = True
            return {"M": dict(kept)}
        if kind == "each" and letter == "L":
            return {"L": [new for new in map(go, content) if new is not GONE]}
        if kind == "each" and letter in ("SS", "NS", "BS") and not rest:
            members = [go({letter[0]: member}) for member in content]
            left = [next(iter(new.values())) for new in members if new is not GONE and new != NULL]
            return {letter: left} if left else NULL if NULL in members else GONE
        if kind == "split" and letter == "S":
            new = []
            for part in content.split(what):
                inner = part.strip()
                changed = go({"S": inner}) if inner else {"S": inner}
                if changed is not GONE:
                    new.append(part.replace(inner, changed["S"], 1) if inner else part)
            return {"S": what.join(new)} if new else GONE
        if kind == "json" and letter == "S":
            try:
                tree = json_tree(content)
                self.around = self.around or content  # the outermost JSON text says whether there are escapes
            except ValueError:
                out.unreadable.append(path)
                return value
            found = [out.references, out.unreadable, out.several]
            before = [len(one) for one in found]
            try:
                new = self._json(tree, rest, leaf, path, out)
            except ValueError:  # two names become one
                self.around = "" if self.around == content else self.around
                for one, size in zip(found, before, strict=True):
                    del one[size:]
                out.unreadable.append(path)
                return value
            self.around = "" if self.around == content else self.around
            return new if new is GONE else {"S": content[: tree.begin] + new + content[tree.end :]}
        out.unreadable.append(path)
        return value

    def _json(self, node: Any, steps: list, leaf: Any, path: str, out: Outcome) -> Any:
        """The text of a JSON value with what stands at the steps rewritten, each at its place; or GONE."""
        value = node.value
        kind, what = steps[0] if steps else ("", "")
        deeper = {"name": "M", "values": "M", "keys": "M", "each": "L"}.get(kind)
        if deeper is None or deeper not in value:
            new = self._walk(value, steps, leaf, path, out)
            return new if new is GONE else node.text if new == value else show(new, self.around)
        pieces, lost = [], False
        for name, member in node.members:
            head = "" if name is None else name.text
            if kind == "keys":
                key = self._walk(name.value, steps[1:], leaf, path, out)
                head, new = (
                    (GONE if key is GONE else head if key == name.value else show(key, self.around)),
                    member.text,
                )
            elif kind != "name" or name.value["S"] == what:
                new = self._json(member, steps[1:], leaf, path, out)
            else:
                new = member.text
            if new is GONE or head is GONE:
                lost = True
            else:
                pieces.append((name, head, member, new))
        names = [json.loads(head) for _, head, _, _ in pieces if kind == "keys"]
        if len(set(names)) < len(names):
            raise ValueError("two names become one")
        if lost:  # which space goes with an element the docs leave open: tests compare such text without it
            out.loose = True
            ends = "{}" if "M" in value else "[]"
            return ends[0] + ",".join(f"{h}:{n}" if h else n for _, h, _, n in pieces) + ends[1]
        return node.with_members(pieces)

    # Fields

    def _left(self, about: dict, item: dict) -> dict:
        """What `drop` leaves of an item."""
        for path in about.get("drop", ()):
            steps = steps_of(path)
            if steps[0][1] in item:
                new = _without(item[steps[0][1]], steps[1:])
                item = _kept({**item, steps[0][1]: new})
        return item

    def _built(self, about: dict, item: dict, out: Outcome) -> dict:
        """The attributes that `fields` and `rest` make."""
        made, back = {}, {}  # back: what does not convert and goes to the rest
        names = {steps_of(name)[0][1]: rule for name, rule in about["fields"].items()}
        for name, rule in names.items():
            if isinstance(rule, dict) and "value" in rule:
                made[name] = constant(rule["value"])
            elif isinstance(rule, dict) and "from" in rule:
                try:
                    made[name] = converted(rule, self._trimmed(about, rule["from"], item), fit)
                except Unfit:
                    if rule.get("on_error") == "default":
                        made[name] = converted({**rule, "from": ""}, NULL, fit)
                    elif rule.get("on_error", "quarantine") != "rest":
                        out.causes.append(rule["from"])
                    elif rule["from"] in item:
                        back[rule["from"]] = self._trimmed(about, rule["from"], item)
                    continue
        made = {name: value for name, value in made.items() if value is not None}
        for name, rule in names.items():
            template = rule.get("template") if isinstance(rule, dict) else rule
            if template is not None:
                self._template(about, name, template, names, item, made, out)
        used = {rule["from"] for rule in names.values() if isinstance(rule, dict) and "from" in rule}
        rest = {name: value for name, value in self._left(about, item).items() if name not in used} | back
        return self._with_rest(about.get("rest"), names, made, rest, out)

    def _trimmed(self, about: dict, path: str, item: dict) -> dict | None:
        """The value at a path of `from`, without what `drop` names below it."""
        value, steps = self._taken(item, path), steps_of(path)
        for drop in map(steps_of, about.get("drop", ())):
            same = all(a in (b, ("values", "")) for a, b in zip(drop, steps, strict=False))
            if value is not None and len(drop) > len(steps) and same:
                value = _without(value, drop[len(steps) :])
        return value

    def _taken(self, item: dict, path: str) -> dict | None:
        """The value at a path of `from`; None where there is none. Unfit: JSON text that is none."""
        value, steps = {"M": item}, steps_of(path)
        for kind, what in steps:
            if kind == "json":
                if value in (None, NULL, {"S": ""}):
                    return None
                if "S" not in value:
                    raise Unfit
                try:
                    value = json_tree(value["S"], twice=False).value
                except ValueError:
                    raise Unfit from None
            else:
                value = value.get("M", {}).get(what) if value else None
        return value

    def _template(self, about, name, template, names, item, made, out) -> None:
        key = about.get("create", {}).get("key", {})
        indexes = {a for index in about.get("create", {}).get("indexes", {}).values() for a in index}
        text = ""
        for literal, hole in re.findall(r"((?:[^{}]|\{\{|\}\})+)|\{((?:[^{}\\]|\\.)+)\}", template):
            if literal:
                text += literal.replace("{{", "{").replace("}}", "}")
                continue
            found = re.fullmatch(r"((?:[^:|\\]|\\.)+)(?::([^|]*))?(?:\|(.*))?", hole)
            what, form, default = found[1], found[2], found[3]
            top = steps_of(what)
            value = made.get(top[0][1]) if len(top) == 1 else None
            value = self._taken(item, what) if value is None else value
            what = top[0][1] if len(top) == 1 else what
            piece = None if value is None else text_of(value)
            if piece and form is not None:
                moment = moment_of_iso(piece) if "S" in value else None
                if moment is None and default is None:
                    out.causes.append(what)
                    return
                piece = None if moment is None else moment.strftime(form.replace("%Y", f"{moment.year:04}"))
            if not piece and (default is not None or form is not None):
                piece = default
            if piece is None:
                if name in key:
                    out.causes.append(what)
                elif name in indexes:
                    out.sparse.append(name)
                return
            text += piece
        if text == "" and name in indexes and name not in key:
            out.sparse.append(name)
        else:
            made[name] = {"S": text}

    def _with_rest(self, rule: str | None, names, made: dict, rest: dict, out: Outcome) -> dict:
        if rule is None:
            out.causes += list(rest)
            return made
        if rule == "copy":
            for name in rest.keys() & names.keys():
                rule = names[name] if isinstance(names[name], dict) else {}
                if not (rule.get("on_error") == "rest" and rule.get("from") == name):
                    out.causes.append(name)
            return {**rest, **made}
        same = rest.pop(rule, None)
        if same is not None:
            if "M" not in same or set(same["M"]) & set(rest):
                out.causes += [rule, *rest]
                return made
            rest = {**rest, **same["M"]}
        return {**made, rule: {"M": rest}} if rest or same is not None else made

    # Keys

    def _check(self, entry: str, item: dict, out: Outcome) -> None:
        create = self.entries[entry].get("create", {})
        key = create.get("key") or self.keys[entry]
        schemas = [(key, True), *((index, False) for index in create.get("indexes", {}).values())]
        for schema, needed in schemas:
            for n, (name, letter) in enumerate(schema.items()):
                value = item.get(name)
                if value is None:
                    out.causes += [name] if needed else []
                    continue
                content = value.get(letter)
                size = 0 if content is None else len(base64.b64decode(content) if letter == "B" else content.encode())
                if content is None or size == 0 or (letter != "N" and size > (1024 if n else 2048)):
                    out.causes.append(name)
        out.causes += ["" for value in item.values() if _depth(value) > 32]


def _depth(value: dict) -> int:
    ((letter, content),) = value.items()
    members = content.values() if letter == "M" else content if letter == "L" else None
    return 1 + max(map(_depth, members or ()), default=0)


def _without(value: dict, steps: list) -> Any:
    """A value without what stands at the steps."""
    if not steps:
        return GONE
    ((letter, content),) = value.items()
    (kind, what), rest = steps[0], steps[1:]
    if letter == "M" and kind in ("name", "values"):
        return {"M": _kept({n: _without(m, rest) if kind == "values" or n == what else m for n, m in content.items()})}
    if letter == "L" and kind == "each":
        return {"L": [new for new in (_without(m, rest) for m in content) if new is not GONE]}
    return value


def _kept(content: dict) -> dict:
    return {name: value for name, value in content.items() if value is not GONE}


def _cut(text: str, cuts: list[tuple[int, int, str]]) -> str:
    for begin, end, new in sorted(cuts, reverse=True):
        text = text[:begin] + new + text[end:]
    return text
