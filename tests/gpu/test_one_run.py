"""The run that a GPU is asked by, rehearsed: kernels that are wrong on purpose are found, and the report names each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import findings
import pytest
import report
import run
import steps

HERE = Path(__file__).resolve().parent
CHECKED = """
========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at activation+0x1b0 in gelu.cu:31
=========     by thread (3,0,0) in block (0,0,0)
=========     Address 0x7f is out of bounds
========= Invalid __global__ write of size 4 bytes
=========     at activation+0x1b0 in gelu.cu:31
========= Invalid __shared__ read of size 16 bytes
=========     at cutlass_gemm+0x90
========= Program hit cudaErrorInvalidValue (error 1) due to "invalid argument" on CUDA API call to cudaFree.
========= Error: Race reported between Write access at attention+0x1 in attention_float32.cu:82
=========     and Read access at attention+0x2 in attention_rows.cuh:60 [64 hazards]
========= ERROR SUMMARY: 3 errors
"""


def test_what_a_checker_prints_is_named_once():
    assert findings.findings(CHECKED) == [
        "2 x Invalid __global__ write of size 4 bytes at activation+0x1b0 in gelu.cu:31",
        "1 x in a library's kernels",
        "1 x a call returned an error: cudaErrorInvalidValue from cudaFree",
        "1 x Error: Race reported between Write access at attention+0x1 in attention_float32.cu:82",
    ]
    assert findings.findings("========= ERROR SUMMARY: 0 errors\n") == []


def test_the_steps_fit_into_their_time():
    assert sum(step.limit for step in steps.STEPS) <= steps.SECONDS - 90  # what is left is for the figures
    for step in steps.STEPS:
        for file in (*step.tests, *(f"tests/{name}" for name in step.script[:1])):
            file = file.removeprefix("--deselect=").partition("::")[0]
            assert (HERE.parent.parent / file).is_file(), file


def test_a_report_of_a_run_that_was_killed(tmp_path):
    """The last line was not written to its end; the test before it is still open."""
    lines = [
        {"step": "kernels", "pid": 1, "test": "a", "event": "began"},
        {"step": "kernels", "pid": 1, "test": "a", "event": "ended", "seconds": 1, "outcome": "failed", "why": "wrong"},
        {"step": "kernels", "pid": 1, "test": "b", "event": "began"},
    ]
    file = tmp_path / "tests.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": "ker')
    text, well = report.report("", [run.Came("kernels", 3, "")], run.lines(str(file)), tmp_path)
    assert not well and "- kernels: `a`: wrong" in text and "## What was running\n\n- kernels: `b`" in text


@pytest.mark.sweep
def test_kernels_that_are_wrong_are_named(stand_in, tmp_path):
    """Outside of an array, in a wrong row, without a barrier, and a status of cuBLASLt's: each, and nothing else."""
    if not stand_in:
        pytest.skip("what is wrong on purpose is not for a GPU")
    command = ["sh", str(HERE / "one_run.sh"), "--out", str(tmp_path), "--rehearse", "--only", "kernels"]
    command += ["--break", "index,row,race,status", "--test-seconds", "600"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=1200
    )
    named = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("- ")]
    assert done.returncode == 1, done.stderr
    for test, why in (
        ("test_activation_from_one_type_to_another", "writes 16 bytes outside of every array"),
        ("test_layer_norm_of_rows_far_from_zero", "AssertionError"),
        ("test_float32[5]", "no barrier between them"),
        ("test_nothing_beside_the_result_is_written", "CUBLAS_STATUS_EXECUTION_FAILED (13)"),
    ):
        assert [line for line in named if test in line and why in line], (test, named)
    assert len(named) == 4
