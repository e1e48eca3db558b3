"""GPT-2's and RoBERTa's tokenizers: as recorded from transformers (tests/golden/byte_level_record.py); their files."""

import copy
import json
import pickle
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED

from nanodistil import AutoTokenizer
from nanodistil.cli import main
from nanodistil.tokenization import AddedToken, DistilBertTokenizer, GPT2Tokenizer, RobertaTokenizer
from nanodistil.tokenization.explain import explain
from nanodistil.weights.errors import CheckpointError, InputError, ModelNotFoundError

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))
import byte_level_record  # noqa: E402

RECORD = json.loads((GOLDEN / "byte_level.json").read_text(encoding="utf-8"))
CLASSES: dict[str, Any] = {"gpt2": GPT2Tokenizer, "roberta": RobertaTokenizer}
CASES = [(name, i) for name in CLASSES for i in range(len(RECORD[name]["answers"]))]


def write_files(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    vocabulary = {token: i for i, token in enumerate(RECORD[name]["tokens"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = ["#version: 0.2", *RECORD[name]["merges"], ""]
    (folder / "merges.txt").write_text("\n".join(merges), encoding="utf-8")
    return folder


@pytest.fixture(params=CLASSES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, name: str) -> Path:
    return write_files(tmp_path / name, name)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_as_recorded(folder: Path, name: str, number: int) -> None:
    expected = RECORD[name]["answers"][number]
    tokenizer = CLASSES[name](folder / "vocab.json", folder / "merges.txt", **expected["options"])
    found = byte_level_record.answers(tokenizer, expected["options"])
    for mine, other, call in zip(
        found["calls"], expected["calls"], byte_level_record.calls_of(expected["options"]), strict=True
    ):
        assert mine == other, call
    assert found == expected


def test_the_published_ids() -> None:
    """Of the official vocabularies."""
    folder = SHARED / "data" / "tokenizers"
    if not (folder / "distilgpt2").is_dir():
        pytest.skip("needs ../shared")
    gpt2 = AutoTokenizer.from_pretrained(folder / "distilgpt2")
    assert type(gpt2) is GPT2Tokenizer and len(gpt2) == 50257 and gpt2.eos_token_id == 50256
    for text, ids in {
        "Hello world": [15496, 995],
        " Hello world": [18435, 995],
        "hello world": [31373, 995],
        "hello <|endoftext|>": [31373, 220, 50256],
    }.items():
        assert gpt2(text)["input_ids"] == ids and gpt2.decode(ids) == text
    roberta = AutoTokenizer.from_pretrained(folder / "distilroberta-base")
    assert type(roberta) is RobertaTokenizer and len(roberta) == 50265 and roberta.mask_token_id == 50264
    ids = [0, 31414, 232, 328, 740, 1140, 12695, 69, 46078, 1588, 2]
    assert roberta("Hello world! cécé herlolip")["input_ids"] == ids
    assert roberta.decode(ids, skip_special_tokens=True) == "Hello world! cécé herlolip"


def test_saved_and_loaded(folder: Path, tmp_path: Path, name: str) -> None:
    tokenizer = CLASSES[name](folder / "vocab.json", add_prefix_space=True, model_max_length=77)
    tokenizer.add_tokens(["<new>", AddedToken("<x>", rstrip=True)])
    texts = ["Hello <new>world <x>  <mask> <|endoftext|>", "é"]
    copies = [copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))]
    for legacy in (None, True, False):
        saved = tmp_path / f"saved {legacy}"
        paths = {Path(path).name for path in tokenizer.save_pretrained(saved, legacy_format=legacy)}
        assert ({"vocab.json", "merges.txt"} <= paths) == (legacy is not False)
        assert ("tokenizer.json" in paths) == (legacy is not True)
        copies += [AutoTokenizer.from_pretrained(saved), CLASSES[name].from_pretrained(saved)]
    for other in copies:
        assert type(other) is type(tokenizer) and other.add_prefix_space and other.model_max_length == 77
        assert other.get_vocab() == tokenizer.get_vocab()
        for pairs in (None, texts[::-1]):
            found, expected = (dict(t(texts, pairs, return_offsets_mapping=True)) for t in (other, tokenizer))
            assert found == expected
    assert (tmp_path / "saved None" / "merges.txt").read_bytes() == (folder / "merges.txt").read_bytes()


def test_which_class_a_folder_is_of(folder: Path, tmp_path: Path, name: str) -> None:
    cls = CLASSES[name]
    assert type(AutoTokenizer.from_pretrained(folder)) is cls
    cls.from_pretrained(folder).save_pretrained(tmp_path / "whole", legacy_format=False)
    whole = tmp_path / "whole"
    (whole / "special_tokens_map.json").unlink()
    for said in ({}, {"tokenizer_class": "PreTrainedTokenizerFast"}, {"tokenizer_class": cls.__name__ + "Fast"}):
        (whole / "tokenizer_config.json").write_text(json.dumps(said))
        made = AutoTokenizer.from_pretrained(whole)
        assert type(made) is cls and (made.eos_token is None) == (said.get("tokenizer_class", "")[:3] == "Pre")
        assert made.num_special_tokens_to_add(pair=True) == (4 if name == "roberta" else 0)
    (whole / "tokenizer_config.json").unlink()
    for model, chosen in (("gpt2", GPT2Tokenizer), ("roberta", RobertaTokenizer)):
        (whole / "config.json").write_text(json.dumps({"model_type": model}))
        if chosen is cls:
            assert type(AutoTokenizer.from_pretrained(whole)) is cls
        else:
            with pytest.raises(CheckpointError, match="post_processor"):
                AutoTokenizer.from_pretrained(whole)
    (whole / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match="where DistilBERT has 'WordPiece'"):
        DistilBertTokenizer.from_pretrained(whole)


def test_words_need_a_space_of_their_own(folder: Path, name: str) -> None:
    cls = CLASSES[name]
    for words in (["a"], [["a"], ["b"]]):
        with pytest.raises(InputError, match="made with add_prefix_space=True"):
            cls(folder / "vocab.json")(words, is_split_into_words=True)
    assert cls(folder / "vocab.json", add_prefix_space=True)(["a", "b"], is_split_into_words=True)
    with pytest.raises(InputError, match="errors='strict'"):
        cls(folder / "vocab.json", errors="strict")
    with pytest.raises(InputError, match="add_prefix_space"):
        cls(folder / "vocab.json", add_prefix_space=1)


def test_gpt2_has_no_pad_token(tmp_path: Path) -> None:
    tokenizer = GPT2Tokenizer(write_files(tmp_path, "gpt2") / "vocab.json")
    with pytest.raises(InputError, match="pad"):
        tokenizer(["a", "b c"], padding=True)
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer(["a", "b c"], padding=True)["attention_mask"][0][-1] == 0


def test_long_words(folder: Path, name: str) -> None:
    """The obvious loop, which looks through the whole word after each merge, would take hours for these."""
    tokenizer = CLASSES[name](folder / "vocab.json")
    for letters in ("th", "e", "的", " "):
        word = letters * (40_000 // len(letters))
        assert tokenizer.decode(tokenizer.encoder.pieces(word).ids) == word


BROKEN = {
    "vocab.json": [
        ("[1]", "object"),
        ('{"a": 0, "b": 0}', "given twice"),
        ('{"a": 1}', r"not of 0\.\.0"),
        ('{"a": "0"}', "has the id '0'"),
        ("{}", "holds no tokens"),
        ('{"a"', "JSON"),
    ],
    "merges.txt": [
        ("#version: 0.2\na b c\n", "line 2 is 'a b c'"),
        ("#version: 0.2\n\na b\n", "line 2 is ''"),
        ("#version: 0.2\nqz zq\n", "lacks 'qz'"),
        ("#version: 0.2\nq z\n", "lacks 'qz'"),
    ],
}


@pytest.mark.parametrize(("file", "text", "message"), [(f, *case) for f, cases in BROKEN.items() for case in cases])
def test_broken_files(tmp_path: Path, file: str, text: str, message: str) -> None:
    folder = write_files(tmp_path, "gpt2")
    (folder / file).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        GPT2Tokenizer.from_pretrained(folder)


def test_what_is_missing(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "x", "roberta")
    (folder / "merges.txt").rename(tmp_path / "elsewhere.txt")
    with pytest.raises(CheckpointError, match=r"merges.txt: there is no such file"):
        AutoTokenizer.from_pretrained(folder)
    assert RobertaTokenizer.from_pretrained(folder, merges_file=tmp_path / "elsewhere.txt")("a")
    (folder / "vocab.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"lacks vocab.txt or tokenizer.json or vocab.json"):
        AutoTokenizer.from_pretrained(folder)


def test_merges_that_transformers_passes_over_are_named(tmp_path: Path) -> None:
    folder = write_files(tmp_path, "gpt2")
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    (folder / "merges.txt").write_text("\n".join(lines[1:-1]), encoding="utf-8")
    with pytest.warns(UserWarning, match="passed over") as given:
        tokenizer = GPT2Tokenizer(folder / "vocab.json")
    assert len(given) == 2 and len(tokenizer.encoder.pieces.pairs) == len(lines) - 4


CHANGES = {
    "model.dropout": 0.1,
    "model.end_of_word_suffix": "</w>",
    "model.ignore_merges": True,
    "model.merges": [["a"]],
    "model.type": "Unigram",
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Whitespace"},
    "pre_tokenizer.use_regex": False,
    "decoder": {"type": "BPEDecoder"},
    "post_processor": {"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 2]},
}


@pytest.mark.parametrize("where", CHANGES)
def test_another_tokenizer_json_is_refused(folder: Path, tmp_path: Path, name: str, where: str) -> None:
    CLASSES[name](folder / "vocab.json").save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    part, _, key = where.partition(".")
    if key:
        whole[part][key] = CHANGES[where]
    else:
        whole[part] = CHANGES[where]
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    with pytest.raises(CheckpointError, match=part):
        CLASSES[name].from_pretrained(tmp_path)


def test_merges_as_older_files_have_them(folder: Path, tmp_path: Path, name: str) -> None:
    tokenizer = CLASSES[name](folder / "vocab.json")
    tokenizer.save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    whole["model"]["merges"] = [" ".join(pair) for pair in whole["model"]["merges"]]
    for key in ("type", "byte_fallback", "ignore_merges"):
        del whole["model"][key]
    del whole["pre_tokenizer"]["use_regex"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    assert CLASSES[name].from_pretrained(tmp_path)("the théâtre").data == tokenizer("the théâtre").data


@pytest.mark.parametrize("adds", [False, True])
def test_explained_is_what_is_done(folder: Path, name: str, adds: bool) -> None:
    tokenizer = CLASSES[name](folder / "vocab.json", add_prefix_space=adds)
    for text in ("the théâtre <mask> <|endoftext|>it's", " \n 漢字 👍🏽'", "", "qqq"):
        found = explain(tokenizer, text)
        assert [token for word in found.words for token in word.tokens] == tokenizer.tokenize(text)
        assert [i for word in found.words for i in word.ids] == tokenizer(text, add_special_tokens=False)["input_ids"]
        assert all(0 <= word.start <= word.end <= len(text) for word in found.words)


def test_on_the_command_line(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", "--explain", "--model", str(folder), "the théâtre"]) == 0
    assert "merges: " in capsys.readouterr().out
    (folder / "merges.txt").write_text("#version: 0.2\nqz q\n")
    assert main(["tokenize", "--model", str(folder), "x"]) == 2
    message = capsys.readouterr().err
    assert "lacks 'qz'" in message and "Traceback" not in message


PIECES = [
    "the",
    " théâtre",
    "'s",
    "'ll",
    "'",
    " ",
    "  ",
    "\n",
    "\u3000",
    "1",
    "٣",
    "漢字",
    "👍🏽",
    "<mask>",
    " <mask>",
    "</s>",
]
PIECES += ["<|endoftext|>", "<new>", "x" * 30, "$$", "\u0301", "\x00", " it"]


@pytest.mark.sweep
@pytest.mark.parametrize("options", [{}, {"add_prefix_space": True}, {"trim_offsets": False}], ids=str)
def test_the_compiled_scan_gives_the_same(folder: Path, name: str, options: dict[str, Any]) -> None:
    """Texts of all sorts, also such as it leaves to the definition; alone, cut on either side, and as pairs."""
    by_definition, scanned = (CLASSES[name](folder / "vocab.json", pad_token="e", **options) for _ in range(2))
    for tokenizer in (by_definition, scanned):
        tokenizer.add_tokens([AddedToken("<new>", lstrip=True, rstrip=True, normalized=False), "théâ"])
    scanned.encoder.scanner, scanned.encoder.seen = scanned.encoder.load_scanner(), None
    if scanned.encoder.scanner is None:
        pytest.skip("needs numba")
    rng = random.Random(f"{name} {options}")
    texts = ["".join(rng.choices(PIECES, k=rng.randrange(20))) for _ in range(120)]
    texts += ["a" * 999, "a" * 1000, " " + "a" * 1000, "a" * 5000 + " b", "é" * 501 + "<mask>", " " * 1001, ""]
    calls: list[tuple[Any, dict[str, Any]]] = [(None, {}), (texts[::-1], {"padding": True})]
    for side in ("left", "right"):
        calls += [(None, {"truncation": True, "max_length": n, "padding_side": side}) for n in (3, 9)]
    for pairs, arguments in calls:
        side = arguments.pop("padding_side", "right")
        scanned.truncation_side = by_definition.truncation_side = side
        for add in (True, False):
            found, expected = (
                t(texts, pairs, return_offsets_mapping=True, add_special_tokens=add, **arguments)
                for t in (scanned, by_definition)
            )
            assert found.data == expected.data
            for i in range(len(texts)):
                assert found[i] == expected[i], texts[i]


def test_two_merges_of_one_token_are_left_to_the_definition(tmp_path: Path) -> None:
    folder = write_files(tmp_path, "gpt2")
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    a, b = lines[1].split()
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocabulary |= {a + b + "x": len(vocabulary), b + "x": len(vocabulary) + 1}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "\n".join([*lines[:-1], f"{b} x", f"{a}{b} x", f"{a} {b}x", ""]), encoding="utf-8"
    )
    tokenizer = GPT2Tokenizer(folder / "vocab.json")
    assert tokenizer.encoder.load_scanner() is None and tokenizer("the")["input_ids"]
