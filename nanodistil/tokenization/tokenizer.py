"""DistilBertTokenizer: BERT's kind of tokenizer under DistilBERT's name. DistilBertTokenizerFast is another name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanodistil.tokenization.bert_kind import BERT
from nanodistil.tokenization.conventions import TWO
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.tokenization.pieces import PieceMaker
from nanodistil.tokenization.vocabulary import warn_if_cased
from nanodistil.tokenization.wordpiece import Normalizer, WordPiece


class DistilBertTokenizer(Tokenizer):
    """A WordPiece vocabulary with DistilBERT's conventions.

    vocab_file or tokenizer_file: vocab.txt, or tokenizer.json (or what read_tokenizer_json made of it), which wins
    if both are given. do_lower_case: for an uncased vocabulary. strip_accents: None means as do_lower_case.
    The others are those of every tokenizer (facade.py).

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
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        **others: Any,
    ) -> None:
        self.do_lower_case, self.strip_accents = do_lower_case, strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        super().__init__(vocab_file, tokenizer_file=tokenizer_file, **others)
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
