"""The README shows what the program prints."""

from pathlib import Path

import pytest

from nanodistil.cli import main

README = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_output_under_the_first_command(capsys):
    pytest.importorskip("numba")
    shown = README.split("<!-- output -->")[1].split("```")[1].strip("\n")
    assert main(["fill-mask", "Hello I'm a [MASK] model.", "--model", "nanodistil-mini"]) == 0
    assert capsys.readouterr().out.strip("\n") == shown


def test_the_example_runs(capsys):
    code = README.split("```python\n")[1].split("```")[0]
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["out"].last_hidden_state.shape == (2, 8, 384)
    assert "layer.5.output_layer_norm" in capsys.readouterr().out
