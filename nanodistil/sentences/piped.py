"""What the encoders of sentences have in common: a model and its tokenizer, in a pipeline of their own."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer

M = TypeVar("M", bound=Pretrained)


class Piped(Generic[M]):
    """The base of SentenceEncoder, CrossEncoder and SparseEncoder, which make the pipeline."""

    pipe: Any

    @property
    def model(self) -> M:
        return cast(M, self.pipe.model)

    @property
    def tokenizer(self) -> Tokenizer:
        return cast(Tokenizer, self.pipe.tokenizer)

    @property
    def lowers(self) -> bool:
        """Whether texts are put in lower case before the tokenizer sees them."""
        return self.pipe.lower not in (None, str)

    def longest(self) -> int:
        """How many tokens of a text, or of a pair, are read, special ones counted."""
        return int(min(self.tokenizer.model_max_length, self.model.config.max_tokens))
