"""The Numba kernels' own promises: exp, threads, the cache of compiled code."""

import concurrent.futures
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from nanodistil.kernels.cpu import numba_ops  # noqa: E402
from nanodistil.kernels.cpu.exp import exp_negative  # noqa: E402
from nanodistil.kernels.definitions.sentences import Sentences  # noqa: E402
from nanodistil.kernels.runtime import granted, jit, native, pool  # noqa: E402
from nanodistil.kernels.runtime import undisturbed as undisturbed_module  # noqa: E402
from nanodistil.kernels.runtime.undisturbed import undisturbed  # noqa: E402

compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="is about compiled code")


def test_exp_is_within_two_ulp_of_the_truth():
    x = np.concatenate([np.linspace(-87, 0, 5003), [-0.0, -1e-30]]).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    got = np.array([exp_negative(v) for v in x])
    assert (np.abs(got - exact) <= 2 * np.spacing(exact.astype(np.float32))).all()


def test_exp_far_below_is_exactly_zero():
    assert [float(exp_negative(np.float32(v))) for v in (-88.0, -1e30, -np.inf)] == [0, 0, 0]


@pytest.fixture
def threads():
    """Puts the number of threads back."""
    before = pool._threads
    yield pool.set_threads
    pool._threads = before


def an_attention_and_a_product():
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((300, 96), np.float32), rng.standard_normal((70, 96), np.float32)
    y = numba_ops.linear(x, numba_ops.prepare_linear(weight, np.zeros(70, np.float32)))
    starts = np.array([0, 100, 300])
    attended = numba_ops.attention(x, x, x, Sentences(starts, starts, 4, None))
    return y, attended, numba_ops.layer_norm(x, x[0], x[1], 1e-12)


@compiled_only
def test_any_number_of_threads_gives_the_same_bits(threads):
    threads(1)
    alone = an_attention_and_a_product()
    for n in (2, 3, 7):
        threads(n)
        for a, b in zip(alone, an_attention_and_a_product(), strict=True):
            np.testing.assert_array_equal(a, b)


@compiled_only
def test_many_callers_at_once(threads):
    threads(2)
    expected = an_attention_and_a_product()
    wrong = []

    def call():
        for _ in range(10):
            if not all(np.array_equal(a, b) for a, b in zip(expected, an_attention_and_a_product(), strict=True)):
                wrong.append(1)

    with concurrent.futures.ThreadPoolExecutor(8) as callers:
        for done in [callers.submit(call) for _ in range(8)]:
            done.result()
    assert not wrong


@compiled_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_computes_too(threads):
    threads(2)
    before = an_attention_and_a_product()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs must not hang the tests
        after = an_attention_and_a_product()
        os._exit(0 if all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)) else 1)
    assert os.waitpid(child, 0)[1] == 0


@compiled_only
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_processes_of_other_kinds_compute_too(threads, start):
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} here")
    threads(2)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool_of_one:
        there = pool_of_one.submit(an_attention_and_a_product).result(timeout=120)
    for a, b in zip(there, an_attention_and_a_product(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_who_divides_the_threads_has_his_part_of_them(threads):
    threads(7)
    callers = [(concurrent.futures.ThreadPoolExecutor(1), pool.divided()) for _ in range(3)]

    def parts():
        return sorted(thread.submit(pool.threads).result(60) for thread, _ in callers)

    found = []
    for thread, division in callers:
        thread.submit(division.__enter__).result(60)
        found.append(parts())
    for thread, division in callers:
        thread.submit(division.__exit__, None, None, None).result(60)
        found.append(parts())
        thread.shutdown()
        callers = callers[1:]
        assert pool.threads() == 7  # who is outside has them all
    assert found[:3] == [[7, 7, 7], [3, 4, 7], [2, 2, 3]] and found[3:] == [[3, 4, 7], [7, 7], [7]]


@compiled_only
def test_one_pool_serves_every_op(threads):
    threads(4)
    an_attention_and_a_product()
    wait_for_workers(3)
    several = pool._pool.workers()
    an_attention_and_a_product()
    assert pool._pool.workers() == several


def wait_for_workers(n):
    """A thread that was started takes a moment to take its place."""
    until = time.monotonic() + 10
    while pool._pool.workers() < n and time.monotonic() < until:
        time.sleep(0.001)
    assert pool._pool.workers() >= n


@compiled_only
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.sweep)])
def test_an_exception_from_a_signal_handler_leaves_the_pool_whole(threads, count):
    """Wherever it lands: in our Python, in a wait for a worker, before one is woken."""

    class Interrupted(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupted

    threads(2)
    expected = an_attention_and_a_product()
    wait_for_workers(1)
    before, others = pool._pool.workers(), set(threading.enumerate())
    random = np.random.default_rng(0)
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(count):
            with pytest.raises(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 10 ** random.uniform(-4.7, -2.4))
                while True:
                    an_attention_and_a_product()
            if i % 10 == 0:
                for a, b in zip(expected, an_attention_and_a_product(), strict=True):
                    np.testing.assert_array_equal(a, b)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert pool._pool.workers() == before
    assert set(threading.enumerate()) <= others  # some of other tests may have ended meanwhile
    boxes = pool._pool.memory[pool.POOL_SIZE :]
    assert sum(boxes[pool.FREE :: pool.BOX_SIZE]) == before  # all of them free, and none of them lost


@compiled_only
def test_a_worker_too_many_goes_home(threads):
    """As when a signal came between the start of a thread and the note that it was started."""
    threads(2)
    an_attention_and_a_product()
    wait_for_workers(1)
    before, asked = pool._pool.workers(), pool._pool.asked
    pool._pool.asked = 0
    an_attention_and_a_product()
    assert pool._pool.asked >= 1
    time.sleep(0.05)
    assert pool._pool.workers() == max(before, 1)
    pool._pool.asked = asked


@compiled_only
def test_two_callers_that_begin_the_same_worker_do_not_lose_the_next(threads):
    """Both start a thread for the first box; one of them goes home, and must not count as the second worker."""
    own, started = pool.Pool(), []

    def serve(address):
        if not started:
            started.append(None)
            own.hire(serve, 1)  # the other caller, before this one has noted what it started
        started.append(address)

    with mock.patch.object(pool._thread, "start_new_thread", lambda function, arguments: function(*arguments)):
        own.hire(serve, 1)
        assert own.asked == 1 and len(started) == 3
        own.hire(serve, 2)
    assert own.asked == 2 and len(started) == 4


def interrupted_while(work, seconds):
    """Run `work` on this thread and have a signal handler raise after so long."""

    class Interrupted(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupted

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, seconds)
            work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_what_must_not_be_broken_off_is_finished_apart():
    """The exception comes at once; the work goes on, is not begun again, and the next call has its result."""
    begun, go_on = [], threading.Event()

    def work(n):
        begun.append(threading.current_thread())
        go_on.wait(10)
        return n + 1

    for _ in range(3):
        interrupted_while(lambda: undisturbed(work, 4), 0.02)
    go_on.set()
    assert undisturbed(work, 4) == 5 and len(begun) <= 2  # it may have ended before it was asked for again
    assert threading.main_thread() not in begun
    with pytest.raises(ZeroDivisionError):
        undisturbed(divmod, 1, 0)
    assert not undisturbed_module._under_way


def test_an_import_that_was_broken_off_does_not_stop_the_others():
    """It may leave the main thread with the lock that every other thread needs to import."""
    script = "import _imp, importlib; from nanodistil.kernels.runtime.undisturbed import undisturbed; "
    script += "_imp.acquire_lock(); _imp.acquire_lock(); undisturbed(importlib.import_module, 'colorsys')"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@compiled_only
def test_what_numpy_lays_out_otherwise_is_refused():
    """Compiled code would read past its rows."""
    with pytest.raises(TypeError):
        native.words_of((np.zeros((4, 4), np.float32)[:, :2],))


@compiled_only
def test_numbers_reach_a_kernel_as_they_are():
    """A whole number, a float32 and a float64, alone and in a named tuple."""

    class Pair(NamedTuple):
        n: int
        x: float

    @jit.kernel()
    def written(start, stop, n, single, x, pair, out):
        out[0], out[1], out[2], out[3], out[4] = n, single, x, pair.n, pair.x

    given, out = (-(1 << 52), np.float32(0.1), 1e-12, Pair(-1, -0.1)), np.zeros(5)
    pool.run(written, 1, *given, out)
    assert out.tolist() == [-(1 << 52), float(np.float32(0.1)), 1e-12, -1, -0.1]


@compiled_only
def test_a_kernel_that_fails_is_not_passed_over(threads):
    """What a kernel cannot do for want of memory is an error here, from any thread."""

    @jit.kernel()
    def huge(start, stop, n):
        for _ in range(start, stop):
            np.empty(n, np.float32)[0] = 1

    for n in (1, 2):
        threads(n)
        with pytest.raises(MemoryError):
            pool.run(huge, 4, 1 << 60)


@compiled_only
def test_workers_sleep_and_wake(threads):
    """Pauses longer and shorter than a worker looks for work, many times."""
    threads(3)
    expected = an_attention_and_a_product()
    for wait in [0, 2e-5, 1e-4, 2e-4, 1e-3, 5e-3] * 10:
        time.sleep(wait)
        for a, b in zip(expected, an_attention_and_a_product(), strict=True):
            np.testing.assert_array_equal(a, b)


@jit.kernel()
def tally(start, stop, seen):
    for i in range(start, stop):
        seen[i] += 1


@pytest.mark.parametrize("least", [1, 5])
def test_shares_cover_every_item_once(threads, least):
    for n in (1, 2, 5):
        threads(n)
        for items in (0, 1, 3, 4, 31, 1000):
            seen = np.zeros(items, np.int64)
            pool.run(tally, items, seen, least=least)
            assert (seen == 1).all()


@pytest.mark.parametrize(
    ("environment", "most"),
    [
        ({"NANODISTIL_NUM_THREADS": "5"}, 5),
        ({"NANODISTIL_NUM_THREADS": "9" * 5000}, pool.MOST + 1),
        ({"NANODISTIL_NUM_THREADS": "\u00b2", "OMP_NUM_THREADS": "1"}, 1),
        ({"NUMBA_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1,4"}, 1),
    ],
)
def test_threads_follow_the_environment(monkeypatch, environment, most):
    for variable in ("NANODISTIL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert pool.available_threads() == most


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "1 0\n"}, None),
        ({}, None),
    ],
)
def test_threads_follow_the_cgroup(monkeypatch, tmp_path, files, limit):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(granted, "CGROUPS", tmp_path)
    assert granted.thread_limits().get("cgroup") == limit


def test_threads_where_nobody_may_ask_for_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", mock.Mock(side_effect=PermissionError), raising=False)
    assert "affinity" not in granted.thread_limits() and pool.available_threads() >= 1


CACHE_PROBE = """
import logging
import numpy as np
from nanodistil.kernels.runtime import jit
from nanodistil.kernels.cpu import numba_ops
compiled = []
jit.log.setLevel(logging.INFO)
jit.log.addFilter(lambda record: compiled.append(record.getMessage()))
x = np.ones((2, 4), np.float32)
assert (numba_ops.layer_norm(x, x[0], x[0], 1e-12) == 1).all()
misses = compiled.count("compiling layer_norm.layer_norm_rows")
print(1 - misses, misses)
"""


def probe(**environment):
    result = subprocess.run(
        [sys.executable, "-c", CACHE_PROBE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return tuple(int(n) for n in result.stdout.split())


@compiled_only
@pytest.mark.sweep
def test_the_second_process_loads_what_the_first_compiled(tmp_path):
    """And whatever happens to the files, the answer is to compile again."""
    assert probe(NANODISTIL_CACHE_DIR=str(tmp_path)) == (0, 1)
    assert probe(NANODISTIL_CACHE_DIR=str(tmp_path)) == (1, 0)
    (folder,) = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.glob("*.bin"))
    for damage in (lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"garbage" + raw[7:]):
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        assert probe(NANODISTIL_CACHE_DIR=str(tmp_path)) == (0, 1)
        assert probe(NANODISTIL_CACHE_DIR=str(tmp_path)) == (1, 0)


@compiled_only
def test_nowhere_to_write(tmp_path):
    """A file where the folder should be: nothing is kept, everything works."""
    (tmp_path / "file").write_text("")
    assert probe(NANODISTIL_CACHE_DIR=str(tmp_path / "file")) == (0, 1)
