"""What a tokenizer is made with and from: arguments that say nothing, slips, files by name, tokens of other libraries;
and that two tokenizers, in one process or in several, have nothing in common."""

import json
import logging
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from nanodistil import AddedToken, DistilBertTokenizer, InputError, ModelNotFoundError
from nanodistil.tokenization.construction import TAKEN

WORDS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ","]
WORDS += ["low", "lowest"]
TEXT = "UNwant\u00e9d, running"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return tmp_path


def foreign(content, **flags):
    """As the tokenizers library has them: the same flags, on a class of its own."""
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    return SimpleNamespace(content=content, **{**usual, **flags})


# ---- arguments


@pytest.mark.parametrize("how", ["made", "loaded"])
def test_an_argument_that_says_nothing_is_taken_and_a_slip_is_not(folder, how):
    def make(**arguments):
        if how == "made":
            return DistilBertTokenizer(folder / "vocab.txt", **arguments)
        return DistilBertTokenizer.from_pretrained(folder, **arguments)

    plain = make()(TEXT)
    saying_nothing = {name: values[0] if values else True for name, values in TAKEN.items()}
    assert make(**saying_nothing)(TEXT) == plain
    for name, value in {"do_lowercase": False, "random_argument": True, "padding_sides": "left"}.items():
        with pytest.raises(InputError, match=f"'{name}' is no argument"):
            make(**{name: value})
    with pytest.raises(InputError, match="; did you mean do_lower_case"):
        make(do_lowercase=False)
    for name in ("add_special_tokens", "get_vocab"):  # named like a method: the reference refuses these too
        with pytest.raises(InputError, match=f"'{name}' is a method"):
            make(**{name: True})
    for name, value in {"never_split": ["low"], "do_basic_tokenize": False, "wordpieces_prefix": "@@"}.items():
        with pytest.raises(InputError, match=f"{name} cannot be"):
            make(**{name: value})


def test_two_tokenizers_of_one_folder_have_nothing_in_common(folder):
    changed, plain = (DistilBertTokenizer.from_pretrained(folder) for _ in range(2))
    changed.model_input_names.append(
        "token_type_ids"
    ) if changed.model_input_names is not plain.model_input_names else None
    changed.add_tokens(["newtoken"])
    changed.add_special_tokens({"additional_special_tokens": ["<x>"], "bos_token": "<b>"})
    changed.padding_side = changed.truncation_side = "left"
    changed.model_max_length = 4
    fresh = DistilBertTokenizer.from_pretrained(folder)
    for other in (plain, fresh):
        assert len(other) == len(WORDS) and other.bos_token is None and not other.additional_special_tokens
        assert (other.padding_side, other.truncation_side) == ("right", "right")
        assert other.model_max_length > 10**20 and other.model_input_names == ["input_ids", "attention_mask"]
        assert other("newtoken low")["input_ids"] == [1, 0, 13, 2]


def test_files_may_be_named(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    words = [*WORDS, "more"]
    (other / "words.txt").write_text("".join(f"{word}\n" for word in words))
    DistilBertTokenizer(other / "words.txt").save_pretrained(tmp_path / "fast")
    DistilBertTokenizer.from_pretrained(folder).save_pretrained(folder)  # now with a tokenizer.json
    for name, file in {"vocab_file": other / "words.txt", "tokenizer_file": tmp_path / "fast/tokenizer.json"}.items():
        assert len(DistilBertTokenizer.from_pretrained(folder, **{name: str(file)})) == len(words)
    for name in ("vocab_file", "tokenizer_file"):
        with pytest.raises(ModelNotFoundError, match="no such file"):
            DistilBertTokenizer.from_pretrained(folder, **{name: other / "none"})


# ---- tokens


def test_tokens_of_another_library_are_tokens(folder):
    ours = DistilBertTokenizer(folder / "vocab.txt", eos_token=AddedToken("<e>", lstrip=True, normalized=False))
    theirs = DistilBertTokenizer(folder / "vocab.txt", eos_token=foreign("<e>", lstrip=True, normalized=False))
    for tokenizer, token in ((ours, AddedToken), (theirs, foreign)):
        assert tokenizer.add_tokens([token("low est", rstrip=True), "plain"]) == 2
        assert (
            tokenizer.add_special_tokens({"additional_special_tokens": [token("<a>", normalized=False, special=True)]})
            == 1
        )
        tokenizer.bos_token = token("<b>", normalized=False)
    assert ours.added_tokens_decoder == theirs.added_tokens_decoder
    assert str(ours.special_tokens_map_extended) == str(theirs.special_tokens_map_extended)
    with pytest.raises(InputError, match="bos_token"):
        ours.bos_token = SimpleNamespace(content="x")


def test_tokens_are_equal_by_content_and_flags():
    assert AddedToken("a") == AddedToken(content="a") == AddedToken("a", normalized=True)
    assert AddedToken("a") != AddedToken("a", lstrip=True) and AddedToken("a") != "a"
    assert len({AddedToken("a"), AddedToken("a"), AddedToken("a", special=True)}) == 2


def test_how_many_tokens_were_new(folder):
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    before = len(tokenizer)
    assert tokenizer.add_tokens("") == tokenizer.add_tokens([]) == tokenizer.add_special_tokens({}) == 0
    assert [tokenizer.add_tokens(new) for new in ("testoken", ["testoken1", "testtoken2"], "testoken")] == [1, 2, 0]
    assert tokenizer.add_special_tokens({"bos_token": "[BOS]", "eos_token": "[EOS]"}) == 2
    with pytest.raises(InputError, match="additional_special_tokens must be a list"):
        tokenizer.add_special_tokens({"additional_special_tokens": "<testtoken1>"})
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<testtoken2>"]}) == 1
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<testtoken3>", "<testtoken4>"]}) == 2
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["<testtoken3>", "<testtoken4>"]
    assert len(tokenizer) == before + 8


# ---- files


@pytest.mark.parametrize("legacy_format", [None, True, False])
def test_what_is_special_survives_the_files(folder, tmp_path, legacy_format):
    tokenizer = DistilBertTokenizer.from_pretrained(folder, eos_token=AddedToken("<e>", lstrip=True, normalized=False))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<a>"], "mask_token": "<m>"})
    tokenizer.add_tokens([AddedToken("beyond", single_word=True)])
    paths = tokenizer.save_pretrained(tmp_path / "saved", legacy_format=legacy_format)
    files = ["tokenizer_config.json", "special_tokens_map.json"]  # transformers' order
    files += [] if legacy_format is False else ["vocab.txt", "added_tokens.json"]
    files += [] if legacy_format else ["tokenizer.json"]
    assert [Path(path).name for path in paths] == files
    for path in paths:
        if path.endswith(".json"):
            text = Path(path).read_text(encoding="utf-8")
            assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    again = DistilBertTokenizer.from_pretrained(tmp_path / "saved")
    for name in ("added_tokens_decoder", "special_tokens_map", "all_special_tokens", "all_special_ids"):
        assert getattr(again, name) == getattr(tokenizer, name)
    text = "low <e>beyond <m><a> beyonds"
    assert again(text) == tokenizer(text)


# ---- calls


def test_nothing_is_no_text(folder):
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    for method in (tokenizer.tokenize, tokenizer.encode, tokenizer.encode_plus, tokenizer.batch_encode_plus):
        with pytest.raises(InputError, match="NoneType"):
            method(None)


def test_padding_what_a_call_gave_is_no_reason_to_warn(folder, caplog):
    """The reference says that a call alone is faster; here it is the same work."""
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    with caplog.at_level(logging.WARNING):
        padded = tokenizer.pad(tokenizer(["low", "low lowest"]))
    assert not caplog.records
    assert padded["input_ids"] == [[1, 13, 2, 3], [1, 13, 14, 2]]


def test_there_is_a_space_between_special_tokens(folder):
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("[ABC]"), AddedToken("GHI IHG", lstrip=True, rstrip=True)])
    ids = tokenizer.encode("[ABC][MASK]GHI IHG", add_special_tokens=False)
    assert tokenizer.decode(ids, spaces_between_special_tokens=True) == "[ABC] [MASK] GHI IHG"
    assert tokenizer.batch_decode([ids], spaces_between_special_tokens=True) == ["[ABC] [MASK] GHI IHG"]
    with pytest.raises(InputError, match="spaces_between_special_tokens"):
        tokenizer.decode(ids, spaces_between_special_tokens=False)
    assert tokenizer.pad_token_type_id == 0


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_share_the_work_of_one_tokenizer(folder, start):
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} here")
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["newtoken"])
    texts = [TEXT, "low newtoken", "lowest, low"] * 3
    with multiprocessing.get_context(start).Pool(2) as pool:
        found = pool.map(tokenizer.encode, texts)
    assert found == [tokenizer.encode(text) for text in texts]


def test_threads_share_one_tokenizer(folder):
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    texts = [TEXT, "low newtoken", "lowest, low" * 50, ""] * 25
    wanted = [tokenizer(text, truncation="longest_first", max_length=9)["input_ids"] for text in texts]
    fresh = DistilBertTokenizer.from_pretrained(folder)
    with ThreadPoolExecutor(8) as threads:
        call = partial(fresh, truncation="longest_first", max_length=9)
        assert [row["input_ids"] for row in threads.map(call, texts)] == wanted


@pytest.mark.parametrize("role", ["unk_token", "sep_token", "cls_token"])
def test_a_vocabulary_alone_needs_the_roles_that_say_what_goes_around_a_text(folder, role):
    with pytest.raises(InputError, match=f"{role} is None, but a vocab.txt cannot do without"):
        DistilBertTokenizer(folder / "vocab.txt", **{role: None})
