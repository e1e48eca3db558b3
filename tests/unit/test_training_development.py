"""Which of the models of a run is the best, and what the log remembers of it."""

import json
from math import inf, nan
from types import SimpleNamespace

import pytest

from nanodistil.training.development import BEST, Development, Judged
from nanodistil.training.run import Run
from nanodistil.training.tasks import Evaluation


class Told:
    """A task whose models do as well as a list says; their files hold how many were measured."""

    def __init__(self, figures, more=True):
        self.figures, self.more, self.measured = figures, more, 0

    def best(self, config):
        return "figure", self.more

    def evaluate(self, model, tokenizer, examples):
        self.measured += 1
        return Evaluation({"figure": self.figures[self.measured - 1], "kinds": {"a": 1}}, {})

    def save(self, folder):
        folder.mkdir(exist_ok=True)
        for name in ("model.safetensors", "config.json"):
            (folder / name).write_text(str(self.measured))


def judged(folder, figures, steps=None, more=True, keep=True):
    """The figures of a run with an epoch a figure, and the number of the model that it ends with."""
    task, run = Told(figures, more), Run(folder, {})
    run.begin()
    judge = Development(Judged(task, SimpleNamespace(config=None), None, []), run, task.save if keep else None)
    for epoch in range(steps or len(figures)):
        run.log({"step": epoch, "epoch": epoch, "loss": 1.0})
        run.log({"step": epoch + 1, "epoch": epoch + 1, **judge.measure()})
    task.save(folder)
    found = judge.end(len(figures), len(figures))
    return found, int((folder / "model.safetensors").read_text()), len(judge.lines())


@pytest.mark.parametrize(
    ("figures", "more", "which"),
    [
        ([0.1, 0.5, 0.3], True, 2),
        ([0.1, 0.5, 0.3], False, 1),
        ([0.5, 0.5], True, 1),
        ([nan, 0.2, nan], True, 2),
    ],
)
def test_the_best_of_several_is_what_remains(tmp_path, figures, more, which):
    assert judged(tmp_path / "r", figures, more=more) == ({"figure": figures[which - 1]}, which, len(figures))
    assert int((tmp_path / "r" / BEST / "config.json").read_text()) == which


def test_where_no_figure_is_a_number_the_last_remains_and_the_log_is_json(tmp_path):
    """As the correlation of answers that are all the same."""
    found, which, many = judged(tmp_path / "r", [nan, inf, nan])
    assert (found, which, many) == ({"figure": pytest.approx(nan, nan_ok=True)}, 3, 3)

    def refuse(word):
        raise AssertionError(word)

    lines = (tmp_path / "r" / "log.jsonl").read_text().splitlines()
    figures = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [line["dev_figure"] for line in figures if "dev_figure" in line] == [None] * 3


def test_without_it_the_last_remains_and_one_that_was_not_measured_is(tmp_path):
    assert judged(tmp_path / "r", [0.1, 0.5, 0.3], keep=False) == ({"figure": 0.3}, 3, 3)
    assert judged(tmp_path / "s", [0.1, 0.5], steps=1) == ({"figure": 0.5}, 2, 2)
