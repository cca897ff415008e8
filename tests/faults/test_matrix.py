"""README.md in this folder lists every row of the fault matrix, with tests that exist."""

import ast
import errno
import os
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
ROWS = {*range(1, 97)} - {51}


@cache
def names_in(path: str) -> set[str]:
    """The test functions of a file."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def rows() -> dict[int, list[str]]:
    """Number → fault, tests, what is open."""
    lines = [line for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines() if line[2:3].isdigit()]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {int(number): rest for number, *rest in cells}
    assert len(found) == len(lines)
    return found


def test_every_row_has_a_test_or_a_reason():
    """95 rows; the tests that are named exist; what is not tested says why."""
    assert rows().keys() == ROWS
    for number, cells in rows().items():
        assert len(cells) == 3, number
        fault, tests, reason = cells
        assert fault, number
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", f"{tests} {reason}")
        assert tests or reason, number
        assert not tests or named or re.match(r"as \d+", tests), number
        for path, name in named:
            assert name in names_in(path), (number, name)
        for other in re.findall(r"\bas (\d+)", f"{tests} {reason}"):
            assert int(other) in ROWS, number


def test_every_row_that_a_test_names_is_listed_with_that_file():
    """A docstring that says `Row 7` belongs to a file that row 7 names, itself or through the row it refers to."""
    listed = {number: f"{tests} {reason}" for number, (_, tests, reason) in rows().items()}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or not (text := ast.get_docstring(node)):
                continue
            if not (match := re.match(r"Rows? ([\d, ]+)", text)):
                continue
            for number in map(int, re.findall(r"\d+", match[1])):
                texts = [listed[number], *(listed[int(other)] for other in re.findall(r"\bas (\d+)", listed[number]))]
                assert any(f"faults/{path.name}" in one for one in texts), (node.name, number)


def test_the_messages_that_the_page_for_users_quotes_are_the_programs():
    """docs/faults.md: what stands as code in a first column is what the program, or the operating system, says."""
    program = "\n".join(path.read_text(encoding="utf-8") for path in (TESTS.parent / "runbook_lib").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", program)
    system = {os.strerror(number) for number in errno.errorcode}
    page = (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8")
    first = re.findall(r"^\| ([^|]*`[^|]*) \|", page, re.MULTILINE)
    quotes = [quote for cell in first for quote in re.findall(r"`([^`]+)`", cell)]
    assert len(quotes) > 40
    for quote in quotes:
        for part in re.split(r" ?… ?", quote):
            assert part in joined or part in system, part
    assert "support" not in page


def test_the_rollback_page_says_what_a_restore_is_not():
    """Row 67: a backup is restored into a new table, without much of what the old one had."""
    text = " ".join((TESTS.parent / "docs" / "rollback.md").read_text(encoding="utf-8").split())
    sentence = re.search(r"restores into a \*new\* table, without ([^;]*);", text)
    for word in ("scaling", "policies", "alarms", "tags", "streams", "TTL", "point-in-time"):
        assert word in sentence[1], word
