"""Texts to ids and back: WordPiece as BERT has it, identical to the fast tokenizer.

Reading order: wordpiece.py is the definition, added_tokens.py and definition.py make it one of whole texts, encoding.py
says what is known of a text's tokens. On top of that stands the interface: texts.py and strategies.py make sense of
what a call was given, encoder.py, truncation.py and encodings.py answer it, batch_encoding.py is the answer, calling.py
joins them and tokenizer.py is the class. converting.py and decoding.py go the other way, ready_ids.py works on ids that
exist already, special_tokens.py knows the tokens with a role and adding.py adds new ones, explain.py tells why a word
became its pieces.

files.py, vocabulary.py, tokenizer_json.py and settings.py read what describes a tokenizer, saving.py writes it;
unicode_tables.py holds what is frozen. The fast way to the same tokens: code_points.py and scanner.py lay tables out
for the compiled scan (kernels/cpu/wordpiece.py), rows.py makes lists of what it finds.
"""

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.batch_encoding import BatchEncoding, CharSpan, TokenSpan
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.tokenizer import DistilBertTokenizer

DistilBertTokenizerFast = DistilBertTokenizer

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "CharSpan",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "Encoding",
    "TokenSpan",
]
