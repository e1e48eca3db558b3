"""Who is served when, and what the thread that computes makes of errors and of clients that have gone."""

from concurrent.futures import CancelledError
from contextlib import contextmanager
from random import Random
from threading import Barrier, Event, current_thread

import numpy as np
import pytest

from nanodistil.pipelines.base import Row
from nanodistil.serve.engine import Alone, Engine
from nanodistil.serve.queue import MOST_CLIENTS, Queue, Unit


def units(name, n, tokens=4, kind="m", alone=False):
    return [Unit(kind, f"{name}{i}", tokens, name, i, alone) for i in range(n)]


def popped(queue):
    batches = []
    while batch := queue.pop():
        batches.append([unit.work for unit in batch])
    return batches


def test_first_come_first_served_up_to_the_budget():
    queue = Queue(10)
    for name in "abcde":
        queue.push(name, units(name, 1))
    assert popped(queue) == [["a0", "b0"], ["c0", "d0"], ["e0"]]


def test_a_unit_beyond_the_budget_goes_alone():
    queue = Queue(10)
    queue.push("a", units("a", 2, tokens=11))
    assert popped(queue) == [["a0"], ["a1"]]


def test_a_client_with_much_to_do_does_not_hold_up_one_with_little():
    queue = Queue(8)
    queue.push("greedy", units("g", 100))
    assert [unit.work for unit in queue.pop()] == ["g0", "g1"]
    queue.push("modest", units("m", 2))
    assert [unit.work for batch in (queue.pop(), queue.pop()) for unit in batch] == ["m0", "g2", "m1", "g3"]


def test_clients_share_by_tokens_and_not_by_number():
    queue = Queue(1)
    queue.push("long", units("l", 50, tokens=10))
    queue.push("short", units("s", 50, tokens=1))
    served = [batch[0] for batch in popped(queue)][:22]
    assert served.count("l0") == 1 and sum(name[0] == "s" for name in served) == 20  # 2 of the long ones meanwhile


def test_kinds_are_not_mixed_and_none_waits_for_ever():
    queue = Queue(100)
    queue.push("a", units("a", 3, kind="one"))
    queue.push("b", units("b", 3, kind="two"))
    queue.push("c", units("c", 1, kind="one"))
    assert popped(queue) == [["a0", "c0", "a1", "a2"], ["b0", "b1", "b2"]]


def test_what_must_be_alone_is():
    queue = Queue(100)
    queue.push("a", units("a", 1) + units("x", 1, alone=True) + units("b", 2))
    assert popped(queue) == [["a0"], ["x0"], ["b0", "b1"]]


def test_what_is_forgotten_never_comes():
    queue = Queue(100)
    queue.push("a", units("a", 3))
    queue.push("b", units("b", 2, kind="other"))
    assert (queue.forget("a"), queue.forget("a"), len(queue)) == (3, 0, 2)
    assert popped(queue) == [["b0", "b1"]]


def test_random_loads_lose_nothing_and_keep_each_clients_order():
    random = Random(0)
    queue, expected, found = Queue(16), {}, []
    for step in range(300):
        client = random.choice("abc")
        made = units(f"{client}{step}.", random.randint(0, 5), random.randint(1, 9), kind=f"k{client}")
        expected.setdefault(client, []).extend(unit.work for unit in made)
        queue.push(client, made)
        batch = queue.pop() if random.random() < 0.7 else []
        assert len(batch) < 2 or sum(unit.tokens for unit in batch) <= 16
        found += [unit.work for unit in batch]
    found += [work for batch in popped(queue) for work in batch]
    for client, works in expected.items():
        assert [work for work in found if work[0] == client] == works
    assert len(found) == sum(map(len, expected.values()))
    assert (queue.now, queue.ends, queue.waiting) == (0, {}, {})


def test_clients_who_have_no_claim_are_forgotten():
    queue = Queue(1)
    queue.push("first", units("f", 1, tokens=10**6))
    queue.push("last", units("l", 2, tokens=10**6))
    queue.pop(), queue.pop()  # the time is past both firsts
    queue.now = 10**6
    for i in range(MOST_CLIENTS):
        queue.push(f"c{i}", units("x", 1, tokens=1))
    assert "first" not in queue.ends and "last" in queue.ends


class Doubling:
    """Stands for a pipeline: a row's result is twice its ids; odd ones fail; `gate` holds it up."""

    def __init__(self):
        self.gate, self.begun, self.batches = Event(), Event(), []
        self.gate.set()

    def together(self, rows):
        self.begun.set()
        assert self.gate.wait(300)
        self.batches.append(len(rows))
        if any(row.ids[0] % 2 for row in rows):
            raise ValueError("odd")
        return [2 * row.ids for row in rows]


def row(*ids):
    return Row(np.array(ids))


@pytest.fixture
def engine():
    made = Engine(64)
    made.start()
    yield made
    made.stop()
    made.join(300)
    assert not made.alive


def results(ticket):
    return [x.tolist() for x in ticket.future.result(timeout=300)]


def test_requests_that_wait_are_computed_together(engine):
    pipe = Doubling()
    pipe.gate.clear()
    first = engine.submit("a", pipe, [row(2)])
    assert pipe.begun.wait(300)
    others = [engine.submit(f"c{i}", pipe, [row(4 * i, 1), row(2 * i)]) for i in range(5)]
    pipe.gate.set()
    assert results(first) == [[4]]
    assert [results(ticket) for ticket in others] == [[[8 * i, 2], [4 * i]] for i in range(5)]
    assert pipe.batches == [1, 10]
    assert first.queued <= first.begun <= first.ended


def test_an_error_is_of_its_own_row_alone(engine):
    pipe = Doubling()
    pipe.gate.clear()
    engine.submit("a", pipe, [row(2)])
    assert pipe.begun.wait(300)
    good, bad = engine.submit("b", pipe, [row(4), row(6)]), engine.submit("c", pipe, [row(8), row(3), row(5)])
    pipe.gate.set()
    assert results(good) == [[8], [12]]
    with pytest.raises(ValueError, match="odd"):
        bad.future.result(timeout=300)
    assert engine.alive


def test_who_has_gone_leaves_the_queue(engine):
    pipe = Doubling()
    pipe.gate.clear()
    engine.submit("a", pipe, [row(2)])
    assert pipe.begun.wait(300)
    gone, stays = engine.submit("b", pipe, [row(4), row(6)]), engine.submit("c", pipe, [row(8)])
    assert gone.future.cancel()
    assert len(engine.queue) == 1
    pipe.gate.set()
    assert results(stays) == [[16]] and pipe.batches == [1, 1]
    with pytest.raises(CancelledError):
        gone.future.result()


def test_who_goes_while_computed_disturbs_nobody(engine):
    pipe = Doubling()
    pipe.gate.clear()
    gone = engine.submit("a", pipe, [row(2)])
    assert pipe.begun.wait(300) and gone.future.cancel()
    pipe.gate.set()
    assert results(engine.submit("b", pipe, [row(4)])) == [[8]]


def test_calls_run_by_themselves_and_nothing_is_answered_at_once(engine):
    assert engine.submit("a", Doubling(), []).future.result(timeout=300) == []
    ticket = engine.submit("a", Doubling(), [Alone(lambda: "called", 64), row(2)])
    called, doubled = ticket.future.result(timeout=300)
    assert called == "called" and doubled.tolist() == [4]


def test_a_queue_that_stands_lets_in_only_who_has_little_before_him(engine):
    pipe = Doubling()
    pipe.gate.clear()
    rows = [row(2, *[0] * 31)]
    tickets = [engine.submit("many", pipe, rows) for _ in range(10)]  # 320 tokens, 64 a batch
    assert pipe.begun.wait(300) and not engine.refuses("many", pipe, rows)  # only just
    engine.standing.long = True
    refused = (
        engine.refuses("many", pipe, rows),
        engine.refuses("another", pipe, rows),
    )  # who is first
    pipe.gate.set()
    assert refused == (True, False)
    for ticket in tickets:
        assert results(ticket)[0][0] == 4
    assert not engine.refuses("many", pipe, rows)  # nobody is before it


def test_who_has_had_much_is_not_overtaken_for_ever_by_ever_new_clients():
    queue = Queue(8)
    queue.push("greedy", units("g", 8))
    for n in range(100):
        queue.push(f"new {n}", units("n", 2))
        if "g7" in [unit.work for unit in queue.pop()]:
            break
    assert 8 < n < 40


def test_a_queue_knows_what_waits_in_it():
    random, queue = Random(0), Queue(10)
    for i in range(200):
        if random.random() < 0.6:
            queue.push(random.choice("abc"), units(str(i), random.randrange(4), random.randrange(1, 9)))
        elif random.random() < 0.5:
            queue.pop()
        else:
            queue.forget(str(random.randrange(i + 1)))
        assert queue.tokens == sum(unit.tokens for heap in queue.waiting.values() for _, _, unit in heap)


@pytest.fixture
def divided():
    """An engine of two threads, and who is in what they divide: (engine, the list of it)."""
    inside = []

    @contextmanager
    def division():
        inside.append(1)
        yield
        inside.pop()

    made = Engine(4)
    made.start()
    made.divide(division)
    yield made, inside
    made.stop()
    made.join(300)
    assert not made.alive and not inside


def test_a_whole_batch_is_computed_beside_another(divided):
    engine, inside = divided
    together, seen = Barrier(2), []

    class Both(Doubling):
        def together(self, rows):
            if not self.batches:  # breaks, and so fails, if nobody comes
                together.wait(30)
            seen.append(len(inside))
            return super().together(rows)

    ticket = engine.submit("a", Both(), [row(i, i, i) for i in (2, 4, 6)])  # when the first is taken a batch is left
    assert results(ticket) == [[4, 4, 4], [8, 8, 8], [12, 12, 12]] and 2 in seen
    assert not engine.computing and engine.speed > 0


def test_less_than_a_batch_waits_for_the_first_thread(divided):
    engine, _ = divided
    pipe, names = Doubling(), []
    pipe.gate.clear()
    first = engine.submit("a", pipe, [row(2)])
    assert pipe.begun.wait(300)
    engine.submit("a", pipe, [Alone(lambda: names.append(current_thread()), 9)])
    rest = engine.submit("b", pipe, [row(2, 2, 2)])
    assert engine.waiting == 2 and engine.computing == 1  # the call is first, and long enough, but no batch
    pipe.gate.set()
    assert results(first) == [[4]] and results(rest) == [[4, 4, 4]]
    engine.submit("a", pipe, [Alone(lambda: None, 9)]).future.result(300)
    assert names == engine.threads[:1]


def test_two_threads_answer_as_one_does(divided):
    """Rows that fail, requests over several batches, some that leave: each has its own answers, and one error."""
    engine, _ = divided
    random, pipe, asked = Random(3), Doubling(), []
    for i in range(300):
        works = [row(*[random.randrange(0, 40) * 2 + (random.random() < 0.01)] * random.randrange(1, 4))
                 for _ in range(random.randrange(1, 12))]  # fmt: skip
        ticket = engine.submit(random.choice("abc"), pipe, works)
        asked.append((works, ticket, i % 7 == 0 and ticket.future.cancel()))
    for works, ticket, gone in asked:
        if gone:
            assert ticket.future.cancelled()
        elif any(work.ids[0] % 2 for work in works):
            assert isinstance(ticket.future.exception(300), ValueError)
        else:
            assert results(ticket) == [(2 * work.ids).tolist() for work in works]
    assert not engine.waiting


def test_the_watch_is_told_of_every_batch():
    told = []
    engine = Engine(64, told.append)
    engine.start()
    results(engine.submit("a", Doubling(), [row(2, 2, 2), row(4)]))
    engine.stop()
    engine.join(300)
    ((rows, tokens, seconds, step),) = told
    assert not step
    assert (rows, tokens) == (2, 4) and seconds > 0 and engine.speed > 0
