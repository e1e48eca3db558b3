"""Tables of texts that are not one column a character."""

import pytest

from nanodistil.cli import evaluate, fill_mask, ner, tokenize
from nanodistil.cli.columns import aligned, padded, width
from nanodistil.reading.records import Record
from nanodistil.tokenization import DistilBertTokenizer


def ends_of(lines, word):
    """The column at which `word` begins in each line that has it."""
    return {width(line[: line.index(word)]) for line in lines if word in line}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("abc", 3),
        ("映画", 4),
        ("한국어", 6),
        ("ｆ", 2),
        ("é", 1),
        ("e\u0301", 1),
        ("नि", 2),
        ("\u200d", 0),
        ("α", 1),
    ],
)
def test_widths(text, columns):
    assert width(text) == columns
    assert width(padded(text, 8)) == width(padded(text, 8, right=True)) == 8
    assert padded(text, 0) == text


def test_tables_stay_straight():
    fillings = [{"score": 0.5, "token_str": word, "sequence": "END"} for word in ("film", "映画", "e\u0301")]
    assert len(ends_of(fill_mask.table(Record("", {"text": "x"}), fillings).splitlines(), "END")) == 1
    found = [{"score": 0.5, "entity": label, "start": 0, "end": 1, "word": "END"} for label in ("PER", "人物")]
    assert len(ends_of(ner.table(Record("", {"text": "x"}), found).splitlines(), "END")) == 1
    assert len(ends_of(evaluate.table({"人": 0.5, "PERSON": 0.5}).splitlines(), "0.5000")) == 1
    encoding = DistilBertTokenizer.from_pretrained("nanodistil-mini")("映画 film")[0]
    lines = tokenize.table(encoding, "映画 film").splitlines()
    assert len({width(line) for line in aligned([("映", "a"), ("xx", "b")], right=()).splitlines()}) == 1
    assert "'" in lines[-2] and len(ends_of(lines, "'")) == 1
