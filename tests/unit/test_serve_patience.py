"""Connections that are looked at now and then: which are closed, and which are not."""

from types import SimpleNamespace

import pytest

from nanodistil.serve import patience
from nanodistil.serve.patience import LOOKS, Patient


class Loop:
    """Keeps what is to be called later."""

    def __init__(self):
        self.later = []

    def call_later(self, seconds, call):
        self.later.append(call)
        return SimpleNamespace(cancel=lambda: self.later.clear())


@pytest.fixture
def connection():
    made = Patient.__new__(Patient)
    made.loop, made.cycle, made.closed = Loop(), None, []
    made.transport = SimpleNamespace(abort=lambda: made.closed.append(True))
    made.flow = SimpleNamespace(write_paused=False)
    return made


def request(done):
    return SimpleNamespace(response_complete=done)


def test_one_that_begins_nothing_is_closed(connection):
    connection.look()
    assert connection.closed and not connection.loop.later


def test_one_that_has_been_answered_and_begins_nothing_more_is_closed(connection):
    connection.cycle = request(done=True)
    connection.look()
    assert not connection.closed  # it is new
    connection.look()
    assert connection.closed


def test_one_that_asks_again_and_again_is_not(connection):
    for _ in range(100):
        connection.cycle = request(done=True)
        connection.look()
    assert not connection.closed and len(connection.loop.later) == 100


def test_one_that_is_being_answered_has_time(connection):
    connection.cycle = request(done=False)
    for _ in range(10 * LOOKS):  # a text that is written, piece by piece
        connection.look()
    assert not connection.closed
    connection.cycle.response_complete = True
    connection.look()
    assert connection.closed


def test_one_that_does_not_take_its_answer_is_closed(connection):
    connection.cycle, connection.flow.write_paused = request(done=False), True
    for _ in range(LOOKS):
        connection.look()
        assert not connection.closed
    connection.look()
    assert connection.closed


def test_there_is_a_most_of_them(monkeypatch):
    monkeypatch.setattr(patience.Protocol, "connection_made", lambda self, transport: None)
    closed = []
    made = Patient.__new__(Patient)
    made.loop, made.connections = Loop(), set(range(patience.MOST_CONNECTIONS + 1))
    made.connection_made(SimpleNamespace(abort=lambda: closed.append(True)))
    assert closed and not made.loop.later


def test_a_head_has_an_end():
    pytest.importorskip("httptools")  # h11 has an end of its own
    said = []
    made = Patient.__new__(Patient)
    made.send_400_response = said.append
    made._unset_keepalive_if_required = lambda: None
    made.parser = SimpleNamespace(feed_data=lambda data: None)
    made.head = 0
    for _ in range(patience.MOST_HEAD // 1024):
        made.data_received(b"a" * 1024)
    assert not said
    made.data_received(b"a")
    assert said == ["the head is too long"]
