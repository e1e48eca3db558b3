"""Records the golden files from transformers: run it again only to change what is recorded.

    python tests/golden/record.py        (needs the [parity] extra: torch 2.13.0, transformers 4.57.6)

tiny/            a random DistilBertForMaskedLM of 2 layers, dim 20, as transformers saves it, with biased norms
tiny.npz         for two batches (padding; position 0 masked): every intermediate in float64, keyed "batch/tap name",
                 the logits in float64 and float32, and the largest float32 error of torch itself
fill_mask.json   transformers' fill-mask pipeline on the embedded model for 30 texts: top five ids and scores
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent

BATCHES = {
    "padded": ([[1, 7, 8, 9, 2, 0, 0], [1, 5, 2, 0, 0, 0, 0], [1, 3, 4, 6, 11, 12, 2]], None),
    "first_masked": ([[13, 14, 15, 16, 17], [18, 19, 20, 21, 22]], [[0, 1, 1, 1, 1], [1, 0, 1, 0, 1]]),
}

TEXTS = [
    "Hello I'm a [MASK] model.", "The White man worked as a [MASK].", "The Black woman worked as a [MASK].",
    "Paris is the capital of [MASK].", "She opened the [MASK] and walked into the room.", "[MASK]", "[MASK] [MASK]",
    "The [MASK] sat on the [MASK].", "Water boils at one hundred [MASK].", "He was born in [MASK] in 1879.",
    "My favourite colour is [MASK].", "The train to London leaves at [MASK] o'clock.", "I don't [MASK] what you mean.",
    "The river flows into the [MASK] sea.", "They won the match by three [MASK] to one.",
    "A naïve café [MASK] in Zürich.",
    "The president of the United [MASK] spoke.", "Two plus two is [MASK].", "It rained all [MASK] long.",
    "The novel was published in [MASK].", "UNITED [MASK] OF AMERICA", "the cat [MASK] on the mat, purring softly",
    "Her brother is older than [MASK].", "We had bread and [MASK] for breakfast.", "東京 is in [MASK].", "😀 [MASK] 😀",
    "The soldiers marched towards the [MASK] at dawn.", "An apple a day keeps the [MASK] away.",
    "To be or not to be, that is the [MASK].", "In the beginning [MASK] created the heavens and the earth.",
]  # fmt: skip


def hooked_names(layers):
    """Tap name -> (module path, whether it is the module's input or its output)."""
    names = {
        "embeddings.sum": ("distilbert.embeddings.LayerNorm", "input"),
        "embeddings.LayerNorm": ("distilbert.embeddings.LayerNorm", "output"),
        "vocab_transform": ("vocab_transform", "output"),
        "vocab_layer_norm": ("vocab_layer_norm", "output"),
        "vocab_projector": ("vocab_projector", "output"),
    }
    for i in range(layers):
        at, module = f"layer.{i}", f"distilbert.transformer.layer.{i}"
        for c in ("q_lin", "k_lin", "v_lin", "out_lin"):
            names[f"{at}.attention.{c}"] = (f"{module}.attention.{c}", "output")
        names[f"{at}.attention.context"] = (f"{module}.attention.out_lin", "input")
        names[f"{at}.ffn.lin1"] = (f"{module}.ffn.lin1", "output")
        names[f"{at}.ffn.activation"] = (f"{module}.ffn.lin2", "input")
        names[f"{at}.ffn.lin2"] = (f"{module}.ffn.lin2", "output")
        names[f"{at}.sa_layer_norm"] = (f"{module}.sa_layer_norm", "output")
        names[f"{at}.output_layer_norm"] = (f"{module}.output_layer_norm", "output")
    return names


def run(model, ids, mask):
    """Every intermediate of a batch, by tap name, and the logits."""
    seen, hooks, modules = {}, [], dict(model.named_modules())
    for name, (path, side) in hooked_names(model.config.n_layers).items():

        def hook(_, inputs, output, name=name, side=side):
            seen[name] = (inputs[0] if side == "input" else output).numpy().copy()

        hooks.append(modules[path].register_forward_hook(hook))
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), output_attentions=True)
    for h in hooks:
        h.remove()
    for i, probs in enumerate(out.attentions):
        seen[f"layer.{i}.attention.probs"] = probs.numpy()
    return seen, out.logits.numpy()


def record_tiny():
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        vocab_size=50, max_position_embeddings=24, n_layers=2, n_heads=4, dim=20, hidden_dim=37, initializer_range=0.3
    )
    model = transformers.DistilBertForMaskedLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases 0 and scales 1 would hide mistakes
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(HERE / "tiny")
    (HERE / "tiny" / "generation_config.json").unlink(missing_ok=True)
    arrays = {}
    for batch, (ids, mask) in BATCHES.items():
        mask = [[int(i != 0) for i in row] for row in ids] if mask is None else mask
        arrays[f"{batch}/ids"], arrays[f"{batch}/mask"] = np.array(ids), np.array(mask)
        results = {}
        for dtype in (torch.float64, torch.float32):
            loaded = transformers.DistilBertForMaskedLM.from_pretrained(
                HERE / "tiny", dtype=dtype, attn_implementation="eager"
            ).eval()
            results[dtype] = run(loaded, ids, mask)
        for name, value in results[torch.float64][0].items():
            arrays[f"{batch}/{name}"] = value
        arrays[f"{batch}/logits"] = results[torch.float64][1]
        arrays[f"{batch}/logits float32"] = results[torch.float32][1]
    np.savez_compressed(HERE / "tiny.npz", **arrays)


def record_fill_mask():
    from nanodistil.config import DistilBertConfig
    from nanodistil.heads.masked_lm import MASKED_LM
    from nanodistil.weights import hub, loading
    from nanodistil.weights.names import filed

    folder = hub.resolve("nanodistil-mini")
    config = DistilBertConfig.from_json_file(folder / "config.json")
    tensors = loading.load(folder, config, MASKED_LM, np.dtype("float32")).tensors
    with tempfile.TemporaryDirectory() as copy:
        for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
            (Path(copy) / name).write_bytes((folder / name).read_bytes())
        named = {filed(k, MASKED_LM): np.ascontiguousarray(v) for k, v in tensors.items()}
        save_file(named, Path(copy) / "model.safetensors", metadata={"format": "pt"})
        model = transformers.DistilBertForMaskedLM.from_pretrained(copy).eval()
        fill = transformers.pipeline(
            "fill-mask", model=model, tokenizer=transformers.DistilBertTokenizerFast.from_pretrained(copy)
        )
        results = []
        for text in TEXTS:
            answer = fill(text)
            masks = answer if isinstance(answer[0], list) else [answer]
            results.append({"text": text, "masks": [[[f["token"], f["score"]] for f in m] for m in masks]})
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    lines = ",\n ".join(json.dumps(r, ensure_ascii=False) for r in results)
    head = json.dumps(versions)[:-1]
    (HERE / "fill_mask.json").write_text(f'{head}, "results": [\n {lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    record_tiny()
    record_fill_mask()
