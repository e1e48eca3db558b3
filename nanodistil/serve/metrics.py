"""What is counted, for Prometheus: requests, stages, batches, and what is held now.

Stages of a request: read (its body), prepare (tokenize), queue, compute, finish (results to an answer), all.
A route is one of the table's, never a path that a client made up, so there is an end to the number of series.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from nanodistil.serve.admission import Load
from nanodistil.serve.call import Call
from nanodistil.serve.engine import Batch

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1)


class Metrics:
    """Counters of one server."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(
        self, load: Load, batch_tokens: int, waiting: Callable[[], int], written: Callable[[], int] = lambda: 0
    ) -> None:
        self.registry = CollectorRegistry()
        self.labelled = cache(lambda metric, *labels: metric.labels(*labels))  # what is looked up for every request
        self.batch_tokens = batch_tokens
        where: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("nanodistil_requests", "Requests answered", ["route", "status"], **where)
        self.cancelled = Counter("nanodistil_cancelled_requests", "Requests whose client went away", **where)
        self.seconds = Histogram(
            "nanodistil_request_seconds", "Time of a request, by stage", ["stage"], buckets=SECONDS, **where
        )
        self.tokens = Counter("nanodistil_tokens", "Tokens computed", **where)
        self.rows = Histogram(
            "nanodistil_batch_rows", "Rows of a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), **where
        )
        self.fill = Histogram(
            "nanodistil_batch_fill", "Tokens of a batch, as a share of the most", buckets=SHARES, **where
        )
        self.batches = Histogram("nanodistil_batch_seconds", "Time of a batch", buckets=SECONDS, **where)
        self.texts = Histogram(
            "nanodistil_step_texts", "Texts that a step wrote on", buckets=(1, 2, 4, 8, 16, 32, 64), **where
        )
        self.steps = Histogram(
            "nanodistil_step_seconds", "Time of a step of texts that are written", buckets=SECONDS, **where
        )
        for name, what, value in (
            ("queue_rows", "Rows and prompts that wait", waiting),
            ("written_texts", "Texts that are being written", written),
            ("held_tokens", "Tokens of requests that are not answered yet", lambda: load.tokens),
            ("held_bytes", "Bytes of bodies that are held", lambda: load.bytes),
            ("held_requests", "Requests that are not answered yet", lambda: load.requests),
        ):
            Gauge(f"nanodistil_{name}", what, **where).set_function(value)

    def batch(self, batch: Batch) -> None:
        self.tokens.inc(batch.tokens)
        if batch.step:
            self.texts.observe(batch.rows)
            self.steps.observe(batch.seconds)
            return
        self.rows.observe(batch.rows)
        self.fill.observe(batch.tokens / self.batch_tokens)
        self.batches.observe(batch.seconds)

    def request(self, call: Call, route: str, status: int, seconds: float) -> None:
        self.labelled(self.requests, route, str(status)).inc()
        for stage, took in {**call.stages, "all": seconds}.items():
            self.labelled(self.seconds, stage).observe(took)

    def shown(self) -> bytes:
        return bytes(generate_latest(self.registry))
