"""The heads: each a file that says all of it (head.py says what that is), and a line in the table below.

    pooler                    the first token of a BERT, as its body's last word
    masked_lm                 which word belongs here?
    sequence_classification   a class for a text
    token_classification      a class for every token
    question_answering        where the answer starts and ends
    multiple_choice           which of several continuations fits
    causal_lm                 which word comes next?
    last_token                a class for a text, if a model reads left to right

calling.py and learning.py hold what their calls, and their losses, do alike. Calls take transformers' arguments in
transformers' order, and the keyword arguments of pretrained.Options. If labels are given there is a loss (losses.py),
and positions that the mask hides are computed, since transformers counts them. Arguments that do not fit the model
raise InputError.
"""

from __future__ import annotations

from typing import Any

from nanodistil.head import BASE, Head
from nanodistil.heads.base import Encoder
from nanodistil.heads.causal_lm import CAUSAL_LM, ForCausalLM
from nanodistil.heads.last_token import LAST_TOKEN
from nanodistil.heads.masked_lm import MASKED_LM, ForMaskedLM
from nanodistil.heads.multiple_choice import MULTIPLE_CHOICE, ForMultipleChoice
from nanodistil.heads.pooler import POOLER
from nanodistil.heads.question_answering import QUESTION_ANSWERING, ForQuestionAnswering
from nanodistil.heads.sequence_classification import SEQUENCE_CLASSIFICATION, ForSequenceClassification
from nanodistil.heads.token_classification import TOKEN_CLASSIFICATION, ForTokenClassification
from nanodistil.pretrained import Pretrained

HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        BASE,
        POOLER,
        MASKED_LM,
        SEQUENCE_CLASSIFICATION,
        TOKEN_CLASSIFICATION,
        QUESTION_ANSWERING,
        MULTIPLE_CHOICE,
        CAUSAL_LM,
        LAST_TOKEN,
    )
}
CLASSES: dict[str, type[Pretrained]] = {  # what the name of a family's class ends with -> what it is made of
    "Model": Encoder,
    "ForMaskedLM": ForMaskedLM,
    "ForSequenceClassification": ForSequenceClassification,
    "ForTokenClassification": ForTokenClassification,
    "ForQuestionAnswering": ForQuestionAnswering,
    "ForMultipleChoice": ForMultipleChoice,
    "LMHeadModel": ForCausalLM,
}


def speaking(family: str) -> str:
    """What the name of a family's class ends with that says words: it has been trained with that head.

    >>> speaking("bert"), speaking("gpt2")
    ('ForMaskedLM', 'LMHeadModel')
    """
    return "LMHeadModel" if family == "gpt2" else "ForMaskedLM"


def __getattr__(name: str) -> Any:
    """DistilBERT's classes, which stood here before there were families."""
    if name.startswith("DistilBert"):
        from nanodistil.family import distilbert

        return getattr(distilbert, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
