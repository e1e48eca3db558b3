"""Broken config and vocabulary files, by the thousand, in a whole model folder: each answers, or ends in our own error.

The folder is the tiny golden model with a vocabulary of its size. One file of it (config.json, vocab.txt,
tokenizer_config.json) is broken, then everything a user would do is done: load, tokenize, fill a mask. Weight files
have their own sweep in test_weights_mutations.py.
"""

import json
import random
import shutil
import time
from pathlib import Path

import pytest
from test_weights_mutations import WATCHDOG, flip, lie

from nanodistil import CheckpointError, InputError, pipeline

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "tiny"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "a", "##b", ".", ","]
TOKENIZER_CONFIG = {"do_lower_case": True, "model_max_length": 24, "mask_token": "[MASK]"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    for file in GOLDEN.iterdir():
        shutil.copy(file, folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS + [f"w{i}" for i in range(50 - len(WORDS))]) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    return folder


def mutate(rng, data, is_json):
    way = rng.randrange(6)
    if way < 2:
        return flip(rng, data, len(data))
    if way == 2:
        return data[: rng.randrange(len(data))]
    if way == 3:
        at = rng.randrange(len(data))
        return data[:at] + rng.randbytes(rng.choice([1, 4, 64])) + data[at:]
    if is_json:
        return json.dumps(lie(rng, json.loads(data))).encode()
    lines = data.split(b"\n")
    if way == 4:  # lines shuffled, doubled or dropped
        return b"\n".join(rng.choices(lines, k=rng.randrange(2 * len(lines))))
    lines[rng.randrange(len(lines))] = rng.choice([b"", b"[MASK]", b"[UNK]", b"\xff", b"\r", b"x" * 9999, b"the "])
    return b"\n".join(lines)


def check(folder, seed):
    """Break one file, use the folder, put the file back: whether it answered."""
    rng = random.Random(seed)
    path = folder / ("config.json", "vocab.txt", "tokenizer_config.json")[seed % 3]
    whole = path.read_bytes()
    path.write_bytes(mutate(rng, whole, path.suffix == ".json"))
    start = time.process_time()
    try:
        fill = pipeline("fill-mask", model=folder, backend="numpy")
        fill("the cats [MASK] a.", top_k=2)
        return True
    except (CheckpointError, InputError) as error:  # InputError: the vocabulary has lost what the text needs
        assert "\n" not in str(error), seed
        return False
    finally:
        assert time.process_time() - start < WATCHDOG, seed
        path.write_bytes(whole)


@pytest.mark.parametrize("count", [150, pytest.param(2_500, marks=pytest.mark.sweep)])
@pytest.mark.filterwarnings("ignore")
def test_mutated_folders(folder, count):
    answered = sum(check(folder, seed) for seed in range(count))
    assert 0.05 * count < answered < 0.95 * count  # the mutations neither all hurt nor all miss
