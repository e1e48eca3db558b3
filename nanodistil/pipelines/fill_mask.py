"""fill-mask: which words belong in the place of [MASK]?

    text -> ids -> hidden states -> logits at the [MASK]s alone -> softmax over the vocabulary -> the best few

Arguments and results follow transformers' pipeline (4.57): several [MASK]s are filled independently of each other, and
targets are compared by their share of the whole vocabulary, so their scores do not sum to 1. One default differs:
sequences are cleaned up (`hello i'm a role model.`), where transformers leaves spaces around the apostrophe of most
checkpoints; clean_up_tokenization_spaces=False gives its form.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.heads import DistilBertForMaskedLM
from nanodistil.pipelines.batching import Prepared, answered
from nanodistil.pipelines.pairing import check_pair
from nanodistil.pipelines.ranking import largest
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.weights.errors import CheckpointError, InputError

LANES = 16  # in which the vocabulary's probabilities are summed

Settings = tuple[int, Ints | None, bool, dict[str, Any]]  # top_k, target ids, whether to clean up, tokenizer_kwargs
Filling = dict[str, Any]  # {"score": float, "token": int, "token_str": str, "sequence": str}


class FillMaskPipeline:
    """Ranks words for the [MASK]s of a text. Made by nanodistil.pipeline("fill-mask", ...)."""

    def __init__(self, model: DistilBertForMaskedLM, tokenizer: DistilBertTokenizer) -> None:
        """Raises CheckpointError where the tokenizer's vocabulary and the model's embedding rows do not fit."""
        check_pair(model, tokenizer)
        if tokenizer.mask_token_id is None:
            raise CheckpointError("the tokenizer has no mask token, so there is nothing to fill")
        self.model = model
        self.tokenizer = tokenizer

    def __call__(
        self,
        inputs: str | Iterable[str],
        *,
        top_k: int = 5,
        targets: str | list[str] | None = None,
        clean_up_tokenization_spaces: bool = True,
        tokenizer_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The best fillings of every [MASK], best first.

        inputs: a text, a list of texts, or any other iterable, which is then streamed. Returns, for one text with one
        [MASK], a list of {"score", "token", "token_str", "sequence"}; with k of them, k such lists; for a list of texts
        a list of that (as in transformers, a list of one text gives what the text alone would); for an iterable an
        iterator. top_k: how many. targets: rank only these words; one outside the vocabulary stands for its first
        piece, with a warning. tokenizer_kwargs: e.g. {"truncation": True}.
        Raises InputError for a text without [MASK] or longer than the model's positions, and for unusable arguments.
        """
        settings = self._settings(top_k, targets, clean_up_tokenization_spaces, tokenizer_kwargs)
        if isinstance(inputs, str):
            return next(self._fill([inputs], settings))
        if isinstance(inputs, list):
            answers = list(self._fill(inputs, settings))
            return answers[0] if len(answers) == 1 else answers
        if not isinstance(inputs, Iterable):
            raise InputError(f"a text or several are needed, not {type(inputs).__name__}")
        return self._fill(inputs, settings)

    def each(self, texts: list[str], first: int = 0, **options: Any) -> Iterator[Any]:
        """The answers one by one, also where there is one text; arguments as in a call.

        first: how many texts came before these, for the messages of errors. A text that cannot be answered raises its
        error after the answers to those before it.
        """
        return self._fill(texts, self._settings(**options), first)

    def _settings(
        self,
        top_k: int = 5,
        targets: str | list[str] | None = None,
        clean_up_tokenization_spaces: bool = True,
        tokenizer_kwargs: dict[str, Any] | None = None,
    ) -> Settings:
        target_ids = None if targets is None else self._target_ids(targets)
        return self._top_k(top_k), target_ids, clean_up_tokenization_spaces, tokenizer_kwargs or {}

    def _fill(self, texts: Iterable[Any], settings: Settings, first: int = 0) -> Iterator[Any]:
        """Answers to the texts, in order; `first` is how many came before, for messages."""
        top_k, target_ids, clean_up, options = settings
        mask = self.tokenizer.mask_token_id

        def prepare(text: Any, name: str) -> Prepared:
            return Prepared([self._ids(text, name, options)])

        def compute(ids: Ints, real: Mask) -> Iterator[list[list[Filling]]]:
            places = np.argwhere((ids == mask) & real)  # (M, 2), in reading order
            logits = self.model(ids, real, positions=places).logits  # (M, V)
            if not np.isfinite(logits).all():
                raise CheckpointError("the model gives numbers that are not finite; its weights are damaged")
            probs = vocabulary_softmax(logits)  # (M, V)
            for b, row in enumerate(ids):
                here = places[:, 0] == b
                yield [
                    self._ranked(row[real[b]], int(t), p, top_k, target_ids, clean_up)
                    for (_, t), p in zip(places[here], probs[here], strict=True)
                ]

        def finish(_: Prepared, results: list[list[list[Filling]]]) -> Any:
            (fillings,) = results
            return fillings[0] if len(fillings) == 1 else fillings

        return answered(texts, prepare, compute, finish, first)

    def _ids(self, text: Any, name: str, options: dict[str, Any]) -> Ints:
        """Checked ids of a text (T,), without padding if any was asked for: nothing attends to it here."""
        if not isinstance(text, str):
            raise InputError(f"{name} is not a string but {type(text).__name__}")
        try:
            encoded = self.tokenizer(text, **{"verbose": False, **options})
        except TypeError as error:
            raise InputError(f"tokenizer_kwargs: {error}") from None
        ids = np.asarray(encoded["input_ids"], np.int64)[np.asarray(encoded["attention_mask"], np.bool_)]
        limit = self.model.config.max_position_embeddings
        if not (ids == self.tokenizer.mask_token_id).any():
            raise InputError(f"no {self.tokenizer.mask_token} in {name}: put it where a word should go")
        if len(ids) > limit:
            raise InputError(
                f"{name} has {len(ids)} tokens, more than the model's {limit}: shorten it or allow truncation"
            )
        return ids

    def _ranked(
        self, ids: Ints, at: int, probs: Array, top_k: int, target_ids: Ints | None, clean_up: bool
    ) -> list[Filling]:
        """The best fillings of the [MASK] at `at`: (T,), (V,) -> top_k dicts."""
        candidates = np.arange(len(probs)) if target_ids is None else target_ids
        best = candidates[largest(probs[candidates], top_k)]
        alone = int((ids == self.tokenizer.mask_token_id).sum()) == 1
        fillings = []
        for token in best.tolist():
            filled = ids.copy()
            filled[at] = token
            filled = filled[filled != self.tokenizer.pad_token_id]
            # With other [MASK]s left in, skipping special tokens would drop those too: so keep them all, as upstream.
            sequence = self.tokenizer.decode(
                filled.tolist(), skip_special_tokens=alone, clean_up_tokenization_spaces=clean_up
            )
            fillings.append(
                {
                    "score": float(probs[token]),
                    "token": token,
                    "token_str": self.tokenizer.decode([token], clean_up_tokenization_spaces=clean_up),
                    "sequence": sequence,
                }
            )
        return fillings

    def _top_k(self, top_k: int) -> int:
        V = self.model.config.vocab_size
        if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or not 0 <= top_k <= V:
            raise InputError(f"top_k must be a whole number from 0 to {V}, not {top_k!r}")
        return int(top_k)

    def _target_ids(self, targets: str | list[str]) -> Ints:
        """Words to rank -> their ids, each once. A word outside the vocabulary stands for its first piece."""
        if not isinstance(targets, str | Iterable):
            raise InputError(f"targets must be a string or several, not {type(targets).__name__}")
        names = [targets] if isinstance(targets, str) else list(targets)
        vocabulary = self.tokenizer.get_vocab()
        ids: list[int] = []
        for name in names:
            if not isinstance(name, str):
                raise InputError(f"targets must be strings, not {type(name).__name__}")
            if self.tokenizer.mask_token in name:
                raise InputError(f"the target {name!r} holds {self.tokenizer.mask_token}: is it a text?")
            if name in vocabulary:
                ids.append(vocabulary[name])
                continue
            pieces = self.tokenizer(name, add_special_tokens=False)["input_ids"]
            if not pieces:
                warnings.warn(f"the target {name!r} has no pieces in the vocabulary and is left out", stacklevel=3)
                continue
            piece = self.tokenizer.convert_ids_to_tokens(pieces[0])
            warnings.warn(f"the target {name!r} is not in the vocabulary; {piece!r} stands for it", stacklevel=3)
            ids.append(pieces[0])
        if not ids:
            raise InputError("targets names no word of the vocabulary")
        return np.array(list(dict.fromkeys(ids)), np.int64)


def vocabulary_softmax(logits: Array) -> Array:
    """exp(s) / sum exp(s) over the vocabulary, summed in PyTorch's order: (M, V) -> (M, V).

    Thirty thousand numbers added one after the other in float32 lose the small ones beside the large: PyTorch, which
    adds in 16 lanes on AVX-512, reports .98362 where float64 has .98360, and that error is larger than all others of
    the model together. Scores are for comparing with scores seen elsewhere, so we add in the same 16 lanes and get the
    same digits (to 1e-7). In float64 the order does not matter, so `--truth` shows what it is worth.

    >>> vocabulary_softmax(np.array([[0.0, 0.0, -1000.0]]))
    array([[0.5, 0.5, 0. ]])
    """
    M, V = logits.shape
    e = np.zeros((M, -(-V // LANES), LANES), logits.dtype)
    flat = e.reshape(M, -1)
    flat[:, :V] = np.exp(logits - logits.max(-1, keepdims=True))
    total = e.sum(axis=1).sum(axis=-1, keepdims=True)  # (M, 1): each lane from top to bottom, then the lanes
    return np.asarray(flat[:, :V] / total)
