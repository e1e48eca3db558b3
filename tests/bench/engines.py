"""Who takes part in peers.py: transformers, ours, and the peers that `nanodistil bench --compare` knows.

All use THREADS threads. A kind is a model with its head, a key of HEADS; all kinds share the encoder's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import nanodistil
from nanodistil.peers import Call, Files, Shape, Variant, variants

THREADS = 2
HEADS = {
    "encoder": "DistilBertModel",
    "masked_lm": "DistilBertForMaskedLM",
    "classifier": "DistilBertForSequenceClassification",
}


def saved(folder: Path, kind: str) -> Path:
    """The folder of a random model of the official size, saved by transformers."""
    place = folder / kind
    if not place.exists():
        torch.manual_seed(0)
        getattr(transformers, HEADS[kind])(transformers.DistilBertConfig()).save_pretrained(place)
    return place


def pytorch(folder: Path, with_mask: bool) -> Callable[[Shape], Call]:
    """transformers in eager mode. Without padding it may be spared the mask."""

    def load(shape: Shape) -> Call:
        torch.set_num_threads(THREADS)
        made = getattr(transformers, HEADS[folder.name])
        model = made.from_pretrained(folder, attn_implementation="sdpa").eval()

        def call(ids: np.ndarray, mask: np.ndarray) -> Any:
            with torch.inference_mode():
                extra = {"attention_mask": torch.from_numpy(mask)} if with_mask else {}
                return model(input_ids=torch.from_numpy(ids), return_dict=False, **extra)[0].numpy()

        return call

    return load


def ours(folder: Path, dtype: str) -> Callable[[Shape], Call]:
    """Without padding, and computing what the question needs: the whole encoder, the masked word, the first row."""

    def load(shape: Shape) -> Call:
        made = getattr(nanodistil, HEADS[folder.name])
        model = made.from_pretrained(folder, backend="numba", dtype=dtype, threads=THREADS)
        if folder.name == "masked_lm":
            return lambda ids, mask: model(ids, mask, positions=[(0, ids.shape[1] // 2)]).logits
        return model

    return load


@cache
def participants(folder: Path, kind: str) -> list[Variant]:
    """Every way of every engine, ours first."""
    place = saved(folder, kind)

    def plain() -> Any:
        return getattr(nanodistil, HEADS[kind]).from_pretrained(place, backend="numpy")

    return [
        Variant("nanodistil", "float32", "", ours(place, "float32")),
        Variant("transformers", "float32", "mask", pytorch(place, True)),
        Variant("transformers", "float32", "no mask", pytorch(place, False), "fixed"),
        *variants(Files(folder, kind, plain), THREADS),
        *(Variant("nanodistil", dtype, "", ours(place, dtype)) for dtype in ("bfloat16", "int8")),
    ]
