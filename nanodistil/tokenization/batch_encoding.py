"""What a call returns: the lists (or arrays) a model asks for, by name, and where each token came from.

`batch["input_ids"]` and `batch.input_ids` are the same. Each value is made when it is first looked at: a list of a
million ones takes longer to make than to be told that nobody wants it.

The mapping methods take the row first, or leave it out, which means row 0: `char_to_token(5)` is character 5 of row 0,
`char_to_token(2, 5)` of row 2. For a pair `sequence_index` says which text is meant. A negative row counts from the end
for the four methods that ask about characters, and is refused by the others: the reference's doing.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, Self, TypeAlias, TypeVar, overload

from nanodistil.tokenization.arguments import TENSORS, number, one_of
from nanodistil.tokenization.encoding import Encoding
from nanodistil.torch_tensors import as_tensor, is_tensor
from nanodistil.weights.errors import InputError, excerpt

V = TypeVar("V")
Numbers: TypeAlias = Literal["input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "labels"]


class CharSpan(NamedTuple):
    """Characters [start, end) of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens [start, end) of a row."""

    start: int
    end: int


PADDED = ("input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "offset_mapping")


class BatchEncoding(UserDict[str, Any], Generic[V]):
    """The values a model asks for, and the encodings they were made of (None: made of lists that somebody gave).

    For type checkers V is what stands under "input_ids" and the like: list[int], list[list[int]] or an array.

    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> batch = DistilBertTokenizer.from_pretrained("nanodistil-mini")(["Hi there", "Unaffable!"])
    >>> batch.tokens(1), batch.word_ids(1), batch.char_to_token(0, 3), batch.word_to_chars(1, 0)
    (['[CLS]', 'una', '##ffa', '##ble', '!', '[SEP]'], [None, 0, 0, 0, 1, None], 2, CharSpan(start=0, end=9))
    """

    input_ids: V
    attention_mask: V

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        self._values = dict(data or {})
        self._encodings: list[Encoding] | None = None
        if encoding is not None:
            self._encodings = [encoding] if isinstance(encoding, Encoding) else list(encoding)
        self._encoding: Callable[[int], Encoding] | None = None
        self._n = len(self._encodings or ())
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @classmethod
    def made_when_asked_for(cls, values: dict[str, Any], encoding: Callable[[int], Encoding], n: int) -> Self:
        """`values`: a partial() without arguments stands for what it returns. `encoding`: of row i out of n."""
        batch = cls.__new__(cls)
        batch._values, batch._encodings, batch._encoding, batch._n = values, None, encoding, n
        batch._n_sequences = None
        return batch

    # ---- a dict

    @property
    def data(self) -> dict[str, Any]:  # type: ignore[override]  # a plain attribute in UserDict
        """All of it, as a plain dict."""
        for key in self._values:
            self[key]
        return self._values

    @overload
    def __getitem__(self, key: Numbers) -> V: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: int) -> Encoding: ...
    @overload
    def __getitem__(self, key: slice) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """The values under a name, the Encoding of a row, or the Encodings of a slice of rows."""
        if not isinstance(key, str):
            return self._rows_at(key)
        value = self._values[key]
        if isinstance(value, partial):
            value = self._values[key] = value()
        return value

    def _rows_at(self, key: Any) -> Any:
        if self.encodings is not None:
            if not isinstance(key, slice) and not -self._n <= number("a row", key) < self._n:
                raise InputError(f"row {key} of a batch of {self._n}; rows are numbered from 0")
            return self.encodings[key]
        if isinstance(key, slice):
            return {name: value[key] for name, value in self.data.items()}
        raise KeyError(
            f"{excerpt(key)}: without a tokenizer's encodings there are only {', '.join(self._values)}, and slices"
        )

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_values", ()):
            return self[name]
        raise AttributeError(
            f"no {excerpt(name)} in this BatchEncoding, only {', '.join(self.__dict__.get('_values', ()))}"
        )

    def __copy__(self) -> BatchEncoding[V]:
        other: BatchEncoding[V] = BatchEncoding(self._values, n_sequences=self._n_sequences)
        other._encodings, other._encoding, other._n = self._encodings, self._encoding, self._n
        return other

    copy = __copy__

    def convert_to_tensors(
        self, tensor_type: str | None = None, prepend_batch_axis: bool = False
    ) -> BatchEncoding[Any]:
        """Turn every value into an array or a tensor; tensor_type "np", "pt" for PyTorch's, or None for none of it.

        Raises InputError if rows differ in length, which makes no array, MissingExtraError without PyTorch.
        """
        tensor_type = one_of("tensor_type", tensor_type, TENSORS)
        if tensor_type is None:
            return self
        import numpy as np

        for key in self._values:
            value = self[key]
            if is_tensor(value) and not prepend_batch_axis and tensor_type == "pt":
                continue
            try:
                array = np.asarray([value] if prepend_batch_axis else value)
            except ValueError:
                remedy = "pass padding=True" if key in PADDED else "pad it first (labels: with -100)"
                raise InputError(f"{key} has rows of different lengths and makes no array; {remedy}") from None
            array = array if array.size else array.astype(np.int64)
            self[key] = as_tensor(array) if tensor_type == "pt" else array
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> Self:
        """Itself, with PyTorch's tensors moved to `device`; lists and arrays stay, and a model takes them where it is.

        Raises InputError for what is no device, such as a dtype.
        """
        name = device if isinstance(device, str) else getattr(device, "type", None)
        if not (isinstance(device, int) or isinstance(name, str)) or isinstance(device, bool):
            raise InputError(f"to() takes a device such as 'cpu', not {excerpt(device)}")
        for key, value in self.data.items():
            if is_tensor(value):
                self[key] = value.to(device=device, non_blocking=non_blocking)
        return self

    # ---- the encodings

    @property
    def encodings(self) -> list[Encoding] | None:
        """An Encoding a row."""
        if self._encodings is None and self._encoding is not None:
            self._encodings = [self._encoding(i) for i in range(self._n)]
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether there are encodings, and the methods below answer."""
        return self._encodings is not None or self._encoding is not None

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs (as the first row has it), None if that is not known."""
        if self._n_sequences is None and self.is_fast and self._n:
            self._n_sequences = self._row(0).n_sequences
        return self._n_sequences

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row, as text."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row the word it is part of, None for tokens put in."""
        return self._row(batch_index).word_ids

    words = word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row the text it is from, None for tokens put in."""
        return self._row(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The text a token is from, 0 or 1."""
        row, token = self._row_and_index(batch_or_token_index, token_index, from_end=False)
        return row.token_to_sequence(token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The word a token is part of."""
        row, token = self._row_and_index(batch_or_token_index, token_index, from_end=False)
        return row.token_to_word(token)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters a token stands for; None for a token put in."""
        row, token = self._row_and_index(batch_or_token_index, token_index)
        found = row.token_to_chars(token)
        return None if found is None else CharSpan(*found)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word."""
        row, word = self._row_and_index(batch_or_word_index, word_index, from_end=False)
        found = row.word_to_tokens(word, _number("sequence_index", sequence_index))
        return None if found is None else TokenSpan(*found)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan:
        """The characters of a word. Raises InputError for a word that is not there."""
        row, word = self._row_and_index(batch_or_word_index, word_index)
        found = row.word_to_chars(word, _number("sequence_index", sequence_index))
        if found is None:
            raise InputError(f"no word {word} in this row; word_ids() shows which there are")
        return CharSpan(*found)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token a character went into; None for white space."""
        row, char = self._row_and_index(batch_or_char_index, char_index)
        return row.char_to_token(char, _number("sequence_index", sequence_index))

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word a character is part of; None for white space."""
        row, char = self._row_and_index(batch_or_char_index, char_index)
        return row.char_to_word(char, _number("sequence_index", sequence_index))

    def _row_and_index(self, first: int, second: int | None, from_end: bool = True) -> tuple[Encoding, int]:
        """The row meant, and the token, word or character in it."""
        row, index = (0, first) if second is None else (first, second)
        if not from_end:
            _number("the row", row)
        return self._row(row), _number("the index", index)

    def _row(self, index: int) -> Encoding:
        if not self.is_fast or not self._n:
            raise InputError("there are no encodings to ask; call the tokenizer with texts")
        if not -self._n <= number("the row", index) < self._n:
            raise InputError(f"row {index} of a batch of {self._n}; rows are numbered from 0")
        if self._encodings is None and self._encoding is not None:
            return self._encoding(range(self._n)[index])
        return (self._encodings or [])[index]


def _number(name: str, value: Any) -> int:
    if number(name, value) < 0:
        raise InputError(f"{name} is {value}; count from 0")
    return number(name, value)
