"""What holds for every text."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_files import FLAGS, bert_frame, tokenizer_json

from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.truncation import Truncation, truncate
from nanodistil.tokenization.wordpiece import Normalizer
from nanodistil.weights.errors import NanoDistilError

VOCAB = Path(__file__).parents[2] / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt"
TOKENIZER = DistilBertTokenizer(VOCAB)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
plain = st.text(string.ascii_letters + string.digits + " .,!?'", max_size=40)


@given(texts)
def test_pieces_stand_in_the_text_in_order(text: str) -> None:
    result = TOKENIZER(text, return_offsets_mapping=True, add_special_tokens=False)
    starts = [start for start, _ in result["offset_mapping"]]
    assert starts == sorted(starts)
    assert all(0 <= start < end <= len(text) for start, end in result["offset_mapping"])
    assert result.word_ids() == sorted(result.word_ids())  # type: ignore[type-var]
    assert all(0 <= number < len(TOKENIZER) for number in result["input_ids"])


@given(texts)
def test_a_piece_is_its_stretch_of_text_normalized(text: str) -> None:
    result = TOKENIZER(text, return_offsets_mapping=True, add_special_tokens=False)
    for token, (start, end) in zip(result.tokens(), result["offset_mapping"], strict=True):
        if token not in TOKENIZER.all_special_tokens:
            assert token.removeprefix("##") in Normalizer()(text[start:end])[0]


@given(texts, texts)
def test_white_space_keeps_texts_apart(a: str, b: str) -> None:
    assert TOKENIZER.tokenize(a + " " + b) == TOKENIZER.tokenize(a) + TOKENIZER.tokenize(b)


@given(st.lists(texts, max_size=5))
def test_a_batch_is_its_texts_and_padding(batch: list[str]) -> None:
    padded = TOKENIZER(batch, padding=True)
    for ids, mask, text in zip(padded["input_ids"], padded["attention_mask"], batch, strict=True):
        alone = TOKENIZER(text)["input_ids"]
        assert ids == alone + [0] * (len(ids) - len(alone)) and sum(mask) == len(alone)


@given(plain)
def test_decoded_and_encoded_again(text: str) -> None:
    """Text of ASCII words comes back as the same ids, whatever became of its spaces."""
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.encode(TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)) == ids


def _row(n: int) -> Encoding:
    return Encoding(*(list(range(n)) for _ in range(7)), {0: range(n)})  # type: ignore[arg-type]  # any lists will do


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 20))
def test_longest_first_keeps_all_it_may_and_is_fair(n: int, m: int, length: int) -> None:
    ((a, b),) = truncate(_row(n), _row(m), Truncation("longest_first", length))
    assert b is not None and len(a) + len(b) == min(n + m, length)
    assert len(a) in (n, *range(len(b) - 1, len(b) + 2)) or len(b) == m
    assert (len(a) == n) or (len(b) == m) or abs(len(a) - len(b)) <= 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["model", "normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "truncation", "padding"]
SMALL = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])}
GOOD = tokenizer_json(
    SMALL,
    added_tokens=[{**FLAGS, "id": 4, "content": "[MASK]"}],
    post_processor=bert_frame(SMALL),
    normalizer__strip_accents=True,
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300)
@given(data=st.data())
def test_a_changed_tokenizer_json_works_or_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One field anywhere replaced by anything: a working tokenizer or a NanoDistilError, and nothing else."""
    content = json.loads(json.dumps(GOOD))
    place, key = content, data.draw(st.sampled_from(KEYS))
    while isinstance(place.get(key), dict) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(json_values)
    path = tmp_path_factory.mktemp("mutated") / "tokenizer.json"
    path.write_text(json.dumps(content))
    try:
        tokenizer = DistilBertTokenizer.from_pretrained(path.parent)
        assert tokenizer.decode(tokenizer.encode("a b [MASK] x"))
    except NanoDistilError as error:
        assert "\n" not in str(error)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200)
@given(
    content=st.binary(max_size=60),
    config=st.dictionaries(
        st.sampled_from(
            [
                "do_lower_case",
                "mask_token",
                "unk_token",
                "added_tokens_decoder",
                "model_max_length",
                "additional_special_tokens",
                "padding_side",
                "strip_accents",
                "model_input_names",
            ]
        ),
        json_values,
    ),
)
def test_any_vocab_txt_and_config(
    content: bytes, config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "vocab.txt").write_bytes(b"[UNK]\n[CLS]\n[SEP]\n" + content)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    try:
        DistilBertTokenizer.from_pretrained(folder).encode("a b [MASK] x")
    except NanoDistilError as error:
        assert "\n" not in str(error)
