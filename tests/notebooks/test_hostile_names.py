"""Names of data, mapping and parameters that are meant to run, to steer a terminal or to break a page."""

import json
import re
from html.parser import HTMLParser

import pytest
import yaml

from runbook_lib.cli import main

CONFIRMED = ["--execute", "--confirm"]
FAKE = "2026-01-01T00:00:00Z INFO 03_migrate ends: PASS"
NAMES = (
    '"><script>alert(1)</script><img src=x onerror=alert(2)></style></title></textarea></pre><svg onload=alert(3)>',
    "javascript:alert(4)//[red]bold[/] [link=https://example.com]x[/link] [/]",
    f'=HYPERLINK("https://example.com")\u202egnp.exe\u2066\u200b\ufeff a\nb\r\n{FAKE}\t\x1b[31mred\x1b]0;title\x07\x9b2J',
    "data:image/svg+xml,<svg onload=alert(5)>'; DROP TABLE x; -- ` $(id) %s {0} <!-- ]]> &lt;b&gt; & {{ 7 * 7 }}{% raw %}"
    "$\\href{javascript:alert(6)}{x}$",
    "n" * 255,
    "../../../etc/passwd" + "ﷺ" * 60,
)
ENVIRONMENT = "".join(NAMES[:3])


# What steers a terminal, or turns the direction of a text; a line end is only the program's.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]")


OWN = re.compile(r"#|[\w.-]+\.(html|ipynb|zip)|[\w-]+/[\w.-]+|data:image/png;base64,")


class Page(HTMLParser):
    """What in a page could run or load."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        for name, value in attributes:
            value = value or ""
            if name.startswith("on") or name in ("srcdoc", "formaction", "action", "background"):
                self.found.append((tag, name, value))
            elif name in ("href", "src", "xlink:href", "data") and not OWN.match(value):
                self.found.append((tag, name, value[:80]))
        if tag in ("iframe", "object", "embed", "base", "form", "link", "applet"):
            self.found.append((tag, "", ""))


@pytest.fixture
def hostile(shop, tmp_path):
    """Entries, attributes, map keys, environments, and files of mapping and parameters with such names."""
    tables = {}
    for n, name in enumerate(NAMES):
        source, target = (f"{side}{n}-{shop.name}" for side in "st")
        shop.client.create_table(
            TableName=source,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for i, mixed in enumerate(({"S": name}, {"N": "1"})):
            ids = [{"S": f"id-{(n - back) % len(NAMES)}-{i}-long-enough"} for back in range(3)]
            item = {"id": ids[0], name: ids[1], f"{name[:200]} undeclared": ids[2], f"{name[:200]} mixed": mixed}
            shop.client.put_item(TableName=source, Item={**item, "map": {"M": {name: {"S": name}}}})
        tables[name] = {"source": source, "target": target, "create": {"key": {"id": "S"}}}
        if not re.search(r"[{}\\]", name + NAMES[n - 1]):
            tables[name]["references"] = {re.sub(r"([.:\[\]])", r"\\\1", name): NAMES[n - 1]}
    folder = tmp_path / "<img src=x onerror=alert(9)> [red]"
    folder.mkdir()
    mapping = folder / "{{ 7 * 7 }} \u202e<script>.yaml"
    mapping.write_text(yaml.safe_dump({"tables": tables}))
    content = yaml.safe_load(shop.params.read_text()) | {"mapping": str(mapping)}
    content["source"]["environment"], content["target"]["environment"] = f"dev {ENVIRONMENT}", ENVIRONMENT
    shop.params = folder / "<script>alert(1)<.yaml"
    shop.params.write_text(yaml.safe_dump(content))
    return shop


def migrate(shop, capsys, *more):
    """Executes 01 to 03 and `more` command lines, and looks at what is said. Gives the run's folder."""
    streams, execute = [], [*CONFIRMED, ENVIRONMENT]

    def say(*words):
        code = main([*map(str, words), "--outputs", str(shop.outputs)])
        said = capsys.readouterr()
        streams.extend((said.out, said.err))
        assert code in (0, 1), said.err

    for name in ("analyze", "create-tables", "migrate"):
        say(name, shop.params, *([] if name == "analyze" else execute))
    (folder,) = (path for path in shop.outputs.iterdir() if path.is_dir())
    for words in more:
        say(*words)
    say("rollback", "--checkpoint", min(folder.glob("migration-checkpoint-*.json")), *execute)
    for words in (["status"], ["status", folder.name], ["verify", folder.name], ["bundle", folder.name]):
        say(*words)
    log = (folder / "run.log").read_text()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ [A-Z]+ ", line) for line in log.splitlines())
    assert [STEERING.findall(text) for text in (*streams, log)] == [[]] * (len(streams) + 1)
    return folder


def check_html(name, text):
    """Nothing in a page is what a name made it."""
    page = Page(text)
    assert (page.found, page.scripts <= 1) == ([], True), name
    assert not STEERING.search(text), name


@pytest.mark.slow
def test_no_name_runs_or_steers(hostile, in_process, capsys):
    """In streams, log, summary, index, and what the notebooks display; a zip file and a run have plain names."""
    folder = migrate(hostile, capsys)
    assert re.fullmatch(r"[a-z0-9-]+", folder.name)
    for path in (folder / "summary.html", hostile.outputs / "index.html"):
        check_html(path.name, path.read_text())
    for path in folder.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        shown = [
            "".join(out["data"].get("text/html", ""))
            for cell in cells
            for out in cell.get("outputs", ())
            if "data" in out
        ]
        assert any("&lt;script&gt;" in text for text in shown)
        for text in shown:
            check_html(path.name, text)


@pytest.mark.slow
@pytest.mark.pages
def test_no_name_runs_in_a_browser(hostile, in_process, capsys, browser):
    """Every page of every stage: no dialog, no error on the console, no request; with and without the policy of the page."""
    execute = [*CONFIRMED, ENVIRONMENT]
    folder = migrate(
        hostile,
        capsys,
        ["test", hostile.params, NAMES[0], *execute, "--keep"],
        ["validate", hostile.params],
        ["iam", hostile.params, "migrate"],
    )
    pages = [*folder.glob("*.html"), hostile.outputs / "index.html"]
    assert len(pages) == 14
    for path in pages:
        check_html(path.name, path.read_text())
        for without_policy in (False, True):
            assert opened(browser, path, bypass_csp=without_policy) == [], path.name


def opened(browser, path, **options):
    """What a page does where all of it is unfolded and sorted: dialogs, errors on the console, requests."""
    context, said = browser.new_context(**options), []
    page = context.new_page()
    page.on("dialog", lambda one: (said.append(one.message), one.dismiss()))
    page.on("console", lambda one: one.type == "error" and said.append(one.text))
    page.on("pageerror", lambda one: said.append(str(one)))
    page.on("request", lambda one: one.url.startswith(("file:", "data:image/png")) or said.append(one.url))
    page.goto(path.as_uri())
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate("for (const one of document.querySelectorAll('th button, input')) one.click()")
    page.evaluate("for (const one of document.querySelectorAll('input')) one.dispatchEvent(new Event('input'))")
    context.close()
    return said
