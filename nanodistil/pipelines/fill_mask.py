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
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Ints
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.pipelines.base import Pipeline, Prepared, Row
from nanodistil.pipelines.inputs import a_text, check_pace
from nanodistil.pipelines.joint_filling import fill_jointly, score_words
from nanodistil.pipelines.mask_scores import Candidates, Ranked, Wanted, best_at_masks, conditionals
from nanodistil.pipelines.pairing import words_of
from nanodistil.pipelines.ranking import largest
from nanodistil.pipelines.targets import target_ids, target_words
from nanodistil.pipelines.tokens import checked_options, row_of
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import CheckpointError, InputError, excerpt

OTHER_MASKS = re.compile(r"<mask>|\[\s*mask\s*\]|\{mask\}|\bmask_token\b|_{2,}|\[blank\]", re.IGNORECASE)
MOST_BEAMS = 1024
BEAMS = 16  # joint fillings that are pursued, if nothing is said

Filling = dict[str, Any]  # {"score": float, "token": int, "token_str": str, "sequence": str}


class Settings(NamedTuple):
    """A call's arguments, checked."""

    top_k: int
    wanted: Wanted  # at each [MASK]
    words: list[list[int]] | None  # the pieces of whole words to rank, instead
    beams: int  # 0: each [MASK] by itself
    clean_up: bool
    options: dict[str, Any]  # the tokenizer's


class FillMaskPipeline(Pipeline[ForMaskedLM, Settings]):
    """Ranks words for the [MASK]s of a text. Made by nanodistil.pipeline("fill-mask", ...)."""

    one_of_a_list_is_alone = True

    def made(self) -> None:
        if self.tokenizer.mask_token_id is None:
            raise CheckpointError("the tokenizer has no mask token, so there is nothing to fill")

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
        settings = self.settings(
            top_k, targets, clean_up_tokenization_spaces, tokenizer_kwargs, whole_words, joint, beams
        )
        return self.answer(inputs, settings)

    def settings(
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
        k = self._top_k(top_k)
        ids, words = words_of(self.model.config, self.tokenizer), None
        if whole_words:
            words = target_words(self.tokenizer, self.model.config, targets)
        elif targets is not None:
            ids = target_ids(self.tokenizer, self.model.config, targets)
        width = max(whole_number("beams", beams, 1), k) if joint else 0
        if width > MOST_BEAMS:  # each of them has a score for every word
            raise InputError(f"at most {MOST_BEAMS} joint fillings can be pursued, not {width}: lower beams or top_k")
        try:
            options = checked_options(tokenizer_kwargs)
        except InputError as error:
            raise InputError(f"tokenizer_kwargs: {error}") from None
        wanted = k if ids is None else Candidates(ids, k)
        return Settings(k, wanted, words, width, clean_up_tokenization_spaces, options)

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        ids = self._ids(a_text(one, name), name, settings)
        in_steps = settings.beams or settings.words is not None  # many rows, each after what was found of others
        return Prepared([] if in_steps else [Row(ids, settings.wanted)], ids)

    def compute(self, inputs: dict[str, Any], wanted: list[Wanted]) -> list[Ranked]:
        ids, real = inputs["input_ids"], inputs["attention_mask"]
        return best_at_masks(self.model, ids, real, (ids == self.tokenizer.mask_token_id) & real, wanted)

    def finish(self, prepared: Prepared, results: list[Ranked], settings: Settings) -> Any:
        ids = prepared.rest
        if settings.beams:
            return self._joint(ids, settings)
        if settings.words is not None:
            fillings = self._whole(ids, settings.words, settings)
        else:
            fillings = [
                [
                    self._filling(score, ids, at, word, settings)
                    for score, word in zip(scores, words.tolist(), strict=True)
                ]
                for at, scores, words in zip(self._masks(ids), *results[0], strict=True)
            ]
        return fillings[0] if len(fillings) == 1 else fillings

    def _masks(self, ids: Ints) -> list[int]:
        """Where in (T,) ids the [MASK]s are."""
        found: list[int] = np.flatnonzero(ids == self.tokenizer.mask_token_id).tolist()
        return found

    def _ids(self, text: str, name: str, settings: Settings) -> Ints:
        """Checked ids of a text (T,), without padding if any was asked for."""
        ids = row_of(self.model, self.tokenizer, (text,), name, settings.options).ids
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
        mask, ask = self.tokenizer.mask_token_id, partial(conditionals, self.model)
        fillings = []
        for at in self._masks(ids):
            scores = np.array(score_words(ids, at, mask, words, ask))
            best = largest(scores, settings.top_k).tolist()
            fillings.append([self._filling(scores[n], ids, at, words[n], settings) for n in best])
        return fillings

    def _filling(self, score: Any, ids: Ints, at: int, token: int | list[int], settings: Settings) -> Filling:
        """One answer: a token, or the pieces of a word, in the place of one [MASK]."""
        pieces = token if isinstance(token, list) else [token]
        # With other [MASK]s left in, skipping special tokens would drop those too: so keep them all, as upstream.
        alone = len(self._masks(ids)) == 1
        return {
            "score": float(score),
            "token": token,
            "token_str": self._decoded(pieces, settings),
            "sequence": self._decoded([*ids[:at].tolist(), *pieces, *ids[at + 1 :].tolist()], settings, alone),
        }

    def _joint(self, ids: Ints, settings: Settings) -> list[Filling]:
        """The best joint fillings of all [MASK]s of a text (T,)."""
        masks, wanted = self._masks(ids), settings.wanted
        candidates = wanted.words if isinstance(wanted, Candidates) else np.arange(self.model.config.vocab_size)
        rows, scores = fill_jointly(ids, masks, candidates, settings.beams, partial(conditionals, self.model))
        return [
            {
                "score": float(score),
                "token": row[masks].tolist(),
                "token_str": [self._decoded([token], settings) for token in row[masks].tolist()],
                "sequence": self._decoded(row.tolist(), settings, True),
            }
            for row, score in zip(rows[: settings.top_k], scores, strict=False)
        ]

    def _decoded(self, ids: list[int], settings: Settings, skip_special_tokens: bool = False) -> str:
        """As text, without padding if there is more than one token."""
        if len(ids) > 1:
            ids = [number for number in ids if number != self.tokenizer.pad_token_id]
        return self.tokenizer.decode(ids, skip_special_tokens, settings.clean_up)

    def _top_k(self, top_k: int | None) -> int:
        top_k, V = 5 if top_k is None else top_k, self.model.config.vocab_size
        if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or not 0 <= top_k <= V:
            raise InputError(f"top_k must be a whole number from 0 to {V}, not {excerpt(top_k)}")
        return int(top_k)
