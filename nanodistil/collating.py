"""Data collators: a list of examples becomes the batch of a model's call, under transformers' names, as NumPy arrays.

    DataCollatorWithPadding                  ids are padded to the longest; "label" and "label_ids" become "labels"
    DataCollatorForTokenClassification       labels are padded too, with -100
    DataCollatorForLanguageModeling          and tokens are hidden, to be guessed (Devlin et al. 2019)
    default_data_collator                    nothing is padded: examples are of one length

With return_tensors="pt" they give PyTorch's tensors, and serve its DataLoader. nanodistil.training has its own way to
batches, without padding; these are for loops that users write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanodistil.tokenization import BatchEncoding
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError

IGNORED = -100  # a label that does not count
LABELS = ("label", "label_ids", "labels")


def _rows(examples: Any) -> list[dict[str, Any]]:
    """The examples as dicts of lists. Raises InputError for what is none, and for examples with other keys."""
    rows = list(examples) if isinstance(examples, Sequence) else []
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise InputError("a collator takes a list of dicts such as the tokenizer gives, and at least one")
    if any(set(row) != set(rows[0]) for row in rows):
        raise InputError("the examples have not all the same keys; make them alike")
    return [{k: v.tolist() if hasattr(v, "tolist") else v for k, v in row.items()} for row in rows]


def _taken(rows: list[dict[str, Any]]) -> list[Any] | None:
    """The labels, taken out of the rows."""
    name = next((name for name in LABELS if rows[0].get(name) is not None), None)
    found = None if name is None else [row[name] for row in rows]
    for row in rows:
        for other in LABELS:
            row.pop(other, None)
    return found


@dataclass
class DataCollatorWithPadding:
    """Pads what the tokenizer gave. padding, max_length, pad_to_multiple_of: as tokenizer.pad.

    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> words = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    >>> rows = [{**words("a film"), "label": 1}, {**words("a good film"), "label": 0}]
    >>> batch = DataCollatorWithPadding(words)(rows)
    >>> batch["input_ids"].shape, batch["attention_mask"][0].tolist(), batch["labels"]
    ((2, 5), [1, 1, 1, 1, 0], array([1, 0]))
    """

    tokenizer: Tokenizer
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "np"

    def __call__(self, features: Any) -> BatchEncoding[Any]:
        """The batch. Raises InputError for what is no list of dicts, or makes no arrays."""
        rows = _rows(features)
        labels = _taken(rows)
        batch = self._padded(rows)
        if labels is not None:
            batch["labels"] = labels
        return batch.convert_to_tensors(self.return_tensors)

    def _padded(self, rows: list[dict[str, Any]]) -> BatchEncoding[Any]:
        padded: BatchEncoding[Any] = self.tokenizer.pad(
            rows, self.padding, self.max_length, self.pad_to_multiple_of, verbose=False
        )
        return padded


@dataclass
class DataCollatorForTokenClassification(DataCollatorWithPadding):
    """Pads labels of tokens along with them, with label_pad_token_id, on the tokenizer's side."""

    label_pad_token_id: int = IGNORED

    def __call__(self, features: Any) -> BatchEncoding[Any]:
        """The batch; as DataCollatorWithPadding."""
        rows = _rows(features)
        labels = _taken(rows)
        batch = self._padded(rows)
        if labels is not None:
            if not all(isinstance(row, list) for row in labels):
                raise InputError("labels of tokens are needed, a list an example")
            width = len(batch["input_ids"][0])
            pads = [[self.label_pad_token_id] * (width - len(row)) for row in labels]
            right = self.tokenizer.padding_side == "right"
            batch["labels"] = [row + pad if right else pad + row for row, pad in zip(labels, pads, strict=True)]
        return batch.convert_to_tensors(self.return_tensors)


@dataclass
class DataCollatorForLanguageModeling(DataCollatorWithPadding):
    """Hides tokens that are to be guessed: of those chosen, 80 % become [MASK], 10 % some word, 10 % stay.

    mlm_probability: how many are chosen. seed: of the draws, which go on from batch to batch. Labels are the ids if
    a token was chosen, -100 elsewhere. mlm=False, for models that read from left to right: nothing is hidden, labels
    are the ids, -100 for the padding token.
    """

    mlm: bool = True
    mlm_probability: float = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    seed: int | None = None
    _rng: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises InputError for shares that cannot be, and for a tokenizer without a mask token."""
        shares = (self.mlm_probability, self.mask_replace_prob, self.random_replace_prob)
        if not all(0 <= share <= 1 for share in shares) or self.mask_replace_prob + self.random_replace_prob > 1:
            raise InputError("mlm_probability, mask_replace_prob and random_replace_prob are shares, from 0 to 1")
        if self.mlm and self.tokenizer.mask_token_id is None:
            raise InputError("the tokenizer has no mask token, so nothing can be hidden")
        self._rng = np.random.default_rng(self.seed)

    def __call__(self, features: Any) -> BatchEncoding[Any]:
        """The batch, with "labels" (B, T); ids alone will do as examples."""
        if isinstance(features, Sequence) and features and not isinstance(features[0], Mapping):
            features = [{"input_ids": ids} for ids in features]
        rows = _rows(features)
        _taken(rows)
        special = [row.pop("special_tokens_mask", None) for row in rows]
        batch = self._padded(rows).convert_to_tensors("np")
        ids = batch["input_ids"].copy()  # (B, T)
        if not self.mlm:
            batch["labels"] = np.where(ids == self.tokenizer.pad_token_id, IGNORED, ids)
            return batch.convert_to_tensors(self.return_tensors)
        free = np.isin(ids, self.tokenizer.all_special_ids)
        if special[0] is not None:
            real = batch["attention_mask"] != 0
            free[real] |= np.concatenate([np.array(row) != 0 for row in special])
        chosen = (self._rng.random(ids.shape) < self.mlm_probability) & ~free
        batch["labels"] = np.where(chosen, ids, IGNORED)
        draw = self._rng.random(ids.shape)
        ids[chosen & (draw < self.mask_replace_prob)] = self.tokenizer.mask_token_id
        some = chosen & (draw >= self.mask_replace_prob) & (draw < self.mask_replace_prob + self.random_replace_prob)
        ids[some] = self._rng.integers(0, len(self.tokenizer), int(some.sum()))
        batch["input_ids"] = ids
        return batch.convert_to_tensors(self.return_tensors)


def default_data_collator(features: Any, return_tensors: str = "np") -> BatchEncoding[Any]:
    """Examples of one length as a batch; strings and None are left out. Raises InputError if lengths differ.

    >>> default_data_collator([{"input_ids": [1, 2], "label": 0}, {"input_ids": [3, 4], "label": 1}])["labels"]
    array([0, 1])
    """
    rows = _rows(features)
    labels = _taken(rows)
    kept = {
        name: [row[name] for row in rows]
        for name in rows[0]
        if not isinstance(rows[0][name], str) and rows[0][name] is not None
    }
    if labels is not None:
        kept = {"labels": labels, **kept}
    return BatchEncoding(kept).convert_to_tensors(return_tensors)
