"""Transforms: a function of the user's that makes of the item which the rules have built the one that is written.

1. `read_code` reads the function's file, once, with the mapping. Nothing runs yet.
2. `compile_transform` executes what was read, takes the function, and works out what it must leave as it is.
3. The function gets plain values, in a copy of its own. What comes back becomes typed values; an attribute that is as it
   was keeps its object, with the spelling of its numbers and the order of its sets.
"""

import base64
import dis
import inspect
import linecache
import os
import re
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from ..errors import MappingError, Quarantine
from ..values import MAX_LEVELS, canonical, canonical_number, equal
from ..yaml_files import read_whole, suggest
from .fields import feeding
from .model import Code, Entry, EntryModel, FieldRule
from .text import templates
from .text.paths import VALUES, Steps, members
from .walkers import standing

LONGEST = 300  # characters of the user's own reason
HIDDEN = "…"  # for a word of it that stands in no text of its file
_WORD = re.compile(r"\w+")
_FORM = re.compile(r"([^/\\:]+\.py):([^\W\d]\w*)")
_RAISE = dis.opmap["RAISE_VARARGS"]
_TAKES = "a target item takes str, Decimal, int, bool, None, bytes, list, dict and set"


def code_file(transform: str) -> str:
    """The file in `FILE.py:FUNCTION`. Raises ValueError, what to write, where the text has another form."""
    found = _FORM.fullmatch(transform)
    if not found:
        raise ValueError(
            f"is {transform!r}; write FILE.py:FUNCTION, as in transforms.py:clean_lead, for a file beside the mapping file"
        )
    return found[1]


def read_code(folder: Path, file: str) -> Code:
    """A file of a folder, compiled and not executed. Read-only. Raises ValueError, a sentence, where that cannot be."""
    path = folder / file
    try:
        source = read_whole(path, flags=os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; put it beside the mapping file, or correct the name") from None
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise ValueError(f"{path} cannot be read: {reason}; put a Python file there") from None
    try:
        return Code(file, source, compile(source, str(path), "exec", dont_inherit=True))
    except SyntaxError as problem:
        raise ValueError(f"{_at(file, problem.lineno)}: {problem.msg}; correct the Python there") from None
    except ValueError:
        raise ValueError(f"{file} holds a null byte; correct the Python there") from None


def compile_transform(entry: Entry, table_key: Collection[str]) -> Callable[[dict], dict] | None:
    """A function from the item that the rules have made to the one that is written; None where nothing transforms it.

    `table_key`: the key attributes of the target table. Executes the file, once for all of its entries. The function returns
    the same object where nothing has changed, raises Quarantine, and never changes the item it is given. Raises MappingError.
    """
    if entry.code is None:
        return None
    code, label = entry.code, entry.model.transform
    function, check = _function(entry), _guard(entry, table_key)

    def transform(item: dict) -> dict:
        try:
            given = {name: value.get("S") or _plain(value) for name, value in item.items()}
        except (ValueError, ArithmeticError):
            raise Quarantine("", "it holds a number or a binary value that is none") from None
        handed = given.copy()
        try:
            made = function(given)
        except (Exception, SystemExit) as problem:
            raise Quarantine(label, _reason(problem, code)) from None
        if made.__class__ is not dict:
            found = "None" if made is None else f"a value of type {type(made).__name__}"
            raise Quarantine(label, f"returned {found}; return the item")
        target, changed = {}, len(made) != len(item)
        for name, value in made.items():
            before = item.get(name)
            if before is not None and value.__class__ in _FIXED and handed[name] is value:
                target[name] = before
                continue
            if before is None and (wrong := _wrong_name(name)):
                raise Quarantine(label, f"returned an item with {wrong}")
            try:
                target[name] = new = _typed(value, before, 1)
            except ValueError as problem:
                raise Quarantine(name, f"what the transform makes of it is {problem}") from None
            changed = changed or new is not before
        if not changed:
            return item
        check(item, target)
        return target

    return transform


def touched(row: Any, model: EntryModel) -> set[str]:
    """The source attributes of a row of which its transform has changed or taken out what the rules had placed. Pure."""
    if row.before is None:
        return set()
    found: set[str] = set()
    fields, before, after = model.fields or {}, row.before, row.item
    for name, value in before.items():
        if (new := after.get(name)) is value:
            continue
        if name in fields:
            found |= {*_steps(fields[name].source or "")[:1]}
        elif fields and name == model.rest != "copy":
            was, now = value.get("M", {}), (new or {}).get("M", {})
            own = row.source.get(name, {}).get("M", {})  # what was merged counts for the attribute of the map's name
            found |= {name if member in own else member for member in was if now.get(member) is not was[member]}
        else:
            found.add(name)
    return found & row.source.keys()


def _function(entry: Entry) -> Callable[[dict], Any]:
    code, name = entry.code, entry.model.transform.rpartition(":")[2]
    place = f"tables.{entry.name}.transform: {code.file}"
    if not code.defined:
        try:
            _execute(code)
        except (Exception, SystemExit) as problem:
            code.defined.clear()
            said = " ".join(f"{type(problem).__name__}: {problem}".split())
            raise MappingError(f"{_at(place, _line(problem, code))}: {said}; correct the Python there.") from None
    if name not in code.defined:
        there = [one for one, value in code.defined.items() if callable(value) and not one.startswith("__")]
        raise MappingError(f"{place} has no function {name!r}{suggest(name, there)}")
    function = code.defined[name]
    if not callable(function):
        raise MappingError(f"{place}: {name} is not a function; write `def {name}(item):`.")
    for is_wrong, kind, fix in _DEFERRED:
        if is_wrong(function) or is_wrong(type(function).__call__):
            raise MappingError(f"{place}: {name} {kind}, which returns no item when it is called; {fix}.")
    try:
        inspect.signature(function).bind({})
    except TypeError:
        raise MappingError(f"{place}: {name} cannot be called with one item; write `def {name}(item):`.") from None
    except ValueError:  # a builtin does not say what it takes
        pass
    return function


_DEFERRED = (  # functions that do nothing when they are called
    (
        inspect.iscoroutinefunction,
        "is an `async def`",
        "write `def` without `async`, and call nothing that needs `await`",
    ),
    (
        inspect.isasyncgenfunction,
        "is an `async def` with `yield`",
        "write `def` without `async`, and `return` the item",
    ),
    (inspect.isgeneratorfunction, "is a generator, because it holds `yield`", "`return` the item instead"),
)


def _execute(code: Code) -> None:
    path = code.compiled.co_filename
    # What a traceback shows is what runs, whatever becomes of the file.
    linecache.cache[path] = len(code.source), None, code.source.decode("utf-8", "replace").splitlines(True), path
    code.defined.update(__name__=Path(path).stem, __file__=path)
    exec(code.compiled, code.defined)


def _line(problem: BaseException, code: Code) -> int | None:
    """The line of the file that was last being executed."""
    lines = [number for frame, number in traceback.walk_tb(problem.__traceback__) if _is_in(frame, code)]
    return lines[-1] if lines else None


def _is_in(frame: Any, code: Code) -> bool:
    return frame.f_code.co_filename == code.compiled.co_filename


def _at(what: str, line: int | None) -> str:
    return what if line is None else f"{what}, line {line}"


def _reason(problem: BaseException, code: Code) -> str:
    """Why an item is quarantined: the user's own words, or what happened where."""
    said = " ".join(str(problem).split())[:LONGEST] if isinstance(problem, ValueError) else ""
    if said and _is_raised(problem, code) and (told := _without_values(said, code.compiled)):
        return told
    return _at(f"{type(problem).__name__} in {code.file}", _line(problem, code))


def _without_values(said: str, compiled: CodeType) -> str:
    """The reason with "…" for what no text in the file says: it may quote the item. "" where nothing else is left."""
    told = " ".join(word if _words(compiled).issuperset(_WORD.findall(word)) else HIDDEN for word in said.split())
    return re.sub(f"{HIDDEN}( {HIDDEN})+", HIDDEN, told) if told.strip(f" {HIDDEN}") else ""


@cache
def _words(of: CodeType) -> frozenset[str]:
    """The words of the constants in compiled code."""
    found = (_words(one) if isinstance(one, CodeType) else _WORD.findall(str(one)) for one in of.co_consts)
    return frozenset().union(*found)


def _is_raised(problem: ValueError, code: Code) -> bool:
    """Whether a `raise` of the file made it. Where Python itself did, as in int("x"), its text quotes the value."""
    frame = problem.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    executed = frame.tb_frame.f_code.co_code
    return _is_in(frame.tb_frame, code) and executed[frame.tb_lasti] == _RAISE and executed[frame.tb_lasti + 1] > 0


# plain values


def _plain(value: dict) -> Any:
    for letter in value:  # one
        content = value[letter]
    return content if letter == "S" else _PLAIN[letter](content)


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "S": str,
    "N": Decimal,
    "B": lambda content: base64.b64decode(content, validate=True),
    "BOOL": bool,
    "NULL": lambda content: None,
    "SS": set,
    "NS": lambda content: {Decimal(one) for one in content},
    "BS": lambda content: {base64.b64decode(one, validate=True) for one in content},
    "L": lambda content: [_plain(one) for one in content],
    "M": lambda content: {name: _plain(one) for name, one in content.items()},
}
_FIXED = {str, Decimal, bool, type(None), bytes}  # what cannot have changed where it is the same object
_MEMBERS = {str: "SS", Decimal: "NS", bytes: "BS"}


def _typed(value: Any, before: dict | None, level: int) -> dict:
    """The typed value; `before` itself, what stood there, where it is the same. Raises ValueError: what it is instead."""
    kind, old = value.__class__, before or {}
    if kind is str:
        return before if old.get("S") == value else {"S": _text(value)}
    if kind is Decimal or kind is int:
        text = str(value if kind is Decimal else Decimal(value))  # Python makes no text of an int of 4,300 digits
        same = "N" in old and (old["N"] == text or canonical_number(old["N"]) == canonical_number(text))
        return before if same else {"N": canonical_number(text)}
    if value is None:
        return before if "NULL" in old else {"NULL": True}
    if kind is bool:
        return before if old.get("BOOL") is value else {"BOOL": value}
    if kind is bytes:
        text = base64.b64encode(value).decode()
        return before if old.get("B") == text else {"B": text}
    if level > MAX_LEVELS:  # a value may hold itself
        raise ValueError(f"nested more than {MAX_LEVELS} levels deep")
    if kind is list:
        return _typed_list(value, before, old.get("L"), level)
    if kind is dict:
        return _typed_map(value, before, old.get("M"), level)
    if kind is set:
        return _typed_set(value, before)
    raise ValueError(f"a value of type {kind.__name__}; {_TAKES}")


def _typed_list(value: list, before: dict | None, old: list | None, level: int) -> dict:
    beside = [*(old or ()), *[None] * len(value)]
    new = [_typed(one, was, level + 1) for one, was in zip(value, beside, strict=False)]
    is_same = old is not None and len(old) == len(new) and all(one is was for one, was in zip(new, old, strict=True))
    return before if is_same else {"L": new}


def _typed_map(value: dict, before: dict | None, old: dict | None, level: int) -> dict:
    new, is_same = {}, old is not None and len(old) == len(value)
    for name, one in value.items():
        was = old.get(name) if old else None
        if was is None and (wrong := _wrong_name(name)):
            raise ValueError(f"a map with {wrong}")
        new[name] = made = _typed(one, was, level + 1)
        is_same = is_same and made is was
    return before if is_same else {"M": new}


def _typed_set(value: set, before: dict | None) -> dict:
    kinds = {Decimal if one.__class__ is int else one.__class__ for one in value}
    if not kinds:
        raise ValueError("an empty set, which DynamoDB does not have; leave the attribute out")
    if len(kinds) > 1 or not kinds <= _MEMBERS.keys():
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"a set of {names}; its members are all str, all Decimal or int, or all bytes")
    letter = _MEMBERS[kinds.pop()]
    if before and letter in before and _plain(before) == value:
        return before
    return canonical({letter: [next(iter(_typed(one, None, 0).values())) for one in value]})


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("text with half a character (a lone surrogate)") from None
    return value


def _wrong_name(name: Any) -> str | None:
    if name.__class__ is not str:
        return f"a name of type {type(name).__name__}; names are text"
    try:
        return None if _text(name) else "an empty name; give it one, or leave it out"
    except ValueError as problem:
        return f"a name that is {problem}"


# what it must leave as it is


def _guard(entry: Entry, table_key: Collection[str]) -> Callable[[dict, dict], None]:
    """A function (item before, item after) that raises Quarantine where a table key, an id or a reference differs."""
    model = entry.model
    kept: dict[str, list[tuple[str, Steps]]] = defaultdict(list)  # attribute -> what stands there, steps below it
    for name in table_key:
        kept[name].append(("a key of the target table", ()))
    places = [((model.id,), "the id")] if model.id else []
    places += [
        (steps, f"the reference {path}")
        for path, steps in entry.paths.items()
        if model.references[path].record_of is None
    ]
    places += [(steps, f"an id in the record {steps[0]}") for steps in entry.inside]
    for steps, what in places:
        for top, *below in _stand(steps, model):
            kept[top].append((what, tuple(below)))
    guards = [(name, [*dict.fromkeys(here)]) for name, here in kept.items()]

    def check(before: dict, after: dict) -> None:
        for name, here in guards:
            was, now = before.get(name), after.get(name)
            if was is now:
                continue
            for what, below in here:
                then, there = dict(standing(was, below)), dict(standing(now, below))
                if then.keys() == there.keys() and all(equal(value, there[place]) for place, value in then.items()):
                    continue
                if sorted(map(repr, then.values())) == sorted(map(repr, there.values())):
                    raise Quarantine(name, f"the transform moves {what}; let it leave each one at its place")
                raise Quarantine(name, f"the transform changes {what}; let it leave that as it is")

    return check


def _stand(steps: Steps, model: EntryModel) -> Iterator[Steps]:
    """Where in the target the rules put what stands at these steps of the rewritten copy."""
    if model.fields is None:
        yield steps
        return
    for name, rule in model.fields.items():
        if rule.template is not None:
            if any(_fits(steps, origin) for origin in _reads(rule, model)):
                yield (name,)
        elif rule.source and _fits(steps, origin := _steps(rule.source)):
            is_copy = rule.model_fields_set <= {"source", "default"}
            yield (name, *steps[len(origin) :]) if is_copy else (name,)
    if model.rest == "copy" and steps[0] not in model.fields:
        yield steps
    elif model.rest not in ("copy", None):
        yield steps if steps[0] == model.rest else (model.rest, *steps)


def _reads(rule: FieldRule, model: EntryModel) -> set[Steps]:
    """The source attributes, and what is below them, that a template's text may be made of."""
    holes = {hole.name for hole in templates.holes(templates.parse(rule.template))}
    return {_steps(name) for name in feeding(model.fields, holes)[1]}


def _steps(name: str) -> Steps:
    try:
        return members(name)
    except ValueError:
        return (name,)


def _fits(steps: Steps, origin: Steps) -> bool:
    """Whether the steps lead to what is at or below an origin."""
    pairs = zip(steps, origin, strict=False)
    return len(steps) >= len(origin) and all(step in (one, VALUES) for step, one in pairs)
