"""The course in docs/lessons: its pages have their parts, pictures and notebooks are the pages', every block is run."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "docs" / "lessons"
sys.path.insert(0, str(LESSONS))
import course  # noqa: E402
import notebooks  # noqa: E402
import pictures  # noqa: E402

chapters = pytest.mark.parametrize("path", course.PAGES, ids=lambda path: path.stem)


@chapters
def test_a_chapter_has_all_its_parts(path):
    page = path.read_text(encoding="utf-8")
    assert re.search(rf"^# {path.name[0]}\. ", page)
    assert re.search(r"^Time: \d+ minutes\.", page, re.MULTILINE)
    assert len(re.findall(r"^!\[.{30,}\]\(\.\./pictures/lessons/\w+\.svg\)$", page, re.MULTILINE)) == 1
    exercises = page.split("\n## Exercises\n")[1].split("\n## Answers\n")[0]
    assert re.findall(r"^(\d)\. ", exercises, re.MULTILINE) == ["1", "2", "3"]
    assert course.unfounded(page) == []
    for block in course.blocks(page):
        compile(block.code, path.name, "exec")
        assert "print(" not in block.code or block.kind or "def " in block.code


def test_the_exercises_that_chapters_name_exist():
    from nanodistil.exercises import ORDER

    pages = "".join(path.read_text(encoding="utf-8") for path in course.PAGES)
    named = re.findall(r"`nanodistil\s+exercise\s+(\w+)`", pages)
    assert set(named) == set(ORDER)


def test_the_verbs_that_chapters_name_exist():
    from nanodistil.cli import VERBS

    pages = "".join(path.read_text(encoding="utf-8") for path in course.PAGES)
    named = set(re.findall(r"`nanodistil\s+([\w-]+)[^`]*`", pages))
    assert named <= VERBS.keys() and {"explain", "page", "count", "drift", "exercise", "tokenize", "bench"} <= named


def test_there_are_eight_and_the_contents_say_their_minutes():
    contents = (LESSONS / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| \[(.*?)\]\((.*?)\) \| (\d+) \|", contents, re.MULTILINE)
    assert [(int(number), name) for number, _, name, _ in rows] == [(n, p.name) for n, p in enumerate(course.PAGES, 1)]
    assert len(rows) == 8
    for (number, title, _, minutes), path in zip(rows, course.PAGES, strict=True):
        page = path.read_text(encoding="utf-8")
        assert page.startswith(f"# {number}. {title}\n") and f"\nTime: {minutes} minutes." in page


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_show_what_the_pages_say(name):
    """`python docs/lessons/pictures.py` draws them again."""
    assert str(pictures.PICTURES[name]()) == (pictures.FOLDER / f"{name}.svg").read_text(encoding="utf-8")


@chapters
def test_a_notebook_is_its_page(path):
    page, cells = path.read_text(encoding="utf-8"), notebooks.notebook(path)["cells"]
    code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    assert code == [block.code.strip() for block in course.blocks(page)]
    shown = ["".join(out["text"] for out in cell["outputs"]) for cell in cells if cell["cell_type"] == "code"]
    assert shown == [block.shown for block in course.blocks(page)]
    text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    assert "```" not in text and "](../" not in text
    assert sum("attachments" in cell for cell in cells) == 1
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_what_counts_as_the_same():
    def block(kind, shown):
        return course.Block("", 1, kind, shown, slice(0, 0))

    assert course.same(block("text", "1.5\n"), "1.5\n") and not course.same(block("text", "1.5\n"), "1.6\n")
    varies = block("text varies", "best  1.5 ms, 3e-07\n")
    assert course.same(varies, "best 12.25 ms, 1e-06\n") and not course.same(varies, "worst 1.5 ms, 3e-07\n")
    assert course.same(block("text any", "a"), "b") and not course.same(block("text any", "a"), "")
    assert not course.same(block("", ""), "printed\n")


def test_numbers_in_sentences_must_come_from_somewhere():
    page = "It has 30,522 and 17 of them (2019).\n\n```python\nprint(1)\n```\n\n```text\n30522\n```\n"
    assert course.unfounded(page) == ["17"]


@pytest.mark.sweep
@chapters
def test_every_block_runs_and_prints_what_the_page_shows(path):
    if path.name[0] == "4" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("its names of instructions are those of x86")
    pytest.importorskip("numba")
    command = [sys.executable, str(LESSONS / "course.py"), "check", path.name]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert result.returncode == 0, result.stderr
