"""fill-mask: which words belong in the place of [MASK]?

    text -> ids -> hidden states -> logits at the [MASK]s alone -> softmax over the vocabulary -> the best few

Arguments and results follow transformers' pipeline (4.57): several [MASK]s are filled independently of each other, a
target that is no word of the vocabulary stands for its first piece, and targets are compared by their share of the
whole vocabulary, so their scores do not sum to 1. Two switches of ours do better: joint=True fills the [MASK]s of a
text together, whole_words=True scores all pieces of a target (joint_filling.py says how). One default differs:
sequences are cleaned up (`hello i'm a role model.`), where transformers leaves spaces around the apostrophe of most
checkpoints; clean_up_tokenization_spaces=False gives its form.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.family.distilbert import DistilBertForMaskedLM
from nanodistil.pipelines.batching import ON_CPU, Prepared, answered, batches, check_pace, pace_of, padded, several
from nanodistil.pipelines.joint_filling import fill_jointly, score_words
from nanodistil.pipelines.pairing import check_pair, words_of
from nanodistil.pipelines.preset import settings_of
from nanodistil.pipelines.ranking import largest
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.tokens import checked_options, row_of
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import CheckpointError, InputError, excerpt

OTHER_MASKS = re.compile(r"<mask>|\[\s*mask\s*\]|\{mask\}|\bmask_token\b|_{2,}|\[blank\]", re.IGNORECASE)
MOST_BEAMS = 1024
BEAMS = 16  # joint fillings that are pursued, where nothing is said

Filling = dict[str, Any]  # {"score": float, "token": int, "token_str": str, "sequence": str}


class Settings(NamedTuple):
    top_k: int
    target_ids: Ints | None  # the words to choose from; None: every row of the vocabulary is one
    words: list[list[int]] | None  # the pieces of whole words to rank, instead
    beams: int  # 0: each [MASK] by itself
    clean_up: bool
    tokenizer_kwargs: dict[str, Any]


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
        top_k: int | None = 5,
        targets: str | list[str] | None = None,
        *,
        tokenizer_kwargs: dict[str, Any] | None = None,
        clean_up_tokenization_spaces: bool = True,
        whole_words: bool = False,
        joint: bool = False,
        beams: int = BEAMS,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Any:
        """The best fillings of every [MASK], best first.

        inputs: a text, a list of texts (or tuple, array, column), or an iterator, which is streamed. Returns, for one
        text with one [MASK], a list of {"score", "token", "token_str", "sequence"}; with k of them, k such lists; for a
        list of texts a list of that (as in transformers, a list of one text gives what the text alone would); for an
        iterable an iterator. top_k: how many (default 5). targets: rank only these words; one outside the vocabulary
        stands for its first piece, with a warning. tokenizer_kwargs: e.g. {"truncation": True}.
        clean_up_tokenization_spaces: above.

        whole_words: score targets with all their pieces; "token" is then the list of these. joint: fill all [MASK]s
        together, which gives one list a text, of {"score", "token": k ids, "token_str": k strings, "sequence"}. beams:
        how many joint fillings are pursued (default 16; at least top_k).
        batch_size, num_workers: taken as transformers takes them; they change nothing, see batching.py.
        Raises InputError for a text without [MASK] or longer than the model's positions, and for unusable arguments.
        """
        check_pace(batch_size, num_workers)
        settings = self._settings(
            top_k, targets, clean_up_tokenization_spaces, tokenizer_kwargs, whole_words, joint, beams
        )
        if isinstance(inputs, str):
            return next(self._fill([inputs], settings))
        inputs = several(inputs)
        if isinstance(inputs, list):
            answers = list(self._fill(inputs, settings))
            return answers[0] if len(answers) == 1 else answers
        return self._fill(inputs, settings)

    def each(self, texts: list[str], first: int = 0, **options: Any) -> Iterator[Any]:
        """The answers one by one, also where there is one text; arguments as in a call.

        first: how many texts came before these, for the messages of errors. A text that cannot be answered raises its
        error after the answers to those before it.
        """
        return self._fill(texts, settings_of(self, options), first)

    def _settings(
        self,
        top_k: int | None = 5,
        targets: str | list[str] | None = None,
        clean_up_tokenization_spaces: bool = True,
        tokenizer_kwargs: dict[str, Any] | None = None,
        whole_words: bool = False,
        joint: bool = False,
        beams: int = BEAMS,
    ) -> Settings:
        if whole_words and (joint or targets is None):
            raise InputError("whole_words goes with targets, and not with joint")
        target_ids, words = words_of(self.model.config, self.tokenizer), None
        if targets is not None:
            target_ids, words = (
                (None, self._target_words(targets)) if whole_words else (self._target_ids(targets), None)
            )
        width = max(whole_number("beams", beams, 1), self._top_k(top_k)) if joint else 0
        if width > MOST_BEAMS:  # each of them has a score for every word
            raise InputError(f"at most {MOST_BEAMS} joint fillings can be pursued, not {width}: lower beams or top_k")
        try:
            options = checked_options(tokenizer_kwargs)
        except InputError as error:
            raise InputError(f"tokenizer_kwargs: {error}") from None
        return Settings(self._top_k(top_k), target_ids, words, width, clean_up_tokenization_spaces, options)

    def _fill(self, texts: Iterable[Any], settings: Settings, first: int = 0) -> Iterator[Any]:
        """Answers to the texts, in order; `first` is how many came before, for messages."""
        mask = self.tokenizer.mask_token_id
        in_steps = settings.beams or settings.words is not None  # one text after the other, many rows each

        def prepare(text: Any, name: str) -> Prepared:
            ids = self._ids(text, name, settings)
            return Prepared([] if in_steps else [ids], ids)

        def compute(ids: Ints, real: Mask) -> Iterator[list[list[Filling]]]:
            places = np.argwhere((ids == mask) & real)  # (M, 2), in reading order
            probs, words = self._best(ids, real, places, settings)  # (M, k) each
            for b, row in enumerate(ids):
                yield [
                    [
                        self._filling(score, row[real[b]], int(places[i, 1]), word, settings)
                        for score, word in zip(probs[i], words[i].tolist(), strict=True)
                    ]
                    for i in np.flatnonzero(places[:, 0] == b)
                ]

        def finish(prepared: Prepared, results: list[list[list[Filling]]]) -> Any:
            if settings.beams:
                return self._joint(prepared.rest, settings)
            fillings = results[0] if settings.words is None else self._whole(prepared.rest, settings.words, settings)
            return fillings[0] if len(fillings) == 1 else fillings

        return answered(texts, prepare, compute, finish, first, pace_of(self.model))

    def _best(self, ids: Ints, real: Mask, places: Ints, settings: Settings) -> tuple[Array, Ints]:
        """The top_k words, or targets, at M places (row, token) of (B, T) ids: probabilities (M, k), ids (M, k)."""
        if settings.target_ids is None:
            probs, words = self.model.most_probable(ids, real, places, settings.top_k)
            return finite(probs), words
        probs = self._probabilities(ids, real, places)[:, settings.target_ids]  # (M, C)
        best = np.stack([largest(row, settings.top_k) for row in probs])
        return np.take_along_axis(probs, best, -1), settings.target_ids[best]

    def _probabilities(self, ids: Ints, real: Mask, places: Ints) -> Array:
        """The vocabulary's probabilities at M places (row, token) of (B, T) ids: (M, V)."""
        return finite(self.model.probabilities(ids, real, places))

    def _conditionals(self, asked: list[tuple[Ints, int]]) -> Iterator[tuple[int, Array]]:
        """What joint_filling.py asks of a model, in batches."""
        for batch in batches([len(ids) for ids, _ in asked], ON_CPU.tokens):  # it is (M, V) that takes memory
            places = np.array([(b, asked[i][1]) for b, i in enumerate(batch)])
            yield from zip(batch, self._probabilities(*padded([asked[i][0] for i in batch]), places), strict=True)

    def _ids(self, text: Any, name: str, settings: Settings) -> Ints:
        """Checked ids of a text (T,), without padding if any was asked for."""
        if not isinstance(text, str):
            raise InputError(f"{name} is not a string but {type(text).__name__}")
        ids = row_of(self.model, self.tokenizer, text, None, name, settings.tokenizer_kwargs)
        if not (ids == self.tokenizer.mask_token_id).any():
            raise InputError(self._no_mask(text, name))
        limit = self.model.config.max_position_embeddings
        longest = max(map(len, settings.words or [[0]]))
        if len(ids) + longest - 1 > limit:
            raise InputError(
                f"{name} has {len(ids)} tokens, which leaves no room in the model's {limit} for a target of {longest}"
            )
        return ids

    def _no_mask(self, text: str, name: str) -> str:
        """What to say of a text without a mask; `ids` of it had none."""
        mask = str(self.tokenizer.mask_token)
        if self.tokenizer.mask_token_id in self.tokenizer(text, verbose=False)["input_ids"]:
            return f"the {mask} of {name} is in the part that was cut off: shorten what stands before it"
        if found := OTHER_MASKS.search(text):
            return f"no {mask} in {name}: write {mask} for its {found[0]}"
        return f"no {mask} in {name}: put it where a word should go"

    def _whole(self, ids: Ints, words: list[list[int]], settings: Settings) -> list[list[Filling]]:
        """The best whole words for every [MASK] of a text (T,)."""
        mask = self.tokenizer.mask_token_id
        fillings = []
        for at in np.flatnonzero(ids == mask).tolist():
            scores = np.array(score_words(ids, at, mask, words, self._conditionals))
            best = largest(scores, settings.top_k).tolist()
            fillings.append([self._filling(scores[n], ids, at, words[n], settings) for n in best])
        return fillings

    def _filling(self, score: Any, ids: Ints, at: int, token: int | list[int], settings: Settings) -> Filling:
        """One answer: a token, or the pieces of a word, in the place of one [MASK]."""
        pieces = token if isinstance(token, list) else [token]
        # With other [MASK]s left in, skipping special tokens would drop those too: so keep them all, as upstream.
        alone = int((ids == self.tokenizer.mask_token_id).sum()) == 1
        return {
            "score": float(score),
            "token": token,
            "token_str": self._decoded(pieces, settings),
            "sequence": self._decoded([*ids[:at].tolist(), *pieces, *ids[at + 1 :].tolist()], settings, alone),
        }

    def _joint(self, ids: Ints, settings: Settings) -> list[Filling]:
        """The best joint fillings of all [MASK]s of a text (T,)."""
        places = np.flatnonzero(ids == self.tokenizer.mask_token_id).tolist()
        candidates = np.arange(self.model.config.vocab_size) if settings.target_ids is None else settings.target_ids
        rows, scores = fill_jointly(ids, places, candidates, settings.beams, self._conditionals)
        return [
            {
                "score": float(score),
                "token": row[places].tolist(),
                "token_str": [self._decoded([token], settings) for token in row[places].tolist()],
                "sequence": self._decoded(row.tolist(), settings, True),
            }
            for row, score in zip(rows[: settings.top_k], scores, strict=False)
        ]

    def _decoded(self, ids: list[int], settings: Settings, skip_special_tokens: bool = False) -> str:
        """As text, without padding where there is more than one token."""
        if len(ids) > 1:
            ids = [number for number in ids if number != self.tokenizer.pad_token_id]
        return self.tokenizer.decode(ids, skip_special_tokens, settings.clean_up)

    def _top_k(self, top_k: int | None) -> int:
        top_k, V = 5 if top_k is None else top_k, self.model.config.vocab_size
        if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or not 0 <= top_k <= V:
            raise InputError(f"top_k must be a whole number from 0 to {V}, not {excerpt(top_k)}")
        return int(top_k)

    def _target_ids(self, targets: str | list[str]) -> Ints:
        """Words to rank -> their ids, each once. A word outside the vocabulary stands for its first piece."""
        ids, vocabulary = [], self.tokenizer.get_vocab()
        for name, pieces in self._spelled(targets):
            ids.append(pieces[0])
            if name not in vocabulary:
                piece = self.tokenizer.convert_ids_to_tokens(pieces[0])
                warnings.warn(
                    f"the target {excerpt(name)} is not in the vocabulary; {excerpt(piece)} stands for it", stacklevel=4
                )
        return np.array(list(dict.fromkeys(ids)), np.int64)

    def _target_words(self, targets: str | list[str]) -> list[list[int]]:
        """Words to rank -> their pieces, each word once."""
        spelled = self._spelled(targets)
        for name, pieces in spelled:
            if self.tokenizer.unk_token_id in pieces:
                raise InputError(f"the target {excerpt(name)} cannot be spelled in pieces of the vocabulary")
        return [list(pieces) for pieces in dict.fromkeys(tuple(pieces) for _, pieces in spelled)]

    def _spelled(self, targets: str | list[str]) -> list[tuple[str, list[int]]]:
        """The targets that have any pieces, with these."""
        if not isinstance(targets, str | Iterable):
            raise InputError(f"targets must be a string or several, not {type(targets).__name__}")
        vocabulary = self.tokenizer.get_vocab()
        spelled: list[tuple[str, list[int]]] = []
        for name in [targets] if isinstance(targets, str) else targets:
            if not isinstance(name, str):
                raise InputError(f"targets must be strings, not {type(name).__name__}")
            if self.tokenizer.mask_token in name:
                raise InputError(f"the target {excerpt(name)} holds {self.tokenizer.mask_token}: is it a text?")
            inside = name in vocabulary
            pieces = [vocabulary[name]] if inside else self.tokenizer(name, add_special_tokens=False)["input_ids"]
            if pieces and max(pieces) >= self.model.config.vocab_size:
                raise InputError(
                    f"the target {excerpt(name)} is a token the model has no row for: resize_token_embeddings"
                )
            if pieces:
                spelled.append((name, pieces))
            else:
                warnings.warn(
                    f"the target {excerpt(name)} has no pieces in the vocabulary and is left out", stacklevel=4
                )
        if not spelled:
            raise InputError("targets names no word of the vocabulary")
        return spelled
