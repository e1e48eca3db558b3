"""The next word: to adapt a model that reads from left to right to texts of a kind, and to measure how it expects them.

Texts are the lines of a file, each with its line feed, one after the other, and that cut into blocks of max_seq_length
tokens, as transformers' run_clm.py has it. (That drops what is left over of every thousand lines; here the last block
is shorter, and nothing is lost.) Of records, or of Python's lists, each is a text as it stands; and the sequences of a
folder that `nanodistil binarize` made are a block each (sequences.py).

Measured are the tokens of a block but its first, which nothing leads to: the mean of -log p of each, given those before
it (loss), its exponential (perplexity), and how often the token is the one most expected (accuracy). The perplexity of
a whole text, with what comes before in sight, is `nanodistil score`'s. If not all blocks are measured they are drawn at
random, by the seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.config import Config
from nanodistil.heads.causal_lm import ForCausalLM
from nanodistil.losses import IGNORED
from nanodistil.pipelines.batching import in_batches, pace_of, padded
from nanodistil.reading.forms import format_of, texts_in
from nanodistil.reading.lines import lines_of
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training.binarize import fingerprint
from nanodistil.training.sequences import Sequences
from nanodistil.training.tasks import Evaluation
from nanodistil.weights.errors import InputError

TOKENS = 512  # of a batch that is measured: of 50,257 words 100 MB of logits
ROWS = 128  # of them, as float64


@dataclass(frozen=True)
class CausalLM:
    """Settings: max_seq_length, run_clm's block_size; limit, how many blocks are measured (None: all); seed, of the
    draw."""

    max_seq_length: int = 1024
    limit: int | None = None
    seed: int = 42

    HEAD: ClassVar[str] = "LMHeadModel"

    def best(self, config: Config) -> tuple[str, bool]:
        return "loss", False

    def read(self, file: str | Path) -> Any:
        """The texts of a file, or the sequences of a folder."""
        if Path(file).is_dir():
            return Sequences(file, self.max_seq_length)
        end = "\n" if format_of(str(file)) == "lines" else ""
        with lines_of(str(file)) as lines:
            texts = [text + end for text in texts_in(lines, str(file)) if text or end]
        if not any(text.strip() for text in texts):
            raise InputError(f"{file} has no text")
        return texts

    def config(self, examples: Any, config: Config) -> dict[str, Any]:
        return {}

    def rows(self, examples: Any, tokenizer: Tokenizer, config: Config) -> Any:
        if isinstance(examples, Sequences):
            if examples.index.vocabulary != fingerprint(tokenizer):
                raise InputError("the data was binarized with another tokenizer than the model's; binarize it anew")
            warnings.warn(f"note: {examples}", stacklevel=2)
            return examples
        encoded = tokenizer(list(examples), verbose=False)["input_ids"]
        ids = np.array([number for row in encoded for number in row], np.int64)
        blocks = np.split(ids, range(self.max_seq_length, len(ids), self.max_seq_length))
        return [block for block in blocks if len(block) > 1]  # of a single token nothing can be said

    def length(self, row: Ints) -> int:
        return len(row)

    def batch(self, rows: Sequence[Ints], key: int = 0) -> dict[str, Any]:
        ids, real = padded(list(rows))
        return {"input_ids": ids, "attention_mask": real, "labels": np.where(real, ids, IGNORED)}

    def evaluate(self, model: ForCausalLM, tokenizer: Tokenizer, examples: Any) -> Evaluation:
        rows = self.rows(examples, tokenizer, model.config)
        if self.limit is not None and self.limit < len(rows):
            chosen = np.sort(np.random.default_rng(self.seed).permutation(len(rows))[: self.limit])
            rows = [rows[i] for i in chosen.tolist()]

        def measured(batch: list[Ints]) -> list[tuple[float, int, int]]:
            ids, real = padded(batch)
            logits = model(ids, attention_mask=real, use_cache=False, return_dict=True).logits  # (B, T, V)
            return [_of_block(logits[b, : len(row) - 1], row[1:]) for b, row in enumerate(batch)]

        found = in_batches([row for row in rows if len(row) > 1], measured, pace_of(model)._replace(tokens=TOKENS))
        if not found:
            raise InputError("the texts are too short: there is no token behind another")
        loss, right, tokens = (sum(one) for one in zip(*found, strict=True))
        mean = float(loss / tokens)
        figures = {
            "loss": mean,
            "perplexity": float(np.exp(min(mean, 700.0))),
            "accuracy": right / tokens,
            "tokens": tokens,
            "blocks": len(found),
        }
        return Evaluation(figures, {})


def _of_block(logits: Array, truth: Ints) -> tuple[float, int, int]:
    """The sum of -log p, how many were expected most, and how many there are: (n, V), (n,)."""
    loss, right = 0.0, 0
    for start in range(0, len(truth), ROWS):
        scores, words = logits[start : start + ROWS].astype(np.float64), truth[start : start + ROWS]
        scores -= scores.max(axis=1, keepdims=True)
        own = scores[np.arange(len(words)), words]
        loss += float((np.log(np.exp(scores).sum(axis=1)) - own).sum())
        right += int((scores.argmax(axis=1) == words).sum())
    return loss, right, len(truth)
