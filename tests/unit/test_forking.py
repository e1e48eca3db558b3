"""A child forked while another thread loads a model for the first time loads one too."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys, threading, time
import nanodistil
def load():
    nanodistil.pipeline("fill-mask", model="nanodistil-mini")("A [MASK].")
thread = threading.Thread(target=load)
thread.start()
time.sleep(float(sys.argv[1]))
child = os.fork()
if child == 0:
    signal.alarm(100)  # it must not hang the tests
    load()
    os._exit(0)
thread.join()
sys.exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("seconds", [0.05, pytest.param(0.01, marks=pytest.mark.sweep)])
def test_a_child_forked_during_a_first_load(seconds):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(seconds)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
