"""Which texts can be recognised as ids, and the parts of a text that may be one. Pure."""

import re
from collections.abc import Iterable, Iterator

TEXT = -(2**63)  # marks the code of a text that is no number


def whole_part(pattern: str) -> str:
    """The regular expression for it where it is a whole part of a text: no letter and no digit before or behind it."""
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


_UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_UUIDS = re.compile(whole_part(_UUID))
# A uuid; a prefix of two letters or more (or of one, with a separator) and then a digit; 8 characters with both kinds.
_RECOGNISED = re.compile(
    rf"{_UUID}|[A-Za-z]{{2,}}[-_.:#/|]?[0-9][^\s@]*|[A-Za-z][-_.:#/|][0-9][^\s@]*"
    r"|(?=[^\s@]*[0-9])(?=[^\s@]*[A-Za-z])[^\s@]{8,}"
)
_DECIMAL = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2}([T ].*)?)?")
_SEPARATORS = b"#|,;:/\\\"'`()[]{}<>=&?@!*+~^$%\t\n\r."
_BREAKS = bytes.maketrans(_SEPARATORS, b" " * len(_SEPARATORS))
_TOKENS = re.compile(r"[^#|,;:/\\\"'`()\[\]{}<>=&?@!*+~^$%\s.]+")
_JOINTS = ".:#/|"  # between a prefix of letters and what makes an id of it: user:42
_JOINT = re.compile(rf"[{_JOINTS}](?<=[A-Za-z].)(?=[A-Za-z_-]*[0-9])")
_PREFIX, _REST = re.compile(rf"(?:[A-Za-z]+[{_JOINTS}])*[A-Za-z]+\Z"), re.compile(r"[0-9A-Za-z_-]*[0-9A-Za-z]")
_LONGEST = 36  # characters of a uuid
_DIGITS, _MOST = 19, 2**62  # of the longest number that stands for itself: time-ordered ids of 64 bits are below it
LONG = 32  # separators: of a text with more, only parts that look like ids are taken


def is_recognisable(text: str) -> bool:
    """Whether a text looks like an id and like nothing else, so that to find it elsewhere is no coincidence."""
    return bool(_RECOGNISED.fullmatch(text)) and not _DATE.fullmatch(text)


def as_number(text: str) -> int | None:
    """The whole number that a text is, if it stands for itself: not negative, no leading zeros, not too long."""
    if text.isdigit() and text.isascii() and len(text) <= _DIGITS and (text[0] != "0" or text == "0"):
        return number if (number := int(text)) < _MOST else None
    return None


def parts_of(texts: Iterable[str]) -> list[str]:
    """The parts between separators of all the texts that have some, beside the texts themselves."""
    found: list[str] = []
    wanted = [
        text
        for text in texts
        if not (text[4:5] == "-" and _DATE.fullmatch(text)) and not ("." in text and _DECIMAL.fullmatch(text))
    ]
    # All texts at once, and as bytes: a tenth of the time.
    joined = "\0".join(["", *wanted, ""])
    found += [joined[a:b] for a, b in _joint_spans(joined) if not joined[a - 1] == joined[b] == "\0"]
    long_texts = []
    broken = joined.encode("utf-8", "surrogatepass").translate(_BREAKS)
    for text in broken.decode("utf-8", "surrogatepass").split("\0"):
        blanks = text.count(" ")
        if blanks > LONG:
            long_texts.append(text)
            continue
        parts = text.split() if blanks else ()
        found += parts
        if "_" in text or len(text) > _LONGEST:
            found += _inside(parts or [text])
    # Of long texts, most of which hold no id, each different word is looked at once.
    if long_texts and (words := {word for word in {*" ".join(long_texts).split()} if _like_id(word)}):
        for text in long_texts:
            parts = [part for part in text.split() if part in words]
            found += parts + _inside(parts)
    return found


def _like_id(word: str) -> bool:
    return len(word) >= 8 and not word.isalpha() and not word.isdigit()


def _joint_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where ids may stand that hold a separator themselves, behind a prefix of letters, or behind several."""
    for joint in _JOINT.finditer(text):
        end = joint.start()
        start = _PREFIX.search(text, max(0, end - _LONGEST), end).start()
        stop = _REST.match(text, end + 1).end()
        yield start, stop
        yield from ((at, stop) for at in range(start + 1, end) if text[at - 1] in _JOINTS)


def token_spans(text: str) -> list[tuple[int, int]]:
    """Where the parts of a text stand, the longer before those inside them."""
    spans = [*_joint_spans(text)]
    for token in _TOKENS.finditer(text):
        pieces = [token.span()]
        if "_" in token[0]:
            pieces += [at.span() for at in re.compile("[^_]+").finditer(text, *token.span())]
        spans += pieces
        spans += [
            uuid.span()
            for start, stop in pieces
            if stop - start > _LONGEST
            for uuid in _UUIDS.finditer(text, start, stop)
        ]
    return sorted(spans, key=lambda span: (span[0], -span[1]))


def _inside(parts: list[str]) -> list[str]:
    """Ids that stand between underscores, and uuids that have something else before or behind them."""
    found = []
    for part in parts:
        pieces = part.split("_")
        if len(pieces) > 1:
            found += pieces
        found += [uuid for piece in pieces if len(piece) > _LONGEST for uuid in _UUIDS.findall(piece)]
    return found
