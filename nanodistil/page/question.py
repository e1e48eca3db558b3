"""What a page asks of a text: at which tokens, for which scores.

    masked LM                  at every [MASK]: which word?
    causal LM                  at the last token: which word comes next?
    text classification        at the token the head looks at: which class?
    token classification       at every token: which label?

Of all these scores a few are explained, the targets: the best words or classes where one token is asked about, else the
best one at each of the surest few. A target's score is the natural logarithm of its probability, which is what losses
are made of, or the bare number of a model that predicts a quantity. So all that a page says of why (attribution,
erasure, heads) is in one unit, and parts of it may be added up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.heads.causal_lm import ForCausalLM
from nanodistil.heads.last_token import ForLastToken
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.heads.sequence_classification import ForSequenceClassification
from nanodistil.heads.token_classification import ForTokenClassification
from nanodistil.page.labels import shown
from nanodistil.page.running import scores
from nanodistil.pipelines.pairing import check_pair
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.tokens import check_length
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError

MOST_TARGETS = 3  # each costs a third of a gradient more
OUTSIDE = "O"  # the label of a token that is in no name


class Target(NamedTuple):
    """A score that is explained."""

    row: int  # the token at which the head is asked
    answer: int  # the word or class
    score: float


class Question(NamedTuple):
    """A text, and what is asked of it."""

    text: str
    ids: Ints  # (T,)
    inserted: Any  # (T,) True at [CLS], [SEP]: tokens that are in no text
    tokens: list[str]  # (T,) as people read them
    kind: str  # how logits become scores: "softmax", "sigmoid" or "none"
    everywhere: bool  # whether the head says something at every token
    rows: Ints  # (R,) tokens that are asked about
    targets: list[Target]
    name: Callable[[int], str]  # of a word or class
    baseline: int  # a token that says nothing

    @property
    def asked(self) -> Ints:
        """(R',) tokens of the targets, each once and ascending."""
        return np.unique([target.row for target in self.targets])


def log_scores(logits: Array, kind: str) -> Array:
    """Scores of all words or classes in float64: (..., C) -> (..., C).

    >>> log_scores(np.array([0.0, 0.0]), "softmax").round(3), log_scores(np.array([0.0]), "sigmoid").round(3)
    (array([-0.693, -0.693]), array([-0.693]))
    """
    x = logits.astype(np.float64)
    if kind == "none":
        return x
    if kind == "sigmoid":
        return np.asarray(-np.logaddexp(0, -x))
    x = x - x.max(-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))


def slope(logits: Array, kind: str, index: int) -> Array:
    """How log_scores[..., index] moves with the logits: (..., C) -> (..., C), float64.

    >>> slope(np.array([0.0, 0.0]), "softmax", 1)
    array([-0.5,  0.5])
    """
    one = np.zeros(logits.shape)
    one[..., index] = 1
    if kind == "none":
        return one
    p = np.exp(log_scores(logits, kind))
    return np.asarray(one - p if kind == "softmax" else one * (1 - p))


def ask(model: Pretrained, tokenizer: Tokenizer, text: str) -> Question:
    """The question that the model's head is for.

    Raises InputError for a head of another kind, a text without [MASK] for a masked LM or without anything, and one
    longer than the model; CheckpointError if tokenizer and model do not fit.
    """
    if not isinstance(text, str):
        raise InputError(f"a page is made of a text, a string, not of {type(text).__name__}")
    check_pair(model, tokenizer)
    encoding = tokenizer(text, verbose=False)[0]
    check_length(len(encoding), model, "the text", {})
    ids, inserted = np.array(encoding.ids, np.int64), np.array(encoding.special_tokens_mask, np.bool_)
    if not len(ids) or inserted.all():
        raise InputError("the text has no tokens, so there is nothing to show")
    T, config = len(ids), model.config
    kind, everywhere, rows = "softmax", True, np.arange(T)

    def word(index: int) -> str:
        return shown(tokenizer, index)

    name = word
    if isinstance(model, ForMaskedLM):
        rows = np.flatnonzero(ids == tokenizer.mask_token_id)
        if not len(rows):
            mask = str(tokenizer.mask_token)
            raise InputError(f"no {mask} in the text: put it where a word should go")
    elif isinstance(model, ForCausalLM):
        rows = np.array([T - 1])
    elif isinstance(model, ForSequenceClassification | ForLastToken | ForTokenClassification):
        labels = config.id2label

        def name(index: int) -> str:
            return str(labels[index])

        if not isinstance(model, ForTokenClassification):
            everywhere, rows = False, np.array([T - 1 if isinstance(model, ForLastToken) else 0])
            if config.problem_type == "regression":
                kind = "none"
            elif config.problem_type == "multi_label_classification" or config.num_labels == 1:
                kind = "sigmoid"
    else:
        raise InputError(
            f"a page shows models that fill masks, sort texts or tokens, or write, not a {type(model).__name__}"
        )
    found = log_scores(finite(scores(model, ids[None], rows)[0]), kind)  # (R, C)
    targets = chosen(found, rows, [i for i in range(found.shape[1]) if name(i) == OUTSIDE] if name is not word else [])
    return Question(
        text, ids, inserted, [shown(tokenizer, int(i)) for i in ids], kind, everywhere, rows, targets, name,
        silent_token(tokenizer),
    )  # fmt: skip


def chosen(found: Array, rows: Ints, dull: list[int]) -> list[Target]:
    """The scores to explain, of (R, C); dull: classes that are explained only if there is nothing else."""
    if len(rows) == 1:
        best = np.argsort(-found[0], kind="stable")[:MOST_TARGETS]
        return [Target(int(rows[0]), int(i), float(found[0, i])) for i in best]
    best = found.argmax(1)  # (R,)
    surest = found[np.arange(len(rows)), best] - 1e9 * np.isin(best, dull)
    places = sorted(np.argsort(-surest, kind="stable")[:MOST_TARGETS].tolist())
    return [Target(int(rows[i]), int(best[i]), float(found[i, best[i]])) for i in places]


def silent_token(tokenizer: Tokenizer) -> int:
    """What stands for no word in particular: [MASK], or else padding, the end of a text, the unknown word.

    >>> from nanodistil import DistilBertTokenizer
    >>> silent_token(DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    103
    """
    for role in ("mask_token_id", "pad_token_id", "eos_token_id", "unk_token_id"):
        found = getattr(tokenizer, role)
        if found is not None:
            return int(found)
    raise InputError("the tokenizer has no token that stands for nothing (mask, pad, eos or unk) to compare with")
