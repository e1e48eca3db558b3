"""Folders of every kind, as AutoTokenizer reads them: which class, which file, which default counts.

Each folder is a random choice of files (tokenizer.json, vocab.txt, tokenizer_config.json, special_tokens_map.json,
added_tokens.json, config.json) with random contents that may contradict each other. Where both load one, everything
they say and do is compared; where transformers refuses, we may answer only for want of a config.json.
"""

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizer_files import bert_frame, template, tokenizer_json

from nanodistil import AutoTokenizer, DistilBertTokenizer, NanoDistilError

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

WORDS = (  # noqa: SIM905
    "[PAD] [UNK] [CLS] [SEP] [MASK] hello world Hello World HELLO h ##e ##l ##lo the The é É e E a b ##b c ##c un "
    "##able café cafe ! . , ' 中 国 中国 new ##tok newtok NewTok [X] <s> </s> <pad> x y z ##x ##y ##z w ##d ##s"
).split()
IDS = {word: number for number, word in enumerate(WORDS)}
ROLES = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
CLASSES = ["DistilBertTokenizer", "DistilBertTokenizerFast", "BertTokenizer", "BertTokenizerFast", "ElectraTokenizer"]
CLASSES += ["PreTrainedTokenizerFast"] * 3 + ["PreTrainedTokenizer", "MobileBertTokenizerFast", "FooTokenizer"]
THREE = ["input_ids", "token_type_ids", "attention_mask"]
TEXTS = [
    "Hello World",
    "hello [MASK] world!",
    "É é café CAFÉ 中国 人",
    "[X] newtok NewTok NEWTOK unable",
    " a  b\tc [PAD] ",
]
TEXTS += ["The the <s>x</s> abc  lion  zzz", "", "\u00a0x\u200by", "added1 Added2 addedadded3", "xADDED1y"]
COPIES = ["BertTokenizer", "ConvBertTokenizer", "ElectraTokenizer", "LayoutLMTokenizer", "LxmertTokenizer"]
COPIES += ["MobileBertTokenizer", "SqueezeBertTokenizer"]


def _tokenizer_json(rng: random.Random) -> dict[str, Any]:
    flags = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    added = [
        {"id": IDS[token], "content": token, **flags, "lstrip": rng.random() < 0.1}
        for token in ROLES.values()
        if rng.random() < 0.85
    ]
    if rng.random() < 0.5:
        number = len(IDS) + rng.choice([0, 0, 0, 2])
        for token in rng.sample(["added1", "Added2", "added", "[Y]", "New"], rng.randint(1, 4)):
            random_flags = {name: rng.random() < 0.3 for name in ("single_word", "lstrip", "rstrip", "special")}
            added.append({"id": number, "content": token, **random_flags, "normalized": rng.random() < 0.6})
            number += rng.choice([1, 1, 1, 2])
    if rng.random() < 0.2:
        added.append({"id": IDS["newtok"], "content": "newtok", **flags, "lstrip": False, "special": False})
    direction, token = rng.choice(["Right", "Left"]), rng.choice(["[PAD]", "[PAD]", "<pad>"])
    truncation = {"direction": direction, "max_length": rng.choice([4, 128]), "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": rng.choice(["BatchLongest", {"Fixed": 20}]),
        "direction": direction,
        "pad_to_multiple_of": rng.choice([None, 8]),
        "pad_id": IDS[token],
        "pad_type_id": 0,
        "pad_token": token,
    }
    return tokenizer_json(
        IDS,
        truncation=rng.choice([None, truncation]),
        padding=rng.choice([None, padding]),
        added_tokens=added,
        normalizer__clean_text=rng.random() < 0.8,
        normalizer__handle_chinese_chars=rng.random() < 0.7,
        normalizer__strip_accents=rng.choice([None, True, False]),
        normalizer__lowercase=rng.random() < 0.5,
        post_processor=rng.choice([bert_frame(IDS), template(IDS), template(IDS)]),
        decoder__cleanup=rng.random() < 0.8,
    )


def _role(rng: random.Random, token: str) -> Any:
    if rng.random() < 0.6:
        return token
    flags = {"lstrip": rng.random() < 0.2, "rstrip": False, "normalized": rng.random() < 0.3, "single_word": False}
    return {"__type": "AddedToken", "content": token, **flags, **({"special": True} if rng.random() < 0.3 else {})}


def _tokenizer_config(rng: random.Random, added: list[dict[str, Any]]) -> dict[str, Any]:
    choices = {
        "do_lower_case": [True, False],
        "strip_accents": [None, True, False],
        "tokenize_chinese_chars": [True, False],
        "model_max_length": [5, 512, 10**30],
        "padding_side": ["left", "right"],
        "truncation_side": ["left", "right"],
        "model_input_names": [THREE[::2], THREE, THREE[:1]],
        "clean_up_tokenization_spaces": [True, False],
        "split_special_tokens": [True, False],
        "tokenizer_class": [None, *CLASSES],
    }
    config = {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.3}
    if rng.random() < 0.7:
        config["tokenizer_class"] = rng.choice(CLASSES)
    share = rng.choice([1.0, 0.25])
    config |= {role: _role(rng, token) for role, token in ROLES.items() if rng.random() < share}
    odd = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "<new>"}
    config |= {role: token for role, token in odd.items() if rng.random() < 0.1}
    if rng.random() < 0.2:
        config["additional_special_tokens"] = rng.sample(["[X]", "added1", "<q>"], rng.randint(0, 2))
    if rng.random() < 0.3:
        config["added_tokens_decoder"] = {str(a["id"]): {k: a[k] for k in a if k != "id"} for a in added}
    return config


def _make(folder: Path, rng: random.Random) -> None:
    def write(name: str, content: Any) -> None:
        (folder / name).write_text(json.dumps(content))

    folder.mkdir()
    whole = _tokenizer_json(rng)
    fast = rng.random() < 0.75
    if fast:
        write("tokenizer.json", whole)
    if not fast or rng.random() < 0.4:
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    kind = rng.choice(["distilbert", "distilbert", "distilbert", "bert", None])
    if kind:
        write(
            "config.json",
            {"model_type": kind, **({"tokenizer_class": rng.choice(CLASSES)} if rng.random() < 0.2 else {})},
        )
    if rng.random() < 0.85:
        write("tokenizer_config.json", _tokenizer_config(rng, whole["added_tokens"] if fast else []))
    if rng.random() < 0.3:
        roles = {role: _role(rng, token) for role, token in ROLES.items() if rng.random() < 0.7}
        more = {"additional_special_tokens": rng.sample(["[X]", "added1"], rng.randint(0, 2))}
        write("special_tokens_map.json", {**roles, **(more if rng.random() < 0.3 else {})})
    if rng.random() < 0.25:
        number, added = len(IDS) + rng.choice([0, 0, 3]), {}
        for token in rng.sample(["added1", "Added2", "zz", "newtok", "[MASK]"], rng.randint(1, 4)):
            added[token] = IDS.get(token, number)
            number += rng.choice([1, 1, 2])
        write("added_tokens.json", added)


def _seen(tokenizer: Any) -> dict[Any, Any]:
    """All that a tokenizer says of itself and does."""
    flags = ("content", "lstrip", "rstrip", "single_word", "normalized", "special")
    seen: dict[Any, Any] = {
        "inputs": list(tokenizer.model_input_names),
        "length": min(tokenizer.model_max_length, 10**20),
        "sides": (tokenizer.padding_side, tokenizer.truncation_side),
        "vocabulary": (len(tokenizer), tokenizer.get_vocab()),
        "roles": {role: [str(t) for t in value] if isinstance(value, list) else str(value)
                  for role, value in tokenizer.special_tokens_map.items()},
        "cleans": tokenizer.clean_up_tokenization_spaces,
        "added": {i: [getattr(t, flag) for flag in flags] for i, t in tokenizer.added_tokens_decoder.items()},
        "pair": dict(tokenizer("Hello [MASK]", "World é")),
        "special": (tokenizer.num_special_tokens_to_add(), tokenizer.num_special_tokens_to_add(True)),
    }  # fmt: skip
    for text in TEXTS:
        found = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        ids = found["input_ids"]
        seen[text] = dict(found), tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)
    if tokenizer.pad_token is not None:
        seen["batch"] = dict(tokenizer(TEXTS, padding=True, truncation=True, max_length=6))
        seen["wide"] = dict(tokenizer(TEXTS[:3], padding="max_length", max_length=9, truncation=True))
        seen["padded"] = dict(tokenizer.pad({"input_ids": [[1, 2, 3], [1]]}))
    try:
        seen["built"] = tokenizer.build_inputs_with_special_tokens([7], [8])
    except (NanoDistilError, TypeError):  # without [CLS] or [SEP] theirs joins None to the ids
        seen["built"] = None
    return {key: None if key == "built" and value and None in value else value for key, value in seen.items()}


@pytest.mark.parametrize("count", [40, pytest.param(600, marks=pytest.mark.sweep)])
def test_random_folders(tmp_path: Path, count: int) -> None:
    logging.disable(logging.CRITICAL)
    rng = random.Random(f"folders {count}")
    wrong, same = [], 0
    try:
        for number in range(count):
            folder = tmp_path / str(number)
            _make(folder, rng)
            try:
                theirs = _seen(transformers.AutoTokenizer.from_pretrained(str(folder)))
            except Exception as error:
                theirs = error
            try:
                ours = _seen(DistilBertTokenizer.from_pretrained(folder))
            except NanoDistilError as error:
                if not isinstance(theirs, Exception):
                    wrong.append(f"{number}: {error}")
                continue
            if isinstance(theirs, Exception):
                if "Unrecognized model" not in str(theirs):
                    wrong.append(f"{number}: only ours answers, theirs: {str(theirs)[:200]}")
                continue
            same += 1
            wrong += [f"{number}: {k}: {ours[k]} {theirs[k]}"[:600] for k in theirs if ours[k] != theirs[k]][:1]
    finally:
        logging.disable(logging.NOTSET)
    assert not wrong, f"{len(wrong)} of {count} differ:\n" + "\n".join(wrong[:6])
    assert same > count / 2


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_berts_class(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    (tmp_path / "tokenizer.json").write_text(json.dumps(_tokenizer_json(rng)))
    (tmp_path / "config.json").write_text('{"model_type": "distilbert"}')
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, "do_lower_case": False}))
    theirs = _seen(transformers.AutoTokenizer.from_pretrained(str(tmp_path)))
    assert _seen(AutoTokenizer.from_pretrained(tmp_path)) == theirs
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    (tmp_path / "again" / "config.json").write_text('{"model_type": "distilbert"}')
    again = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "again"))
    assert _seen(again)["pair"] == theirs["pair"] and type(again).__name__ == f"{name}Fast"


def test_the_general_class_saved_by_us(tmp_path: Path) -> None:
    rng = random.Random(5)
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps(_tokenizer_json(rng)))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **(ROLES if rng.random() < 0.5 else {})}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        ours = DistilBertTokenizer.from_pretrained(folder)
        ours.save_pretrained(folder / "again")
        theirs = transformers.AutoTokenizer.from_pretrained(str(folder / "again"))
        assert type(theirs).__name__ == "PreTrainedTokenizerFast"
        mine, other, again = map(_seen, (ours, theirs, DistilBertTokenizer.from_pretrained(folder / "again")))
        assert [k for k in other if mine[k] != other[k]] == [] and mine == again
