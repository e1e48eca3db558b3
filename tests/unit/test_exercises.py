"""Exercises: solutions are right, slips are recognised, and a learner's worst code is reported, not suffered."""

import importlib
import inspect
import re
import runpy
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from nanodistil.cli import main
from nanodistil.exercises import ORDER, exercise
from nanodistil.exercises.judging import judge, right, same
from nanodistil.exercises.learner import lines_of_code
from nanodistil.exercises.sandbox import check
from nanodistil.exercises.stubs import stub

TESTS = Path(__file__).parents[1]


def solution(name):
    return importlib.import_module(f"nanodistil.exercises.solutions.{name}")


def wrong_solutions(name):
    """Function -> its slips, by its name: two with `_and_` between."""
    found = runpy.run_path(str(TESTS / "wrong_solutions" / f"{name}.py"))
    known = {slip.replace(" ", "_").replace("-", "_"): slip for slip in exercise(name).slips}
    named = {key: [known.get(part) for part in key.split("_and_")] for key, value in found.items() if callable(value)}
    return {key: (found[key], slips) for key, slips in named.items() if None not in slips}


def outcomes(one, slips):
    for dtype in one.dtypes:
        for case in one.cases(dtype):
            with np.errstate(all="ignore"):
                try:
                    yield case, dtype, one.slipped(frozenset(slips), *case.given)
                except Exception as error:
                    yield case, dtype, error


COMPILED = pytest.mark.skipif(find_spec("numba") is None, reason="Numba compiles it")
IN_TURN = [pytest.param(n, marks=(pytest.mark.sweep, COMPILED)) if n == "tile" else n for n in ORDER]
QUICK = ("softmax", "layer_norm", "embeddings", "backward", "int8")  # the others in the sweep
ALL = [n if n in QUICK else pytest.param(n, marks=pytest.mark.sweep) for n in ORDER]


@pytest.mark.parametrize("name", IN_TURN)
def test_a_solution_is_right_and_short(name):
    one, module = exercise(name), solution(name)
    verdict = judge(one, getattr(module, one.function))
    assert verdict.passed, verdict
    source = inspect.getsource(module)
    assert lines_of_code(source) <= min(60, 1.5 * one.lines + 6) and len(source.splitlines()) <= 60


@pytest.mark.parametrize("name", ALL)
def test_a_slip_shows_and_looks_like_no_other(name):
    """Without slips `slipped` is the definition; with one it is not, nor is it what another makes of the cases."""
    one = exercise(name)
    exact = [right(one, case.given) for dtype in one.dtypes for case in one.cases(dtype)]
    assert all(
        same(got, true, case.slack, dtype) for (case, dtype, got), true in zip(outcomes(one, ()), exact, strict=True)
    )
    seen = {slip: list(outcomes(one, (slip,))) for slip in one.slips}
    for slip, found in seen.items():
        alike = [same(got, true, case.slack, dtype) for (case, dtype, got), true in zip(found, exact, strict=True)]
        assert not all(alike), f"{slip} is not seen"
    for a, b in combinations(seen, 2):
        pairs = zip(seen[a], seen[b], strict=True)
        assert not all(same(x, y, 4 * case.slack, dtype) for (case, dtype, x), (_, _, y) in pairs), (a, b)


@pytest.mark.parametrize("name", ALL)
def test_wrong_solutions_are_recognised(name):
    found = wrong_solutions(name)
    assert len(found) >= 5
    for key, (function, slips) in found.items():
        verdict = judge(exercise(name), function)
        assert sorted(verdict.names) == sorted(slips), (key, verdict.failures[:2])


@pytest.mark.parametrize("name", [name for name in ORDER if name != "tile"])
def test_an_example_gives_what_stands_behind_it(name, capsys):
    one = exercise(name)
    exec(one.example, {**vars(solution(name)), "np": np})
    found, said = (
        re.findall(r"-?\d+\.?\d*|'[^']*'", text) for text in (capsys.readouterr().out, one.example.split("  # ")[1])
    )
    found = [f"{float(one):.2g}" if one[0] != "'" else one for one in found if one not in ("64", "8")]  # of dtypes
    assert found == [f"{float(one):.2g}" if one[0] != "'" else one for one in said]


def test_the_list_in_the_guide_is_the_list():
    page = (TESTS.parent / "docs/guide/exercises.md").read_text(encoding="utf-8")
    rows = [f"| `{n}` | {exercise(n).title} | {exercise(n).minutes} | {exercise(n).lines} |" for n in ORDER]
    assert "\n".join(rows) in page


# ------------------------------------------------------------------------------------------- what a learner does


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """`nanodistil exercise` in an empty folder: exit code, and what it says."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = main(["exercise", *words])
        out, err = capsys.readouterr()
        return code, out + err

    return call


def test_a_stub_runs_and_is_never_overwritten(call, tmp_path):
    for name in ORDER:
        compile(stub(exercise(name)), name, "exec")
        assert max(map(len, stub(exercise(name)).splitlines())) <= 120
    assert call("layer-norm")[0] == 0
    path = tmp_path / "layer_norm.py"
    path.write_text("# mine", encoding="utf-8")
    code, said = call("start", "layer_norm")
    assert code == 2 and said.count("\n") == 1 and path.read_text(encoding="utf-8") == "# mine"
    code, said = call()
    assert code == 0 and "layer_norm     begun" in said and "0 of 14 done" in said


@pytest.mark.parametrize(
    "words, said",
    [
        (["softmix"], "did you mean softmax?"),
        (["check"], "which exercise?"),
        (["check", "softmax"], "nanodistil exercise softmax writes one"),
        (["check", "softmax", "."], "Is a directory"),
        (["softmax", "gelu"], "one exercise at a time"),
    ],
)
def test_what_cannot_be_is_one_line(call, words, said):
    code, lines = call(*words)
    assert code == 2 and said in lines and lines.count("\n") == 1


def test_a_wrong_answer_is_named_and_its_prints_are_counted(call, tmp_path):
    """In a process of its own, as all checks are."""
    source = "import numpy as np\n\ndef softmax(s):\n    print('here')\n    e = np.exp(s)\n"
    source += "    return e / e.sum(-1, keepdims=True)\n"
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    code, said = call("check", "softmax", "mine.py")
    assert code == 2 and "recognised: no maximum is subtracted" in said
    assert "printed 28 lines; the first: here" in said and said.count("here") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["softmax", pytest.param("tile", marks=COMPILED)])
def test_a_right_answer_goes_into_the_model_and_is_noted(name, call, tmp_path):
    """A file that is changed behind it is no longer done."""
    path = tmp_path / f"{name}.py"
    path.write_text(inspect.getsource(solution(name)), encoding="utf-8")
    code, said = call("check", name)
    assert code == 0 and f"{name}: right in all" in said and "Paris is the [MASK] of France." in said
    assert "\nspeed, " in said and "\n  yours " in said and "done: 1 of 14" in said
    assert " done " in next(line for line in call()[1].splitlines() if line.startswith(name))
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert " changed " in next(line for line in call()[1].splitlines() if line.startswith(name))


LOOPS = """
def linear(x, weight, bias):
    y = np.zeros((len(x), len(weight)), x.dtype)
    for n in range(len(x)):
        for o in range(len(weight)):
            y[n, o] = sum(x[n, i] * weight[o, i] for i in range(x.shape[1])) + bias[o]
    return y
"""


@pytest.mark.sweep
def test_a_slow_answer_gets_as_far_as_it_can(call, tmp_path):
    (tmp_path / "matmul.py").write_text("import numpy as np\n" + LOOPS, encoding="utf-8")
    code, said = call("check", "matmul")
    assert code == 0 and "the definition the others" in said and "speed, 8 rows, 64 -> 64" in said


HEAD = "import os, sys, time\nimport numpy as np\nfrom numba import njit\n"
WORST = {
    "hangs": ("def softmax(s):\n    while True: pass", "it does not end: more than 2 s at: by hand"),
    "waits": ("def softmax(s):\n    time.sleep(1000)", "it does not end: more than 2 s at: by hand"),
    "crashes": ("import ctypes\ndef softmax(s):\n    ctypes.string_at(8)", "it crashed (SIGSEGV) at: by hand"),
    "eats": ("def softmax(s):\n    x = []\n    while True: x.append(np.empty(1 << 24))", "MemoryError"),
    "leaves": ("def softmax(s):\n    sys.exit(0)", "SystemExit: it ends the process"),
    "drops out": ("def softmax(s):\n    os._exit(7)", "it ended the process (exit code 7) at: by hand"),
    "asks": ("def softmax(s):\n    return input()", "EOFError"),
    "never stops": ("def softmax(s):\n    return softmax(s)", "RecursionError"),
    "no python": ("def softmax(s)\n    return s", "line 4: SyntaxError"),
    "fails": ("1 / 0", "line 4: ZeroDivisionError"),
    "leaves at once": ("sys.exit(3)", "line 4: SystemExit"),
    "is not there": ("def hardmax(s):\n    return s", "softmax: there is no function softmax in it"),
    "out of range": (
        "@njit\ndef go(x, n):\n    x[n] = 1\n    return x\ndef softmax(s):\n    return go(s.ravel(), 1 << 40)",
        "line 6: IndexError",
    ),
    "a little": (
        "@njit\ndef go(x):\n    x[x.size] = 1\ndef softmax(s):\n    go(s.ravel())\n"
        "    e = np.exp(s - s.max(-1, keepdims=True))\n    return e / e.sum(-1, keepdims=True)",
        "line 6: IndexError",
    ),
    "no types": ("@njit\ndef softmax(s):\n    return s + 'a'", "TypingError"),
}


@pytest.mark.sweep
@pytest.mark.parametrize("what", WORST)
def test_the_worst_is_reported_and_not_suffered(what, tmp_path):
    source, said = WORST[what]
    path, lines = tmp_path / "softmax.py", []
    path.write_text(HEAD + source + "\n", encoding="utf-8")
    assert not check(exercise("softmax"), path, lines.extend)
    assert any(said in line for line in lines), lines
    assert len(lines) <= 20
