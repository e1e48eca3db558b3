"""The README shows what the program prints."""

import shlex
from pathlib import Path

import pytest

from nanodistil.cli import main

README = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_output_under_the_first_command(capsys):
    pytest.importorskip("numba")
    shown = README.split("<!-- output -->")[1].split("```")[1].strip("\n")
    assert main(["fill-mask", "Hello I'm a [MASK] model.", "--model", "nanodistil-mini"]) == 0
    assert capsys.readouterr().out.strip("\n") == shown


def test_what_other_commands_say(capsys, monkeypatch, tmp_path):
    """As on a machine that has the models inside the package and no others."""
    pytest.importorskip("numba")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    _, *shown = README.split("<!-- shown -->")[1].split("```")[1].split("$ .venv/bin/nanodistil ")
    assert len(shown) == 5
    for one in shown:
        line, output = one.split("\n", 1)
        assert main(shlex.split(line)) == 0
        assert capsys.readouterr().out.strip("\n") == output.strip("\n")


def test_the_example_runs(capsys):
    code = README.split("```python\n")[1].split("```")[0]
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["out"].last_hidden_state.shape == (2, 8, 384)
    assert "layer.5.output_layer_norm" in capsys.readouterr().out
