"""pyproject.toml, environment.yml and the locks say the same, and no lock holds an address."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
RUNTIME, TEST = PROJECT["dependencies"], PROJECT["optional-dependencies"]["test"]
BUILD = PYPROJECT["build-system"]["requires"]
CONDA_NAMES = {"matplotlib": "matplotlib-base"}  # without the Qt window, which notebooks never open
PIP_ONLY = {"parliament", "playwright"}  # comes with `pip: -e .[test]`
LOCKS = ["requirements.lock", "requirements-ministack.lock", "tests/engines/package-lock.json"]


def split(requirement):
    """Return the name and the version part of a requirement, without its extras."""
    name, _, version = re.fullmatch(r"([A-Za-z0-9._-]+)(\[.*?\])?(.*)", requirement).groups()
    return name.lower().replace("_", "-"), version.strip()


def locked(name):
    """Return {package: number of hashes} of a lock."""
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8").strip())
    return {entry.partition("==")[0]: entry.count("--hash=sha256:") for entry in entries}


def test_conda_users_get_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-e .[test]"]}
    wanted = dict(split(requirement) for requirement in [*RUNTIME, *BUILD, *TEST])
    wanted = {CONDA_NAMES.get(name, name): wanted[name] for name in wanted.keys() - PIP_ONLY}
    wanted |= {"python": PROJECT["requires-python"], "pip": ""}
    assert dict(split(requirement) for requirement in conda) == wanted


def test_the_tests_install_what_the_cluster_needs():
    """The extra is for users; its tests run with the locked versions."""
    assert set(PROJECT["optional-dependencies"]["dask"]) <= set(TEST)


def test_every_package_is_locked_with_hashes():
    lock = locked("requirements.lock")
    direct = {split(requirement)[0] for requirement in [*RUNTIME, *TEST, *BUILD]}
    assert direct <= lock.keys()
    assert [package for package, hashes in lock.items() if not hashes] == []


def test_the_second_engine_is_locked_with_hashes():
    lock = locked("requirements-ministack.lock")
    assert "ministack" in lock
    assert all(lock.values())


def test_the_third_engine_is_locked_with_hashes():
    packages = json.loads((ROOT / "tests/engines/package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert all("integrity" in package for path, package in packages.items() if path)


def test_the_build_backend_is_the_locked_one():
    assert PYPROJECT["dependency-groups"]["build"] == BUILD


@pytest.mark.parametrize("name", [*LOCKS, "pyproject.toml", "environment.yml", "tests/engines/package.json"])
def test_no_address_is_committed(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|^-[if] ", text, re.MULTILINE) == []
