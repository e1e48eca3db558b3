"""Vectors of texts in a file, so that they are computed once: a text is known again by its hash.

    vectors (N, E) F32, or I8 with scales (N,)     hashes (N, 16)     probe (E,)

The file is safetensors. Texts may come, go, or change their order: those it knows have their vectors, the others are
computed, and the file then holds those of the texts at hand. Whether it is of the same model is measured: the vector of
one fixed text is kept beside the others, and must come out again.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanodistil.sentences.encoder import SentenceEncoder
from nanodistil.sentences.searching import Vectors, compact
from nanodistil.weights.errors import CheckpointError, InputError
from nanodistil.weights.safetensors_reader import SafetensorsFile
from nanodistil.weights.safetensors_writer import write_safetensors
from nanodistil.weights.saving import written

FORMAT = "nanodistil index 1"
HASH = 16  # bytes
PROBE = "A text that every index knows, by which it tells one model from another."
ALIKE = 1e-2  # of its length a probe's vector may be off: bfloat16 is, another model is not


class Known(NamedTuple):
    """What a file knows."""

    places: dict[bytes, int]  # hash of a text -> its row
    vectors: Vectors


def hash_of(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH).digest()


def vectors_of(texts: list[str], encoder: SentenceEncoder, file: Path | None = None, int8: bool = False) -> Vectors:
    """The vectors of texts, in order, as documents: out of the file as far as it knows them, which is then renewed.

    int8: a byte a number. Raises InputError for a text that cannot be read, and for a file that is of another model or
    not such a file.
    """
    width = encoder.get_sentence_embedding_dimension()
    probe = np.asarray(encoder.encode_document(PROBE), np.float32) if file else np.zeros(0, np.float32)
    known = Known({}, empty(width, int8))
    if file is not None and file.exists():
        known = read(file, probe, int8)
    hashes = [hash_of(text) for text in texts]
    new = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known.places}
    if new:
        made = np.asarray(encoder.encode_document(list(new.values())), np.float32)
        fresh = compact(made) if int8 else Vectors(made)
        first = len(known.vectors.numbers)
        places = known.places | {key: first + i for i, key in enumerate(new)}
        known = Known(places, joined(known.vectors, fresh))
    rows = np.array([known.places[key] for key in hashes], np.int64)
    scales = known.vectors.scales
    found = Vectors(known.vectors.numbers[rows], None if scales is None else scales[rows])
    if file is not None and (new or not file.exists()):
        write(file, found, hashes, probe)
    return found


def empty(width: int, int8: bool) -> Vectors:
    if int8:
        return Vectors(np.zeros((0, width), np.int8), np.zeros(0, np.float32))
    return Vectors(np.zeros((0, width), np.float32))


def joined(a: Vectors, b: Vectors) -> Vectors:
    scales = None if a.scales is None or b.scales is None else np.concatenate([a.scales, b.scales])
    return Vectors(np.concatenate([a.numbers, b.numbers]), scales)


def read(file: Path, probe: NDArray[np.float32], int8: bool) -> Known:
    """What a file knows. Raises InputError if it is no index, of another model, or of another precision."""
    try:
        content = SafetensorsFile(file)
        if content.metadata.get("format") != FORMAT:
            raise InputError(f"{file}: is no index of nanodistil search; name another file")
        shapes = {name: (entry.dtype, entry.shape) for name, entry in content.entries.items()}
        kind, shape = shapes.get("vectors", ("", ()))
        N = shape[0] if len(shape) == 2 else -1
        wanted: dict[str, Any] = {"vectors": (kind, (N, len(probe))), "hashes": ("I8", (N, HASH))}
        wanted |= {"probe": ("F32", (len(probe),))} | ({"scales": ("F32", (N,))} if kind == "I8" else {})
        if shapes != wanted or kind not in ("F32", "I8"):
            raise InputError(f"{file}: is the index of another model, or broken; name another file, or remove it")
        there = content.array("probe")
        if not np.linalg.norm(there - probe) <= ALIKE * np.linalg.norm(probe):
            raise InputError(f"{file}: is the index of another model; name another file, or remove it")
        if (kind == "I8") != int8:
            raise InputError(
                f"{file}: holds {'int8' if kind == 'I8' else 'float32'}: say the same, or name another file"
            )
        hashes = content.raw("hashes").tobytes()
        places = {hashes[i * HASH : (i + 1) * HASH]: i for i in range(N)}
        if kind == "I8":
            return Known(places, Vectors(content.raw("vectors"), content.array("scales")))
        return Known(places, Vectors(content.array("vectors")))
    except CheckpointError as error:
        raise InputError(f"{error}; it should be an index of nanodistil search") from None


def write(file: Path, vectors: Vectors, hashes: list[bytes], probe: NDArray[np.float32]) -> None:
    """Write an index. Raises InputError if it cannot be."""
    arrays: dict[str, NDArray[Any]] = {
        "vectors": vectors.numbers,
        "hashes": np.frombuffer(b"".join(hashes), np.int8).reshape(len(hashes), HASH),
        "probe": probe,
    }
    if vectors.scales is not None:
        arrays["scales"] = vectors.scales
    written(file, lambda path: write_safetensors(path, arrays, {"format": FORMAT}))
