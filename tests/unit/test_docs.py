"""The pages: links lead somewhere, the README's proofs are the docs' tables, and it stays a shop window."""

import re
import sys
from pathlib import Path

import pytest
from conftest import READING_PATH

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
sys.path.insert(0, str(ROOT / "tests" / "bench"))
import proofs  # noqa: E402


def anchors(page):
    """What a forge makes of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert there.is_relative_to(ROOT), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def test_every_page_is_in_the_contents():
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = str(page.relative_to(ROOT / "docs").with_suffix(""))
        assert name == "index" or re.search(rf"^{name}$", contents, re.MULTILINE), name


def test_the_proofs_of_the_readme_are_the_tables_of_the_docs():
    """`python tests/bench/proofs.py` writes them."""
    readme = proofs.README.read_text(encoding="utf-8")
    assert proofs.between(readme, "proof: exact").strip() == proofs.exact()
    assert proofs.between(readme, "proof: fast").strip() == proofs.fast()


def test_the_readme_is_a_shop_window():
    assert len((ROOT / "README.md").read_bytes()) <= 10_000


def test_the_tests_that_stand_for_those_of_transformers_exist():
    page = (ROOT / "docs/transformers-tests.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:parity/)?test_\w+\.py(?!`)", page))  # theirs stand in backticks
    assert len(named) > 15
    for name in named:
        assert (ROOT / "tests" / (name if "/" in name else f"unit/{name}")).is_file(), name


def test_the_answers_of_the_reading_test_stand_where_it_says():
    core = {p.name: " ".join(p.read_text(encoding="utf-8").split()) for p in READING_PATH}
    rows = proofs.rows((ROOT / "docs" / "reading.md").read_text(encoding="utf-8"))[1:]
    assert len(rows) == 10
    for number, _, _, place in rows:
        name, line = re.fullmatch(r"`(\w+\.py)`: `(.*)`", place).groups()
        assert line in core[name], number
