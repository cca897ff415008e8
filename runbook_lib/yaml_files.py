"""Reading YAML files: a safe loader that keeps every digit, `${VAR:-default}`, and mistakes as sentences."""

import difflib
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from .errors import Mistake, Place, RunbookError, Written, refuse

MAX_FILE_BYTES = 5_000_000
MAX_NODES = 500_000  # values of a file, those under an alias as often as it stands
MAX_LEVELS = 100  # of nesting, likewise
MAX_DIGITS = 1_000
MAX_SHOWN = 80  # characters of a wrong value that a message quotes
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:\{[^{}]*\}|[^}])*))?\}")  # a default may hold {holes}
_URL_LOGIN = re.compile(
    r"(?s)(?:[/\\]{2}|[\w.%+-]+:(?=\S)).*(?:@|%(?:25)*40|[\ufe6b\uff20])|([/\\]{2}.*)(?:[?#]|%3[Ff]).*"
)
_CURLY = frozenset("\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b")
_LOST = re.compile(r"[ \t]*#")  # behind a value: a comment, which may be meant as text
_FIXES = (  # what YAML says of a mistake -> what to do
    (r"'\\t'", "indent with spaces, not with tabs"),
    (r"but (got|found) '([\[{:]|<scalar>)", "put paths with [ ] { } or : in quotes, and text with { } or #"),
    ("unknown escape character", "write two backslashes, or put the text in single quotes"),
    (r"that cannot start any token|undefined alias", "put text that begins with a sign in quotes"),
    (r"mapping values are not allowed", "indent it like its neighbours, or put text that holds ': ' in quotes"),
    (r"end of stream|<stream end>", "close the quotes or brackets that are open"),
    ("", "correct the YAML there"),
)
# Models instead of which text may stand
_OR_TEXT = frozenset("FieldRule Reference IdInside NamedBy Create Units".split())
_WRITE = {
    "string_type": "text, in quotes",  # usually what YAML does not read as text, such as no, 5 or nothing
    "no_bool": "true or false",
    "no_number": "a number",
    "no_date": "a date such as 2026-12-31",
    "list_type": "a list, as in [a, b]",
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NOT_REGULAR = {  # what the system says where a path cannot be opened because of what lies there
    errno.ELOOP: "it is a symlink",
    errno.EISDIR: "it is a folder",
    errno.ENXIO: "it is not a regular file",
}
Hint = Callable[[str, Place, Any], str | None]  # pydantic's name of a mistake, its place, the value → what to say of it
_HALF = re.compile("[\ud800-\udfff]")
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")  # YAML refuses or folds them


class Strict(BaseModel):
    """A model that refuses unknown keys, true for a number, a number for true or a date, and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, about: ValidationInfo) -> Any:
        annotation = cls.model_fields[about.field_name].annotation
        kinds = {*annotation.__args__} if isinstance(annotation, UnionType) else {annotation}
        if bool in kinds:
            value = parse_value(value) if isinstance(value, str) else value  # of a variable
            if not isinstance(value, bool):
                raise PydanticCustomError("no_bool", "not true or false")
        elif isinstance(value, bool) and kinds & {int, float}:
            raise PydanticCustomError("no_number", "not a number")
        elif date in kinds and not isinstance(value, date) and not _DATE.fullmatch(str(value)):  # 86400 is no day
            raise PydanticCustomError("no_date", "not a date such as 2026-12-31")
        return value


class _Loader(yaml.SafeLoader):
    """The safe loader. It refuses duplicate keys and what grows without end, and keeps every digit of a number."""

    def __init__(self, stream):
        super().__init__(stream)
        self._level, self._sizes = 0, {}  # of a node that is read: values and levels, its aliases followed
        self.found: list[Exception] = []  # mistakes after which it goes on

    def scan_to_next_token(self):
        if lost := _LOST.match(self.buffer, self.pointer):  # a token ends here
            before = self.buffer[self.buffer.rfind("\n", 0, self.pointer) + 1 : self.pointer]
            glued = lost[0] == "#" and before[-1:] not in ("", " ", "\t")
            if before.strip() and (glued or self.buffer.startswith("{", lost.end())):
                raise _refused(
                    self, "the text ends before `#`, which begins a comment; put text with { } or # in quotes"
                )
        super().scan_to_next_token()

    def compose_node(self, parent, index):
        event = self.peek_event()
        self._level += 1
        if self._level > MAX_LEVELS:  # before Python's own limit
            raise _refused(event, f"nested more than {MAX_LEVELS} levels deep")
        node = super().compose_node(parent, index)
        self._level -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _refused(event, f"the alias *{event.anchor} leads into itself")
            return node
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            inner = [one for pair in inner for one in pair]
        sizes = [self._sizes[id(one)] for one in inner]
        size, levels = 1 + sum(size for size, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)
        if size > MAX_NODES or levels > MAX_LEVELS:
            raise _refused(event, f"aliases make it more than {MAX_NODES:,} values, or {MAX_LEVELS} levels")
        self._sizes[id(node)] = size, levels
        return node

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError):
            raise _refused(node, f"{node.value!r} is not what its tag says") from None

    def construct_scalar(self, node):
        text = super().construct_scalar(node)
        if node.style is None and text[:1] in _CURLY:  # a word processor makes them of straight ones
            self.found.append(_refused(node, f"the quote {text[0]} is text to YAML; write a straight one, ' or \""))
        if _HALF.search(text):  # JSON writes one character outside the basic plane as the escapes of two halves
            try:
                text = text.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                raise _refused(node, "half a character (a lone surrogate)") from None
        return text

    def construct_mapping(self, node, deep=False):
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused(key_node, "a map or a list is no key; put text with { } or [ ] in quotes")
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):  # YAML reads no, on, yes and 12 as something else
                self.found.append(_refused(key_node, f"the key {key_node.value!r} is not text; put it in quotes"))
            elif key in seen:
                says = f"duplicate key {key!r}, as on line {seen[key]}; keep one of them"
                self.found.append(_refused(key_node, says))
            else:
                seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _refused(place: Any, what: str) -> yaml.YAMLError:
    mark = place.get_mark() if isinstance(place, yaml.SafeLoader) else place.start_mark
    return yaml.MarkedYAMLError(problem=what, problem_mark=mark)


def _exact_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    from decimal import Decimal, InvalidOperation

    if ":" in node.value:  # see _plain_int
        return node.value
    try:
        return Decimal(node.value.replace("_", ""))
    except InvalidOperation:
        return loader.construct_yaml_float(node)


def _plain_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    # YAML 1.1 reads 012345670123 as an octal number, but an account or an environment is meant; and it reads 12:30 as 750
    # (base 60), but a time of day is meant.
    is_text = re.fullmatch(r"[-+]?0\d+|.*:.*", node.value) or len(node.value) > MAX_DIGITS  # which Python cannot write
    return node.value if is_text else loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _plain_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _exact_float)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_str)  # a date in a mapping is text


def parse_value(text: str) -> Any:
    """One value, parsed like a value in a YAML file; the text itself where it is not YAML."""
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except (yaml.YAMLError, ValueError, LookupError):
        return text
    return text if loader.found else value


def scalar(text: str) -> str:
    """Text as YAML that this loader reads as that text, on one line: plain where that is possible, else in quotes."""
    if _PLAIN.fullmatch(text) and parse_value(text) == text:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def literal(text: str) -> str:
    """As `scalar`, for a value that `expand` must leave as it is."""
    return scalar(_VARIABLE.sub(lambda found: found[0].replace("${", "${DOLLAR:-$}{"), text))


def open_regular(path: str | Path, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A descriptor of a regular file; `flags` and `mode` as for os.open. Raises OSError; ValueError, a reason, for other files.

    Nothing is waited for: a pipe would wait for somebody at its other end, and a device may have no end.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, mode)
    except OSError as problem:
        if problem.errno in _NOT_REGULAR:
            raise ValueError(_NOT_REGULAR[problem.errno]) from None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ValueError("it is not a regular file")


def read_whole(path: Path, most: int = MAX_FILE_BYTES, flags: int = os.O_RDONLY) -> bytes:
    """The bytes of a regular file; `flags` as for os.open. Read-only.

    Raises OSError; ValueError, a reason, for any other file and a larger one.
    """
    with open(open_regular(path, flags), "rb") as file:
        content = file.read(most + 1) if os.fstat(file.fileno()).st_size <= most else None
    if content is None or len(content) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return content


def read_yaml(path: Path, error: type[RunbookError]) -> tuple[dict[str, Any], Written]:
    """The mapping (dict) in a YAML file, by a safe loader; where it was written. Read-only. Raises `error`, a line a mistake."""
    try:
        text = read_whole(path).decode("utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file; check the path (relative paths start at {Path.cwd()}).") from None
    except (OSError, ValueError) as problem:
        reason = "it is not UTF-8 text" if isinstance(problem, UnicodeDecodeError) else str(problem)
        reason = problem.strerror if isinstance(problem, OSError) else reason
        raise error(f"{path}: cannot be read: {reason}; name a YAML file of a page or two.") from None
    root, content, found = _parsed(text)
    mistakes = [Mistake((), _yaml_says(one), getattr(one, "problem_mark", None)) for one in found]
    refuse(mistakes, Written(path.name), error)
    if not isinstance(content, dict):
        raise error(f"{path.name}: holds no keys; see the files in parameters/ for the form.")
    return content, Written(path.name, root)


def _parsed(text: str) -> tuple[yaml.Node | None, Any, list[Exception]]:
    """The document as nodes and as content, and the mistakes in it."""
    found: list[Exception] = []
    root = content = None
    try:
        loader = _Loader(text)
        found = loader.found
        root = loader.get_single_node()
        content = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError, LookupError) as problem:
        found.append(problem)
    return root, content, found


def _yaml_says(problem: Exception) -> str:
    what = getattr(problem, "problem", None) or "not readable as YAML"
    return what if ";" in what else f"{what}; {next(fix for sign, fix in _FIXES if re.search(sign, what))}"


def expand(content: Any, unset: list[Mistake], place: Place = ()) -> Any:
    """The content with `${VAR:-default}` replaced in every text value. `unset` gets the variables without value."""

    def value_of(match: re.Match) -> str:
        name, default = match.groups()
        value = os.environ.get(name) or default
        if value is None:
            hole = "" if name.isupper() else f", or {{{name}}} for an attribute"
            says = f"${{{name}}} is not set; export {name} or write ${{{name}:-default}}{hole}"
            unset.append(Mistake(place, says))
        return value or ""

    if isinstance(content, str):
        return _VARIABLE.sub(value_of, content)
    if isinstance(content, dict):
        says = "is a key, and ${…} stands for a variable in values alone; write the name itself"
        unset += [Mistake((*place, key), says) for key in filter(_VARIABLE.search, content)]
        return {key: expand(value, unset, (*place, key)) for key, value in content.items()}
    if isinstance(content, list):
        return [expand(value, unset, (*place, n)) for n, value in enumerate(content)]
    return content


def explain(problem: ValidationError, content: Any, model: type[BaseModel], hint: Hint | None = None) -> list[Mistake]:
    """All that pydantic found in the content, one mistake a place: what is wrong, how to fix it; `hint` may know it better."""
    found: dict[Place, str] = {}
    errors = problem.errors()
    misspelt = {error["loc"][:-1] for error in errors if error["type"] == "extra_forbidden"}
    for error in errors:
        if error["type"] == "missing" and error["loc"][:-1] in misspelt:
            continue  # a misspelt key is also missing
        place, holder = _place(error, content)
        if error["type"] == "extra_forbidden" and _is_bare(holder) and models_at(model, place[:-1], _OR_TEXT):
            place, says = place[:-1], bare(holder)
        else:
            says = (hint and hint(error["type"], place, error["input"])) or _says(error, place, model)
        found.setdefault(place, says)
    # Of the alternatives of a union, the one that fits further.
    return [
        Mistake(place, says)
        for place, says in found.items()
        if not any(len(other) > len(place) and other[: len(place)] == place for other in found)
    ]


def _place(error: Any, content: Any) -> tuple[Place, Any]:
    """The keys that lead to a mistake, as they are written, without pydantic's own names; and what holds the last."""
    place, holder, value = [], None, content
    for part in error["loc"]:
        if part in value if isinstance(value, dict) else isinstance(value, list) and part in range(len(value)):
            holder, value = value, value[part]
            place.append(part)
    return (*place, *error["loc"][-1:]) if error["type"] == "missing" else tuple(place), holder


def _is_bare(value: Any) -> bool:
    """Whether a value looks like text in braces that lacks its quotes, which YAML reads as a map without values."""
    return isinstance(value, dict) and bool(value) and not any(one is not None for one in value.values())


def bare(value: dict) -> str:
    """What is said of text in braces without its quotes, which YAML reads as a map without values."""
    return f"is a map, because {{{', '.join(value)}}} stands there without quotes; put text with {{ }} or # in quotes"


def _says(error: Any, place: Place, model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden" and len(place) > 1 and place[-1] in model.model_fields:
        return "unknown key here; write it at the top of the file, without indentation"
    if kind == "extra_forbidden":
        return f"unknown key{suggest(str(place[-1]), _keys(models_at(model, place[:-1])))}"
    if kind == "missing":
        return "is missing; add it"
    if kind == "literal_error":
        return f"is {_short(error['input'])}; use {context['expected']}"
    if kind in ("model_type", "dict_type"):
        text = " or text in quotes" if context.get("class_name") in _OR_TEXT else ""
        return f"is {_short(error['input'])}; write {{key: value}}{text}"
    if kind == "string_type" and _is_bare(error["input"]):
        return bare(error["input"])
    if kind in _WRITE:
        return f"is {_short(error['input'])}; write {_WRITE[kind]}"
    if kind == "string_too_short" and not error["input"]:
        return "is empty; write some text"
    if kind == "too_short":
        return f"is empty; give at least {context['min_length']}"
    message = str(context.get("error", error["msg"])).rstrip(".")
    return message if kind == "value_error" else f"{message[:1].lower()}{message[1:]}; correct the value"


def shown(text: str) -> str:
    """Text for a message, with `***` for what a URL in it says of user, password and query."""
    return _URL_LOGIN.sub(lambda found: f"{found[1]}?***" if found[1] else "//***@", text)


def _short(value: Any) -> str:
    text = shown(repr(value) if isinstance(value, str | list | dict) else str(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def suggest(name: str, known: list[str]) -> str:
    """`; did you mean 'x'?`, or the list of known names."""
    folded = {one.casefold(): one for one in reversed(known)}
    begun = [one for one in folded if name and one.startswith(name.casefold())]
    if close := begun if len(begun) == 1 else difflib.get_close_matches(name.casefold(), folded, 1, 0.6):
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; known are {', '.join(sorted(known))}." if known else "; remove it."


def _keys(models: list[type[BaseModel]]) -> list[str]:
    return sorted({field.alias or name for m in models for name, field in m.model_fields.items()})


def models_at(model: Any, place: Place, named: Collection[str] = ()) -> list[type[BaseModel]]:
    """The models at a place, or those of certain names; a part that is not a field is the key of a dict of models."""
    models = [model]
    for part in place:
        fields = [field for m in models for name, field in m.model_fields.items() if part == (field.alias or name)]
        models = [found for field in fields for found in models_in(field.annotation)] or models
    return [m for m in models if not named or m.__name__ in named]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in models_in(inner)]
