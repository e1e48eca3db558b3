"""A model and its tokenizer: whether they belong together, and how much text both take.

Ids of another vocabulary look like any others, and give nonsense.
"""

from __future__ import annotations

from nanodistil.pretrained import Pretrained
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.weights.errors import CheckpointError

ROWS_SPARE = 127  # embedding rows beyond the vocabulary that are taken for padding to a round number


def check_pair(model: Pretrained, tokenizer: DistilBertTokenizer) -> None:
    """Raises CheckpointError where the tokenizer's vocabulary and the model's embedding rows do not fit."""
    rows, ids = model.config.vocab_size, 1 + max(tokenizer.get_vocab().values())
    if not 0 <= rows - ids <= ROWS_SPARE:
        raise CheckpointError(
            f"the vocabulary has {ids} entries and the model {rows} embedding rows; "
            "use the tokenizer that the model was trained with"
        )


def longest_row(model: Pretrained, tokenizer: DistilBertTokenizer) -> int:
    """The tokens that a row may have, special ones counted: the model's positions, or the tokenizer's lower limit."""
    return min(model.config.max_position_embeddings, tokenizer.model_max_length)
