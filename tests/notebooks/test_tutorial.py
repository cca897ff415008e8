"""docs/tutorial.md, followed from its first command to its last."""

import pytest
from engines import ROOT
from support_tutorial import TABLES, Reader, blocks

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_process")]


def test_the_tutorial_shows_what_the_program_does(fresh_moto, tmp_path, monkeypatch):
    """From the draft to the last deleted item; the source stays as it was. Where it fails, the text or the program is wrong."""
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    (tmp_path / "parameters/mappings").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", fresh_moto.endpoint_url)
    client = fresh_moto.client(TABLES["REGION"])
    TABLES["fill"](client)
    before, reader = _content(client, TABLES["ENVIRONMENT"]), Reader(tmp_path)
    for kind, text in blocks():
        reader.follow(kind, text)
    assert _content(client, TABLES["ENVIRONMENT"]) == before
    assert _content(client, "live") == {"Bikes-live": [], "Customers-live": [], "Rentals-live": []}


def _content(client, environment: str) -> dict[str, list]:
    """Table → its items, of the tables of an environment."""
    names = [name for name in client.list_tables()["TableNames"] if name.endswith(environment)]
    return {name: client.scan(TableName=name)["Items"] for name in names}
