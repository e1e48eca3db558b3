"""DistilBertTokenizer: BERT's kind of tokenizer under DistilBERT's name. DistilBertTokenizerFast is another name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.bert_kind import BERT
from nanodistil.tokenization.conventions import TWO
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.tokenization.pieces import PieceMaker
from nanodistil.tokenization.special_tokens import Token
from nanodistil.tokenization.vocabulary import warn_if_cased
from nanodistil.tokenization.wordpiece import Normalizer, WordPiece


class DistilBertTokenizer(Tokenizer):
    """A WordPiece vocabulary with DistilBERT's conventions.

    vocab_file or tokenizer_file: vocab.txt, or tokenizer.json (or what read_tokenizer_json made of it), which wins
    if both are given. do_lower_case: for an uncased vocabulary. strip_accents: None means as do_lower_case.
    clean_up_tokenization_spaces: whether `decode` tidies up; None means True with a vocab.txt and False with a
    tokenizer.json, transformers' choice. split_special_tokens: whether a [MASK] in a text is text like any other.

    Of transformers' other arguments those that change nothing are taken (construction.py).

    Raises CheckpointError for a file that is broken or not of a DistilBERT, InputError for arguments of a wrong kind.

    >>> import tempfile, pathlib
    >>> vocab = pathlib.Path(tempfile.mkdtemp()) / "vocab.txt"
    >>> _ = vocab.write_text("\\n".join("[PAD] [UNK] [CLS] [SEP] [MASK] hello world ! un ##able".split()))
    >>> tokenizer = DistilBertTokenizer(vocab)
    >>> tokenizer("Hello [MASK]!", return_offsets_mapping=True)["offset_mapping"]
    [(0, 0), (0, 5), (6, 12), (12, 13), (0, 0)]
    >>> tokenizer(["hello", "Unable, world"], padding=True)["input_ids"]
    [[2, 5, 3, 0, 0, 0], [2, 8, 9, 1, 6, 3]]
    >>> tokenizer.decode([2, 5, 7, 3], skip_special_tokens=True)
    'hello!'
    """

    kind = BERT
    tokenizer_class = BERT.classes.own.name
    model_input_names: list[str] = list(TWO)  # noqa: RUF012  # transformers' name, set per instance

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        do_lower_case: bool = True,
        *,
        tokenizer_file: str | Path | Description | None = None,
        unk_token: Token | None = "[UNK]",
        sep_token: Token | None = "[SEP]",
        pad_token: Token | None = "[PAD]",
        cls_token: Token | None = "[CLS]",
        mask_token: Token | None = "[MASK]",
        bos_token: Token | None = None,
        eos_token: Token | None = None,
        additional_special_tokens: Iterable[Token] = (),
        added_tokens_decoder: dict[int, AddedToken] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        model_max_length: float | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        model_input_names: list[str] | None = None,
        split_special_tokens: bool = False,
        **others: Any,
    ) -> None:
        self.do_lower_case, self.strip_accents = do_lower_case, strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        super().__init__(
            vocab_file,
            tokenizer_file=tokenizer_file,
            **{"unk_token": unk_token, "sep_token": sep_token, "pad_token": pad_token, "cls_token": cls_token},
            **{"mask_token": mask_token, "bos_token": bos_token, "eos_token": eos_token},
            additional_special_tokens=additional_special_tokens,
            added_tokens_decoder=added_tokens_decoder,
            model_max_length=model_max_length,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            padding_side=padding_side,
            truncation_side=truncation_side,
            model_input_names=model_input_names,
            split_special_tokens=split_special_tokens,
            **others,
        )
        if do_lower_case:
            warn_if_cased(self.encoder.description)

    def _described(
        self, vocab_file: str | Path | None, tokenizer_file: str | Path | Description | None
    ) -> tuple[Description, PieceMaker]:
        """The normalizer is the class's, whatever tokenizer.json says; the file's finds the file's added tokens."""
        description, pieces = super()._described(vocab_file, tokenizer_file)
        assert isinstance(pieces, WordPiece)
        switches = (self.do_lower_case, self.strip_accents, self.tokenize_chinese_chars, pieces.normalizer.cleans)
        own = pieces.with_normalizer(Normalizer(*switches))
        if tokenizer_file is None:
            description.pieces = own
        return description, own

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens, do_lower_case={self.do_lower_case})"
