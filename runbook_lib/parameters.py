"""Where a migration runs: environments and limits. A parameters file is also a valid `papermill -f` file."""

import os
import re
import shlex
from datetime import date as date_type
from pathlib import Path
from typing import Any, Literal, TypeVar
from unicodedata import normalize
from urllib.parse import unquote

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from .errors import Mistake, ParametersError, Written, refuse
from .yaml_files import Strict, expand, explain, read_yaml

Model = TypeVar("Model", bound=BaseModel)
PRICES = "parameters/prices.yaml"  # a user's own
_ENDPOINTS = "AWS_ENDPOINT_URL"  # and what begins with it: for one service
# An @ that is a part of a file's name, in a URL that can be nothing else. A password may hold a slash, and a host needs none.
_IN_PATH = re.compile(r"(file|s3|gs|gcs|abfss?)://[^/:@]*/[^:]*")


def has_login(url: str) -> bool:
    """Whether a URL, or what is meant to be one, holds a user, a password, or a query, where tokens stand.

    However it is written: without a scheme, with backslashes, in percent codes, in wide letters. In doubt it does.
    """
    plain, before = url, ""
    while plain != before:  # %2540 is %40 is @
        plain, before = normalize("NFKC", unquote(plain)), plain
    plain = plain.replace("\\", "/").strip().lower()
    return bool(re.search("[?#;]", plain) or ("@" in plain and not _IN_PATH.fullmatch(plain)))


def _without_login(url: str | None) -> str | None:
    if url and has_login(url):
        raise ValueError(f"contains {LOGIN}")
    return url


LOGIN = "a user, a password or a query; remove it, because whoever reads a report or a notebook would read it too"


def _none_for_empty(value: Any) -> Any:
    return None if value == "" else value  # "${VAR:-}" with VAR unset


class Side(Strict):
    """One side of a migration. boto3's own chain decides where a value is None."""

    environment: str = Field(min_length=1)
    region: str | None = None
    account: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = Field(None, min_length=2, max_length=1224, pattern=r"^[\w+=,.@:/-]+$")  # as STS takes it
    endpoint_url: str | None = None
    production: bool = False

    @field_validator("environment", "account", "external_id", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        # YAML reads an account such as 123456789012 as a number.
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    _unset = field_validator("region", "account", "profile", "role_arn", "external_id", "endpoint_url", mode="before")(
        _none_for_empty
    )
    _no_login = field_validator("endpoint_url")(_without_login)

    @model_validator(mode="after")
    def _roles(self) -> "Side":
        if self.external_id and not self.role_arn and not getattr(self, "rollback_role_arn", None):
            raise ValueError("external_id is only sent where a role is assumed; add role_arn, or remove external_id")
        return self


class Target(Side):
    """The side that is written to."""

    rollback_role_arn: str | None = None
    backup: Literal["required", "waived"] = "required"  # before a production target is migrated into


class TableLimits(Strict):
    """The budget of one table, in units a second."""

    read_units: float | None = Field(None, gt=0)
    write_units: float | None = Field(None, gt=0)

    _unset = field_validator("*", mode="before")(_none_for_empty)


class Limits(Strict):
    """How fast, and what happens on failure."""

    workers: int = Field(8, ge=1, le=256)
    read_units: float | None = Field(None, gt=0)
    write_units: float | None = Field(None, gt=0)
    tables: dict[str, TableLimits] = {}  # entry, or "*" for each table that is not named
    segments: int | None = Field(None, ge=1, le=1_000_000)
    on_failure: Literal["rollback", "keep"] = "rollback"
    drift: float = Field(0.02, ge=0)  # share by which 03 may find more or fewer items than 01 without saying so
    stale: float = Field(10, ge=0)  # minutes; what was compared longer before a validation is resumed is compared again
    # Minutes for which throttling and 5xx are waited for without one success.
    patience: float = Field(10, ge=0, le=1_000_000)
    engine: Literal["threads", "processes", "dask"] | None = None
    scheduler: str | None = None
    journal: str | None = None  # URL where workers that do not see the run's folder put their journal records

    _unset = field_validator("read_units", "write_units", "segments", "engine", "scheduler", "journal", mode="before")(
        _none_for_empty
    )
    _no_login = field_validator("scheduler", "journal")(_without_login)


class LeaseSettings(Strict):
    """The table, in the target's account and region, that records which run may write each target table."""

    table: str = Field(min_length=1)
    seconds: float = Field(60, ge=1, le=3600)


class UnitPrices(Strict):
    """US dollars for a million request units."""

    read: float = Field(ge=0)
    write: float = Field(ge=0)


class PriceList(Strict):
    """What on-demand request units cost. The first region stands for all that are not listed."""

    date: date_type
    source: str = ""
    infrequent: float = Field(1.25, ge=0)  # times as much in a table of class STANDARD_INFREQUENT_ACCESS
    regions: dict[str, UnitPrices] = Field(min_length=1)


def check_program(text: str) -> str:
    """The text, a program with its arguments. Raises ValueError where it is none. Pure."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise ValueError("has a quote that is not closed; quote its words as in a shell") from None
    if not (words and words[0]):
        raise ValueError("names no program; write PROGRAM ARGUMENT …, or leave it out")
    return text


class Parameters(Strict):
    """Exactly the parameters that all notebooks share."""

    mapping: str
    source: Side
    target: Target
    limits: Limits = Limits()
    lease: LeaseSettings | None = None
    notify: str | None = None  # a program with its arguments; it stands in a file of the user's, never in a checkpoint

    _unset = field_validator("notify", mode="before")(_none_for_empty)

    _program = field_validator("notify")(lambda value: value and check_program(value))

    def mapping_path(self) -> Path:
        """The mapping file, relative paths taken from the project folder."""
        return resolve_path(self.mapping)


def project_root(start: Path | None = None) -> Path:
    """The nearest folder upward from `start` (default: working directory) that holds `notebooks/`, else `start`."""
    start = (start or Path.cwd()).resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "notebooks").is_dir()), start)


def resolve_path(path: str | Path) -> Path:
    """An absolute path as it is; a relative one from the project folder."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else project_root() / path


def outputs_folder(given: str | None) -> str:
    """The folder of the runs: `given`, relative to the working directory, else the project's `outputs`."""
    return str(Path(given).absolute()) if given else "outputs"


def load_parameters(path: str | Path, overrides: dict[str, Any] | None = None) -> Parameters:
    """The parameters in a YAML file, with dotted overrides (`limits.workers`). Read-only.

    Raises ParametersError: a sentence for each mistake, which names the file and the line (or `-p`), the key and the fix.
    """
    path = Path(path)
    content, written = read_yaml(path, ParametersError)
    if "tables" in content and "mapping" not in content:
        says = "this is a mapping; give the parameters file that names it under `mapping`"
        refuse([Mistake((), says, written.mark(("tables",)))], written, ParametersError)
    for dotted, value in (overrides or {}).items():
        _override(content, dotted, value)
    return _built(content, written.given(overrides or {}))


def build_parameters(content: dict[str, Any], file: str = "parameters") -> Parameters:
    """Parameters from plain dicts, as papermill injects them. Raises ParametersError naming `file`.

    Also where the environment names an endpoint with a password: every report would show it.
    """
    return _built(content, Written(file))


def _built(content: dict[str, Any], written: Written) -> Parameters:
    for name, value in os.environ.items():
        if name.startswith(_ENDPOINTS) and has_login(value):
            raise ParametersError(f"{name} contains {LOGIN}.")
    return _checked(Parameters, content, written)


def load_prices(built_in: Path) -> tuple[PriceList, str]:
    """The price list, and its name: PRICES in the project folder where that exists, else the one that is built in.

    Read-only. Raises ParametersError: a sentence for each mistake, which names the file, the line, the key and the fix.
    """
    own = resolve_path(PRICES)
    path, name = (own, PRICES) if own.exists() else (built_in, "built in")
    return _checked(PriceList, *read_yaml(path, ParametersError)), name


def _checked(model: type[Model], content: dict[str, Any], written: Written) -> Model:
    """The model of a file's content, variables replaced. Raises ParametersError with all mistakes."""
    mistakes: list[Mistake] = []
    content = expand(content, mistakes)
    found = None
    try:
        found = model.model_validate(content)
    except ValidationError as problem:
        mistakes += [one for one in explain(problem, content, model) if one.is_new(mistakes)]
    refuse(mistakes, written, ParametersError)
    return found


def _override(content: dict, dotted: str, value: Any) -> None:
    *folders, last = dotted.split(".")
    for name in folders:
        content = content.setdefault(name, {})
        if not isinstance(content, dict):
            raise ParametersError(f"-p {dotted}: {name} is not a group of parameters; set one of its keys.")
    content[last] = value
