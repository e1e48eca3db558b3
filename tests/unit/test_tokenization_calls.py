"""Windows, words, targets, mappings, roles, saving: examples to check by hand, on a vocabulary of twenty tokens."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanodistil.tokenization import AddedToken, BatchEncoding, CharSpan, DistilBertTokenizer, TokenSpan
from nanodistil.weights.errors import InputError

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "un", "##aff", "##able", "[", "]"]
TOKENS += ["mask", ",", "new", "york", "!"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return DistilBertTokenizer(path)


def pieces(batch: BatchEncoding) -> list[str]:
    return [" ".join(batch.tokens(i)[1:-1]) for i in range(len(batch.encodings or []))]


# ---- windows


def test_windows_of_a_text(tokenizer: DistilBertTokenizer) -> None:
    named: dict[str, Any] = {"truncation": True, "max_length": 5, "return_overflowing_tokens": True}
    batch = tokenizer(["a b c d e", "a b"], stride=1, **named)
    assert pieces(batch) == ["a b c", "c d e", "a b"]
    assert batch["overflow_to_sample_mapping"] == [0, 0, 1]
    tokenizer.truncation_side = "left"
    assert pieces(tokenizer("a b c d e", stride=2, **named)) == ["c d e", "b c d", "a b c"]
    one = tokenizer("a b c d e", padding=True, **named)
    assert one["input_ids"] == [[2, 7, 8, 9, 3], [2, 5, 6, 3, 0]]  # rows, though it is one text
    arrays = tokenizer("a b c d", padding=True, return_tensors="np", **named)
    assert arrays["input_ids"].shape == (2, 5) and arrays["overflow_to_sample_mapping"].tolist() == [0, 0]
    with pytest.raises(InputError, match="padding=True"):
        tokenizer("a b c d", return_tensors="np", **named)


def test_windows_of_a_pair(tokenizer: DistilBertTokenizer) -> None:
    named: dict[str, Any] = {"return_overflowing_tokens": True}
    batch = tokenizer("a b c", "d e a b", truncation="only_second", max_length=8, stride=1, **named)
    assert pieces(batch) == ["a b c [SEP] d e", "a b c [SEP] e a", "a b c [SEP] a b"]
    batch = tokenizer("a b c", "d e d", truncation=True, max_length=7, **named)
    assert pieces(batch) == ["a b [SEP] d e", "c [SEP] d e", "c [SEP] d", "a b [SEP] d"]  # each with each
    assert batch.sequence_ids(2) == [None, 0, None, 1, None]


def test_an_empty_batch(tokenizer: DistilBertTokenizer) -> None:
    assert dict(tokenizer([], return_overflowing_tokens=True, truncation=True, max_length=4)) == {
        "input_ids": [],
        "attention_mask": [],
        "overflow_to_sample_mapping": [],
    }
    assert tokenizer(["a"], text_target=[])["labels"] == []


# ---- words, targets, special tokens in the text


def test_words(tokenizer: DistilBertTokenizer) -> None:
    words = ["unaffable,", "", "[MASK]", "a b"]
    batch = tokenizer(words, is_split_into_words=True, return_offsets_mapping=True)
    assert batch.tokens()[1:-1] == ["un", "##aff", "##able", ",", "[MASK]", "a", "b"]
    assert batch.word_ids() == [None, 0, 0, 0, 0, 2, 3, 3, None]
    assert batch["offset_mapping"][1:-1] == [(0, 2), (2, 5), (5, 9), (9, 10), (0, 6), (0, 1), (2, 3)]
    assert batch.word_to_tokens(0) == TokenSpan(1, 5) and batch.word_to_tokens(1) is None
    both = tokenizer([["a"], ["b", "c"]], [["d", "e"], []], is_split_into_words=True)
    assert both["input_ids"] == [[2, 5, 3, 8, 9, 3], [2, 6, 7, 3, 3]]
    with pytest.raises(InputError, match="list of words"):
        tokenizer("a b", is_split_into_words=True)


def test_targets(tokenizer: DistilBertTokenizer) -> None:
    batch = tokenizer(["a", "b"], text_target=["c d", "e"], padding=True)
    assert batch["labels"] == [[2, 7, 8, 3], [2, 9, 3, 0]] and list(batch) == ["input_ids", "attention_mask", "labels"]
    assert tokenizer(text_target="a")["input_ids"] == [2, 5, 3]
    with pytest.raises(InputError, match="nothing to encode"):
        tokenizer()


def test_special_tokens_may_be_split(tokenizer: DistilBertTokenizer) -> None:
    assert tokenizer.tokenize("a [MASK]") == ["a", "[MASK]"]
    assert tokenizer.tokenize("a [MASK]", split_special_tokens=True) == ["a", "[", "mask", "]"]
    tokenizer.split_special_tokens = True
    assert tokenizer("[MASK]", add_special_tokens=False)["input_ids"] == [13, 15, 14]
    assert tokenizer.batch_encode_plus(["[MASK]"], add_special_tokens=False)["input_ids"] == [[4]]


def test_other_names_of_a_call(tokenizer: DistilBertTokenizer) -> None:
    assert tokenizer.encode(("a", "b")) == tokenizer.encode_plus("a", "b")["input_ids"] == [2, 5, 3, 6, 3]
    assert tokenizer.batch_encode_plus([("a", "b"), "c"])["input_ids"] == [[2, 5, 3, 6, 3], [2, 7, 3]]
    for call in (lambda: tokenizer.encode_plus(3), lambda: tokenizer.batch_encode_plus("a")):
        with pytest.raises(InputError):
            call()


# ---- where things are


def test_mappings(tokenizer: DistilBertTokenizer) -> None:
    batch = tokenizer(["unaffable a", "b"], ["c", "d !"], padding=True)
    assert batch.tokens(0) == ["[CLS]", "un", "##aff", "##able", "a", "[SEP]", "c", "[SEP]"]
    assert batch.char_to_token(3) == batch.char_to_token(0, 3) == 2 and batch.char_to_token(0, 9) is None
    assert batch.char_to_token(1, 2, sequence_index=1) == 4 and batch.char_to_word(1, 2, sequence_index=1) == 1
    assert batch.word_to_chars(0, 0) == CharSpan(0, 9) and batch.word_to_tokens(0, 0) == TokenSpan(1, 4)
    assert batch.token_to_chars(0, 3) == CharSpan(5, 9) and batch.token_to_chars(0, 0) is None
    assert [batch.token_to_sequence(0, i) for i in (0, 1, 6)] == [None, 0, 1]
    assert batch.token_to_word(0, 4) == 1 and batch.n_sequences == 2 and batch.is_fast
    assert batch[0].tokens == batch.tokens(0) and [e.ids for e in batch[0:2]] == batch["input_ids"]
    for wrong in (lambda: batch.tokens(2), lambda: batch[5], lambda: batch.token_to_word(-1, 0)):
        with pytest.raises(InputError):
            wrong()
    for wrong in (lambda: batch.char_to_token(0, -1), lambda: batch.word_to_chars(0, 9), lambda: batch.words("x")):
        with pytest.raises(InputError):
            wrong()


def test_made_of_lists(tokenizer: DistilBertTokenizer) -> None:
    batch = BatchEncoding({"input_ids": [[1, 2], [3, 4]]}, tensor_type="np")
    assert batch["input_ids"].dtype == np.int64 and not batch.is_fast and batch.n_sequences is None
    assert batch[0:1]["input_ids"].tolist() == [[1, 2]]
    with pytest.raises(KeyError):
        batch[0]
    with pytest.raises(InputError, match="no encodings"):
        batch.tokens()
    with pytest.raises(InputError, match="different lengths"):
        BatchEncoding({"input_ids": [[1], [2, 3]]}).convert_to_tensors("np")
    lazy = tokenizer(["a", "b"]).convert_to_tensors("np")
    assert lazy["attention_mask"].shape == (2, 3) and lazy.tokens(1) == ["[CLS]", "b", "[SEP]"]
    again = pickle.loads(pickle.dumps(lazy))
    assert again.word_to_tokens(1, 0) == copy.copy(lazy).word_to_tokens(1, 0) == TokenSpan(1, 2)


# ---- ids without a text


def test_pad(tokenizer: DistilBertTokenizer) -> None:
    rows = [{"input_ids": [2, 3], "token_type_ids": [0, 1], "labels": [7]}]
    rows += [{"input_ids": [2], "token_type_ids": [0], "labels": [8]}]
    padded = tokenizer.pad(rows)
    assert padded["input_ids"] == [[2, 3], [2, 0]] and padded["token_type_ids"] == [[0, 1], [0, 0]]
    assert padded["attention_mask"] == [[1, 1], [1, 0]] and padded["labels"] == [[7], [8]]
    assert tokenizer.pad({"input_ids": [2, 3]}, pad_to_multiple_of=4, padding_side="left")["input_ids"] == [0, 0, 2, 3]
    assert tokenizer.pad(tokenizer(["a b", "c"]), return_tensors="np")["input_ids"].shape == (2, 4)
    for wrong in ([], {}, None, {"input_ids": "abc"}, {"input_ids": [1.5]}):
        with pytest.raises(InputError):
            tokenizer.pad(wrong)


def test_prepare_for_model(tokenizer: DistilBertTokenizer) -> None:
    cut: dict[str, Any] = {"truncation": "only_first", "max_length": 6}
    batch = tokenizer.prepare_for_model([5, 6, 7], [8, 9], return_token_type_ids=True, **cut)
    assert dict(batch) == {
        "input_ids": [2, 5, 3, 8, 9, 3],
        "token_type_ids": [0, 0, 0, 1, 1, 1],
        "attention_mask": [1] * 6,
    }
    assert tokenizer.truncate_sequences([5, 6, 7], None, 1, stride=1) == ([5, 6], None, [6, 7])
    assert tokenizer.get_special_tokens_mask([2, 5, 3], already_has_special_tokens=True) == [1, 0, 1]
    assert tokenizer.create_token_type_ids_from_sequences([5], [6]) == [0, 0, 0, 1, 1]
    with pytest.raises(InputError):
        tokenizer.get_special_tokens_mask([5])


# ---- tokens added, roles


def test_added_tokens(tokenizer: DistilBertTokenizer) -> None:
    assert tokenizer.add_tokens(["NewTok", AddedToken("<s>", lstrip=True), "a"]) == 3
    assert tokenizer.add_tokens("NewTok") == 0 and len(tokenizer) == 22 and tokenizer.vocab_size == 20
    assert tokenizer.tokenize("aNEWTOK  <s>") == ["a", "newtok", "  <s>"]
    assert list(tokenizer.get_added_vocab().items())[-3:] == [("a", 5), ("NewTok", 20), ("<s>", 21)]
    assert tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["[A]"]}) == 2
    assert tokenizer.pad_token_id == 22 and tokenizer.additional_special_tokens_ids == [23]
    assert tokenizer(["a", "a b"], padding=True)["input_ids"][0] == [2, 5, 3, 22]
    assert tokenizer.decode([22, 23, 5], skip_special_tokens=True) == "a"
    before = tokenizer.get_vocab()
    for wrong in (3, [3], AddedToken("\u0301"), ["x", None]):
        with pytest.raises(InputError):
            tokenizer.add_tokens(wrong)
    for named in ({"no_token": "x"}, {"pad_token": 3}, {"additional_special_tokens": "x"}):
        with pytest.raises(InputError):
            tokenizer.add_special_tokens(named)
    assert tokenizer.get_vocab() == before


def test_roles(tokenizer: DistilBertTokenizer) -> None:
    tokenizer.mask_token = "a"
    assert (tokenizer.mask_token_id, tokenizer.special_tokens_map["mask_token"]) == (5, "a")
    tokenizer.pad_token_id = 6
    assert tokenizer.pad_token == "b" and tokenizer.all_special_tokens == ["[UNK]", "[SEP]", "b", "[CLS]", "a"]
    tokenizer.pad_token = None
    with pytest.raises(InputError, match="pad_token"):
        tokenizer("a", padding=True)
    with pytest.raises(InputError):
        tokenizer.mask_token = 3  # type: ignore[assignment]
    tokenizer.model_max_length = 512
    assert (tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair) == (510, 509)


def test_a_token_added_late_is_found_by_the_scan(tokenizer: DistilBertTokenizer) -> None:
    tokenizer("a b " * 20_000)
    tokenizer.add_tokens(AddedToken("<s>", normalized=False))
    assert tokenizer.tokenize("a<s>") == ["a", "<s>"]
    assert tokenizer("a<s> " * 20_000, verbose=False)["input_ids"][1:3] == [5, 20]


# ---- saving


def test_saved_and_loaded(tokenizer: DistilBertTokenizer, tmp_path: Path) -> None:
    tokenizer.add_tokens([AddedToken("NewTok", single_word=True), AddedToken("<s>", rstrip=True)])
    tokenizer.add_special_tokens({"mask_token": AddedToken("[M]", lstrip=True), "additional_special_tokens": ["[A]"]})
    tokenizer.padding_side, tokenizer.model_max_length = "left", 7
    folder = tmp_path / "made" / "as needed"
    names = [Path(path).name for path in tokenizer.save_pretrained(folder)]
    assert sorted(names) == sorted(path.name for path in folder.iterdir())  # and no temporary files
    assert set(names) == {
        *("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    }
    again = DistilBertTokenizer.from_pretrained(folder)
    text = ["a newtok  [M] <s> [A]b", "a"]
    assert dict(again(text, padding=True, truncation=True)) == dict(tokenizer(text, padding=True, truncation=True))
    assert again.special_tokens_map == tokenizer.special_tokens_map and again.get_vocab() == tokenizer.get_vocab()
    (folder / "tokenizer.json").unlink()
    assert DistilBertTokenizer.from_pretrained(folder)(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_parts_of_a_folder(tokenizer: DistilBertTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "a", legacy_format=False, filename_prefix="x")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        *("x-tokenizer.json", "x-tokenizer_config.json", "x-special_tokens_map.json")
    }
    (path,) = tokenizer.save_vocabulary(tmp_path / "b")
    assert Path(path).read_text().split("\n")[:-1] == TOKENS


def test_what_cannot_be_saved(tokenizer: DistilBertTokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        tokenizer.save_pretrained(tmp_path / "file")
    tokenizer.sep_token = None
    with pytest.raises(InputError, match="sep_token"):
        tokenizer.save_pretrained(tmp_path / "x")
    path = tmp_path / "twice.txt"
    path.write_text("\n".join([*TOKENS, "a"]))
    with pytest.raises(InputError, match="twice"):
        DistilBertTokenizer(path).save_pretrained(tmp_path / "y")
    assert not (tmp_path / "x").exists() and not (tmp_path / "y").exists()


def test_transformers_5_calls_them_extra(tokenizer: DistilBertTokenizer, tmp_path: Path) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["[A]"]})
    tokenizer.save_pretrained(tmp_path / "x", legacy_format=False)
    (tmp_path / "x" / "special_tokens_map.json").unlink()
    path = tmp_path / "x" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["additional_special_tokens"], config["added_tokens_decoder"]
    path.write_text(json.dumps({**config, "extra_special_tokens": ["[A]"]}))
    assert DistilBertTokenizer.from_pretrained(tmp_path / "x").additional_special_tokens == ["[A]"]
