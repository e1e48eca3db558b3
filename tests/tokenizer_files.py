"""A tokenizer.json as Hugging Face's library writes it for a BERT, for tests to change."""

from typing import Any

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
FRAME = ("[CLS]", "[SEP]")


def bert_frame(vocab: dict[str, int]) -> dict[str, Any]:
    """The older way to say what goes around a text and a pair."""
    cls, sep = ([token, vocab[token]] for token in FRAME)
    return {"type": "BertProcessing", "sep": sep, "cls": cls}


def template(vocab: dict[str, int]) -> dict[str, Any]:
    """The newer way to say the same."""
    cls, sep, sep_of_pair = (
        {"SpecialToken": {"id": token, "type_id": kind}} for token, kind in (("[CLS]", 0), ("[SEP]", 0), ("[SEP]", 1))
    )
    text, second = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
    return {
        "type": "TemplateProcessing",
        "single": [cls, text, sep],
        "pair": [cls, text, sep, second, sep_of_pair],
        "special_tokens": {token: {"id": token, "ids": [vocab[token]], "tokens": [token]} for token in FRAME},
    }


def tokenizer_json(vocab: dict[str, int], **changes: Any) -> dict[str, Any]:
    """Of an uncased BERT, whose first five tokens are special.

    A change named a__b replaces field b of part a, a change named a the part.
    """
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocab[token], "content": token, **FLAGS} for token in list(vocab)[:5]],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template(vocab),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": dict(vocab),
        },
    }
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            content[part][key] = value
        else:
            content[part] = value
    return content
