"""A tokenizer that knows its special tokens and nothing else: where a vocabulary is learnt from nothing."""

from __future__ import annotations

from typing import Any, TypeVar

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_kinds import END
from nanodistil.tokenization.byte_level import join
from nanodistil.tokenization.byte_tokenizers import GPT2Tokenizer, RobertaTokenizer
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.tokenization.tokenizer import DistilBertTokenizer
from nanodistil.tokenization.wordpiece import WordPiece
from nanodistil.tokenization.wordpiece_sections import Joined

FIRST: dict[type[Tokenizer], tuple[str, ...]] = {  # class -> its special tokens, in the published order
    DistilBertTokenizer: ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    GPT2Tokenizer: (END,),
    RobertaTokenizer: ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
Made = TypeVar("Made", bound=Tokenizer)


def blank(cls: type[Made], **settings: Any) -> Made:
    """A tokenizer of a class, to be trained. settings: of the class, such as do_lower_case.

    >>> from nanodistil.tokenization import RobertaTokenizer
    >>> new = blank(RobertaTokenizer).train_new_from_iterator(["low lower"], 300)
    >>> new.convert_ids_to_tokens(range(6)), new("low lower")["input_ids"]
    (['<s>', '<pad>', '</s>', '<unk>', '<mask>', '!'], [0, 262, 265, 2])
    """
    vocabulary = {token: number for number, token in enumerate(FIRST[cls])}
    flagged = {str(token): token for token in cls.kind.roles.values() if isinstance(token, AddedToken)}
    bytewise = cls is not DistilBertTokenizer
    description = Description(
        source="a new vocabulary",
        pieces=ByteBPE(vocabulary, []) if bytewise else WordPiece(vocabulary),
        template=cls.kind.framing.filled(
            lambda role: (str(cls.kind.roles[role]), vocabulary[str(cls.kind.roles[role])])
        ),
        join=join if bytewise else Joined(),
        added=tuple(
            (number, flagged.get(t, AddedToken(t, special=True)).as_special()) for t, number in vocabulary.items()
        ),
    )
    return cls(tokenizer_file=description, **settings)
