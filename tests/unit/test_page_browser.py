"""The page in a real browser: nothing goes wrong, nothing is asked for, all works by mouse and by keyboard.

With NANODISTIL_PICTURES=FOLDER it leaves screenshots there, to be looked at.
"""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import chromium
import pytest
from small_pipelines import small

from nanodistil.page import attributing, erasing, page

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(chromium.find() is None, reason="needs a Chromium (apt-get install chromium)"),
]
TABS = ["attention", "attribution", "lens", "heads", "near", "map", "about"]
HOSTILE = "</script><b>[MASK] <!-- 😀 \u202eabc\u2066 & '\"" + "x" * 10_000
CHOSEN = "document.querySelector('#strip [aria-selected=true]').id"
FOCUSED = "document.activeElement.id"


@pytest.fixture(scope="module")
def browser():
    with chromium.Chromium() as one:
        yield one


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "short.html"
    page(HOSTILE, *small("ForMaskedLM")).save(path)
    return path


def clean(tab, path):
    """Nothing went wrong, and the file asked for itself alone."""
    assert not tab.errors and set(tab.requests) == {path.as_uri()}


def text(tab, selector):
    return tab.js(f"document.querySelector({json.dumps(selector)}).textContent")


def painted(tab):
    """What the lines' canvas shows."""
    return tab.js("document.querySelector('#canvas').toDataURL()")


def test_by_keyboard(browser, short):
    tab = browser.tab()
    tab.open(short)
    assert tab.js("document.querySelectorAll('b').length") == 0
    assert "[U+202E]abc" in text(tab, "#text") and "😀" in text(tab, "#text")
    tab.js("window.focus()")
    tab.focus("#text")
    order = []
    for _ in range(14):
        tab.key("Tab")
        order.append(tab.js(f"{FOCUSED} || document.activeElement.name"))
    assert order[:6] == ["target", "method", "search", "before", "after", "strip"]
    assert order[6:12] == ["tab-attention", "layer", "head", "view", "every", "lines"]
    tab.focus("#strip")
    tab.key("Home")
    tab.key("ArrowRight", 2)
    assert tab.js(CHOSEN) == "token-2"
    tab.until("document.querySelector('#strongest') && document.querySelectorAll('.from .chosen').length === 1")
    before = painted(tab)
    tab.key("End")
    tab.until(f"document.querySelector('.from').lastElementChild.className === 'chosen' && {CHOSEN} !== 'token-2'")
    assert painted(tab) != before
    tab.focus("#search")
    tab.type("script")
    assert text(tab, "#matches") == "1 token"
    tab.key("Enter")
    found = tab.js(CHOSEN)
    assert text(tab, f"#{found}") == "script"
    told = text(tab, "#complete")
    tab.focus("input[name=target]")
    tab.key("ArrowRight")
    assert text(tab, "#complete") != told
    colours = "[...document.querySelectorAll('.token')].map((one) => one.style.background).join()"
    before = tab.js(colours)
    tab.focus("input[name=method]")
    tab.key("ArrowRight")
    assert tab.js(colours) != before
    tab.focus("#layer")
    tab.key("ArrowUp")
    tab.until("document.querySelector('#strongest caption').textContent.startsWith('Layer 0')")
    tab.focus("#head")
    tab.key("ArrowDown")
    tab.until("document.querySelector('#strongest caption').textContent === 'Layer 0, head 0'")
    tab.focus("#every")
    before = painted(tab)
    tab.key(" ")
    tab.until("document.querySelector('#drawn').textContent.includes('2.00')")
    assert painted(tab) != before
    tab.focus("#overview button")
    tab.key("ArrowRight")
    tab.key("ArrowDown")
    tab.key("Enter")
    tab.until("document.querySelector('#strongest caption').textContent === 'Layer 1, head 1'")
    tab.focus("input[name=view]")
    tab.key("ArrowRight")
    tab.until("!document.querySelector('#square').hidden && document.querySelector('#cell').textContent")
    tab.focus("#matrix")
    before = text(tab, "#cell")
    tab.key("ArrowRight")
    tab.until(f"document.querySelector('#cell').textContent !== {json.dumps(before)}")
    tab.key("ArrowUp")
    assert tab.js(CHOSEN) != found
    tab.focus("#tab-attention")
    for name in TABS[1:]:
        tab.key("ArrowRight")
        assert tab.js(FOCUSED) == f"tab-{name}" and not tab.js(f"document.querySelector('#panel-{name}').hidden")
    tab.key("Home")
    assert tab.js(FOCUSED) == "tab-attention"
    tab.key("ArrowRight", 2)
    tab.focus("#lens")
    before = text(tab, "#lens-cell caption")
    tab.key("ArrowLeft")
    tab.until(f"document.querySelector('#lens-cell caption').textContent !== {json.dumps(before)}")
    tab.focus("#tab-lens")
    tab.key("ArrowRight")
    tab.until("document.querySelector('#without caption')")
    tab.focus("#losses button")
    before = text(tab, "#without")
    tab.key("ArrowRight")
    tab.key("Enter")
    tab.until(f"document.querySelector('#without').textContent !== {json.dumps(before)}")
    tab.focus("#tab-heads")
    tab.key("ArrowRight")
    tab.until("document.querySelector('#near button')")
    before = tab.js(CHOSEN)
    tab.focus("#near button")
    tab.key("Enter")
    tab.until(f"{CHOSEN} !== {json.dumps(before)}")
    tab.focus("#tab-near")
    tab.key("ArrowRight")
    tab.until("document.querySelector('#map svg')")
    tab.focus("#map-layer")
    tab.key("ArrowLeft")
    tab.until("document.querySelector('#map-name').textContent === 'layer 0'")
    clean(tab, short)


def test_by_mouse(browser, short):
    tab = browser.tab()
    tab.open(short)
    tab.click("#token-1")
    assert tab.js(CHOSEN) == "token-1"
    tab.click(".to li:nth-child(3)")
    assert tab.js(CHOSEN) == "token-2"
    tab.click(".from li:nth-child(4)")
    assert tab.js(CHOSEN) == "token-3"
    tab.click("#overview button:nth-of-type(2)")
    tab.until("document.querySelector('#strongest caption').textContent === 'Layer 0, head 1'")
    tab.click("input[value=matrix]")
    tab.until("!document.querySelector('#square').hidden")
    tab.click("#matrix", 0.99, 0.99)
    assert tab.js(CHOSEN) == tab.js("document.querySelector('#strip').lastElementChild.id")
    tab.js("document.querySelector('#search').value = 'script'")
    tab.js("document.querySelector('#search').dispatchEvent(new Event('input'))")
    tab.click("#after")
    assert text(tab, f"#{tab.js(CHOSEN)}") == "script"
    tab.click("#before")
    for name in TABS:
        tab.click(f"#tab-{name}")
        assert not tab.js(f"document.querySelector('#panel-{name}').hidden")
    tab.click("#tab-attribution")
    tab.click("#attribution th:nth-child(3) button")
    numbers = tab.js("[...document.querySelectorAll('#attribution td:nth-child(3)')].map((one) => one.textContent)")
    numbers = [float(one.replace("−", "-")) for one in numbers]
    assert numbers == sorted(numbers, reverse=True)
    tab.click("#tab-lens")
    tab.click("#lens-2-0")
    assert "after embeddings" in text(tab, "#lens-cell caption")
    tab.click("#tab-heads")
    tab.click("#losses button:nth-of-type(5)")
    assert "layer 1" in text(tab, "#without")
    tab.click("#tab-map")
    tab.until("document.querySelector('#map circle')")
    tab.click("#map circle:first-of-type")
    clean(tab, short)


def test_from_right_to_left(browser, tmp_path):
    path = tmp_path / "rtl.html"
    page("שלום [MASK] עולם", *small("ForMaskedLM")).save(path)
    tab = browser.tab()
    tab.open(path)
    left = "document.querySelector('#token-{}').getBoundingClientRect().left"
    assert tab.js(left.format(1)) > tab.js(left.format(2))
    tab.focus("#strip")
    tab.key("Home")
    tab.key("ArrowLeft")
    assert tab.js(CHOSEN) == "token-1"
    clean(tab, path)


@pytest.mark.skipif(not find_spec("axe_core_python"), reason="needs axe-core-python")
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_fault(browser, short, dark):
    tab = browser.tab(dark=dark)
    tab.open(short)
    tab.js((Path(find_spec("axe_core_python").origin).parent / "axe.min.js").read_text(encoding="utf-8") + "; 0")
    for name in [*TABS, "matrix"]:
        tab.click(f"#tab-{name.replace('matrix', 'attention')}")
        if name == "matrix":
            tab.click("input[value=matrix]")
        found = tab.js(
            "new Promise((done) => setTimeout(done, 50)).then(() => axe.run()).then((found) => found.violations"
            ".map((one) => [one.id, one.impact, one.nodes.map((node) => node.target.join() + node.failureSummary)]))"
        )
        assert not found, (name, found)
    clean(tab, short)


@pytest.mark.parametrize(("tokens", "layers", "heads"), [(8, 6, 12), (128, 6, 12), (512, 2, 4)])
def test_any_length(browser, tmp_path, tokens, layers, heads, monkeypatch):
    monkeypatch.setattr(attributing, "STEPS", (2,))  # the browser is what is tried here
    monkeypatch.setattr(erasing, "MOST_RUNS", 4)
    size = {"max_position_embeddings": 512, "n_layers": layers, "n_heads": heads, "dim": 24, "hidden_dim": 24}
    words = ["a", "word", "of", "many", "that", "are", "read", "one", "by", "one", "and", "again"]
    path = tmp_path / "long.html"
    labels = {"id2label": {0: "O", 1: "B", 2: "I"}}
    made = page(" ".join((words * 50)[: tokens - 2]), *small("ForTokenClassification", **size, **labels))
    made.save(path)
    assert len(made.found["tokens"]) == tokens
    assert tokens > 128 or path.stat().st_size < 3e6
    for dark in (False, True):
        tab = browser.tab(dark=dark)
        tab.open(path)
        for name in TABS:
            tab.click(f"#tab-{name}")
            tab.until(f"!document.querySelector('#panel-{name}').hidden")
            if folder := os.environ.get("NANODISTIL_PICTURES"):
                tab.picture(Path(folder) / f"{tokens}-{name}-{'dark' if dark else 'light'}.png")
        assert tab.js("document.querySelectorAll('.token').length") == tokens
        clean(tab, path)
