"""Dates in other spellings: the same moment, or none."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts, values

from runbook_lib.mapping.text import datetimes
from runbook_lib.mapping.text.datetimes import conversion, default_as, spelling
from runbook_lib.values import canonical_number

SPELLINGS = [
    "epoch_seconds",
    "epoch_millis",
    "iso",
    "%d.%m.%Y",
    "%Y-%m-%d %H:%M:%S",
    "%Y%j",
    "%d/%m/%Y %H:%M",
    "%%%Y%m%d%H%M%S",
]
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))


def spelt(word: str, moment: datetime) -> dict:
    """A moment without zone, which is UTC, by Python's own rules."""
    since = moment - datetime(1970, 1, 1)
    if word == "epoch_seconds":
        return {
            "N": canonical_number(
                str(Decimal(since.days * 86_400 + since.seconds) + Decimal(since.microseconds).scaleb(-6))
            )
        }
    if word == "epoch_millis":
        millis = Decimal((since.days * 86_400 + since.seconds) * 1000) + Decimal(since.microseconds).scaleb(-3)
        return {"N": canonical_number(str(millis))}
    if word == "iso":
        return {"S": moment.isoformat() + "Z"}
    text = moment.strftime(word.replace("%Y", "@@"))
    return {"S": text.replace("@@", f"{moment.year:04}")}  # strftime gives the year 33 two digits


def is_shown(word: str, moment: datetime) -> bool:
    """Whether a spelling, as it writes, can say all of a moment."""
    if word == "iso" or word == "epoch_millis":
        return moment.microsecond % 1000 == 0
    if word == "epoch_seconds":
        return moment.microsecond == 0
    units = {"%H": "hour", "%M": "minute", "%S": "second"}
    return moment.microsecond == 0 and all(getattr(moment, unit) == 0 for d, unit in units.items() if d not in word)


@given(
    moments,
    st.sampled_from([1, 1000, 1_000_000, 60_000_000, 86_400_000_000]),
    st.sampled_from(SPELLINGS),
    st.sampled_from(SPELLINGS),
)
def test_a_conversion_is_exact_or_does_not_happen(moment, step, read, write):
    """What comes out is the same moment; what the spelling cannot show is never cut off."""
    since = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    moment = datetime(1970, 1, 1) + timedelta(microseconds=since // step * step)
    if read == "iso" or read.startswith("epoch") or is_shown(read, moment):
        value = spelt(read, moment)
        if is_shown(write, moment):
            made = conversion(read, write)(value)
            assert conversion(write, "epoch_millis")(made) == {"N": str(since // step * step // 1000)}
            assert spelling(read).read(value) == spelling(write).read(made)
            if write != "iso":
                assert made == spelt(write, moment)
        else:
            with pytest.raises(ValueError, match="cannot show all of it"):
                conversion(read, write)(value)


@given(
    values | st.builds(lambda text: {"S": text}, texts | st.from_regex(r"[0-9T:.Z +-]{1,30}")),
    st.sampled_from(SPELLINGS),
    st.sampled_from(SPELLINGS),
)
def test_any_value_converts_to_the_same_moment_or_is_refused(value, read, write):
    """Nothing but a ValueError, and its reason quotes no value."""
    try:
        made = conversion(read, write)(value)
    except ValueError as problem:
        made, reason = None, str(problem)
    content = next(iter(value.values()))
    if made is None:
        assert not isinstance(content, str) or len(content) < 8 or content not in reason
    else:
        assert spelling(write).read(made) == spelling(read).read(value)
        assert list(made) == [spelling(write).letter]


@pytest.mark.parametrize(
    ("read", "write", "value", "made"),
    [
        ("epoch_seconds", "iso", {"N": "1700000000"}, {"S": "2023-11-14T22:13:20Z"}),
        ("epoch_seconds", "iso", {"N": "1.7E+9"}, {"S": "2023-11-14T22:13:20Z"}),
        ("epoch_seconds", "iso", {"S": "1700000000.5"}, {"S": "2023-11-14T22:13:20.500Z"}),
        ("epoch_seconds", "epoch_seconds", {"S": "007"}, {"N": "7"}),
        ("epoch_seconds", "epoch_millis", {"N": "-0.001"}, {"N": "-1"}),
        ("epoch_millis", "iso", {"N": "-1"}, {"S": "1969-12-31T23:59:59.999Z"}),
        ("epoch_millis", "epoch_seconds", {"N": "1000"}, {"N": "1"}),
        ("iso", "iso", {"S": "2024-02-01"}, {"S": "2024-02-01T00:00:00Z"}),
        ("iso", "iso", {"S": "20240201T10"}, {"S": "2024-02-01T10:00:00Z"}),
        ("iso", "iso", {"S": "2024-02-01 10:00:00,1230+01:30"}, {"S": "2024-02-01T08:30:00.123Z"}),
        ("iso", "%d.%m.%Y", {"S": "2024-02-01T01:00:00+01:00"}, {"S": "01.02.2024"}),
        ("iso", "epoch_seconds", {"S": "0001-01-01"}, {"N": "-62135596800"}),
        ("%d.%m.%Y", "iso", {"S": "1.2.2024"}, {"S": "2024-02-01T00:00:00Z"}),
        ("%Y-%m-%d", "%d.%m.%Y", {"S": "2024-2-1"}, {"S": "01.02.2024"}),
        ("%d.%m.%Y", "%d.%m.%Y", {"S": "1.2.2024"}, {"S": "01.02.2024"}),
        ("%Y%j", "%Y-%m-%d", {"S": "2024366"}, {"S": "2024-12-31"}),
        ("%Y/%m/%d (%j)", "iso", {"S": "2024/02/01 (032)"}, {"S": "2024-02-01T00:00:00Z"}),
        ("%d.%m.%Y", "100%% %Y%m%d", {"S": "01.02.2024"}, {"S": "100% 20240201"}),
    ],
)
def test_conversions(read, write, value, made):
    """Numbers by value, zones, parts of a second, days and months with one digit."""
    assert conversion(read, write)(value) == made


@pytest.mark.parametrize(
    ("read", "value"),
    [
        ("%Y%m%d", {"S": "2024111"}),  # 1 November, or 11 January
        ("%d%m%Y", {"S": "1112024"}),
        ("epoch_seconds", {"S": "1e9"}),
        ("epoch_seconds", {"S": " 1"}),
        ("epoch_seconds", {"S": "2024-01-01"}),
        ("epoch_seconds", {"N": "1700000000000"}),  # they are milliseconds
        ("epoch_seconds", {"N": "-62135596800.001"}),
        ("epoch_seconds", {"BOOL": True}),
        ("epoch_millis", {"N": "1E+60"}),
        ("iso", {"N": "20240101"}),
        ("iso", {"S": "01.02.2024"}),
        ("iso", {"S": "2024-02-30"}),
        ("iso", {"S": "0001-01-01T00:00:00+01:00"}),
        ("iso", {"S": "2024-01-01T10:00:00." + "1" * 99}),
        ("%d.%m.%Y", {"S": "30.02.2024"}),
        ("%d.%m.%Y", {"S": "1.2.24"}),
        ("%d.%m.%Y", {"S": "01.02.2024 "}),
        ("%d.%m.%Y", {"S": "٠١.٠٢.٢٠٢٤"}),
        ("%d.%m.%Y", {"N": "1"}),
        ("%Y%m%d", {"S": "202412"}),
        ("%Y%j", {"S": "2023366"}),
        ("%Y%j", {"S": "2023000"}),
        ("%Y%j", {"S": "9999366"}),
        ("%Y-%m-%d %j", {"S": "2024-02-01 033"}),
        ("%Y-%m-%d %H", {"S": "2024-02-01 24"}),
        ("%Y-%m-%d %H", {"S": "2024-02-01 5"}),
    ],
)
def test_what_is_no_such_date(read, value):
    """Other spellings, dates that do not exist, directives that contradict each other, moments out of range."""
    with pytest.raises(ValueError):
        conversion(read, "iso")(value)


@pytest.mark.parametrize(
    ("write", "value"),
    [
        ("%d.%m.%Y", "2024-02-01T00:00:01Z"),
        ("%d.%m.%Y", "2024-02-01T00:00:00.001Z"),
        ("%d.%m.%Y", "2024-02-01T00:00:00+01:00"),  # another day, and 23 hours of it
        ("epoch_seconds", "2024-02-01T00:00:00.5Z"),
        ("epoch_millis", "2024-02-01T00:00:00.0001Z"),
        ("iso", "2024-02-01T00:00:00.0001Z"),
    ],
)
def test_what_would_be_lost_is_not_converted(write, value):
    """The time of day, milliseconds, what is finer than milliseconds."""
    with pytest.raises(ValueError, match=f"{write} cannot show all of it: the time of day, or a part of a second"):
        conversion("iso", write)({"S": value})


def test_it_is_proved_by_reading_back(monkeypatch):
    """A spelling that writes something else is caught, whatever its rules say."""
    wrong = datetimes.Spelling("S", spelling("iso").read, lambda moment: {"S": "2024-01-01T00:00:00Z"})
    monkeypatch.setattr(datetimes, "spelling", lambda word: wrong)
    assert conversion("iso", "iso")({"S": "2024-01-01"})
    with pytest.raises(ValueError, match="cannot show"):
        conversion("iso", "iso")({"S": "2024-01-02"})


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("unix", r"no spelling 'unix'; write epoch_seconds, epoch_millis, iso or a format such as '%d\.%m\.%Y'"),
        ("%d.%m.%y", r"'%d\.%m\.%y': %y does not say the century; write %Y"),
        ("%d.%B %Y", r"'%d\.%B %Y': unknown directive %B; known directives are %Y %m %d %H %M %S %j %%"),
        ("%Y-%m-%d %", r".*unknown directive %; .*"),
        ("%m/%Y", r"'%m/%Y' does not say the day; it needs %Y, and %m with %d, or %j"),
        ("%H:%M", r".*does not say the day.*"),
    ],
)
def test_a_spelling_that_cannot_work_is_refused(word, sentence):
    """One sentence, what to write."""
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        spelling(word)


@pytest.mark.parametrize(
    ("value", "read", "write", "made"),
    [
        ({"N": "0"}, "iso", "epoch_seconds", {"N": "0"}),
        ({"S": "0"}, "iso", "epoch_seconds", {"N": "0"}),
        ({"S": "1.1.1970"}, "iso", "%d.%m.%Y", {"S": "01.01.1970"}),
        (
            {"S": "02.01.1970"},
            "%m.%d.%Y",
            "%d.%m.%Y",
            {"S": "02.01.1970"},
        ),  # both could read it: it is spelt as `write`
        ({"S": "1970-01-01"}, "epoch_seconds", "iso", {"S": "1970-01-01T00:00:00Z"}),
        ({"N": "0"}, "epoch_seconds", "iso", {"S": "1970-01-01T00:00:00Z"}),
        ({"S": "1970-01-02"}, "iso", "epoch_millis", {"N": "86400000"}),
        ({"S": "none"}, "iso", "%d.%m.%Y", None),
        ({"N": "0"}, "%d.%m.%Y", "iso", None),
        ({"N": "0.5"}, "iso", "epoch_seconds", None),
    ],
)
def test_a_default_is_written_as_any_other_value(value, read, write, made):
    """It may be given as it is to be written, or as values are read."""
    if made is not None:
        assert default_as(value, read, write) == made
    else:
        with pytest.raises(ValueError, match=f"^it is spelt neither as `write: {write}` says nor as `read: {read}`$"):
            default_as(value, read, write)


def test_the_oracle_agrees_with_python():
    """The tests' own spelling is of the moment."""
    moment = datetime(2024, 2, 1, 10, tzinfo=timezone(timedelta(hours=2)))
    assert spelt("epoch_seconds", moment.astimezone(UTC).replace(tzinfo=None)) == {"N": str(int(moment.timestamp()))}
