"""Broken and hostile .bin files, by the thousand: each loads, or ends in our own error, and nothing else happens.

Nothing else: no import, no program, no file opened but the model's (an audit hook watches, audit.py), no memory beyond
64 MB (every eighth file is measured), no second wasted. The mutations know the format: instructions of the pickle
dropped, doubled, swapped, replaced, or followed by a gadget; offsets, shapes, strides and keys that lie; fields of the
zip's directories that lie; and, as no one knows all formats, bytes flipped, cut, inserted and moved. Keras' and Flax'
files are broken in that last way.
"""

import pickletools
import random
import struct
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from audit import watching
from pickle_gadgets import GADGETS
from test_weights_mutations import WATCHDOG, flip
from weight_files import TINY, as_filed, bf16, tiny_arrays
from weight_formats import (
    STORAGES,
    flax,
    integer,
    keras,
    raw_storages,
    strides,
    tensor,
    text,
    torch_pickle,
    torch_stream,
    torch_zip,
)

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.loading import load
from nanodistil.weights.names import expected

MEMORY = 64 << 20
ODD = [0, 1, 2, 3, 5, 7, 255, 256, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
MIXED = {
    name: bf16(a) if i % 3 == 0 else a.astype(np.float16) if i % 3 == 1 else a
    for i, (name, a) in enumerate(as_filed(tiny_arrays()).items())
}
SINGLE = as_filed(tiny_arrays())
SNIPPETS = [instructions for instructions, _ in GADGETS.values() if len(instructions) < 2000]


def instructions(pickle):
    """The pickle cut into its instructions."""
    starts = [position for _, _, position in pickletools.genops(pickle)]
    return [pickle[a:b] for a, b in zip(starts, [*starts[1:], len(pickle)], strict=True)]


def rearranged(rng, pickle):
    """A pickle with instructions dropped, doubled, swapped, replaced, or a gadget between them."""
    parts = instructions(pickle)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        way = rng.randrange(7)
        if way == 0:
            parts[i] = b""
        elif way == 1:
            parts[i] += parts[i]
        elif way == 2:
            parts[i], parts[j] = parts[j], parts[i]
        elif way == 3:
            parts[i] = parts[j]
        elif way == 4:
            parts[i] += rng.choice(SNIPPETS)
        elif way == 5:
            parts[i] = integer(rng.choice(ODD) * rng.choice([1, -1]))
        else:
            parts[i] = bytes([rng.randrange(256)]) + parts[i][1:]
    return b"".join(parts)


def lying(rng, arrays, old):
    """The state dict with one tensor that says something odd."""
    names, items = list(arrays), []
    liar = rng.choice(names)
    for i, (name, a) in enumerate(arrays.items()):
        row = [STORAGES[a.dtype.name], str(i), a.size, 0, list(a.shape), list(strides(a.shape))]
        if name == liar:
            way = rng.randrange(6)
            if way == 0:
                row[0] = rng.choice([*STORAGES.values(), "Byte", "Bool", "Int", "ComplexFloat", "Untyped", ""])
            elif way == 1:
                row[1] = rng.choice([str(rng.randrange(len(names) + 2)), "", "../data.pkl", "\0", "0" * 5000, "x"])
            elif way in (2, 3):
                row[way] = rng.choice([*ODD, a.size - 1, a.size + 1, 2 * a.size, -1, -(2**63), 2**2000])
            elif row[way].__len__():
                row[way][rng.randrange(a.ndim)] = rng.choice([*ODD, -1, -(2**31), 2**500, 4, 6, 11])
                if rng.random() < 0.2:
                    row[way] = row[way] * rng.choice([0, 2, 5])
        items.append(text(name) + tensor(*row, old=old))
    return b"\x80\x02}(" + b"".join(items) + b"u."


def relabelled(rng, raw):
    """A zip with fields of its directories changed: any 16, 32 or 64 bits of any header."""
    raw = bytearray(raw)
    signs = [b"PK\1\2", b"PK\3\4", b"PK\5\6"]
    places = [i for i in range(len(raw) - 3) if raw[i : i + 4] in signs]
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.choice(places) + rng.randrange(4, 46, 2)
        form = rng.choice(["<H", "<I", "<Q"])
        size = struct.calcsize(form)
        if at + size > len(raw):
            continue
        value = struct.unpack_from(form, raw, at)[0]
        value = rng.choice([*ODD, value + 1, value - 1, value * 2, value + 64, len(raw), rng.getrandbits(16)])
        struct.pack_into(form, raw, at, value % 256**size)
    return bytes(raw)


def shuffled(rng, raw):
    """Bytes flipped, cut off, inserted, or pieces moved."""
    way = rng.randrange(5)
    if way == 0:
        return flip(rng, raw, len(raw))
    if way == 1:
        return flip(rng, raw, 1200)  # where the descriptions are
    if way == 2:
        return raw[: rng.randrange(len(raw))]
    a, b = sorted(rng.randrange(len(raw)) for _ in range(2))
    if way == 3:
        return raw[:a] + rng.randbytes(rng.choice([1, 4, 64])) + raw[a:]
    return raw[b:] + raw[a:b] + raw[:a] if rng.random() < 0.5 else raw[:a] + raw[b:]


def mutated(rng):
    """One .bin file."""
    arrays, old = rng.choice([SINGLE, MIXED]), rng.random() < 0.4
    pickle = torch_pickle(arrays, old)
    way = rng.randrange(4)
    if way == 0:
        pickle = rearranged(rng, pickle)
    elif way == 1:
        pickle = lying(rng, arrays, old)
    raw = torch_stream(arrays, pickle) if old else torch_zip(pickle, raw_storages(arrays))
    if way == 2:
        return relabelled(rng, raw) if not old else flip(rng, raw, 400)
    return shuffled(rng, raw) if way == 3 else raw


def check(folder, file, raw, seed):
    """Load one model: whether it loaded."""
    (folder / file).write_bytes(raw)
    dtype = (np.float32, np.float64)[seed % 2]
    measured = seed % 8 == 0  # which takes several times as long as the load
    if measured:
        tracemalloc.start()
    start = time.process_time()
    with watching(folder) as seen:
        try:
            tensors = load(folder, TINY, TABLE["masked_lm"], dtype).tensors
        except CheckpointError as error:
            assert "\n" not in str(error) and len(str(error)) < 20_000, seed
            tensors = None
    assert time.process_time() - start < WATCHDOG, seed
    if measured:
        assert tracemalloc.get_traced_memory()[1] < MEMORY, seed
        tracemalloc.stop()
    assert not seen, (seed, list(seen))
    if tensors is None:
        return False
    for name, shape in expected(TINY, TABLE["masked_lm"]).items():
        assert tensors[name].shape == shape and tensors[name].dtype == dtype and np.isfinite(tensors[name]).all(), seed
    return True


def sweep(folder, file, good, make, seeds):
    """How many of the files loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (folder / file).write_bytes(good)
        assert load(folder, TINY, TABLE["masked_lm"])  # what a load imports, once, is imported now
        return sum(check(folder, file, make(random.Random(seed)), seed) for seed in seeds)


@pytest.mark.parametrize("seeds", [range(150), pytest.param(range(1000, 21_000), marks=pytest.mark.sweep)])
def test_broken_torch(tmp_path, seeds):
    loaded = sweep(tmp_path, "pytorch_model.bin", torch_stream(SINGLE), mutated, seeds)
    assert 0.05 < loaded / len(seeds) < 0.5  # both ends are reached


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.sweep)])
def test_broken_flax(tmp_path, count):
    pytest.importorskip("msgpack")
    good = flax(SINGLE)
    assert sweep(tmp_path, "flax_model.msgpack", good, lambda rng: shuffled(rng, good), range(count)) < count


@pytest.mark.parametrize("count", [40, pytest.param(5000, marks=pytest.mark.sweep)])
def test_broken_keras(tmp_path, count):
    pytest.importorskip("h5py")
    keras(tmp_path / "good", SINGLE)
    good = (tmp_path / "good").read_bytes()
    assert sweep(tmp_path, "tf_model.h5", good, lambda rng: shuffled(rng, good), range(count)) < count
