"""Batches of rows, and what becomes of one that is too large for the memory there is."""

import signal
import threading
import time
from itertools import count

import numpy as np
import pytest

from nanodistil.cli import main
from nanodistil.pipelines import batching
from nanodistil.pipelines.batching import ON_CPU, Row, by_length


def rows(*lengths):
    return [Row(np.arange(n)) for n in lengths]


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    tried = []

    def compute(inputs):
        ids, real = inputs["input_ids"], inputs["attention_mask"]
        tried.append(len(ids))
        if len(ids) > 2:
            raise MemoryError("of the GPU")
        return real.sum(1)

    assert by_length(rows(5, 3, 4, 1, 2), compute, ON_CPU) == [5, 3, 4, 1, 2]
    assert tried == [5, 2, 3, 1, 2]


def test_one_row_that_does_not_fit_is_an_error():
    def compute(inputs):
        raise MemoryError("of the GPU")

    with pytest.raises(MemoryError, match="of the GPU"):
        by_length(rows(3, 4), compute, ON_CPU)


def test_two_threads_take_turns():
    """Each begins apart; results come in order, and of what was not begun when one failed nothing is done."""
    apart, met, calls, done = [], threading.Barrier(2, timeout=60), count(), []

    def compute(inputs):
        ids, real = inputs["input_ids"], inputs["attention_mask"]
        if next(calls) < 2:
            met.wait()  # nobody would come if batches were done one after another
        done.append(len(ids))
        if ids.shape[1] == 9:
            if len(done) > 1:
                time.sleep(0.1)  # time for the first one's error to be heard of
            raise MemoryError("of the GPU")
        return real.sum(1)

    pace = ON_CPU._replace(tokens=4, own_stream=lambda number: apart.append(threading.get_ident()))
    assert by_length(rows(4, 2, 3, 1, 1, 2), compute, pace) == [4, 2, 3, 1, 1, 2]
    assert len(set(apart)) == 2 and threading.get_ident() not in apart
    done.clear()
    with pytest.raises(MemoryError, match="of the GPU"):
        by_length(rows(*[9] * 40), compute, pace)
    assert len(done) < 40
    by_length(rows(3), lambda inputs: inputs["attention_mask"].sum(1), pace)
    assert len(apart) == 4  # one batch needs no threads


def test_the_command_line_says_so(monkeypatch, capsys):
    def computed(rows, compute):
        raise MemoryError("no room for 5 bytes")

    monkeypatch.setattr(batching, "computed", computed)
    assert main(["fill-mask", "a [MASK]", "--model", "nanodistil-mini", "--backend", "numpy"]) == 2
    assert "out of memory (no room for 5 bytes)" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_an_exception_from_a_signal_handler_ends_the_turns():
    """At any moment: it propagates, and what was begun is waited for."""

    class Interrupted(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupted

    def one(piece):
        time.sleep(2e-4)
        return piece

    random = np.random.default_rng(0)
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(100):
            with pytest.raises(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 10 ** random.uniform(-4.7, -2.4))
                while True:
                    assert list(batching.two_at_once(one, list(range(5)), lambda number: None)) == [0, 1, 2, 3, 4]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def test_a_thread_that_cannot_begin_its_turns_ends_them():
    def apart(number):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(batching.two_at_once(abs, [1, 2, 3], apart))
