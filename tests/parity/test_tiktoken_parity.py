"""GPT-2's ids beside those of OpenAI's tiktoken, its encoding made of the official files in ../shared.

Which characters are letters and numbers changes with Unicode, and tiktoken goes with another version than `tokenizers`
0.22.2, whose sets are ours: so characters are those that Unicode 3.2 knew already.
"""

import json
import random
import unicodedata
from typing import Any

import pytest
from conftest import SHARED
from tokenizer_texts import random_text

from nanodistil.reading.lines import lines_of
from nanodistil.tokenization import GPT2Tokenizer
from nanodistil.tokenization.byte_level import bytes_of

tiktoken = pytest.importorskip("tiktoken")
pytestmark = pytest.mark.parity

FOLDER = SHARED / "data" / "tokenizers" / "distilgpt2"
END = "<|endoftext|>"


@pytest.fixture(scope="module")
def both() -> tuple[GPT2Tokenizer, Any]:
    if not FOLDER.is_dir():
        pytest.skip("needs ../shared")
    from tiktoken_ext.openai_public import r50k_pat_str

    vocabulary = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))
    last, known = vocabulary.pop(END), bytes_of()
    ranks = {bytes(known[character] for character in token): number for token, number in vocabulary.items()}
    encoding = tiktoken.Encoding("gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={END: last})
    return GPT2Tokenizer.from_pretrained(FOLDER), encoding


def old(text: str) -> str:
    return "".join(c for c in text if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs"))


def check(both: Any, texts: list[str]) -> None:
    ours, theirs = both
    ids = ours(texts, verbose=False)["input_ids"]
    for text, mine in zip(texts, ids, strict=True):
        assert mine == theirs.encode(text, allowed_special="all"), text
        assert ours.decode(mine) == theirs.decode(mine), text


def test_published_ids(both: Any) -> None:
    check(both, ["hello world", "hello <|endoftext|>", "", " ", "<|endoftext|><|endoftext|>x"])
    assert both[0]("hello world")["input_ids"] == [31373, 995]


def test_random_texts(both: Any) -> None:
    rng = random.Random(0)
    texts = [old(random_text(rng)) for _ in range(1_500)]
    texts += [
        "".join(rng.choices(["'s", "'LL", "  ", "\n", " a", "1", "é", "!", "\t", END], k=12)) for _ in range(1_000)
    ]
    check(both, texts)


@pytest.mark.sweep
def test_old_characters_in_context(both: Any) -> None:
    check(both, [f"a {c}b{c}{c} {c}1" for c in old("".join(map(chr, range(0x110000))))[::12]])


@pytest.mark.sweep
def test_wikipedia(both: Any) -> None:
    path = SHARED / "data" / "corpus" / "wiki.valid.txt.xz"
    if not path.is_file():
        pytest.skip("needs ../shared")
    with lines_of(str(path)) as lines:
        check(both, [lines.text_and_end(line) for line in lines][::12])
