"""Figures of a step's result as pandas DataFrames: how one is declared, made once, and shown.

pandas is imported when the first frame is made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .html import Html, table

if TYPE_CHECKING:
    import pandas

TEXT, COUNT, NUMBER, FLAG, TIME = "str", "int64", "float64", "bool", "datetime64[ns, UTC]"
MAYBE = "Int64"  # a count that can be missing
LONG = 40  # characters of a text, above which its column may wrap
Rows = Iterable[Sequence[Any]]


class Frame:
    """A property: the DataFrame of the rows that a method yields, made once for each object."""

    def __init__(self, rows: Callable[[Any], Rows], columns: Mapping[str, str]):
        """`columns`: name → dtype, which an empty frame has, too."""
        self.rows, self.columns, self.name = rows, columns, rows.__name__
        self.__doc__ = rows.__doc__

    def __get__(self, face: "Frames | None", owner: type) -> "pandas.DataFrame | Frame":
        if face is None:
            return self
        if self.name not in vars(face):
            vars(face)[self.name] = self._made(face)
        return vars(face)[self.name]

    def __set__(self, face: "Frames", value: object) -> None:
        raise AttributeError(f"{self.name} is made from the result; work on a copy of it.")

    def _made(self, face: "Frames") -> "pandas.DataFrame":
        import pandas

        rows = list(self.rows(face))
        columns = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        pairs = zip(self.columns.items(), columns, strict=True)
        return pandas.DataFrame({name: pandas.Series(list(values), dtype=dtype) for (name, dtype), values in pairs})


def frame(**columns: str) -> Callable[[Callable[[Any], Rows]], Frame]:
    """Decorates a method that yields a row's values in the order of these columns."""
    return lambda rows: Frame(rows, columns)


class Frames:
    """What a step of a notebook returns: `result`, and its figures as DataFrames."""

    def __init__(self, result: Any, report: Mapping[str, Any] | None = None):
        """`report`: the content of the report that the step wrote."""
        self.result, self.report = result, report or {}

    @classmethod
    def names(cls) -> list[str]:
        """The names of its DataFrames."""
        return [name for one in cls.__mro__[::-1] for name, found in vars(one).items() if isinstance(found, Frame)]

    def __repr__(self) -> str:
        return f"{type(self).__name__} with the DataFrames {', '.join(self.names())}"


def as_table(frame: "pandas.DataFrame | pandas.Series", limit: int) -> Html:
    """A DataFrame or Series as a table like the others, its index only where it has a name."""
    frame = frame.to_frame() if frame.ndim == 1 else frame
    frame = frame.reset_index() if any(frame.index.names) else frame
    shown = frame.head(limit).astype(object)
    rows = [[_cell(value) for value in row] for row in shown.where(shown.notna(), None).to_numpy().tolist()]
    longest = [max(map(len, map(str, column))) for column in zip(*rows, strict=True)]
    kinds = [
        "r" if dtype.kind in "iuf" else "w" if most > LONG else "l"
        for dtype, most in zip(frame.dtypes, longest, strict=True)
    ]
    return table([str(name) for name in frame.columns], rows, align="".join(kinds), limit=limit, total=len(frame))


def _cell(value: object) -> object:
    return f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def inner(result: Any) -> Any:
    """The result itself, which the views take."""
    return result.result if isinstance(result, Frames) else result
