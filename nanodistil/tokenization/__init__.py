"""Texts to ids and back: WordPiece as BERT has it, identical to the fast tokenizer.

Reading order: wordpiece.py is the definition; added_tokens.py, definition.py, encoding.py, decoding.py and tokenizer.py
put the interface on it; files.py, tokenizer_json.py and settings.py read what describes a tokenizer; unicode_tables.py
holds what is frozen. The fast way to the same tokens: code_points.py and scanner.py lay tables out for the compiled
scan (kernels/wordpiece.py), rows.py makes lists of what it finds.
"""

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.encoding import BatchEncoding, Encoding
from nanodistil.tokenization.tokenizer import DistilBertTokenizer

DistilBertTokenizerFast = DistilBertTokenizer

__all__ = ["AddedToken", "BatchEncoding", "DistilBertTokenizer", "DistilBertTokenizerFast", "Encoding"]
