"""The head of a causal language model: which word comes next?

    x (N, D) -> lm_head (N, V), the word embeddings once more; no bias

Its loss compares what a token says with the token behind it. So labels are the ids themselves, -100 where none counts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from nanodistil import losses
from nanodistil.backend import Array, Ints
from nanodistil.causal import Causal, CausalOptions
from nanodistil.decoder import Decoder
from nanodistil.generation.decoding import Decoding, Uncached
from nanodistil.generation.mixin import GenerationMixin
from nanodistil.head import Batch, Learner
from nanodistil.heads.calling import finished, flat
from nanodistil.heads.learning import at_labels
from nanodistil.heads.one_map import one_map
from nanodistil.losses import IGNORED
from nanodistil.model import Packed
from nanodistil.outputs import ScoredOutputWithPast
from nanodistil.packing import rectangle
from nanodistil.pretrained import Arrays
from nanodistil.signatures import spelled_out
from nanodistil.weights.errors import InputError, excerpt

SCORED = 256  # rows of the vocabulary's scores at once


def next_labels(labels: ArrayLike, shape: tuple[int, int]) -> Ints:
    """What each token is compared with, the label behind it: (B, T) -> (B, T), -100 at the last.

    >>> next_labels([[5, 6, 7]], (1, 3)).tolist()
    [[6, 7, -100]]
    """
    truth = np.full(shape, IGNORED, np.int64)
    truth[:, :-1] = flat(labels, shape).reshape(shape)[:, 1:]
    return truth


def next_words(batch: Packed) -> Ints:
    """The word behind each token of a batch without padding, -100 at the last of a sentence: (N,)."""
    words = np.append(batch.ids[1:], IGNORED)
    words[batch.starts[1:] - 1] = IGNORED
    return words


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Mean cross-entropy at the tokens behind which a label stands that is not -100: labels (B, T) -> the loss."""
    if batch.get("labels") is None:
        raise InputError("a batch to train on needs labels")
    ids = rectangle(batch["input_ids"], "input_ids")
    shifted = {**batch, "labels": next_labels(batch["labels"], (ids.shape[0], ids.shape[1]))}
    return at_labels(learner, shifted, learner.config.vocab_size, learner.bops.HEAD_ROWS, key, scale)


CAUSAL_LM = replace(  # its weight is the words', unless the config says otherwise
    one_map("causal_lm", "lm_head", "V", None, objective, bias=False),
    arrays={},
    tied={"lm_head.weight": "V D"},
    coarse=True,
)


class ForCausalLM(GenerationMixin, Causal, head=CAUSAL_LM):
    """The decoder and the head it was trained with: which word comes next?

    >>> from nanodistil import GPT2Config, GPT2LMHeadModel
    >>> tiny = GPT2Config(vocab_size=50, n_positions=16, n_embd=12, n_layer=1, n_head=2)
    >>> model = GPT2LMHeadModel(tiny, backend="numpy")
    >>> out = model([[5, 6, 7]])
    >>> more = model([[8]], past_key_values=out.past_key_values)
    >>> out.logits.shape, more.logits.shape, more.past_key_values.get_seq_length()
    ((1, 3, 50), (1, 1, 50), 4)
    """

    remembers = True

    def decoding(self, use_cache: bool = True) -> Decoding:
        """Texts that it writes on; without a cache everything is computed anew for each token."""
        return Decoder(self) if use_cache else Uncached(lambda ids: np.asarray(self(ids[None], use_cache=False)[0])[0])

    def log_probabilities(
        self, input_ids: ArrayLike, attention_mask: ArrayLike | None = None, first: ArrayLike | None = None
    ) -> Array:
        """Of each token, by those before it: (B, T) ids and mask -> (B, T) natural logarithms.

        NaN for a text's first token, before place first[i] (B,), and where the mask is 0. Scores are made of SCORED
        rows at a time: 50 MB, however many tokens there are.

        >>> from nanodistil import GPT2Config, GPT2LMHeadModel
        >>> tiny = GPT2Config(vocab_size=50, n_positions=16, n_embd=12, n_layer=1, n_head=2)
        >>> GPT2LMHeadModel(tiny, backend="numpy").log_probabilities([[5, 6, 7]]).round()
        array([[nan, -4., -4.]], dtype=float32)
        """
        e = self._encode(input_ids, attention_mask, None, None, None, use_cache=False, return_dict=True)
        text, place = np.nonzero(e.packing.computed)
        ids = np.asarray(input_ids)[text, place]  # (N,)
        passed = np.zeros(len(ids), bool) if first is None else place < np.asarray(first)[text]
        before = np.flatnonzero((text[1:] == text[:-1]) & ~passed[1:])  # rows behind which a token of the text counts
        found = np.full(e.packing.computed.shape, np.nan, self.ops.fetch(e.x[:1]).dtype)
        for start in range(0, len(before), SCORED):
            rows = before[start : start + SCORED]
            scores = self.ops.fetch(self._scores(e._replace(x=e.x[self.ops.send(rows)])))  # (M, V)
            wanted = scores[np.arange(len(rows)), ids[rows + 1]].astype(np.float64)
            best = scores.max(axis=1, keepdims=True)
            scores -= best
            np.exp(scores, out=scores)
            total = scores.sum(axis=1, dtype=np.float64)
            found[text[rows + 1], place[rows + 1]] = wanted - best[:, 0] - np.log(total)
        return found

    def beside(self, folder: Path) -> None:
        """Its generation_config.json."""
        self.take_generation_config(folder)

    def write(self, folder: Path, arrays: dict[str, Array], dtype: str) -> None:
        """With a generation_config.json."""
        self.generation_config.validate(strict=True)  # before anything is written
        super().write(folder, arrays, dtype)
        self.generation_config.save_pretrained(folder)

    @spelled_out(CausalOptions, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, labels: Arrays = None, *, positions: Arrays = None, logits_to_keep: Any = 0,
        num_items_in_batch: int | None = None, **options: Unpack[CausalOptions],
    ) -> ScoredOutputWithPast:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> logits (B, T, V), zero at masked positions.

        labels: (B, T) ids, -100 where none counts; each is compared with what the token before it says. The loss is
        their mean, or with num_items_in_batch their sum divided by that. logits_to_keep: only the last so many tokens
        of each sentence (0: all), or the places of those wanted. positions: (M, 2) sentence and token numbers; then
        the vocabulary is projected there only, logits (M, V).
        """
        if labels is not None:
            options = {**options, "keep_masked": True}
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, positions, **options)
        x, (B, T) = e.x, e.packing.computed.shape
        wanted = _columns(logits_to_keep, T)
        if positions is None and wanted is not None:  # the vocabulary is half of the work of a short call
            grid = np.full((B, T), -1)
            grid[e.packing.computed] = np.arange(len(x))
            kept = grid[:, wanted]  # (B, t) rows, -1 where none was computed
            scores = self.ops.fetch(self._scores(e._replace(x=x[self.ops.send(kept[kept >= 0])])))
            logits = np.zeros((*kept.shape, scores.shape[1]), scores.dtype)
            logits[kept >= 0] = scores
        else:
            logits = self.ops.fetch(self._scores(e))  # (N or M, V)
            if positions is None:
                logits = e.packing.unpack(logits)
        loss = None
        if labels is not None:
            if positions is not None or wanted is not None:
                raise InputError("labels are for all positions: leave out positions and logits_to_keep")
            truth = next_labels(labels, (B, T)).reshape(-1)
            loss = losses.cross_entropy(logits.reshape(B * T, -1), truth)
            if num_items_in_batch is not None:
                counted = np.count_nonzero(truth != IGNORED)
                loss = logits.dtype.type(float(loss) * counted / num_items_in_batch if counted else 0)
        output = ScoredOutputWithPast(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)


def _columns(logits_to_keep: Any, T: int) -> Any:
    """The columns of a batch of T tokens whose logits are wanted; None for all."""
    if isinstance(logits_to_keep, int | np.integer) and not isinstance(logits_to_keep, bool):
        if logits_to_keep < 0:
            raise InputError(f"logits_to_keep must not be negative, as {logits_to_keep} is")
        return np.arange(max(0, T - logits_to_keep), T) if logits_to_keep else None
    places = np.asarray(logits_to_keep)
    whole = places.ndim == 1 and places.dtype.kind in "iu"
    if not whole or (places.size and not -T <= places.min() <= places.max() < T):
        raise InputError(f"logits_to_keep must be a number or the places of tokens, not {excerpt(logits_to_keep)}")
    return places % T
