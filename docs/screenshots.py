"""Takes the pictures in docs/images: `make screenshots`, or `python docs/screenshots.py [OUTPUTS]`.

Runs the demo, and the tutorial up to its first analysis, opens their pages in headless Chromium, and writes docs/images/*.png:
1280 pixels wide, in 256 colours; also a picture of JupyterLab in which 03 is at work. OUTPUTS is the folder of an earlier demo,
which is then not run. Needs Chromium (in PATH, or
named by CHROMIUM). What differs from run to run is replaced before the picture is taken: run IDs, times, hashes, the
folder's path, and who ran it.
"""

import contextlib
import getpass
import io
import os
import re
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
MOST_BYTES = 150_000
COPY, SPLIT = "demo-env-copy", "demo-table-split"  # ends of the demo's run IDs


@dataclass(frozen=True)
class Shot:
    """A picture: `page` as a pattern in the folder of outputs, from a heading (the top of the page without one) down."""

    name: str
    page: str
    height: int
    heading: str = ""


SHOTS = (
    Shot("analyze", f"*-{COPY}/01_analyze.html", 1000),
    Shot("references", f"*-{COPY}/01_analyze.html", 900, "Reference map"),
    Shot("migrate", f"*-{SPLIT}/03_migrate.html", 700, "What arrived"),
    Shot("validate", f"*-{COPY}/04_validate.html", 900),
    Shot("summary", f"*-{COPY}/summary.html", 1500),
    Shot("index", "index.html", 700),
)
LAB = Shot("lab", "03_migrate.ipynb", 800)  # a working copy, while it works
OF_TUTORIAL = (Shot("tutorial-analyze", "*-rental/01_analyze.html", 700),)
# In every text of the page: the folder's path goes, who ran it is made up, and each run ID, time and hash becomes the same one.
STEADY = r"""([root, who]) => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        walker.currentNode.data = walker.currentNode.data.replaceAll(root, "").replaceAll(who, "analyst@example")
            .replace(/\b\d\d? [A-Z][a-z]{2} 20\d\d\b(, \d\d:\d\d)?/g, (_, time) => `1 Mar 2026${time ? ", 09:00" : ""}`)
            .replace(/\b[0-9a-f]{64}\b/g, "0123456789abcdef".repeat(4))
            .replace(/\b\d{8}-\d{6}-/g, "20260301-090000-").replace(/\b\d{8}T\d{6}Z/g, "20260301T090000Z")
            .replace(/\b\d{4}-\d\d-\d\d([T ])\d\d:\d\d(:\d\d)?/g,
                (_, between, seconds) => `2026-03-01${between}09:00${seconds ? ":00" : ""}`);
    }
}"""


def main() -> None:
    """Writes docs/images/*.png."""
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(sys.argv[1]).resolve() if sys.argv[1:] else demo(Path(scratch) / "demo")
        take(given, SHOTS)
        take(tutorial(Path(scratch) / "tutorial"), OF_TUTORIAL)
        take_lab(Path(scratch) / "lab")


def demo(outputs: Path) -> Path:
    """The folder of outputs of a new demo."""
    from runbook_lib.demo.run import run_demo

    if run_demo(str(outputs)):
        sys.exit("The demo did not end as it must; no picture was taken.")
    return outputs


def tutorial(project: Path) -> Path:
    """The folder of outputs, when somebody has followed docs/tutorial.md up to its first list of open items."""
    sys.path.append(str(ROOT / "tests"))
    import support_tutorial
    from engines import running

    shutil.copytree(ROOT / "notebooks", project / "notebooks")
    (project / "parameters/mappings").mkdir(parents=True)
    with running("moto") as engine, contextlib.chdir(project):
        os.environ.update(_as_printed(support_tutorial.TABLES["greeting"](engine.endpoint_url)))
        support_tutorial.TABLES["fill"](engine.client(support_tutorial.TABLES["REGION"]))
        reader = support_tutorial.Reader(project)
        for kind, text in support_tutorial.blocks():
            reader.follow(kind, text)
            if kind == "text to decide":
                break
    return project / "outputs"


def _as_printed(greeting: str) -> dict[str, str]:
    return dict(re.findall(r"(AWS_\w+)=(\S+)", greeting))


def take(outputs: Path, shots: tuple[Shot, ...]) -> None:
    """Writes the pictures of the pages in a folder of outputs. A page that is not there is named and left out."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, _chromium(playwright) as browser:
        for shot in shots:
            pages = sorted(outputs.glob(shot.page))
            if not pages:
                print(f"{shot.name}: no {shot.page}")
                continue
            page = browser.new_page(viewport={"width": 1280, "height": shot.height}, color_scheme="light")
            page.goto(pages[-1].as_uri())
            page.evaluate(STEADY, [f"{outputs}/", f"{getpass.getuser()}@{socket.gethostname()}"])
            picture = page.screenshot(full_page=True, clip=_clip(page, shot))
            page.close()
            print(f"{shot.name}: {_save(picture, IMAGES / f'{shot.name}.png'):,} bytes")


def take_lab(scratch: Path) -> None:
    """Writes the picture of JupyterLab in which a person has confirmed 03, and it works."""
    sys.path.append(str(ROOT / "tests"))
    import support_lab
    from playwright.sync_api import sync_playwright

    from runbook_lib.cli import main as runbook
    from runbook_lib.demo.world import World

    project = scratch / "project"
    for name in ("notebooks", "parameters"):
        shutil.copytree(ROOT / name, project / name)
    parameters, confirmed = "parameters/demo_env_copy.yaml", ("--execute", "--confirm", "demoprod")
    named = ("--run-id", f"20260301-090000-{COPY}")
    with World(), contextlib.chdir(project), sync_playwright() as playwright:
        runbook(["analyze", parameters, *named])
        runbook(["create-tables", parameters, *named, *confirmed])
        slow = ("-p", "limits.write_units=60")
        with (
            support_lab.running_lab(project, scratch / "jupyter", parameters, *named, *slow) as lab,
            _chromium(playwright) as browser,
        ):
            support_lab.set_parameters(lab.copies / LAB.page, execute=True)
            page = support_lab.run_all(browser, lab, lab.copies / LAB.page)
            page.set_viewport_size({"width": 1280, "height": LAB.height})
            support_lab.answer(page, "demoprod", 2)
            support_lab.shows(page, "items finished")
            pause = page.locator(".jupyter-button", has_text="Pause")
            pause.evaluate("button => button.scrollIntoView({block: 'center'})")
            picture = page.screenshot()
            support_lab.press(page, "Pause")
            support_lab.shows(page, "stop was requested")
    print(f"{LAB.name}: {_save(picture, IMAGES / f'{LAB.name}.png'):,} bytes")


@contextlib.contextmanager
def _chromium(playwright):
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
    yield browser
    browser.close()


def _clip(page, shot: Shot) -> dict[str, float]:
    """The rectangle of the picture, on the whole page; not beyond its end."""
    top = 0.0
    if shot.heading:
        heading = page.get_by_role("heading", name=shot.heading).first
        top = max(0.0, heading.bounding_box()["y"] - 16)
    whole = page.evaluate("document.documentElement.scrollHeight")
    return {"x": 0, "y": top, "width": 1280, "height": min(shot.height, whole - top)}


def _save(picture: bytes, path: Path) -> int:
    """Writes the picture in 256 colours; returns its size in bytes."""
    from PIL import Image

    small = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True
    )
    if small.tell() > MOST_BYTES:
        sys.exit(f"{path.name} has {small.tell():,} bytes, more than {MOST_BYTES:,}; make it less high in {__file__}.")
    return path.write_bytes(small.getvalue())


if __name__ == "__main__":
    main()
