"""doctor and warmup, and the line about compiling: what they say, with Numba and without."""

import io
import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from nanodistil import backend, machine
from nanodistil.cli import main
from nanodistil.cli.compiling import ERASE, LOGGER, announced
from nanodistil.weights.errors import MissingExtraError


def test_doctor_as_json(capsys):
    pytest.importorskip("numba")
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["self_test"] == {"passed": True, "wrong": ""} and found["backend"] == "numba"
    assert found["tile"]["rows"] >= 1 and found["threads"]["used"] >= 1
    assert min(found["threads"]["limits"].values()) <= found["threads"]["limits"]["cpus"]
    assert found["cache"]["folder"].startswith(os.environ["NANODISTIL_CACHE_DIR"])
    if found["tile"]["compiled"]:
        assert found["limits"]["flops"] > 1e8 and found["limits"]["bandwidth"] > 1e7


def test_doctor_in_lines(capsys):
    pytest.importorskip("numba")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "self-test  PASS" in out and "tile" in out and f"numpy {np.__version__}" in out and "hub cache" in out


def test_doctor_without_numba(capsys, monkeypatch):
    def absent(name):
        raise MissingExtraError("pip install numba")

    monkeypatch.setattr(machine, "instrument", absent)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "pip install numba" in out and "self-test" not in out


def test_a_tile_that_multiplies_wrongly_is_reported_and_not_used(capsys, monkeypatch):
    numba = pytest.importorskip("numba")
    from nanodistil.kernels.cpu import int8_ops, numba_ops
    from nanodistil.kernels.definitions import numpy_ops
    from nanodistil.kernels.instruments import diagnosis

    if numba.config.DISABLE_JIT:
        pytest.skip("is about compiled code")
    assert diagnosis.self_test() == diagnosis.self_test(int8_ops) == ""
    right = numba_ops.linear
    monkeypatch.setattr(numba_ops, "linear", lambda x, w: right(x, w) + (x.shape[1] > 64))
    assert diagnosis.self_test() == "13 x 65 x 33, 14 x 128 x 32, 29 x 200 x 97"
    backend._untrue.cache_clear()
    try:
        with pytest.warns(UserWarning, match="multiply wrongly on this machine"):
            assert backend.load("numba") is numpy_ops
        assert backend.load("numba", dtype="int8") is int8_ops
        found = machine.examine(measure=False)
        assert found["self_test"]["wrong"].startswith("float32: 13 x 65 x 33") and not found["self_test"]["passed"]
        monkeypatch.setattr(machine, "examine", lambda: found)
        assert main(["doctor"]) == 1 and "FAIL: float32: 13 x 65 x 33" in capsys.readouterr().out
    finally:
        backend._untrue.cache_clear()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_line_shows_what_is_compiled_and_goes_away():
    log, out = logging.getLogger(LOGGER), Terminal()
    with announced(out) as line:
        log.info("compiling %s", "a")
        log.info("compiling %s", "b")  # needed by a
        log.info("compiled %s", "b")
        assert out.getvalue().endswith("machine: 2, a ...")
        log.info("compiled %s", "a")
        assert out.getvalue().endswith(ERASE)
        log.info("compiling %s", "c")  # and fails
    assert line.count == 3 and out.getvalue().endswith(ERASE) and not log.handlers


def test_no_line_where_nobody_looks():
    out = io.StringIO()
    with announced(out) as line:
        logging.getLogger(LOGGER).info("compiling %s", "a")
    assert out.getvalue() == "" and line.count == 1


def test_that_nothing_can_be_kept_is_a_line_on_a_terminal_or_not():
    for out in (io.StringIO(), Terminal()):
        with announced(out), announced(None):
            logging.getLogger(LOGGER).warning("nanodistil: not kept: %s", "a full disk")
        assert out.getvalue().removeprefix(ERASE) == "nanodistil: not kept: a full disk\n"


@pytest.mark.sweep
def test_after_a_warmup_nothing_is_compiled():
    numba = pytest.importorskip("numba")
    if numba.config.DISABLE_JIT:
        pytest.skip("is about compiled code")

    def spawn(*argv):
        result = subprocess.run(
            [sys.executable, "-m", "nanodistil", *argv],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0 and result.stderr == "", result.stderr
        return result.stdout

    first, second = (json.loads(spawn("warmup", "--json")) for _ in range(2))
    assert first["cache"]["files"] > 3
    assert second["compiled"] == 0 and second["cache"] == first["cache"]
    spawn("fill-mask", "A [MASK].", "--model", "nanodistil-mini")
    assert json.loads(spawn("warmup", "--json"))["cache"] == first["cache"]
