"""A child forked while another thread loads a model for the first time loads one too."""

import os
import subprocess
import sys
import threading

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_llvm():
    """Every kernel loaded from the cache goes through its lock, without the compiler's."""
    ffi = pytest.importorskip("llvmlite.binding.ffi")
    locked, go_on = threading.Event(), threading.Event()

    def load():
        with ffi.lib._lock:
            locked.set()
            go_on.wait(0.1)

    thread = threading.Thread(target=load)
    thread.start()
    locked.wait()
    child = os.fork()
    if child == 0:
        os._exit(not ffi.lib._lock._lock.acquire(timeout=5))
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    with ffi.lib._lock:  # the parent's too is free again
        pass
