"""Vocabularies learnt from texts: byte-level BPE and WordPiece, as the trainers of `tokenizers` 0.22.2 find them.

Read definition.py first: the whole idea in thirty lines. words.py counts the words of texts, beginning.py says which
tokens there are before anything is merged, merging.py is the definition made fast, new_tokenizer.py makes a tokenizer
of what was learnt, and blank.py one to begin with where there is none.
"""
