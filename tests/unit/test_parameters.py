"""Parameters: what a file may hold, overrides, variables, paths."""

import re
from datetime import date
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from runbook_lib.cli import main
from runbook_lib.commands import override
from runbook_lib.errors import ParametersError
from runbook_lib.mapping.create import GlobalIndex, Units
from runbook_lib.mapping.model import Accept
from runbook_lib.parameters import (
    PriceList,
    UnitPrices,
    build_parameters,
    has_login,
    load_parameters,
    project_root,
    resolve_path,
)
from runbook_lib.yaml_files import Strict, shown

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
mapping: m.yaml
source: {environment: dev, region: us-west-1}
target: {environment: prod, region: us-west-1, production: true}
limits: {workers: 4, read_units: null, write_units: 12.5, on_failure: keep}
"""


@pytest.fixture
def load(tmp_path):
    """A function (text, overrides) that loads a file of that text."""

    def load(text, overrides=None):
        path = tmp_path / "p.yaml"
        path.write_text(text, encoding="utf-8")
        return load_parameters(path, overrides)

    return load


def test_a_file(load):
    """Every value of the right type; what is not given has its default."""
    parameters = load(GOOD)
    assert (parameters.source.environment, parameters.source.production, parameters.source.account) == (
        "dev",
        False,
        None,
    )
    assert (parameters.target.production, parameters.target.rollback_role_arn) == (True, None)
    limits = parameters.limits
    assert (limits.workers, limits.read_units, limits.write_units, limits.on_failure) == (4, None, 12.5, "keep")
    least = load("mapping: m\nsource: {environment: a}\ntarget: {environment: b}")
    assert (least.limits.workers, least.limits.on_failure, least.limits.segments) == (8, "rollback", None)
    # A role of the target's own, or the one that undoes; YAML reads digits as a number.
    more = {
        "source.role_arn": "r",
        "source.external_id": 123,
        "target.rollback_role_arn": "u",
        "target.external_id": "a:b",
    }
    parameters = load(GOOD, more)
    assert (parameters.source.external_id, parameters.target.external_id) == ("123", "a:b")


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        (GOOD + "limit: {}", {}, "limit: unknown key; did you mean 'limits'?"),
        (GOOD, {"sorce.region": "x"}, "sorce: unknown key; did you mean 'source'?"),
        (GOOD.replace("source:", "sorce:"), {}, "sorce: unknown key; did you mean 'source'?"),
        (GOOD, {"limits.worker": 2}, "limits.worker: unknown key; did you mean 'workers'?"),
        (
            GOOD,
            {"source.rollback_role_arn": "x"},
            re.compile(r"source\.rollback_role_arn: unknown key; did you mean 'role_arn'\?"),
        ),
        (
            GOOD,
            {"target.external_id": "of-us"},
            "target: external_id is only sent where a role is assumed; add role_arn, or remove external_id.",
        ),
        (
            GOOD,
            {"source.external_id": "a b", "source.role_arn": "r"},
            re.compile(r"source\.external_id: string should match pattern .*; correct the value\."),
        ),
        (
            GOOD,
            {"execute": True},
            re.compile(r"execute: unknown key; known are lease, limits, mapping, notify, source, target\."),
        ),
        (
            GOOD,
            {"target.zzz": 1},
            re.compile(r"target\.zzz: unknown key; known are account, backup, endpoint_url, environment, .*\."),
        ),
        (
            GOOD,
            {"limits.workers": "many"},
            re.compile(r"limits\.workers: input should be a valid integer.*; correct the value\."),
        ),
        (
            GOOD,
            {"limits.workers": 0},
            re.compile(r"limits\.workers: .*greater than or equal to 1; correct the value\."),
        ),
        (GOOD, {"limits.write_units": -1}, re.compile(r"limits\.write_units: .*greater than 0; correct the value\.")),
        (  # as seconds it would be no finite number
            GOOD,
            {"limits.patience": 1e308},
            "limits.patience: input should be less than or equal to 1000000; correct the value.",
        ),
        (GOOD, {"limits.on_failure": "panic"}, "limits.on_failure is 'panic'; use 'rollback' or 'keep'."),
        (
            GOOD,
            {"target.production": "perhaps"},
            "target.production is 'perhaps'; write true or false.",
        ),
        (
            GOOD,
            {"target.environment": ""},
            "target.environment is empty; write some text.",
        ),
        (GOOD, {"target.environment": False}, "target.environment is False; write text, in quotes."),
        (GOOD, {"source": "dev"}, "source is 'dev'; write {key: value}."),
        (GOOD, {"source": "d" * 500}, f"source is '{'d' * 79}…; write {{key: value}}."),
        (GOOD, {"mapping": None}, "mapping is None; write text, in quotes."),
        (GOOD.replace("mapping: m.yaml", ""), {}, "mapping is missing; add it."),
        ("mapping: m\nsource: {environment: a}", {}, "target is missing; add it."),
        ("mapping: m\nsource: {region: a}\ntarget: {environment: b}", {}, "source.environment is missing; add it."),
        (GOOD + "mapping: again.yaml", {}, "p.yaml: line 6: duplicate key 'mapping', as on line 2; keep one of them."),
        (
            GOOD + "x: !!python/object:os.system {}",
            {},
            re.compile(r"could not determine a constructor for the tag .*; correct the YAML there\."),
        ),
        (
            GOOD.replace("dev", "'${NOT_SET_ANYWHERE}'"),
            {},
            "source.environment: ${NOT_SET_ANYWHERE} is not set; export NOT_SET_ANYWHERE or write ${NOT_SET_ANYWHERE:-default}.",
        ),
        ("", {}, "holds no keys; see the files in parameters/ for the form."),
    ],
)
def test_a_mistake_is_one_sentence(load, text, overrides, sentence):
    """It names the file, the key, what is wrong and the mend."""
    with pytest.raises(ParametersError) as problem:
        load(text, overrides)
    (message,) = str(problem.value).splitlines()
    said = re.sub(r"^(p\.yaml: (line \d+: )?|-p )", "", message)
    assert said != message
    assert sentence.fullmatch(said) if isinstance(sentence, re.Pattern) else sentence in (said, message)


SIDES = "mapping: m\nsource: {environment: dev}\ntarget: {environment: prod, production: PRODUCTION}\n"
LIMITS = ("workers", "segments", "read_units", "write_units", "drift", "stale", "patience")
NUMBERS = {
    **{f"limits.{name}": SIDES + f"limits: {{{name}: VALUE}}" for name in LIMITS},
    "limits.tables.A.read_units": SIDES + "limits: {tables: {A: {read_units: VALUE}}}",
    "limits.tables.*.write_units": SIDES + "limits: {tables: {'*': {write_units: VALUE}}}",
    "lease.seconds": SIDES + "lease: {table: locks, seconds: VALUE}",
}
NO_NUMBERS = ("true", "no", ".inf", "-.inf", ".nan", "1.0e+400", "1e400", "Infinity", "1" + 400 * "0")
BOOLEANS = {"target.production": SIDES.replace("PRODUCTION", "VALUE")}
NO_BOOLEANS = ("1", "0", "1.0", "'1'", "y", "null")


@pytest.mark.parametrize(
    ("name", "file", "value"),
    [
        (name, file.replace("PRODUCTION", "true"), value)
        for files, values in ((NUMBERS, NO_NUMBERS), (BOOLEANS, NO_BOOLEANS))
        for name, file in files.items()
        for value in values
    ],
)
def test_what_only_counts_as_a_number_or_a_boolean_is_refused(load, monkeypatch, name, file, value):
    """In a file, with `-p`, from a variable, by papermill: in one sentence that names the parameter."""
    monkeypatch.setenv("GIVEN_", value.strip("'"))
    wrong, right = file.replace("VALUE", value), file.replace("VALUE", "true" if name in BOOLEANS else "1")
    load(right)
    for attempt in (
        lambda: load(wrong),
        lambda: load(right, override([f"{name}={value}"])),
        lambda: load(file.replace("VALUE", "'${GIVEN_}'")),
        lambda: build_parameters(yaml.safe_load(wrong)),
    ):
        with pytest.raises(
            ParametersError, match=rf"^(p\.yaml: line \d+: |-p |parameters: ){re.escape(name)}(:| is) [^\n]+\.$"
        ):
            attempt()


@pytest.mark.parametrize("setting", ["limits.patience=true", "limits.stale=.inf", "target.production=1"])
def test_the_command_refuses_it_before_anything_begins(tmp_path, capsys, setting):
    """Exit code 2, one sentence, no run."""
    path = tmp_path / "p.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert main(["analyze", str(path), "-p", setting, "--outputs", str(tmp_path / "outputs")]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"-p {setting.partition('=')[0]}")
    assert not (tmp_path / "outputs").exists()


def all_models(model):
    """A model's descendants."""
    return {found for one in model.__subclasses__() for found in (one, *all_models(one))}


def test_every_number_and_every_boolean_of_a_file_is_refused_as_what_it_is_not():
    """Of mappings and price lists as well, and of whatever model comes after them."""
    tried = set()
    for model in all_models(Strict):
        for name, field in model.model_fields.items():
            for kind, wrong, told in (
                (bool, 1, "no_bool"), (int, True, "no_number"), (float, True, "no_number"), (date, 86400, "no_date"),
            ):  # fmt: skip
                if re.search(rf"\b{kind.__name__}\b", str(field.annotation)):
                    with pytest.raises(ValidationError) as problem:
                        model.model_validate({"key": {"a": "S"}, field.alias or name: wrong})
                    assert told in [error["type"] for error in problem.value.errors()], (model, name)
                    tried.add((model, name))
    assert {
        (Units, "read"),
        (GlobalIndex, "partition"),
        (Accept, "empty"),
        (UnitPrices, "write"),
        (PriceList, "date"),
    } < tried


def test_an_override_of_what_is_no_group(load):
    """`mapping` has no keys of its own."""
    with pytest.raises(
        ParametersError, match=r"^-p mapping\.x: mapping is not a group of parameters; set one of its keys\.$"
    ):
        load(GOOD, {"mapping.x": 1})


@pytest.mark.parametrize("value", ["[" * 20_000, "{a: &a [*a]}", "0x" + "f" * 9_000, '"\\ud83d"', "&a [*b]"])
def test_an_override_without_end_is_text(load, value):
    """What cannot be read as YAML is text, and text is no number; no value costs more than its length."""
    with pytest.raises(ParametersError, match=r"limits\.workers: input should be a valid integer"):
        load(GOOD, override([f"limits.workers={value}"]))


def test_overrides(load):
    """Dotted, of the right type also where they come as text; groups that the file lacks; the file stays as it is."""
    parameters = load(
        GOOD, {"limits.workers": "16", "target.environment": "qa", "target.production": "false", "mapping": "n.yaml"}
    )
    assert (parameters.limits.workers, parameters.target.environment, parameters.target.production) == (16, "qa", False)
    assert parameters.mapping == "n.yaml"
    assert parameters.limits.on_failure == "keep"
    assert load(GOOD.rpartition("limits")[0], {"limits.segments": 3}).limits.segments == 3
    assert load(GOOD, {"source.region": None}).source.region is None
    assert load(GOOD).limits.workers == 4


def test_variables(load, monkeypatch):
    """In every value; a default for what is unset or empty; with the right type afterwards."""
    text = GOOD.replace("us-west-1", '"${REGION_:-eu-west-1}"').replace("workers: 4", 'workers: "${WORKERS_:-3}"')
    text = text.replace("production: true", 'production: "${PRODUCTION_:-true}", profile: "${PROFILE_:-}"')
    parameters = load(text)
    assert (parameters.source.region, parameters.limits.workers, parameters.target.production) == ("eu-west-1", 3, True)
    assert parameters.target.profile is None
    monkeypatch.setenv("REGION_", "ap-southeast-2")
    monkeypatch.setenv("WORKERS_", "")
    monkeypatch.setenv("PROFILE_", "me")
    parameters = load(text)
    assert (parameters.source.region, parameters.limits.workers, parameters.target.profile) == (
        "ap-southeast-2",
        3,
        "me",
    )
    monkeypatch.setenv("REGION_", "${WORKERS_}")
    assert load(text).source.region == "${WORKERS_}"  # a value is not read again


def test_a_limit_may_be_left_to_a_variable(load):
    """One that is not set gives no limit, as `null` does."""
    names = ("read_units", "write_units", "segments", "engine", "scheduler", "journal", "tables.A.read_units")
    limits = load(GOOD, {f"limits.{name}": "${NOT_SET_ANYWHERE:-}" for name in names}).limits
    assert {getattr(limits, name) for name in names[:-1]} == {None}
    assert limits.tables["A"].read_units is None


def test_an_account_may_be_written_as_a_number(load):
    """YAML reads 123456789012 as one; an environment, too."""
    parameters = load(GOOD, {"source.account": 123456789012, "target.environment": 2025})
    assert (parameters.source.account, parameters.target.environment) == ("123456789012", "2025")


def test_parameters_as_papermill_injects_them():
    """Plain dicts, the same checks; the file is then called parameters."""
    content = yaml.safe_load(GOOD)
    assert build_parameters(content).target.environment == "prod"
    with pytest.raises(ParametersError, match=r"^parameters: limits\.workers: "):
        build_parameters({**content, "limits": {"workers": "x"}})
    assert yaml.safe_load(GOOD) == content  # what is given is not changed


def test_a_missing_file_is_named(tmp_path):
    """With where relative paths start."""
    with pytest.raises(
        ParametersError, match=r"nowhere\.yaml: no such file; check the path \(relative paths start at "
    ):
        load_parameters(tmp_path / "nowhere.yaml")


def test_relative_paths_start_at_the_project(tmp_path, monkeypatch):
    """The nearest folder upward with notebooks/ in it, else the working directory; absolute paths stay."""
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_root() == deep
    assert resolve_path("x/m.yaml") == deep / "x" / "m.yaml"
    (tmp_path / "project" / "notebooks").mkdir()
    assert project_root() == tmp_path / "project"
    assert resolve_path("x/m.yaml") == tmp_path / "project" / "x" / "m.yaml"
    (tmp_path / "project" / "a" / "notebooks").mkdir()
    assert project_root() == tmp_path / "project" / "a"
    assert resolve_path(tmp_path / "m.yaml") == tmp_path / "m.yaml"
    (deep / "notebooks").touch()  # a file of that name is no project
    assert project_root() == tmp_path / "project" / "a"


@pytest.mark.parametrize("path", sorted((ROOT / "parameters").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_parameters_that_come_along_are_accepted(path, monkeypatch):
    """They are valid for papermill, too, and hold exactly the common parameters."""
    monkeypatch.chdir(ROOT)
    assert load_parameters(path).mapping_path().is_file()
    assert yaml.safe_load(path.read_text(encoding="utf-8")).keys() == {"mapping", "source", "target", "limits"}


WITH_LOGIN = [
    "http://user:sekret@host",
    "http://user:sekret@127.0.0.1:1/a://b",
    "http://host/a://user:sekret@b",
    "HTTP://user:sekret@host",
    "//user:sekret@host",
    "user:sekret@host",
    "user:sek/sekret@host",
    "http:user:sekret@host",
    "http:/user:sekret@host",
    "http:\\\\user:sekret@host",
    "http://user\\:sekret@host",
    "  http:// user : sekret@host",
    "http://user:sek\nsekret@host",
    "http://user:sekret%40host",
    "http://user:sekret%2540host",
    "http%3A%2F%2Fuser:sekret%40host",
    "http://user:sekret\uff20host",
    "http://user:sekret\ufe6bhost",
    "http://user:sek/sekret@host",
    "http://sek/sekret@host",
    "tls://sekret@host:1",
    "s3://key:sek/sekret@bucket/x",
    "s3://sekret@bucket",
    "s3://bucket\\key:sekret@x",
    "file://sekret@host/x",
    "http://host/?X-Amz-Security-Token=sekret",
    "http://host/%3Ftoken=sekret",
    "http://host#sekret",
]


@pytest.mark.parametrize("url", WITH_LOGIN)
def test_a_login_is_found_however_it_is_written(url):
    """And a message that quotes the text does not hold the password."""
    assert has_login(url)
    assert "sekret" not in shown(f"source.endpoint_url={url!r}")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "https://[::1]:8000/a/b",
        "https://dynamodb.us-west-1.amazonaws.com/",
        "tls://host:8786",
        "s3://bucket/a@b/c",
        "S3://bucket/a@b",
        "gs://bucket/x",
        "file:///home/me@work/a%20b",
    ],
)
def test_an_address_without_a_login_is_taken(url):
    """A file's name may hold an @."""
    assert not has_login(url)
