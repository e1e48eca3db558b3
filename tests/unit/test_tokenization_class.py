"""The tokenizer's class, files and errors: examples to check by hand, on a vocabulary of twenty tokens."""

import copy
import json
import logging
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizer_files import tokenizer_json

from nanodistil.tokenization import AddedToken, DistilBertTokenizer, DistilBertTokenizerFast
from nanodistil.tokenization.files import read_vocab_txt
from nanodistil.weights.errors import CheckpointError, InputError

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", ",", "!", "'"]
TOKENS += ["m", "i", "un", "##aff", "##able", "e", "##a", "漢", "new", "york"]
ID = {token: number for number, token in enumerate(TOKENS)}


def write_vocab(folder: Path, tokens: list[str] = TOKENS, name: str = "vocab.txt") -> Path:
    path = folder / name
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8", newline="")
    return path


def folder_with(tmp_path: Path, **files: Any) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    return DistilBertTokenizer(write_vocab(tmp_path))


# ---- texts to ids


def test_one_text(tokenizer: DistilBertTokenizer) -> None:
    result = tokenizer("Hello, unaffable wörld!")
    assert result["input_ids"] == [2, 5, 7, 12, 13, 14, 6, 8, 3] == result.input_ids
    assert result["attention_mask"] == [1] * 9
    assert list(result) == ["input_ids", "attention_mask"]
    assert tokenizer.tokenize("Hello, unaffable wörld!") == ["hello", ",", "un", "##aff", "##able", "world", "!"]
    assert tokenizer.encode("hello", add_special_tokens=False) == [5]


def test_offsets_are_places_in_the_text_given(tokenizer: DistilBertTokenizer) -> None:
    text = "e\u0301a \x00漢字 [MASK]x"
    result = tokenizer(text, return_offsets_mapping=True)
    assert result.tokens() == ["[CLS]", "e", "##a", "漢", "[UNK]", "[MASK]", "[UNK]", "[SEP]"]
    assert result["offset_mapping"] == [(0, 0), (0, 1), (2, 3), (5, 6), (6, 7), (8, 14), (14, 15), (0, 0)]
    assert result.word_ids() == [None, 0, 0, 1, 2, 3, 4, None]


def test_pair(tokenizer: DistilBertTokenizer) -> None:
    result = tokenizer("hello", "new york", return_token_type_ids=True, return_special_tokens_mask=True)
    assert result["input_ids"] == [2, 5, 3, 18, 19, 3]
    assert result["token_type_ids"] == [0, 0, 0, 1, 1, 1]
    assert result["special_tokens_mask"] == [1, 0, 1, 0, 0, 1]
    assert result.sequence_ids() == [None, 0, None, 1, 1, None]
    assert tokenizer("hello", "")["input_ids"] == [2, 5, 3]  # one empty second text is none,
    assert tokenizer(["hello"], [""])["input_ids"] == [[2, 5, 3, 3]]  # in a batch it is one


def test_batches(tokenizer: DistilBertTokenizer) -> None:
    assert tokenizer([])["input_ids"] == []
    assert tokenizer([], padding=True, return_tensors="np")["input_ids"].shape == (0, 0)
    assert tokenizer(["hello", "hello world"], padding=True)["attention_mask"] == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert tokenizer([("hello", "i"), ["m", "un"]])["input_ids"] == [[2, 5, 3, 11, 3], [2, 10, 3, 12, 3]]
    arrays = tokenizer(
        ["hello", ""], padding="max_length", max_length=5, return_tensors="np", return_offsets_mapping=True
    )
    assert arrays["input_ids"].dtype == np.int64 and arrays["input_ids"].shape == (2, 5)
    assert arrays["offset_mapping"].shape == (2, 5, 2)
    assert tokenizer("hello", return_tensors="np")["input_ids"].tolist() == [[2, 5, 3]]


@pytest.mark.parametrize(
    ("strategy", "length", "kept"),
    [("longest_first", 8, (2, 3)), ("longest_first", 7, (2, 2)), ("only_first", 7, (1, 3)), ("only_second", 6, (2, 1))],
)
def test_truncation_of_a_pair(
    tokenizer: DistilBertTokenizer, strategy: str, length: int, kept: tuple[int, int]
) -> None:
    if strategy == "only_first":
        texts = "hello world i", "m m m"
    elif strategy == "only_second":
        texts = "hello world", "m m m m"
    else:
        texts = "hello world i", "m m m m"
    sequences = tokenizer(*texts, truncation=strategy, max_length=length).sequence_ids()
    assert (sequences.count(0), sequences.count(1)) == kept


def test_ids_to_texts(tokenizer: DistilBertTokenizer) -> None:
    ids = tokenizer.encode("Hello, i'm unaffable!")
    assert tokenizer.decode(ids) == "[CLS] hello, i'm unaffable! [SEP]"
    assert tokenizer.decode(np.array(ids), skip_special_tokens=True) == "hello, i'm unaffable!"
    assert tokenizer.decode(ids, True, clean_up_tokenization_spaces=False) == "hello, i ' m unaffable!"
    assert tokenizer.batch_decode([[5], [6, 999]]) == ["hello", "world"]  # an unknown id is left out
    assert tokenizer.convert_ids_to_tokens([5, 999]) == ["hello", None]
    assert tokenizer.convert_tokens_to_ids(["hello", "absent"]) == [5, 1]
    assert tokenizer.convert_ids_to_tokens(4) == tokenizer.mask_token == "[MASK]"
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.bos_token_id) == (
        4,
        0,
        2,
        None,
    )
    assert (len(tokenizer), tokenizer.vocab_size, tokenizer.num_special_tokens_to_add(True)) == (20, 20, 3)


def test_added_tokens(tmp_path: Path) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    added = [*tokenizer_json(ID)["added_tokens"], {"id": 20, "content": "NewTok", **flags}]
    added += [{"id": 21, "content": "<s>", **flags, "normalized": False, "lstrip": True, "rstrip": True}]
    added += [{"id": 19, "content": "york", **flags, "normalized": False, "single_word": True}]
    path = folder_with(tmp_path, tokenizer=tokenizer_json(ID, added_tokens=added)) / "tokenizer.json"
    tokenizer = DistilBertTokenizer(tokenizer_file=path)
    result = tokenizer("iNEWTOKm  <s> york yorks", return_offsets_mapping=True, add_special_tokens=False)
    assert result["input_ids"] == [11, 20, 10, 21, 19, 1]
    assert result["offset_mapping"] == [(0, 1), (1, 7), (7, 8), (8, 14), (14, 18), (19, 24)]
    assert len(tokenizer) == 22 and tokenizer.vocab_size == 20


def test_later_names_and_light_imports() -> None:
    assert DistilBertTokenizerFast is DistilBertTokenizer
    code = "import sys, nanodistil.tokenization; print('numpy' in sys.modules, 'numba' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


# ---- files


def test_line_ends_and_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("a\u2028b\n\x0cx\r\n\nc\na\nc".encode())
    assert read_vocab_txt(path) == {"a\u2028b": 0, "\x0cx": 1, "": 2, "c": 5, "a": 4}


def test_precedence(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, tokenizer=tokenizer_json(ID, normalizer__lowercase=False))
    assert DistilBertTokenizer.from_pretrained(folder).tokenize("HELLO") == ["[UNK]"]  # nothing names a class
    (folder / "config.json").write_text('{"model_type": "distilbert"}')
    with pytest.warns(UserWarning, match="the class counts"):
        assert DistilBertTokenizer.from_pretrained(folder).tokenize("HELLO") == ["hello"]
    folder_with(folder, tokenizer_config={"do_lower_case": False, "model_max_length": 7, "max_len": 3})
    assert DistilBertTokenizer.from_pretrained(folder).tokenize("HELLO") == ["[UNK]"]
    assert DistilBertTokenizer.from_pretrained(folder, do_lower_case=True).tokenize("HELLO") == ["hello"]
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 7 and not tokenizer.clean_up_tokenization_spaces
    write_vocab(folder)
    (folder / "tokenizer.json").unlink()
    assert DistilBertTokenizer.from_pretrained(folder).clean_up_tokenization_spaces


def test_a_special_token_the_vocabulary_lacks_comes_after_it(tmp_path: Path) -> None:
    tokenizer = DistilBertTokenizer(write_vocab(tmp_path, [t for t in TOKENS if t != "[MASK]"]))
    assert tokenizer.mask_token_id == 19 and len(tokenizer) == 20 and tokenizer.vocab_size == 19


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no tokens"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"hello\nworld\n", "lacks the unknown token"),
        (b'{"hello": 0}', "holds JSON"),
        (b"[UNK]\n" + b"x" * (1 << 22) + b"x", "4194304 characters"),
    ],
)
def test_broken_vocab_txt(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=says) as error:
        DistilBertTokenizer(path)
    assert "\n" not in str(error.value)


def test_a_missing_or_huge_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        DistilBertTokenizer(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="cannot be read"):
        DistilBertTokenizer(tmp_path)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CheckpointError, match="larger than"):
        DistilBertTokenizer(tmp_path / "huge")


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": []}, "model"),
    ({"model__type": "BPE"}, "'WordPiece'"),
    ({"model__vocab": []}, "vocab"),
    ({"model__vocab": {}}, "no tokens"),
    ({"model__vocab": {"[UNK]": -1}}, "-1"),
    ({"model__vocab": {"[UNK]": 0, "a": 0}}, "twice"),
    ({"model__vocab": {"[UNK]": 0, "a": 7}}, "not of 0..1"),
    ({"model__vocab": {"[UNK]": 0, "a": 1.0}}, "1.0"),
    ({"model__vocab": {"[UNK]": True}}, "True"),
    ({"model__vocab": {"a": 0}}, "unknown token"),
    ({"model__unk_token": None}, "unk_token"),
    ({"model__max_input_chars_per_word": "100"}, "max_input_chars_per_word"),
    ({"normalizer": None}, "normalizer"),
    ({"normalizer__type": "NFKC"}, "'BertNormalizer'"),
    ({"normalizer__lowercase": 1}, "lowercase"),
    ({"normalizer__strip_accents": "no"}, "strip_accents"),
    ({"pre_tokenizer": {"type": "Whitespace"}}, "'BertPreTokenizer'"),
    ({"post_processor": {"type": "RobertaProcessing"}}, "'TemplateProcessing'"),
    ({"post_processor__single": []}, "template"),
    ({"post_processor__pair": [{"Sequence": {"id": "A", "type_id": 0}}]}, "template"),
    ({"post_processor__special_tokens": {}}, "special_tokens"),
    ({"post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 3], "sep": ["[SEP]", 3]}}, "the id 3 only here"),
    ({"post_processor": {"type": "BertProcessing", "cls": "[CLS]", "sep": ["[SEP]", 3]}}, "cls"),
    ({"decoder": {"type": "ByteLevel"}}, "'WordPiece'"),
    ({"added_tokens": {}}, "added_tokens"),
    ({"added_tokens": [3]}, "added_tokens"),
    ({"added_tokens": [{"id": 20, "content": "x"}]}, "single_word"),
    ({"truncation": {"direction": "up"}}, "direction"),
    ({"padding": {"direction": "Right", "pad_type_id": 1}}, "pad_type_id"),
]


@pytest.mark.parametrize(("changes", "says"), BROKEN, ids=lambda value: str(value)[:50])
def test_broken_tokenizer_json(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    folder_with(tmp_path, tokenizer=tokenizer_json(ID, **changes))
    with pytest.raises(CheckpointError, match=says) as error:
        DistilBertTokenizer.from_pretrained(tmp_path)
    assert "\n" not in str(error.value) and "tokenizer.json" in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"a":' * 100_000, '{"model": 1e999}', "9" * 5_000]
)
def test_garbage_json(tmp_path: Path, text: str) -> None:
    folder_with(tmp_path, tokenizer=text)
    with pytest.raises(CheckpointError):
        DistilBertTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    write_vocab(tmp_path)
    folder_with(tmp_path, tokenizer_config=text)
    if text != '{"model": 1e999}':
        with pytest.raises(CheckpointError):
            DistilBertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ({"id": -1, "content": "x"}, "ids begin at 0"),
        ({"id": 20, "content": "\u0301", "normalized": True}, "normalized to nothing"),
    ],
)
def test_added_tokens_that_cannot_be(tmp_path: Path, added: dict[str, Any], says: str) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    folder_with(tmp_path, tokenizer=tokenizer_json(ID, added_tokens=[{**flags, **added}]))
    with pytest.raises(CheckpointError, match=says):
        DistilBertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"do_lower_case": "yes"},
        {"model_max_length": "512"},
        {"model_max_length": True},
        {"padding_side": "up"},
        {"unk_token": None},
        {"mask_token": 3},
        {"mask_token": {"lstrip": True}},
        {"additional_special_tokens": "x"},
        {"added_tokens_decoder": []},
        {"added_tokens_decoder": {"x": {"content": "y"}}},
        {"added_tokens_decoder": {"20": {"content": "y", "lstrip": 1}}},
        {"split_special_tokens": "yes"},
        {"model_max_length": float("nan")},
        {"model_max_length": -3},
        {"model_input_names": [3]},
        {"model_input_names": []},
    ],
    ids=str,
)
def test_broken_config(tmp_path: Path, config: dict[str, Any]) -> None:
    write_vocab(tmp_path)
    folder_with(tmp_path, tokenizer_config=config)
    with pytest.raises(CheckpointError):
        DistilBertTokenizer.from_pretrained(tmp_path)


# ---- bad calls


@pytest.mark.parametrize(
    "call",
    [
        (None,),
        (3,),
        (b"bytes",),
        (["a", None],),
        (["a", 3],),
        ([["a"]],),
        ([["a", "b", "c"]],),
        ([["a", None]],),
        ("a", 3),
        ("a", ["b"]),
        (["a"], "b"),
        (["a"], ["b", "c"]),
        (["a"], [None]),
        ({"a": "b"},),
        ("a\ud800",),
        ("a", "\udfff"),
        (["a", "\udc80"],),
    ],
    ids=ascii,
)
def test_texts_that_are_none(tokenizer: DistilBertTokenizer, call: tuple[Any, ...]) -> None:
    with pytest.raises(InputError):
        tokenizer(*call)


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": "longer"},
        {"padding": None},
        {"padding": []},
        {"truncation": "first"},
        {"max_length": -1},
        {"max_length": 2.5},
        {"max_length": True},
        {"stride": -1},
        {"stride": 2, "truncation": True, "max_length": 3},
        {"is_split_into_words": True},
        {"add_special_tokens": 1},
        {"return_tensors": "tf"},
        {"padding_side": "up"},
        {"pad_to_multiple_of": 0},
        {"pad_to_multiple_of": 4, "padding": True, "truncation": True, "max_length": 6},
        {"truncation": "only_second", "max_length": 3},
        {"truncation": "only_first", "max_length": 4, "text_pair": "hello world"},
    ],
    ids=str,
)
def test_arguments_that_cannot_be(tokenizer: DistilBertTokenizer, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        tokenizer("hello world", **arguments)


def test_other_bad_input(tokenizer: DistilBertTokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="padding=True"):
        tokenizer(["hello", "hello world"], return_tensors="np")
    for ids in (-1, [1, -1], "hello", [1.5], None, [[1]]):
        with pytest.raises(InputError):
            tokenizer.decode(ids)
    with pytest.raises(InputError):
        tokenizer.encode(["hello"])  # type: ignore[arg-type]
    with pytest.raises(InputError):
        DistilBertTokenizer()
    unpadded = DistilBertTokenizer(write_vocab(tmp_path), pad_token=None)
    with pytest.raises(InputError, match="pad_token"):
        unpadded("hello", padding=True)
    with pytest.raises(AttributeError):
        _ = tokenizer.no_such_name


# ---- warnings


def test_a_cased_vocabulary_with_do_lower_case(tmp_path: Path) -> None:
    cased = write_vocab(tmp_path, [*TOKENS, "Hello", "World", "##Able"])
    with pytest.warns(UserWarning, match="do_lower_case=False") as caught:
        DistilBertTokenizer(cased)
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert DistilBertTokenizer(cased, do_lower_case=False).tokenize("Hello hello") == ["Hello", "hello"]
        DistilBertTokenizer(write_vocab(tmp_path))


def test_too_long_a_text_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = DistilBertTokenizer(write_vocab(tmp_path), model_max_length=4)
    with caplog.at_level(logging.WARNING, logger="nanodistil.tokenization"):
        assert len(tokenizer("hello world hello", truncation=True)["input_ids"]) == 4
        assert not caplog.records
        assert len(tokenizer("hello world hello")["input_ids"]) == 5
        assert len(tokenizer("hello world hello")["input_ids"]) == 5
    assert len(caplog.records) == 1 and "truncation=True" in caplog.text


def test_added_token_flags() -> None:
    assert AddedToken("x").normalized and not AddedToken("x", special=True).normalized


def test_copies_and_pickles() -> None:
    """As multiprocessing makes them."""
    mini = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    batch = mini(["one two", "three"], padding=True)
    for other in (copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))):
        assert other["input_ids"] == batch["input_ids"]
    assert pickle.loads(pickle.dumps(mini)).tokenize("unaffable") == mini.tokenize("unaffable")
    assert copy.deepcopy(mini)("[MASK]!").input_ids == mini("[MASK]!").input_ids


def test_ids_may_be_numpys() -> None:
    np = pytest.importorskip("numpy")
    mini = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    assert mini.convert_ids_to_tokens(np.int64(103)) == "[MASK]"
    assert mini.convert_ids_to_tokens(np.array([103, 102])) == ["[MASK]", "[SEP]"]


def test_a_warning_is_given_once_whatever_its_numbers(caplog: pytest.LogCaptureFixture) -> None:
    mini = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    for n in (600, 700, 800):
        mini("word " * n)
    assert sum("longer than" in record.message for record in caplog.records) == 1
