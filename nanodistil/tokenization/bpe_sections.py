"""Byte-level BPE in a tokenizer.json: the sections that say how texts are cut and put together again.

  normalizer      null                  pre_tokenizer   ByteLevel, with the pattern of byte_level.py
  model           BPE, without dropout  decoder         ByteLevel
  post_processor  here only whether offsets leave spaces out (trimming.py); the template is tokenizer_json.py's

Anything else in their place is refused by name.
"""

from __future__ import annotations

from typing import Any

from nanodistil.tokenization.bpe import ByteBPE, Pair
from nanodistil.tokenization.bpe_files import from_pairs
from nanodistil.tokenization.byte_level import alphabet, join
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.files import check_ids, check_vocabulary
from nanodistil.tokenization.json_part import Part
from nanodistil.tokenization.tokenizer_json import write_template
from nanodistil.weights.errors import CheckpointError, excerpt

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
NOTHING: dict[str, tuple[Any, ...]] = {  # what a model may say, and mean nothing by
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "fuse_unk": (None, False),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}


def read_sections(file: Part) -> tuple[ByteBPE, Any]:
    """How the file cuts and joins. Raises CheckpointError naming the field that does not fit."""
    model = file.part("model")
    model.expect("BPE", otherwise="BPE" if "merges" in model.value else None)
    for key, values in NOTHING.items():
        if model.value.get(key) not in values:
            raise CheckpointError(f"{model.where}.{key}: is {excerpt(model.value[key])}, which is not supported here")
    vocabulary, where = model.get("vocab", dict), f"{model.where}.vocab"
    check_vocabulary(vocabulary, where)
    check_ids(vocabulary, where)
    unknown = None
    if model.value.get("unk_token") is not None and not all(c in vocabulary for c in alphabet()):
        unknown = model.get("unk_token", str)
        if unknown not in vocabulary:
            raise CheckpointError(f"{where}: lacks the unknown token {excerpt(unknown)}; get the file again")

    if file.value.get("normalizer") is not None:
        file.part("normalizer").expect("null")
    cutter = file.part("pre_tokenizer")
    cutter.expect("ByteLevel")
    if not cutter.get("use_regex", bool, True):
        raise CheckpointError(f"{cutter.where}.use_regex: is false; only {file.whose}'s words are cut here")
    file.part("decoder").expect("ByteLevel")
    pairs = [_pair(merge, f"{model.where}.merges[{i}]") for i, merge in enumerate(model.get("merges", list))]
    trims = None
    end = file.value.get("post_processor")
    if isinstance(end, dict) and end.get("type") in ("ByteLevel", "RobertaProcessing"):
        last = file.part("post_processor")
        trims = last.get("add_prefix_space", bool, True) if last.get("trim_offsets", bool, True) else None
    pieces = from_pairs(vocabulary, pairs, unknown, where)
    return pieces.with_settings(cutter.get("add_prefix_space", bool), trims), join


def _pair(merge: Any, where: str) -> Pair:
    halves = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(halves, list) or len(halves) != 2 or not all(isinstance(half, str) for half in halves):
        raise CheckpointError(f"{where}: is {excerpt(merge)}, not two halves of a token; get the file again")
    return halves[0], halves[1]


def write_sections(state: Any) -> dict[str, Any]:
    """The same of a tokenizer, and its template."""
    pieces: ByteBPE = state.encoder.pieces
    description: Description = state.encoder.description
    return {
        "normalizer": None,
        "pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": pieces.adds_space},
        "decoder": dict(BYTE_LEVEL),
        "post_processor": _ending(state, pieces, description),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": pieces.or_nothing,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(sorted(pieces.vocabulary.items(), key=lambda entry: entry[1])),
            "merges": list(map(list, pieces.pairs)),
        },
    }


def _ending(state: Any, pieces: ByteBPE, description: Description) -> dict[str, Any]:
    processing = state.kind.processing
    put_in = description.template.put_in()
    trimming = {"trim_offsets": pieces.trims is not None, "add_prefix_space": bool(pieces.trims)}
    if processing == "RobertaProcessing":
        sep, cls = put_in[-1], put_in[0]
        return {"type": processing, "sep": list(sep), "cls": list(cls), **trimming}
    if put_in:
        return write_template(description.template)
    return {**BYTE_LEVEL, "trim_offsets": pieces.trims is not None, "add_prefix_space": pieces.trims is not False}
