"""Texts to ids and back: WordPiece as BERT has it, identical to the fast tokenizer.

Reading order: wordpiece.py is the definition; added_tokens.py, encoding.py, decoding.py and tokenizer.py put the
interface on it; files.py, tokenizer_json.py and settings.py read what describes a tokenizer; unicode_tables.py holds
what is frozen.
"""

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.encoding import BatchEncoding, Encoding
from nanodistil.tokenization.tokenizer import DistilBertTokenizer

DistilBertTokenizerFast = DistilBertTokenizer

__all__ = ["AddedToken", "BatchEncoding", "DistilBertTokenizer", "DistilBertTokenizerFast", "Encoding"]
