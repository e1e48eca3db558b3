"""Broken weight files, by the thousand: each one loads, or ends in CheckpointError within a second. Nothing else.

Three kinds of base (float32, int8 with scales, two shards with an index) are broken in seven ways: bytes flipped
anywhere, flipped in the header, cut short, lengthened, a lying header length, a header (or index) that is good JSON and
says something else, and pieces of the file swapped about. A crash of the reader would end the test run itself.
"""

import copy
import json
import random
import time
import warnings

import numpy as np
import pytest
from weight_files import TINY, as_filed, file_bytes, header_of, tiny_arrays

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.loading import load
from nanodistil.weights.names import expected
from nanodistil.weights.quantization import FORMAT

WATCHDOG = 5  # CPU seconds: five times what is promised, so that a hang fails the test and a slow machine does not
INDEX = "model.safetensors.index.json"
SHARDS = ("a.safetensors", "b.safetensors")
ODD = [0, 1, -1, 2**31, 2**63, 2**64, 10**30, 1.5, 1e308, "", "F32", "BF16", "F8_E4M3", "F4", "BOOL", None, True]
ODD += [[], {}, [0], [-1, 4], [2**62, 4], [4, 2**62], [0, 2**64], [[4]], "a.safetensors", "../x.safetensors", "\0"]


def bases():
    """Three models as (file name -> bytes)."""
    arrays = as_filed(tiny_arrays())
    small = dict(arrays)
    for name in list(small):
        if small[name].ndim == 2:
            small[name + ".scale"] = np.full((len(small[name]), 2), 0.01, np.float16)
            small[name] = np.ones(small[name].shape, np.int8)
    names = list(arrays)
    halves = {SHARDS[i]: {name: arrays[name] for name in names[i::2]} for i in range(2)}
    index = {"weight_map": {name: file for file, half in halves.items() for name in half}}
    return [
        {"model.safetensors": file_bytes(arrays, {"format": "pt"})},
        {"model.safetensors": file_bytes(small, FORMAT)},
        {file: file_bytes(half) for file, half in halves.items()} | {INDEX: json.dumps(index).encode()},
    ]


def flip(rng, data, within):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(min(within, len(data)))] = rng.randrange(256)
    return bytes(data)


def lie(rng, value):
    """Good JSON that says something else: one node somewhere inside is replaced, dropped, or given a new name."""
    value = copy.deepcopy(value)
    node = value
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return value
        key = rng.choice(keys)
        if isinstance(node[key], dict | list) and rng.random() < 0.8:
            node = node[key]
            continue
        what = rng.randrange(4)
        if what == 0 and isinstance(node, dict):
            node[rng.choice(["", "x", "__metadata__", "weight", "distilbert.", rng.choice(keys) + ".scale"])] = (
                node.pop(key)
            )
        elif what == 1:
            del node[key]
        elif isinstance(node[key], int) and rng.random() < 0.5:
            node[key] += rng.choice([-8, -4, -1, 1, 2, 4, 8, 1000])
        else:
            node[key] = rng.choice(ODD)
        return value


def mutate(rng, name, data):
    way = rng.randrange(7)
    if name == INDEX:
        return json.dumps(lie(rng, json.loads(data))).encode() if way > 3 else flip(rng, data, len(data))
    length = int.from_bytes(data[:8], "little")
    if way == 0:
        return flip(rng, data, len(data))
    if way == 1:
        return flip(rng, data, 8 + length)
    if way == 2:
        return data[: rng.randrange(len(data))]
    if way == 3:
        at = rng.choice([0, 8, 8 + length, len(data), rng.randrange(len(data))])
        return data[:at] + rng.randbytes(rng.choice([1, 4, 64])) + data[at:]
    if way == 4:
        lies = [0, 1, length - 1, length + 1, len(data), len(data) - 8, 2**27, 2**31, 2**32, 2**63, 2**64 - 1]
        return rng.choice(lies).to_bytes(8, "little") + data[8:]
    if way == 5:
        text = json.dumps(lie(rng, json.loads(data[8 : 8 + length]))).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + data[8 + length :]
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[b:] + data[a:b] + data[:a] if rng.random() < 0.5 else data[:a] + data[b:]


def check(folder, seed):
    """Write one broken model and load it: whether it loaded."""
    rng = random.Random(seed)
    files = dict(BASES[seed % len(BASES)])
    name = rng.choice(list(files))
    files[name] = mutate(rng, name, files[name])
    for old in folder.iterdir():
        old.unlink()
    for file, data in files.items():
        (folder / file).write_bytes(data)
    start = time.process_time()
    try:
        loaded = load(folder, TINY, TABLE["masked_lm"], rng.choice([np.float32, np.float64])).tensors
    except CheckpointError as error:
        assert "\n" not in str(error), seed
        return False
    finally:
        assert time.process_time() - start < WATCHDOG, seed
    for wanted, shape in expected(TINY, TABLE["masked_lm"]).items():
        assert loaded[wanted].shape == shape and np.isfinite(loaded[wanted]).all(), seed
    return True


BASES = bases()


def sweep(folder, seeds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [check(folder, seed) for seed in seeds]


def test_some_broken_files(tmp_path):
    loaded = sweep(tmp_path, range(300))
    assert 3 < sum(loaded) < 200  # both ends are reached


@pytest.mark.sweep
def test_many_broken_files(tmp_path):
    sweep(tmp_path, range(1000, 3500))


@pytest.mark.parametrize("align", [8, 1, 3])
def test_unbroken_files_load(tmp_path, align):
    arrays = as_filed(tiny_arrays())
    (tmp_path / "model.safetensors").write_bytes(file_bytes(arrays, align=align))
    assert load(tmp_path, TINY, TABLE["masked_lm"])


def timed(folder):
    start = time.process_time()
    try:
        load(folder, TINY, TABLE["masked_lm"])
    except CheckpointError as error:
        return time.process_time() - start, str(error)
    return time.process_time() - start, ""


def test_long_headers(tmp_path):
    header, data = header_of(as_filed(tiny_arrays()))
    for length, says in ((4_000_000, ""), (99_000_000, "its header is longer")):
        text = json.dumps(header).encode()
        text += b" " * (length - len(text))
        (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
        seconds, message = timed(tmp_path)
        assert seconds < 0.5 and says in message


def test_headers_full_of_names(tmp_path):
    empty = np.zeros(0, np.float32)
    lacking, too_long = "missing: embeddings.word_embeddings.weight (11, 4)", "header is longer than"
    for names, told in (
        ([f"{i}" for i in range(12_000)], lacking),
        ([f"{i}.gamma" for i in range(12_000)], lacking),
        (["x" * 900_000], lacking),
        ([f"{i}" for i in range(40_000)], too_long),
        (["x" * 3_000_000], too_long),
    ):
        (tmp_path / "model.safetensors").write_bytes(file_bytes(dict.fromkeys(names, empty)))
        seconds, message = timed(tmp_path)
        assert seconds < WATCHDOG and told in message
