"""Ids, offsets and texts recorded from transformers (tests/golden/tokenizer_record.py), without transformers here."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nanodistil.tokenization import DistilBertTokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))
import tokenizer_record  # noqa: E402

RECORD = json.loads((GOLDEN / "tokenizer.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> DistilBertTokenizer:
    return DistilBertTokenizer(tokenizer_record.VOCAB)


@pytest.mark.parametrize("call", RECORD["calls"], ids=lambda call: ascii(call["text"])[:30])
def test_calls(tokenizer: DistilBertTokenizer, call: dict[str, Any]) -> None:
    text = (
        [tuple(t) if isinstance(t, list) else t for t in call["text"]]
        if isinstance(call["text"], list)
        else call["text"]
    )
    result = tokenizer(text, call["pair"], **tokenizer_record.ALL, **call["arguments"])
    assert json.loads(json.dumps(dict(result))) == call["result"]
    for name in ("tokens", "word_ids", "sequence_ids"):
        assert [getattr(result, name)(i) for i in range(len(result.encodings))] == call[name]


@pytest.mark.parametrize(("ids", "skip", "clean", "text"), RECORD["decoded"])
def test_decode(tokenizer: DistilBertTokenizer, ids: list[int], skip: bool, clean: bool, text: str) -> None:
    assert tokenizer.decode(ids, skip, clean) == text


@pytest.mark.sweep
def test_every_code_point(tokenizer: DistilBertTokenizer) -> None:
    """The same on every Python: nothing is asked of the interpreter's own, ever changing, Unicode database."""
    assert tokenizer_record.digests(tokenizer) == RECORD["digests"]
