"""Vectors of sentences: those that mean the same come to lie beside each other (Reimers and Gurevych 2019).

    sentence1  sentence2  score       how alike two sentences are, from 0 to `--highest` (STS-B's 5)
    sentence1  sentence2              a pair that belongs together, such as two parts of one paragraph

A file may hold both, and a batch too: two losses, each the mean over its pairs, and their sum is learned. The vector of
a sentence is the mean of its tokens', made of length 1. Where there is a score, the cosine of the two vectors is to be
it, score / highest, by squared error. Where there is none, each sentence is to be nearer to its partner than to the
partners of all others in the batch: cross-entropy over cosines / 0.05, in both directions (van den Oord et al. 2018).
So the second loss wants large batches, and no pair twice in one.

Measured are the correlations of the cosines with the scores; pairs without one say instead how often the partner is
the nearest of all that the file has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.head import Batch, Learner
from nanodistil.packing import Packing
from nanodistil.pipelines.batching import Row, by_length, inputs_of, pace_of
from nanodistil.pipelines.zero_shot_by_likeness import TEMPERATURE
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training import metrics
from nanodistil.training.tasks import Evaluation
from nanodistil.training.tasks.cutting import cut_rows
from nanodistil.training.tasks.tables import names_in, rows_of
from nanodistil.weights.errors import InputError, excerpt

Floats = NDArray[np.float64]


class Pair(NamedTuple):
    """Two texts, and how alike they are, from 0 to 1; NaN if they only belong together."""

    first: Any  # a text, or the row of one
    second: Any
    score: float


@dataclass(frozen=True)
class SentenceSimilarity:
    """Settings: highest, the score of two that mean the same; max_seq_length of each sentence."""

    highest: float = 5.0
    max_seq_length: int = 128
    format: str | None = None

    HEAD: ClassVar[str] = "Model"

    def __post_init__(self) -> None:
        if not 0 < self.highest < math.inf:
            raise InputError(f"--highest must be above 0, not {self.highest}")

    def best(self, config: Config) -> tuple[str, bool]:
        return "spearmanr" if metrics.deciding_number()[1] else "mse", metrics.deciding_number()[1]

    def read(self, file: str | Path) -> list[Pair]:
        """The pairs of a table. Raises InputError for a score that is none, or not from 0 to the highest."""
        optional = ["score"] if "score" in names_in(file, self.format) else []
        pairs = []
        for place, fields, *_ in rows_of(file, ["sentence1", "sentence2"], optional, (), self.format):
            texts = fields["sentence1"], fields["sentence2"]
            if not all(isinstance(text, str) and text.strip() for text in texts):
                raise InputError(f"{place}: two sentences are needed")
            score = fields.get("score")
            pairs.append(Pair(*texts, math.nan if score in (None, "") else self._share(score, place)))
        return pairs

    def _share(self, score: Any, place: str) -> float:
        try:
            share = float(score) / self.highest
        except (TypeError, ValueError):
            share = math.inf
        if not 0 <= share <= 1:
            raise InputError(f"{place}: the score {excerpt(score)} is no number from 0 to {self.highest:g} (--highest)")
        return share

    def config(self, examples: Sequence[Pair], config: Config) -> dict[str, Any]:
        return {}

    def rows(self, examples: Sequence[Pair], tokenizer: Tokenizer, config: Config) -> list[Pair]:
        texts = [text for pair in examples for text in (pair.first, pair.second)]
        rows = cut_rows(texts, tokenizer, config, self.max_seq_length)
        return [Pair(rows[2 * i], rows[2 * i + 1], pair.score) for i, pair in enumerate(examples)]

    def length(self, row: Pair) -> int:
        return len(row.first) + len(row.second)

    def batch(self, rows: Sequence[Pair], key: int = 0) -> dict[str, Any]:
        """The first sentences of B pairs, then the second: ids (2B, T); labels (B,), the scores."""
        both: list[Row] = [row.first for row in rows] + [row.second for row in rows]
        return {**inputs_of(both), "labels": np.array([row.score for row in rows])}

    def objective(self, learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
        """The loss of a batch; scale times its gradients are added to the learner's."""
        packing = Packing.of(batch["input_ids"], batch["attention_mask"], learner.config)
        run = learner.encode(packing.batch, None, key)
        x, starts = learner.ops.fetch(run.x), packing.batch.starts  # (N, D)
        counts = np.diff(starts)[:, None]  # (2B, 1)
        means = np.add.reduceat(x.astype(np.float64), starts[:-1]) / counts  # (2B, D)
        loss, dmeans = loss_of(means, batch["labels"])
        dx = np.repeat(scale * dmeans / counts, counts[:, 0], axis=0).astype(x.dtype)  # (N, D)
        learner.encode_backward(learner.ops.send(dx), run)
        return loss

    def evaluate(self, model: Pretrained, tokenizer: Tokenizer, examples: Sequence[Pair]) -> Evaluation:
        rows = self.rows(examples, tokenizer, model.config)
        encoded: Any = model

        def compute(inputs: dict[str, Any]) -> Array:
            x, real = encoded(**inputs, return_dict=True).last_hidden_state, inputs["attention_mask"][..., None]
            means: Array = np.sum(x * real, axis=1) / real.sum(1)  # (B, D)
            return means

        both = [row.first for row in rows] + [row.second for row in rows]
        means = np.stack(by_length(both, compute, pace_of(model), model.config.pad_token_id)).astype(np.float64)
        u, v = np.split(means / np.linalg.norm(means, axis=1, keepdims=True), 2)  # (n, D)
        cosines, scores = (u * v).sum(1), np.array([pair.score for pair in examples])
        scored, figures = np.isfinite(scores), dict[str, float]()
        if scored.any():
            figures |= metrics.regression(cosines[scored], scores[scored])
        if not scored.all():
            a, b = u[~scored], v[~scored]
            figures["nearest"] = float(((a @ b.T).argmax(1) == np.arange(len(a))).mean())
        return Evaluation(figures, {"predictions": cosines.tolist()})


def loss_of(means: Floats, scores: Floats) -> tuple[float, Floats]:
    """The loss of B pairs and its gradient: (2B, D), (B,) -> a number, (2B, D).

    >>> loss, slope = loss_of(np.array([[3.0, 0.0], [0.0, 2.0]]), np.array([0.5]))
    >>> loss, (slope.round(3) + 0.0).tolist()
    (0.25, [[0.0, -0.333], [-0.5, 0.0]])
    """
    lengths = np.linalg.norm(means, axis=1, keepdims=True)  # (2B, 1)
    u, v = np.split(means / lengths, 2)  # (B, D)
    du, dv, loss = np.zeros_like(u), np.zeros_like(v), 0.0
    scored = np.isfinite(scores)
    if scored.any():
        wrong = (u * v).sum(1)[scored] - scores[scored]
        loss += float(np.square(wrong).mean())
        slope = 2 * wrong[:, None] / len(wrong)
        du[scored], dv[scored] = slope * v[scored], slope * u[scored]
    if (alone := ~scored).any():
        a, b = u[alone], v[alone]
        cosines = a @ b.T / TEMPERATURE  # (n, n)
        n, ds = len(a), np.zeros_like(cosines)
        for axis in (0, 1):
            shifted = cosines - cosines.max(axis, keepdims=True)
            logs = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
            loss -= float(np.diag(logs).mean()) / 2
            ds += (np.exp(logs) - np.eye(n)) / (2 * n)
        du[alone], dv[alone] = ds @ b / TEMPERATURE, ds.T @ a / TEMPERATURE
    unit, d = np.concatenate([u, v]), np.concatenate([du, dv])
    return loss, (d - unit * (unit * d).sum(1, keepdims=True)) / lengths
