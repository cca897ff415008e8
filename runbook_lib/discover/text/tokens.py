"""Which texts can be recognised as ids, and the parts of a text that may be one. Pure."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice

TEXT = -(2**63)  # marks the code of a text that is no number


def whole_part(pattern: str) -> str:
    """The regular expression for it where it is a whole part of a text: no letter and no digit before or behind it."""
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_UUIDS = re.compile(whole_part(UUID))
# A uuid; a prefix of two letters or more (or of one, with a separator) and then a digit; 8 characters with both kinds.
_RECOGNISED = re.compile(
    rf"{UUID}|[A-Za-z]{{2,}}[-_.:#/|]?[0-9][^\s@]*|[A-Za-z][-_.:#/|][0-9][^\s@]*"
    r"|(?=[^\s@]*[0-9])(?=[^\s@]*[A-Za-z])[^\s@]{8,}"
)
_DECIMAL = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2}([T ][0-9:.,+Z-]*)?)?")
SEPARATORS = b"#|,;:/\\\"'`()[]{}<>=&?@!*+~^$%." + bytes(range(1, 32)) + b"\x7f"
_BREAKS = bytes.maketrans(SEPARATORS, b" " * len(SEPARATORS))
_TOKENS = re.compile(rf"[^{re.escape(SEPARATORS.decode())}\s]+")
_MARKS = re.compile(r"[^\w\x00-\x7f]")
_JOINTS = ".:#/|"  # between a prefix of letters and what makes an id of it: user:42
_JOINT = re.compile(rf"[{_JOINTS}](?<=[A-Za-z].)(?=[A-Za-z_-]*[0-9])([0-9A-Za-z_-]*[0-9A-Za-z])")
_DIGIT = re.compile("[0-9]")
_HYPHEN = re.compile("[-_]")
_MOST_PIECES = 4  # of one id, between separators: ORD-2024-EU-7
_BETWEEN = re.compile("[^_]+")
_TELLING = 8  # characters of an id without a prefix
_ESCAPED = re.compile("%[0-9A-Fa-f]{2}")
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
    """The parts of all the texts that may be ids, beside the texts themselves."""
    wanted = [
        text
        for text in texts
        if not (text[4:5] == "-" and _DATE.fullmatch(text)) and not ("." in text and _DECIMAL.fullmatch(text))
    ]
    # All texts at once, and as bytes: a tenth of the time.
    joined = "\0".join(["", *wanted, ""])
    if joined.count("\0") > len(wanted) + 1:
        joined = "\0".join(["", *[text.replace("\0", " ") for text in wanted], ""])
    joined = _plain(joined)
    found = [joined[a:b] for a, b in _joint_spans(joined) if not joined[a - 1] == joined[b] == "\0"]
    long_texts = []
    broken = joined.encode("utf-8", "surrogatepass").translate(_BREAKS)
    for text in broken.decode("utf-8", "surrogatepass").split("\0"):
        blanks = text.count(" ")
        if blanks > LONG:
            long_texts.append(text)
            continue
        parts = text.split() if blanks else ()
        found += parts
        if "_" in text or ("-" in text and (blanks or not is_uuid(text))):
            found += _inside(parts or [text])
    # Of long texts, most of which hold no id, each different word is looked at once.
    if long_texts and (words := {word for word in {*" ".join(long_texts).split()} if _like_id(word)}):
        for text in long_texts:
            parts = [part for part in text.split() if part in words]
            found += parts + _inside(parts)
    return found


def unescaped(text: str) -> str:
    """The text with blanks in place of what is percent-encoded: `%2F` is no part of an id beside it."""
    return _ESCAPED.sub("   ", text) if "%" in text else text


def _plain(text: str) -> str:
    """The text, as long as before, with blanks in place of escapes and of marks beyond ASCII: quotes, dashes, blanks."""
    return unescaped(text) if text.isascii() else _MARKS.sub(" ", unescaped(text))


def token_spans(text: str) -> list[tuple[int, int]]:
    """Where the parts of a text stand, the longer before those inside them."""
    text = _plain(text.replace("\0", " "))
    spans = [*_joint_spans(text)]
    for token in _TOKENS.finditer(text):
        start, stop = token.span()
        spans += [(start, stop), *((start + a, start + b) for a, b in _inner_spans(token[0]))]
    return sorted(spans, key=lambda span: (span[0], -span[1]))


def _like_id(word: str) -> bool:
    return len(word) > 2 and not word.isalpha() and not word.isdigit() and bool(_DIGIT.search(word))


def is_uuid(text: str) -> bool:
    """Whether a text is as long as a uuid, with hyphens where one has them."""
    return len(text) == _LONGEST and text[8:24:5] == "----"


def _joint_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where ids may stand that hold a separator themselves, behind a prefix of letters, or behind several."""
    for joint in _JOINT.finditer(text):
        end, stop = joint.span(1)
        starts, at = [], end - 2
        while text[at].isalpha():  # there is one, and NUL or the text's begin before the first
            while at >= 0 and text[at].isalpha():
                at -= 1
            starts.append(at + 1)
            if at < 1 or text[at] not in _JOINTS or len(starts) == _MOST_PIECES:
                break
            at -= 1
        stops = [stop]
        if not is_uuid(joint[1]):
            stops += [one.start() for one in islice(_HYPHEN.finditer(text, end, stop), _MOST_PIECES)]
        for stop in stops:
            yield from ((start, stop) for start in starts)


def _inside(parts: list[str]) -> list[str]:
    wanted = [
        part
        for part in parts
        if "_" in part
        or (
            "-" in part
            and not is_uuid(part)
            and (len(part) > _TELLING + 1 or part.count("-") > 1)
            and _DIGIT.search(part)
        )
    ]
    return [part[a:b] for part in wanted for a, b in _inner_spans(part)]


def _inner_spans(part: str) -> Iterable[tuple[int, int]]:
    """Where ids may stand between hyphens and underscores: uuids, one piece, and several behind letters (CUS-7)."""
    if is_uuid(part):
        return ()
    spans = [uuid.span() for uuid in _UUIDS.finditer(part)] if len(part) > _LONGEST else []
    rest = _UUIDS.sub("." * _LONGEST, part) if spans else part  # no part holds a dot
    edges = [-1, *[one.start() for one in _HYPHEN.finditer(rest)], len(part)]
    if (number := len(edges) - 1) == 1:
        return spans
    if "_" in part:
        spans += [piece.span() for piece in _BETWEEN.finditer(part)]
    for at in range(number):
        start, stop = edges[at] + 1, edges[at + 1]
        piece = rest[start:stop]
        if len(piece) >= _TELLING and _like_id(piece) and "." not in piece:
            spans.append((start, stop))
        elif piece.isalpha():
            for end in edges[at + 2 : at + _MOST_PIECES + 1]:
                if end - start < len(part) and _DIGIT.search(run := rest[stop:end]) and "." not in run:
                    spans.append((start, end))
    return dict.fromkeys(spans)
