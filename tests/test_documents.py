"""README and docs: their links resolve, every setting that the code reads is listed, and the design stays short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "backbones", "common", "conditioning", "fidelity", "samplers", "world")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *(page for name in PACKAGES for page in ROOT.glob(f"{name}/*.md")),
     *ROOT.glob("training/*.md")]
)  # fmt: skip
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
SETTING = re.compile(r"\bNINE_WAYS_[A-Z_]*[A-Z]\b")
READ = re.compile(r"""environ(?:\.get|\.setdefault)?[(\[]\s*["']([A-Z_]+)["']""")


def broken(text: str, folder: Path) -> list[str]:
    """Relative links of a page that lead to no file, and links to no heading of this very page."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)
    headings = {anchor(line) for line in re.findall(r"^#+ (.+)$", text, re.M)}
    relative = [link for link in LINK.findall(prose) if "://" not in link and not link.startswith("mailto:")]
    return [
        link for link in relative
        if (link.startswith("#") and link[1:] not in headings)
        or (not link.startswith("#") and not (folder / link.partition("#")[0]).exists())
    ]  # fmt: skip


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def settings(text: str) -> set[str]:
    return {*SETTING.findall(text), *READ.findall(text)}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page.read_text(encoding="utf-8"), page.parent) == []


def test_a_broken_link_is_found():
    text = "# One heading\n[a](nowhere.md) [b](test_documents.py) [c](#one-heading) [d](#two) `[e](f)` [g](https://h.i)"
    assert broken(text, Path(__file__).parent) == ["nowhere.md", "#two"]


def test_every_document_is_linked_from_the_readme():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall((ROOT / "README.md").read_text())}
    wanted = [page for page in DOCUMENTS if page.parent in (ROOT, ROOT / "docs") and page.name != "README.md"]
    assert [page.name for page in wanted if page.resolve() not in linked] == []


def test_the_readme_lists_every_setting_that_the_code_reads():
    files = [
        ROOT / "app.py",
        ROOT / ".ci" / "run",
        *(file for name in PACKAGES for file in (ROOT / name).rglob("*.py")),
    ]
    read = {name for file in files for name in settings(file.read_text(encoding="utf-8"))}
    assert {"NINE_WAYS_OUTPUT", "NINE_WAYS_CI_VENV", "SYSTEM"} <= read, "the search for settings finds none"
    listed = set(re.findall(r"`([A-Z_]+)(?:=[^`]*)?`", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert read - listed == set()


def test_the_design_stays_short():
    assert (ROOT / "docs" / "design.md").stat().st_size < 12_000
