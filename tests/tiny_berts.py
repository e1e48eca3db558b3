"""Tiny random BERTs, as arrays and as folders, without torch."""

import json

import numpy as np
from weight_files import file_bytes

from nanodistil.family.bert import NAMES, BertConfig
from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.names import expected, is_norm

SHAPE = {"vocab_size": 30, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 14}
TINY = BertConfig(**SHAPE, max_position_embeddings=7, type_vocab_size=3)


def tensors(head, dtype=np.float64, config=TINY):
    """Random ones under canonical names, norms near 1."""
    rng, drawn = np.random.default_rng(7), {}
    for name, shape in expected(config, TABLE[head]).items():
        drawn[name] = ((is_norm(name) and name.endswith("weight")) + 0.4 * rng.standard_normal(shape)).astype(dtype)
    return drawn


def under_their_names(head, dtype=np.float64):
    return {NAMES.filed(name, TABLE[head]): array for name, array in tensors(head, dtype).items()}


def saved(folder, arrays, **config):
    """A BERT's folder. arrays: under the names of files."""
    (folder / "config.json").write_text(json.dumps({**TINY.to_dict(), **config}))
    (folder / "model.safetensors").write_bytes(file_bytes(arrays))
    return folder
