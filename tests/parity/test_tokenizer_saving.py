"""save_pretrained in both directions: what we write transformers loads as the same tokenizer, and the other way round.

The files do not hold all of a history: a token that was added twice with other flags, or one that has a role but was
never added, is not the same after loading. Where transformers' own round trip is faithful ours has to be.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from test_tokenizer_calls import SHARED, differences, outcome, words_of
from test_tokenizer_state import change, drawn, fresh, state_differences, write_vocab

from nanodistil.tokenization import DistilBertTokenizer

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

EVERYTHING = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "verbose": False}
SETTINGS = ["do_lower_case", "clean_up_tokenization_spaces", "model_max_length", "padding_side", "truncation_side"]
SETTINGS += ["model_input_names", "split_special_tokens", "special_tokens_map"]


def random_pair(rng: random.Random, vocab: Path) -> tuple[Any, Any]:
    """The same tokenizer twice, ours and theirs, after some random changes."""
    ours, theirs = fresh(rng, vocab)
    for _ in range(rng.randrange(4)):
        change(rng, ours, theirs)
    for tokenizer in (ours, theirs):
        for role in ("unk_token", "sep_token", "cls_token"):
            if getattr(tokenizer, role) is None:
                setattr(tokenizer, role, "[UNK]")
    ours.model_max_length = theirs.model_max_length = rng.choice([512, 10**30])
    return ours, theirs


def behaviour_differences(rng: random.Random, ours: Any, theirs: Any) -> list[str]:
    texts = ["".join(words_of(rng) for _ in range(3)) for _ in range(4)]
    found = differences(rng, ours(texts, **EVERYTHING), theirs(texts, **EVERYTHING))
    ids = ours(texts, verbose=False)["input_ids"]
    if ours.batch_decode(ids, True) != theirs.batch_decode(ids, skip_special_tokens=True):
        found.append("decode")
    return found


@pytest.mark.parametrize("count", [60, pytest.param(2_000, marks=pytest.mark.sweep)])
def test_round_trips(tmp_path: Path, count: int) -> None:
    """Ours saved and loaded by both, theirs saved and loaded by both: two times the same."""
    wrong: list[str] = []
    for number, (rng, ours, theirs) in enumerate(drawn(f"saving {count}", count, tmp_path, random_pair)):
        state = f"{theirs.special_tokens_map_extended} {theirs.added_tokens_decoder}"
        folders = {"ours": tmp_path / f"{number} ours", "theirs": tmp_path / f"{number} theirs"}
        ours.save_pretrained(folders["ours"])
        theirs.save_pretrained(str(folders["theirs"]))
        faithful = True
        for name, folder in sorted(folders.items(), reverse=True):  # theirs first
            mine = outcome(lambda folder=folder: DistilBertTokenizer.from_pretrained(folder))
            other = outcome(lambda folder=folder: transformers.DistilBertTokenizerFast.from_pretrained(str(folder)))
            if isinstance(mine, BaseException) or isinstance(other, BaseException):
                wrong.append(f"{name}: {mine!r} {other!r} {state}")
                continue
            found = state_differences(mine, other) + behaviour_differences(rng, mine, other)
            if name == "theirs":
                faithful = not behaviour_differences(random.Random(number), other, theirs)
            elif faithful:
                found += behaviour_differences(random.Random(number), mine, ours)
                found += [key for key in SETTINGS if getattr(mine, key) != getattr(ours, key)]
            wrong += [f"{name}: {line} {state}" for line in found[:1]]
    assert not wrong, f"{len(wrong)} of {2 * count} differ:\n" + "\n".join(line[:1500] for line in wrong[:6])


def test_the_files_are_those_transformers_writes(tmp_path: Path) -> None:
    """Field by field, for the same tokenizer; but never_split and do_basic_tokenize say nothing to a fast one."""
    rng = random.Random(0)
    ours, theirs = random_pair(rng, write_vocab(tmp_path))
    ours.save_pretrained(tmp_path / "ours", filename_prefix="a")
    theirs.save_pretrained(str(tmp_path / "theirs"), filename_prefix="a")
    names = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "ours").iterdir())
    for name in names:
        mine, other = ((tmp_path / which / name).read_text(encoding="utf-8") for which in ("ours", "theirs"))
        if name.endswith(".json"):
            mine, other = json.loads(mine), json.loads(other)
            for key in ("never_split", "do_basic_tokenize"):
                other.pop(key, None)
        assert mine == other, name


@pytest.mark.parametrize("name", ["uncased", "cased", "german-cased", "multilingual-cased"])
def test_official_vocabularies(tmp_path: Path, name: str) -> None:
    folder = SHARED / f"distilbert-base-{name}"
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    first = DistilBertTokenizer.from_pretrained(folder, do_lower_case=name == "uncased")
    paths = first.save_pretrained(tmp_path)
    assert all(Path(path).is_file() for path in paths)
    ours = DistilBertTokenizer.from_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert type(theirs).__name__ == "DistilBertTokenizerFast"
    rng = random.Random(name)
    assert (tmp_path / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()
    for _ in range(20):
        assert not behaviour_differences(rng, ours, theirs) and not behaviour_differences(rng, ours, first)
