"""A tiny random RoBERTa with a byte-level vocabulary, as a folder; without torch."""

import json

from nanodistil.family.roberta import RobertaConfig, RobertaForMaskedLM
from nanodistil.tokenization.byte_level import alphabet

MERGES = ["Ġ t", "h e", "Ġt he", "Ġ a", "Ġ f", "i l", "Ġf il", "Ġfil m", "o o", "Ġ w"]
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *alphabet(), *(pair.replace(" ", "") for pair in MERGES), "<mask>"]
SHAPE = {"hidden_size": 20, "num_attention_heads": 4, "intermediate_size": 24, "type_vocab_size": 1}


def tiny_roberta(folder, seed=1, layers=3, positions=34, untold=False, **config):
    """Returns the folder. untold: as files of 2019 are, which say neither family nor class."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = {**SHAPE, "vocab_size": len(TOKENS), "num_hidden_layers": layers, "max_position_embeddings": positions}
    made = RobertaConfig(**shape, layer_norm_eps=1e-5, initializer_range=0.5, **config)
    RobertaForMaskedLM(made, backend="numpy", seed=seed).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(TOKENS)}), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    if untold:
        said = json.loads((folder / "config.json").read_text())
        said = {name: value for name, value in said.items() if name not in ("model_type", "architectures")}
        (folder / "config.json").write_text(json.dumps(said))
    return folder
