"""A tiny random GPT-2 with a byte-level vocabulary, as a folder; without torch."""

import json

from tiny_robertas import MERGES

from nanodistil.family.gpt2 import GPT2Config, GPT2LMHeadModel
from nanodistil.tokenization.byte_level import alphabet

END = "<|endoftext|>"
TOKENS = [*alphabet(), *(pair.replace(" ", "") for pair in MERGES), END]


def tiny_gpt2(folder, made=GPT2LMHeadModel, seed=1, layers=3, positions=32, **config):
    """Returns the folder, as a name."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = {"vocab_size": len(TOKENS), "n_positions": positions, "n_embd": 20, "n_layer": layers, "n_head": 4}
    last = len(TOKENS) - 1
    config = {"initializer_range": 0.5, "bos_token_id": last, "eos_token_id": last, **config}
    made(GPT2Config(**shape, **config), backend="numpy", seed=seed).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(TOKENS)}), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}', encoding="utf-8")
    return str(folder)
