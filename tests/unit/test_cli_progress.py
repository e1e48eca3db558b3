"""What long work says of itself where there is no terminal, and at its end."""

import errno
import io
import logging
import shlex
from itertools import pairwise

import pytest

from nanodistil.cli import compiling, main, progress, training
from nanodistil.training.loop import Stepped


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    for module in (progress, training):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_log_gets_a_line_now_and_then(clock):
    out = io.StringIO()
    line = progress.Line(out, plain=True)
    times = []
    for second in range(4 * 24 * 3600 // 7):
        clock.now = 1000.0 + 7 * second
        before = len(out.getvalue())
        line.show(lambda: "so far")
        if len(out.getvalue()) > before:
            times.append(7 * second)
    line.erase()
    lines = out.getvalue().splitlines()
    assert set(lines) == {"nanodistil: so far"} and "\x1b" not in out.getvalue()
    assert times[0] == 14 and times[1] == 28 and 60 < len(times) < 120
    assert all(b - a >= 10 for a, b in pairwise(times))
    silent = io.StringIO()
    line = progress.Line(silent)
    clock.now += 100
    line.show(lambda: pytest.fail("nobody will see it"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_that_cannot_erase_gets_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    line = progress.Line(out, plain=True)
    clock.now += 11
    line.show(lambda: "so far")
    assert out.getvalue() == "nanodistil: so far\n"


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_line_that_cannot_be_written_ends_nothing(clock, kind):
    class Gone(kind):
        def write(self, text):
            raise OSError(errno.EIO, "the terminal has gone")

    line = progress.Line(Gone(), plain=True)
    clock.now += 11
    line.show(lambda: "so far")
    line.erase()


def test_work_that_is_interrupted_leaves_an_empty_line(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with pytest.raises(KeyboardInterrupt), progress.shown(out) as told:
        told("gradients", 0.0)
        assert out.getvalue() == ""
        clock.now += 2
        told("gradients", 0.5)
        raise KeyboardInterrupt
    assert out.getvalue() == f"{progress.ERASE}nanodistil: gradients, 50 %{progress.ERASE}"


def test_a_run_says_how_far_it_is_and_what_came_of_it(clock, capsys):
    with training.TrainingProgress() as run:
        for step in range(1, 31):
            clock.now += 1
            run(Stepped(step, 30, {"loss": 1 / step}, lr=0.1, tokens=10, seconds=float(step)))
        assert [line.split(";")[1] for line in capsys.readouterr().err.splitlines()] == [
            " step 10 of 30, loss 0.100",
            " step 20 of 30, loss 0.050",
            " step 30 of 30, loss 0.033",
        ]
        run.end("nanodistil classify")
    out, err = capsys.readouterr()
    said, coming = err.splitlines()
    assert out == "" and coming == "nanodistil: next: nanodistil classify"
    assert said == ("nanodistil: step 30 of 30 in 30 s, 10 tokens a second; loss 0.133, the mean of the last 30 steps")


@pytest.mark.parametrize(
    ("task", "train", "coming"),
    [
        ("classification", "sentence\tlabel\ngood\t1\nbad\t0\n", "nanodistil classify "),
        pytest.param("token-classification", "a O\nb B-X\n", "nanodistil ner ", marks=pytest.mark.sweep),
        pytest.param("masked-lm", "a line of words\nanother line\n", "nanodistil fill-mask ", marks=pytest.mark.sweep),
    ],
)
def test_a_finished_run_names_the_next_command(tmp_path, capsys, task, train, coming):
    """And it is one that works."""
    ending = "conll" if task.startswith("token") else "tsv" if task == "classification" else "txt"
    data, run = tmp_path / f"train.{ending}", tmp_path / "a run"
    data.write_text(train)
    line = [
        "finetune",
        task,
        "--model",
        "nanodistil-mini",
        "--train",
        str(data),
        "--out",
        str(run),
        "--backend",
        "numpy",
    ]
    assert main([*line, "--max-steps", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(run)
    said, last = err.splitlines()[-2:]
    assert "step 1 of 1" in said and last.startswith(f"nanodistil: next: {coming}") and last.endswith(f"'{run}'")
    words = shlex.split(last.removeprefix("nanodistil: next: "))[1:]
    assert main([*words, "--backend", "numpy"]) == 0


def test_the_line_of_compiling_does_not_wrap(monkeypatch):
    monkeypatch.setenv("COLUMNS", "38")
    out = Terminal()
    line = compiling.CompileLine(out)
    line.emit(logging.makeLogRecord({"levelno": logging.INFO, "msg": "compiling linear_backward.weights"}))
    assert out.getvalue() == compiling.ERASE + "nanodistil: compiling kernels, once for this machine"[:37]
