"""Texts to ids and back: WordPiece as BERT has it, byte-level BPE as GPT-2 and RoBERTa have it; as the fast tokenizers.

Read wordpiece.py first, and bpe.py with byte_level.py: they are the definitions. pieces.py says what any way to cut a
text must do, added_tokens.py and definition.py make tokens of whole texts of it, encoding.py says what is known of
them, template.py what is put around.

On that stand three floors. state.py is what a tokenizer is between two calls. The verbs are functions of it: calling.py
answers a call with the help of texts.py, call_arguments.py, strategies.py, encoder.py, truncation.py, encodings.py and
batch_encoding.py; padding.py and ready_ids.py take ids that exist already, converting.py and decoding.py go back,
adding.py adds tokens, explain.py tells why a word became its pieces. facade.py is the class over them.

kind.py is all in which one kind of tokenizer differs from another; bert_kind.py is BERT's, tokenizer.py its class;
byte_kinds.py and byte_tokenizers.py are GPT-2's and RoBERTa's. choosing.py says which one a folder is of.

Files: description.py is what they say, tokenizer_json.py, settings.py and conventions.py read what all kinds have,
files.py, vocabulary.py and wordpiece_sections.py BERT's, bpe_files.py and bpe_sections.py BPE's, saving.py writes;
unicode_tables.py holds what is frozen. The fast way to the same tokens: code_points.py and scanner.py lay tables out
for the compiled scan (kernels/cpu/wordpiece.py), scanned.py makes lists of what it finds. training/: new vocabularies.
"""

from typing import TYPE_CHECKING, Any

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.batch_encoding import BatchEncoding, CharSpan, TokenSpan
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.tokenizer import DistilBertTokenizer

if TYPE_CHECKING:
    from nanodistil.tokenization.byte_tokenizers import GPT2Tokenizer as GPT2Tokenizer
    from nanodistil.tokenization.byte_tokenizers import RobertaTokenizer as RobertaTokenizer

    GPT2TokenizerFast = GPT2Tokenizer
    RobertaTokenizerFast = RobertaTokenizer

DistilBertTokenizerFast = DistilBertTokenizer

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "CharSpan",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "Encoding",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "TokenSpan",
]


def __getattr__(name: str) -> Any:
    """Byte-level BPE, when it is asked for: most models have WordPiece, and to import both takes 15 ms more."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nanodistil.tokenization import byte_tokenizers

    return getattr(byte_tokenizers, name.removesuffix("Fast"))
