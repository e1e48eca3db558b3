"""Another kind of tokenizer, in one file and with no line changed elsewhere: bytes, RoBERTa's template, no token types.

It is a toy of the byte-level tokenizers: a word takes the space before it, a character outside ASCII is several tokens,
nothing is unknown, and <mask> swallows the space on its left.
"""

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.conventions import TWO, Classes, Conventions
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.explain import explain
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.tokenization.json_part import Part
from nanodistil.tokenization.kind import Kind
from nanodistil.tokenization.pieces import AsItIs, Pieces, Span
from nanodistil.tokenization.template import Template
from nanodistil.weights.errors import CheckpointError, InputError

WORD = re.compile(r" ?\S+|\s+")
FIRST = 0x100  # byte b is the token chr(FIRST + b)
ROLES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
VOCABULARY = {token: i for i, token in enumerate([*ROLES, *(chr(FIRST + b) for b in range(256))])}


class Bytes:
    """text -> pieces."""

    normalizer = AsItIs()
    unknown = "<unk>"

    def __init__(self, vocabulary: dict[str, int], adds_space: bool = False) -> None:
        self.vocabulary, self.adds_space = vocabulary, adds_space

    def identity(self) -> list[Any]:
        return ["bytes", self.adds_space]

    def __call__(self, text: str) -> Pieces:
        return self.split(*self.normalizer(text))

    def split(self, characters: str, spans: list[Span]) -> Pieces:
        if self.adds_space and not characters.startswith(" "):
            characters, spans = " " + characters, [(spans[0][0], spans[0][0]), *spans]
        out = Pieces([], [], [], [], 0)
        n = 0
        for n, word in enumerate(WORD.finditer(characters), 1):
            for i in range(word.start(), word.end()):
                for byte in characters[i].encode():
                    out.tokens.append(chr(FIRST + byte))
                    out.ids.append(self.vocabulary[out.tokens[-1]])
                    out.spans.append(spans[i])
                    out.words.append(n - 1)
        return out._replace(n_words=n)


def join(tokens: list[str]) -> str:
    parts = (bytes([ord(t) - FIRST]) if len(t) == 1 and ord(t) >= FIRST else t.encode() for t in tokens)
    return b"".join(parts).decode(errors="replace")


def from_vocabulary(path: Path, special: dict[str, str]) -> Description:
    ids = json.loads(path.read_text())
    template = TOY.framing.filled(lambda role: (special[role], ids[special[role]]))
    return Description(str(path), Bytes(ids), template, join)


def read_sections(file: Part) -> tuple[Bytes, Any]:
    model = file.part("model")
    model.expect("Bytes")
    file.part("decoder").expect("Bytes")
    return Bytes(model.get("vocab", dict)), join


def write_sections(state: Any) -> dict[str, Any]:
    model = {"type": "Bytes", "vocab": state.encoder.vocabulary}
    return {"normalizer": None, "pre_tokenizer": {"type": "Bytes"}, "decoder": {"type": "Bytes"}, "model": model}


MASK = AddedToken("<mask>", lstrip=True, special=True)
TOY = Kind(
    model="the toy",
    classes=Classes(Conventions("ToyTokenizer", TWO)),
    framing=Template.of("cls_token A sep_token", "cls_token A sep_token sep_token B sep_token"),
    roles={"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": MASK},
    needed=("cls_token", "sep_token"),
    vocabulary_file="bytes.json",
    from_vocabulary=from_vocabulary,
    vocabulary_texts=lambda state: {"bytes.json": json.dumps(state.encoder.vocabulary)},
    read_sections=read_sections,
    write_sections=write_sections,
    settings={"add_prefix_space": (bool,)},
)


class ToyTokenizer(Tokenizer):
    """The class, with the one argument of its own."""

    kind = TOY
    tokenizer_class = "ToyTokenizer"

    def __init__(self, *arguments: Any, add_prefix_space: bool = False, **named: Any) -> None:
        self.add_prefix_space = add_prefix_space
        super().__init__(*arguments, **named)

    def _described(self, *files: Any) -> tuple[Description, Bytes]:
        description, pieces = super()._described(*files)
        return description, Bytes(dict(pieces.vocabulary), self.add_prefix_space)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "bytes.json"
    path.write_text(json.dumps(VOCABULARY))
    return path


@pytest.fixture
def toy(vocabulary: Path) -> ToyTokenizer:
    return ToyTokenizer(vocabulary, clean_up_tokenization_spaces=False)


def ids_of(text: str) -> list[int]:
    return [VOCABULARY[chr(FIRST + byte)] for byte in text.encode()]


def test_a_text_and_what_is_known_of_it(toy: ToyTokenizer) -> None:
    batch = toy("Hé  you", return_offsets_mapping=True, return_special_tokens_mask=True)
    assert list(batch) == ["input_ids", "attention_mask", "special_tokens_mask", "offset_mapping"]
    assert batch["input_ids"] == [0, *ids_of("Hé  you"), 2]
    spans = [(0, 0), (0, 1), (1, 2), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (0, 0)]
    assert batch["offset_mapping"] == spans
    assert batch["special_tokens_mask"] == [1, *[0] * 8, 1]
    assert batch.word_ids() == [None, 0, 0, 0, 1, 1, 2, 2, 2, None]
    assert batch.char_to_token(1) == 2 and batch.token_to_chars(3) == (1, 2)
    assert toy("Hé", return_token_type_ids=True)["token_type_ids"] == [0] * 5


def test_a_pair_has_two_separators_between_and_no_types(toy: ToyTokenizer) -> None:
    for arguments in ({}, {"return_tensors": "np"}):
        batch = toy("ab", "c", return_token_type_ids=True, **arguments)
        ids = np.asarray(batch["input_ids"]).ravel().tolist()
        assert ids == [0, *ids_of("ab"), 2, 2, *ids_of("c"), 2]
        assert not np.any(batch["token_type_ids"])
    assert batch.sequence_ids() == [None, 0, 0, None, None, 1, None]
    assert toy("ab", "c", add_special_tokens=False, return_token_type_ids=True)["token_type_ids"] == [0, 0, 0]
    assert (toy.num_special_tokens_to_add(), toy.num_special_tokens_to_add(pair=True)) == (2, 4)
    assert toy.build_inputs_with_special_tokens([9], [8]) == [0, 9, 2, 2, 8, 2]
    assert toy.create_token_type_ids_from_sequences([9], [8]) == [0] * 6
    assert toy.prepare_for_model([9], [8])["input_ids"] == [0, 9, 2, 2, 8, 2]


def test_windows_that_overflow(toy: ToyTokenizer) -> None:
    cut = {"truncation": "only_second", "max_length": 8, "stride": 1, "return_overflowing_tokens": True}
    batch = toy(["a", "b"], ["xyz 12", "u"], padding=True, return_offsets_mapping=True, **cut)
    rows = [toy.decode(ids, skip_special_tokens=True) for ids in batch["input_ids"]]
    assert rows == ["axyz", "az 1", "a12", "bu"] and batch["overflow_to_sample_mapping"] == [0, 0, 0, 1]
    assert {len(ids) for ids in batch["input_ids"]} == {8}
    assert batch["input_ids"][3] == [0, *ids_of("b"), 2, 2, *ids_of("u"), 2, 1, 1]
    assert batch["attention_mask"][3] == [1] * 6 + [0] * 2
    assert batch["offset_mapping"][1][4:7] == [(2, 3), (3, 4), (4, 5)]


def test_padding_and_batches(toy: ToyTokenizer) -> None:
    batch = toy(["a", "abc"], padding=True, padding_side="left", return_tensors="np")
    assert batch["input_ids"].tolist() == [[1, 1, 0, *ids_of("a"), 2], [0, *ids_of("abc"), 2]]
    assert toy.pad({"input_ids": [[0, 2], [0]]})["input_ids"] == [[0, 2], [0, 1]]
    assert toy([["a", "bc"]], is_split_into_words=True).word_ids() == [None, 0, 1, 1, None]


def test_the_mask_swallows_the_space_before_it(toy: ToyTokenizer) -> None:
    batch = toy("a <mask> b", return_offsets_mapping=True)
    assert batch["input_ids"] == [0, *ids_of("a"), 4, *ids_of(" b"), 2]
    assert batch["offset_mapping"][2] == (1, 8) and toy.mask_token_id == 4
    assert toy.decode(batch["input_ids"]) == "<s>a<mask> b</s>"


def test_much_text_goes_the_same_way(toy: ToyTokenizer) -> None:
    """There is no compiled scan for this kind, however much comes by."""
    assert toy("ab " * 60_000, verbose=False)["input_ids"] == [0, *ids_of("ab " * 60_000), 2]
    assert toy.encoder.scanner is None


def test_added_tokens_and_copies(toy: ToyTokenizer) -> None:
    assert toy.add_tokens(["<new>", AddedToken("<x>", normalized=False)]) == 2 and len(toy) == len(VOCABULARY) + 2
    ids = [0, *ids_of("a"), 261, *ids_of("b"), 262, 2]
    for other in (toy, copy.deepcopy(toy), pickle.loads(pickle.dumps(toy))):
        assert other.encode("a<new>b<x>") == ids and other.decode(ids, True) == "a<new>b<x>"


@pytest.mark.parametrize("legacy_format", [None, False, True])
def test_it_is_saved_and_loaded(vocabulary: Path, tmp_path: Path, legacy_format: bool | None) -> None:
    toy = ToyTokenizer(vocabulary, add_prefix_space=True, model_max_length=33, padding_side="left")
    toy.add_tokens("<new>")
    folder = tmp_path / "saved"
    names = {Path(path).name for path in toy.save_pretrained(folder, legacy_format)}
    assert ("bytes.json" in names, "tokenizer.json" in names) == (legacy_format is not False, legacy_format is not True)
    if legacy_format is True:
        again = ToyTokenizer(folder / "bytes.json", add_prefix_space=True, model_max_length=33, padding_side="left")
        again.add_tokens("<new>")
    else:
        again = ToyTokenizer.from_pretrained(folder)
    assert (again.tokenizer_class, again.model_max_length, again.padding_side) == ("ToyTokenizer", 33, "left")
    assert again.special_tokens_map == toy.special_tokens_map and again.get_vocab() == toy.get_vocab()
    for text in ("a <mask> b", "é<new> c"):
        assert again(text, "x", return_offsets_mapping=True).data == toy(text, "x", return_offsets_mapping=True).data
    assert again.encode("a") == [0, *ids_of(" a"), 2]
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "ToyTokenizer" and config["add_prefix_space"] is True
    assert "do_lower_case" not in config


def test_what_is_not_its_own_is_refused(toy: ToyTokenizer, tmp_path: Path) -> None:
    toy.save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text())
    whole["post_processor"]["pair"].pop(2)
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    with pytest.raises(CheckpointError, match=r"not the toy's template .* \[CLS\] A \[SEP\] \[SEP\] B"):
        ToyTokenizer.from_pretrained(tmp_path)
    toy.save_pretrained(tmp_path, legacy_format=False)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "BertTokenizer"}))
    with pytest.raises(CheckpointError, match=r"BertTokenizer.*not read here; those are ToyTokenizer"):
        ToyTokenizer.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="only WordPiece"):
        explain(toy, "a")
