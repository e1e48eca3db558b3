"""What `explain` says is what the tokenizer does."""

import json
import random
from pathlib import Path

import pytest
from tokenizer_texts import random_text

from nanodistil.cli import main
from nanodistil.tokenization import AddedToken, DistilBertTokenizer
from nanodistil.tokenization.explain import explain, reason, visible
from nanodistil.tokenization.wordpiece import WordPiece
from nanodistil.weights.errors import InputError

MINI = Path(__file__).parents[2] / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt"


@pytest.mark.filterwarnings("ignore:.*capitals:UserWarning")
@pytest.mark.parametrize(
    "options", [{}, {"do_lower_case": False}, {"strip_accents": False}, {"tokenize_chinese_chars": False}], ids=str
)
def test_it_tells_the_truth(options: dict[str, bool]) -> None:
    """Words give the tokens, ids and places of a call; the last step leaves the text the normalizer does."""
    tokenizer = DistilBertTokenizer(MINI, **options)
    tokenizer.add_tokens([AddedToken("NewTok"), AddedToken("é", single_word=True, normalized=False)])
    rng = random.Random(str(options))
    for _ in range(300):
        text = random_text(rng) + rng.choice(["", "newtok", " é "])
        found = explain(tokenizer, text)
        called = tokenizer(text, add_special_tokens=False)
        assert [token for word in found.words for token in word.tokens] == called.tokens()
        assert [number for word in found.words for number in word.ids] == called["input_ids"]
        for i, word in enumerate(found.words):
            assert called.word_to_chars(i) == (word.start, word.end)
        parts = [(text[a:b], number) for a, b, number in tokenizer.encoder.added.cut_raw(text)]
        normalized = "".join(tokenizer.encoder.pieces.normalizer.text(p) if n is None else p for p, n in parts)
        assert (found.steps[-1].text if found.steps else text) == normalized


def test_only_steps_that_changed_something() -> None:
    tokenizer = DistilBertTokenizer(MINI)
    assert explain(tokenizer, "plain words").steps == []
    steps = {step.name: (step.changes, step.text) for step in explain(tokenizer, "A\u200b\u00a0漢é").steps}
    assert steps["clean"] == ([("\u200b", ""), ("\u00a0", " ")], "A 漢é")
    assert steps["Chinese characters"] == ([("漢", " 漢 ")], "A  漢 é")
    assert steps["accents"] == ([("é", "e")], "A  漢 e") and steps["lower case"][0] == [("A", "a")]
    with pytest.raises(InputError):
        explain(tokenizer, 3)  # type: ignore[arg-type]


def test_reasons() -> None:
    wordpiece = WordPiece({"[UNK]": 0, "ab": 1, "##c": 2})
    assert reason(wordpiece, "ab") == "in the vocabulary"
    assert reason(wordpiece, "abc") == "longest match first: ab, ##c"
    assert reason(wordpiece, "ac") == "no beginning of 'ac' is in the vocabulary"
    assert reason(wordpiece, "abcd").startswith("stuck after ab, ##c: no beginning of '##d'")
    assert reason(wordpiece, "a" * 101).startswith("101 characters long")
    assert visible("\u00ada") == "U+00ADa"


def test_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", "--model", "nanodistil-mini", "--explain", "É\u200b ☃", "--pair", "x" * 101]) == 0
    out = capsys.readouterr().out
    for expected in ("U+200B -> nothing", "É -> E", "no beginning of '☃'", "101 characters long", "in the vocabulary"):
        assert expected in out
    assert main(["tokenize", "--model", "nanodistil-mini", "--explain", "--json", "É ☃"]) == 0
    (found,) = (one["result"] for one in json.loads(capsys.readouterr().out))
    assert found["steps"][0] == {"name": "accents", "changes": [["É", "E"]], "text": "E ☃"}
    assert found["words"][1]["why"].startswith("no beginning") and found["tokens"][2] == "[UNK]"
