"""The models inside the package: each answers its task if nobody names a model, offline, and one line says so."""

from pathlib import Path

import pytest

import nanodistil
from nanodistil.cli import main
from nanodistil.pipelines import DEFAULTS
from nanodistil.weights import hub
from nanodistil.weights.embedded import EMBEDDED_NAME, HOME, INSIDE, NAMES, PLACES
from nanodistil.weights.errors import MissingExtraError

CARDS = Path(__file__).resolve().parents[2] / "recipes" / "cards"
ASKED = {
    "fill-mask": ("a [MASK]",),
    "feature-extraction": ("a",),
    "text-classification": ("a",),
    "token-classification": ("a",),
    "question-answering": ("who?", "I am."),
    "zero-shot-classification": ("a", ["b", "c"]),
    "text-generation": ("a",),
}


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))


@pytest.mark.parametrize("task", INSIDE)
def test_it_answers_if_no_model_is_named(task):
    with pytest.warns(UserWarning, match=f"note: {INSIDE[task]}, small and embedded, answers: ") as told:
        ask = nanodistil.pipeline(task, backend="numpy")
    assert len(told) == 1 and ask(*ASKED[task])


def test_each_has_a_card_and_all_together_stay_small():
    assert EMBEDDED_NAME in NAMES and set(INSIDE) <= set(PLACES) == set(ASKED)
    for name in NAMES:
        assert hub.resolve_model(name).folder == HOME / name
        card = (HOME / name / "README.md").read_text(encoding="utf-8")
        assert all(f"\n{said}" in card for said in ("license: ", "# nanodistil-mini")) and "Biases" in card.title()
    files = (file for name in NAMES for file in (HOME / name).iterdir())
    assert sum(file.stat().st_size for file in files) < 60e6


@pytest.mark.parametrize("name", [name for name in NAMES if name != EMBEDDED_NAME])
def test_a_card_says_what_is_written_of_its_model(name):
    """Not what was written when it was measured: `python recipes/card.py` puts the figures under it."""
    written = (CARDS / f"{name.rpartition('-')[2]}.md").read_text(encoding="utf-8")
    card = (HOME / name / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"{written}\n## Figures\n")


def test_the_usual_model_comes_first_and_is_named(monkeypatch):
    from nanodistil import pipelines

    monkeypatch.setattr(pipelines, "resolve_usual", lambda name, **_: name)
    with pytest.warns(UserWarning, match=f"note: {DEFAULTS['fill-mask']} answers: no model was named"):
        assert pipelines.default_model("fill-mask", {}) == DEFAULTS["fill-mask"]


def test_a_task_whose_model_is_not_inside(monkeypatch):
    from nanodistil import pipelines

    monkeypatch.setattr(pipelines, "INSIDE", {})

    def absent(name, **_):
        raise MissingExtraError("no hub")

    monkeypatch.setattr(pipelines, "resolve_usual", absent)
    with pytest.raises(MissingExtraError, match="no hub"):
        pipelines.default_model("text-classification", {})


def test_the_line_is_on_stderr_and_quiet_says_nothing(capsys):
    assert main(["fill-mask", "a [MASK]", "--backend", "numpy"]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and EMBEDDED_NAME in err
    assert main(["fill-mask", "a [MASK]", "--backend", "numpy", "--quiet"]) == 0
    assert not capsys.readouterr().err
