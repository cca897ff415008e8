"""Templates: holes, braces, dates, and matching a text against a template."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import texts

from runbook_lib.mapping.text.templates import (
    ANY,
    REMEMBERED,
    Hole,
    date_function,
    finder,
    format_date,
    holes,
    literals,
    parse,
    reader,
)

names = st.text(st.characters(codec="utf-8", exclude_characters="{}|:"), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("LEAD", ("LEAD",)),
        ("", ("",)),
        ("{id}", (Hole("id"),)),
        ("STATUS#{status|new}", ("STATUS#", Hole("status", None, "new"))),
        ("{created_at:%Y-%m|0000-00}#{id}", (Hole("created_at", "%Y-%m", "0000-00"), "#", Hole("id"))),
        ("{a|}", (Hole("a", None, ""),)),
        ("{a|x:y|z}", (Hole("a", None, "x:y|z"),)),
        ("{a}{b}", (Hole("a"), Hole("b"))),
        ("{{a}}", ("{a}",)),
        ("{{{a}}}", ("{", Hole("a"), "}")),
        ("a{{b{c}d}}e", ("a{b", Hole("c"), "d}e")),
        ("{{{{", ("{{",)),
        ("100%", ("100%",)),
        ("{t:%Y%%%m}", (Hole("t", "%Y%%%m"),)),
        (r"{a\:b:%Y|c}", (Hole(r"a\:b", "%Y", "c"),)),
        (r"{a\|b|c\|d}", (Hole("a|b", None, r"c\|d"),)),
        (r"{a\\|b}", (Hole(r"a\\", None, "b"),)),
        ("{a\\}", (Hole("a\\"),)),
        ("{t:%Y-%m-%dT%H:%M:%S|-}", (Hole("t", "%Y-%m-%dT%H:%M:%S", "-"),)),
    ],
)
def test_parsing(text, parts):
    """Text, holes with format and default, doubled braces."""
    assert parse(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{a",
        "a}",
        "{a}}",
        "{{a}",
        "{}",
        "{|x}",
        "{:%Y}",
        "{a:}",
        "{a:x}",
        "{a:%Q}",
        "{a:%Y-%}",
        "{a:%-m}",
        "{a{b}}",
    ],
)
def test_bad_templates_are_refused_in_one_sentence(text):
    """ValueError that shows the template and the mend."""
    with pytest.raises(ValueError, match=r"^(a single|a hole|date format)") as problem:
        parse(text)
    assert "\n" not in str(problem.value)


@given(st.lists(texts.map(lambda text: ("text", text)) | names.map(lambda name: ("hole", name)), max_size=6))
def test_a_template_written_from_its_parts_is_read_back(parts):
    """Whatever the literals hold, doubled braces bring it through."""
    text = "".join(
        "{" + part + "}" if kind == "hole" else part.replace("{", "{{").replace("}", "}}") for kind, part in parts
    )
    assert "".join(part if isinstance(part, str) else f"<{part.name}>" for part in parse(text)) == "".join(
        f"<{part}>" if kind == "hole" else part for kind, part in parts
    )
    assert [hole.name for hole in holes(parse(text))] == [part for kind, part in parts if kind == "hole"]


moments = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29))
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59)


@given(moments, offsets)
@example(datetime(2025, 8, 1, 0, 30), 60)
def test_dates_with_a_zone_are_taken_to_utc(moment, offset):
    """A month can change: 2025-08-01T00:30+01:00 is July."""
    zone = timezone(timedelta(minutes=offset))
    utc = moment.replace(tzinfo=zone).astimezone(UTC)
    sign, (hours, minutes) = "-" if offset < 0 else "+", divmod(abs(offset), 60)
    for spelled in (f"{sign}{hours:02}:{minutes:02}", f"{sign}{hours:02}{minutes:02}"):
        text = f"{moment:%m-%dT%H:%M:%S}{spelled}"
        assert format_date(f"{moment.year:04}-{text}", "%Y-%m") == f"{utc.year:04}-{utc.month:02}"
        assert (
            format_date(f"{moment.year:04}-{text}", "%d %H:%M:%S %j %y %%")
            == utc.strftime("%d %H:%M:%S %j ") + f"{utc.year % 100:02} %"
        )


@pytest.mark.parametrize(
    "text",
    [
        *("2025-08-03", "20250803", "2025-08-03T00", "2025-08-03T00:00", "2025-08-03T00:00:00", "20250803T000000Z"),
        *("2025-08-03T00:00:00Z", "2025-08-03T00:00:00.123456789Z", "2025-08-03 00:00:00", "2025-08-03T00:00:00,5"),
        *("2025-08-03T02:00:00+02", "2025-08-02T22:00-0200", "2025-08-03t00:00:00z"),
    ],
)
def test_iso_8601_dates(text):
    """Dates and times, long and short, with and without zone (then UTC)."""
    assert format_date(text, "%Y-%m-%d") == "2025-08-03"


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "31/12/2024", "2025-13-01", "2025-02-29", "2025-00-10", "0000-01-01", "2025-8-3", "25-08-03"),
        *(
            "2025-08-03T",
            "2025-08-03Z",
            "2025-08-03T25:00",
            "2025-08-03T10:60",
            "2025-08-03T10:00+25:00",
            "2025-08-03T10:00+02:60",
        ),
        *(
            " 2025-08-03",
            "2025-08-03\n",
            "1754179200",
            "1754179200000",
            "2025-08-03T10:00:00 UTC",
            "Sun, 03 Aug 2025 00:00:00 GMT",
        ),
        *("0001-01-01T00:00+01:00", "9999-12-31T23:00-02:00"),
        "٢٠٢٥-٠٨-٠٣",  # digits of another script are digits to `re` and to int()
        "2025-0803",
        "202508-03",
    ],
)
def test_what_is_no_date_has_no_format(text):
    """None: the template takes its default, or the item is quarantined. Never today's date."""
    assert format_date(text, "%Y-%m") is None


@given(
    st.sampled_from(["%Y-%m", "%j", "%y%%%d", "%Y-%m-%dT%H", "%H:%M:%S"]),
    st.lists(
        st.from_regex(
            r"\A(20(24|25)|0000|9999)-?(02|08|13)-?(28|29|30)([T ]([012][0-9])(:?[0-6][0-9](:?[0-6][0-9](\.[0-9])?)?)?"
            r"(Z|z|[+-]0[01](:?[06]0)?)?)?\Z"
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_a_format_that_remembers_days_gives_the_same(date_format, written):
    """Also the second time, for days that are none, and for times and zones that make another day of it."""
    formatted = date_function(date_format)
    for text in written * 2:
        assert formatted(text) == format_date(text, date_format)


def test_remembered_days_are_bounded():
    """More days than are remembered: the same answers."""
    formatted = date_function("%j")
    days = [(datetime(2000, 1, 1) + timedelta(days=number)).date() for number in range(3 * REMEMBERED)]
    assert [formatted(day.isoformat()) for day in days] == [f"{day.timetuple().tm_yday:03}" for day in days]


def ways(parts, text):
    """All ways in which a text matches: the pieces that stand in the holes. By trying."""
    if not parts:
        return [()] if not text else []
    if isinstance(parts[0], str):
        return ways(parts[1:], text[len(parts[0]) :]) if text.startswith(parts[0]) else []
    return [(text[:n], *more) for n in range(1, len(text) + 1) for more in ways(parts[1:], text[n:])]


@given(
    st.sampled_from(
        ["{A}#{B}", "{A}", "ORG#{A}#USER#{B}", "x{A}", "{A}x", "{A}#{B}#{C}", "{A}##{B}", "#{A}#", "{A}{B}", "x", ""]
    ),
    st.text("#xOR\n", max_size=7)
    | st.tuples(st.text("#x", max_size=4), st.text("#x", max_size=4)).map(lambda p: f"ORG#{p[0]}#USER#{p[1]}"),
)
def test_a_text_is_read_exactly_where_there_is_one_way_to_match(template, text):
    """Then the pieces are those of that way."""
    parts = parse(template)
    found = ways(parts, text)
    assert reader(parts)(text) == (list(found[0]) if len(found) == 1 else None)


def test_a_long_text_full_of_separators_is_read_at_once():
    """A pattern that tries all ways would take hours."""
    read = reader(parse("{A}#{B}#{C}#{D}!"))
    assert read("#" * 100_000) is None
    assert read("#" * 100_000 + "!") is None


def test_literals_in_a_template_mean_themselves():
    """Dots, brackets and line ends are characters like others; a hole takes all of them."""
    read = reader(parse("a.b[{A}]*"))
    assert read("a.b[x\ny]*") == ["x\ny"]
    assert read("axb[x]*") is None


# any text


def all_ways(parts, text):
    """What the holes can take, by trying every end of each: a hole one character or more, ANY up to where its literal stands."""
    found = []

    def go(number, at, taken):
        if number == len(parts):
            if at == len(text):
                found.append(taken)
            return
        part, after = parts[number], parts[number + 1] if number + 1 < len(parts) else ""
        if isinstance(part, str):
            if text.startswith(part, at):
                go(number + 1, at + len(part), taken)
            return
        for end in range(at + (part.name != ANY), len(text) + 1):
            if part.name != ANY or not after or text.find(after, at) == end:
                go(number + 1, end, [*taken, text[at:end]])

    go(0, 0, [])
    return found


pieces = st.sampled_from(["#", "##", "a#", "b", "#b"])
starred = st.tuples(
    st.sampled_from(["", "#", "a"]),
    st.lists(st.tuples(st.sampled_from(["{*}", "{x}"]), pieces), max_size=3),
    st.sampled_from(["{*}", "{x}", "{*}#", "{x}##", ""]),
).map(lambda t: t[0] + "".join(hole + literal for hole, literal in t[1]) + t[2])


@given(starred, st.text(st.sampled_from("ab#"), max_size=9))
@example("{*}##{x}", "a###b")
@example("{x}#{*}", "1#a#b")
@example("{*}##", "a###")
def test_a_template_with_any_text_reads_what_fits_in_exactly_one_way(template, text):
    """Against trying everything."""
    ways = all_ways(parse(template), text)
    assert reader(parse(template))(text) == (ways[0] if len(ways) == 1 else None)


@given(starred.filter(lambda template: template.count("{x}") == 1), st.text(st.sampled_from("ab#"), max_size=9))
@example("a{x}a", "aa")
@example("#{x}", "#")
def test_where_the_one_id_stands(template, text):
    """What the hole takes, by its place."""
    parts = parse(template)
    pieces, place = reader(parts)(text), finder(parts)(text)
    at = [hole.name for hole in holes(parts)].index("x")
    assert (pieces and pieces[at]) == (place and text[slice(*place)])
    if place:
        assert literals(parts)[0] == text[: place[0]] or at > 0


def test_any_text_in_a_long_one_takes_no_long():
    """Linear in the text, however often the separator stands in it."""
    text = "#" * 200_000
    assert reader(parse("{x}#{*}#{y}#{*}"))(text) is None
    assert reader(parse("{*}#{x}"))(text) == ["", text[1:]]
    assert reader(parse("{x}#{*}%{y}"))(text + "%") is None
    assert reader(parse("{x}#{*}%"))(text + "%") is None
