"""Which texts are dates, moments or years. Pure."""

import re

TIME = r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2}(?:[T ][0-9:.]+(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?)?(?![0-9A-Za-z])"
_EPOCH = re.compile(r"1[0-9]{9}(?:[0-9]{3})?")
_DATE = re.compile(rf"{TIME}|(?:19|20)[0-9]{{2}}(?:[0-9]{{2,4}})?|{_EPOCH.pattern}")


def is_time(text: str) -> bool:
    """Whether a value is a date, a moment or a year."""
    return bool(_DATE.fullmatch(text))
