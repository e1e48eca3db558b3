"""A model and its tokenizer: whether they belong together, which rows are words, and how much text both take.

Ids of another vocabulary look like any others, and give nonsense. A tokenizer with more tokens than the model has rows
is certainly another's. One with fewer need not be: tables of embeddings are padded to a round number for the sake of
tensor cores (30,522 to 30,720), and vocabularies have holes. Such rows are computed like any others, so that scores are
transformers', but they stand for no word and are never an answer.
"""

from __future__ import annotations

import warnings

import numpy as np

from nanodistil.backend import Ints
from nanodistil.config import Config
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import CheckpointError

ROUND = 8  # what padded tables are a multiple of; no official vocabulary is
ROWS_SPARE = 127  # rows beyond the vocabulary of which nobody asks why


def check_pair(model: Pretrained, tokenizer: Tokenizer) -> None:
    """Raises CheckpointError if the model has fewer embedding rows than the tokenizer has tokens.

    If it has many more, and not as many as padding would explain, a warning says so.
    """
    rows, ids = model.config.vocab_size, 1 + max(tokenizer.encoder.names)
    if rows < ids:
        raise CheckpointError(
            f"the vocabulary has {ids} entries and the model {rows} embedding rows; use the tokenizer that the model "
            "was trained with, or after adding tokens model.resize_token_embeddings"
        )
    if rows - ids > ROWS_SPARE and rows % ROUND:
        warnings.warn(
            f"the vocabulary has {ids} entries and the model {rows} embedding rows, which is no padding to a round "
            "number: is it the tokenizer that the model was trained with?",
            stacklevel=3,
        )


def words_of(config: Config, tokenizer: Tokenizer) -> Ints | None:
    """The embedding rows that stand for a token, in ascending order; None if all do."""
    names, V = tokenizer.encoder.names, config.vocab_size
    return None if len(names) == V else np.array(sorted(number for number in names if number < V), np.int64)


def longest_row(model: Pretrained, tokenizer: Tokenizer) -> int:
    """The tokens that a row may have, special ones counted: what the model takes, or the tokenizer's lower limit."""
    return min(model.config.max_tokens, tokenizer.model_max_length)
