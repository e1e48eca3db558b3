"""When a queue stands, and what that makes of waits: a server in simulated time, under loads that no test could time.

Texts are those of `nanodistil bench --serve`, a batch takes 10 ms and 0.43 ms a token, as the full-size model's on two
cores of an Ice Lake Xeon; arrivals are a Poisson process, from one client or from many.
"""

from collections import deque
from random import Random
from types import SimpleNamespace

import pytest

from nanodistil.serve.limits import Limits
from nanodistil.serve.pressing import arrivals, texts
from nanodistil.serve.queue import Queue, Unit
from nanodistil.serve.standing import BATCHES, PATIENCE, Standing
from nanodistil.serve.writing import Writing

BATCH = Limits().batch_tokens
LENGTHS = [len(text.split()) + 2 for text in texts()]
A_BATCH, A_TOKEN = 0.010, 0.00043  # seconds
CAPACITY = BATCH / (A_BATCH + A_TOKEN * BATCH) / (sum(LENGTHS) / len(LENGTHS))  # texts a second


def simulated(due, clients, batch=BATCH):
    """The latency of each that was let in, when each that was refused came, and the longest text of either."""
    queue = Queue(batch)
    standing, random = Standing(queue, BATCHES * batch), Random(0)
    coming, running, ends = deque(enumerate(due)), [], 0.0
    latencies, refused, lengths = [], [], ([], [])
    while coming or running:
        if running and (not coming or ends <= coming[0][1]):
            latencies += [ends - unit.work for unit in running]
            now, running = ends, []
        else:
            n, now = coming.popleft()
            client, length = f"{random.randrange(clients)}", LENGTHS[n % len(LENGTHS)]
            kept = not standing.refuses(client, now)
            if kept:
                queue.push(client, [Unit("m", now, length, n)])
            else:
                refused.append(now)
            lengths[kept].append(length)
        if not running and (running := queue.pop()):
            standing.look(now)
            ends = now + A_BATCH + A_TOKEN * sum(unit.tokens for unit in running)
    return sorted(latencies), refused, [sum(some) / max(1, len(some)) for some in lengths]


def p99(latencies):
    return latencies[int(0.99 * len(latencies))]


@pytest.mark.parametrize("clients", [1, 200])
def test_twice_the_load_keeps_waits_within_three_times_those_of_a_busy_server(clients):
    busy, refused, _ = simulated(arrivals(0.8 * CAPACITY, 40), clients)
    assert not refused
    pressed, refused, (of_refused, of_let_in) = simulated(arrivals(2 * CAPACITY, 40), clients)
    assert p99(pressed) < 3 * p99(busy)
    assert len(pressed) > 0.97 * 40 * CAPACITY  # nothing of what it can do is lost
    assert refused[0] < 2  # seconds: it is found out soon
    assert of_let_in == pytest.approx(of_refused, rel=0.05)  # long texts are let in like short ones


def test_bursts_on_a_server_that_has_time_for_them_are_waited_out():
    """Every four seconds two hundred texts at once, 70 % of the capacity in all, all of one client."""
    due = sorted(second + n * 1e-4 for second in range(0, 40, 4) for n in range(int(4 * 0.7 * CAPACITY)))
    latencies, refused, _ = simulated(due, 1)
    assert not refused and len(latencies) == len(due)
    assert latencies[-1] < 4


def test_a_load_that_ends_is_forgotten():
    _, refused, _ = simulated([*arrivals(2 * CAPACITY, 10), *(20 + due for due in arrivals(0.8 * CAPACITY, 10))], 1)
    assert refused and max(refused) < 10


def filled(queue, weight):
    while queue.pop():
        pass
    queue.push("a", [Unit("m", "", weight, "")])


def test_it_takes_a_while_to_stand():
    queue = Queue(1)
    standing = Standing(queue, 64)
    for times, weight, long in ((0, 65, False), (0.9, 65, False), (1.1, 65, True), (1.2, 64, False), (2.4, 65, False)):
        filled(queue, weight)
        standing.look(times * PATIENCE)
        assert standing.long == long


def test_it_stands_until_nobody_was_refused_for_a_while():
    queue = Queue(1)
    standing = Standing(queue, 64)
    standing.long = True
    filled(queue, 65)
    assert standing.refuses("a", 5.0 * PATIENCE)
    filled(queue, 64)
    for times, long in ((5.5, True), (5.9, True), (6.1, False)):
        assert not standing.refuses("a", times * PATIENCE)
        assert standing.long == long


def test_of_prompts_as_many_answers_may_wait_as_are_written_at_once():
    writing = Writing(None, 256)
    prompt = SimpleNamespace(answers=8, length=3)
    writing.queue.push("a", [Unit("m", prompt, 80, n) for n in range(9)])
    assert len(writing.joining(0.0)) == 4  # of 8 answers each, 32 in all
    writing.together = SimpleNamespace(busy=32)
    assert writing.joining(0.0) == []
    assert not writing.refuses("a", PATIENCE)
    assert writing.refuses("a", 1.1 * PATIENCE) and not writing.refuses("b", 1.1 * PATIENCE)
    writing.queue.pop()  # and 32 are left
    assert not writing.refuses("a", 1.2 * PATIENCE)
