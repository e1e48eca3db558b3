"""What int8 costs the embedded model: ways of rounding against the float16 original, on masked Wikipedia.

    python tests/bench/mini_rounding.py ORIGINAL_FOLDER WIKI_VALID.txt.xz

Needs torch and transformers (extra `parity`), which judge here, so that no kernel of this project is in the figures.
15 % of the tokens of each passage's first 128 are replaced by [MASK], seeded, until 2,000 positions are masked (or as
many as `--positions` says). Printed for each way of rounding: bytes, loss, top-1 and top-5 accuracy, top-1 agreement
with the original, and the mean Kullback-Leibler divergence from it, the least noisy of these.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import low_precision
import numpy as np
import torch
from transformers import BertTokenizerFast, DistilBertForMaskedLM
from transformers import DistilBertConfig as Config

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.loading import load
from nanodistil.weights.quantization import dequantize_rows, quantize_rows

EMBEDDED = Path(__file__).parents[2] / "nanodistil/weights/nanodistil-mini"
Rounding = Callable[[str, np.ndarray], tuple[np.ndarray, int]]  # name, matrix -> the matrix rounded, its bytes


def masked(folder: Path, text: Path, positions: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(ids with [MASK], where, what stood there) of passage after passage, until `positions` are masked."""
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    batch = low_precision.masked(tokenizer, str(text), positions)
    return [(torch.tensor(ids)[None], torch.tensor(at), torch.tensor(truth)) for ids, at, truth in batch]


def log_probs(model: DistilBertForMaskedLM, batch: list) -> torch.Tensor:
    """(positions, V) log probabilities at the masked positions."""
    with torch.inference_mode():
        return torch.cat([model(ids).logits[0, at].log_softmax(-1) for ids, at, _ in batch])


def search(w: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """As quantize_rows, but with the scale of least squared error among those that clip up to a fifth."""
    integers, scales = quantize_rows(w, group)
    parts, best, best_scales = w.reshape(len(w), -1, group), integers.reshape(len(w), -1, group), scales[..., None]
    for fraction in np.linspace(0.8, 0.99, 20):
        tried = (scales[..., None] * fraction).astype(np.float16)
        divisor = np.where(tried == 0, 1, tried).astype(np.float32)
        rounded = np.clip(np.rint(parts / divisor), -127, 127).astype(np.int8)
        errors = [
            np.square(q * s.astype(np.float32) - parts).sum(-1) for q, s in ((rounded, tried), (best, best_scales))
        ]
        better = (errors[0] < errors[1])[..., None]
        best, best_scales = np.where(better, rounded, best), np.where(better, tried, best_scales)
    return best.reshape(w.shape), best_scales[..., 0]


def int8(group: int | None, words: int | None = None, float16: tuple[str, ...] = (), how=quantize_rows) -> Rounding:
    """Groups of `group` numbers (None: whole rows), of `words` in the embedding; which matrices stay float16."""

    def rounded(name: str, w: np.ndarray) -> tuple[np.ndarray, int]:
        if any(part in name for part in float16):
            return w.astype(np.float16).astype(np.float32), 2 * w.size
        integers, scales = how(w, (words if "word" in name else None) or group or w.shape[1])
        return dequantize_rows(integers, scales), w.size + 2 * scales.size

    return rounded


WAYS: dict[str, Rounding] = {
    "rows": int8(None),
    "rows, scales searched": int8(None, how=search),
    "rows, vocab_transform float16": int8(None, float16=("vocab_transform",)),
    "groups of 128": int8(128),
    "groups of 64": int8(64),
    "groups of 32": int8(32),
    "groups of 32, scales searched": int8(32, how=search),
    "groups of 32, layer 5 float16": int8(32, float16=("layer.5.",)),
    "groups of 32, lin2 float16": int8(32, float16=("lin2",)),
    "groups of 32, words float16": int8(32, float16=("word",)),
    "groups of 32, all but words float16": int8(32, float16=("layer", "vocab_transform")),
    "groups of 16, of words 96, vocab_transform float16": int8(16, 96, float16=("vocab_transform",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--positions", type=int, default=2000)
    args = parser.parse_args()
    config = json.loads((args.original / "config.json").read_text())
    model = DistilBertForMaskedLM(Config(**config)).eval()
    names = {name.removeprefix("distilbert."): p for name, p in model.named_parameters()}  # tied: listed once
    batch = masked(args.original, args.text, args.positions)
    truth = torch.cat([what for _, _, what in batch])
    original = load(args.original, model.config, TABLE["masked_lm"]).tensors

    def put(tensors: dict[str, np.ndarray]) -> torch.Tensor:
        with torch.no_grad():
            for name, array in tensors.items():
                names[name].copy_(torch.from_numpy(np.array(array)))
        return log_probs(model, batch)

    reference = put(original)
    best = reference.argmax(-1)
    print(f"{len(truth)} masked positions of {len(batch)} passages")
    print("| stored as | MB | loss | top-1 | top-5 | same top-1 | divergence |\n|---|---|---|---|---|---|---|")

    def row(name: str, logp: torch.Tensor, size: float) -> None:
        index = torch.arange(len(truth))
        loss = -logp[index, truth].mean()
        top1 = (logp.argmax(-1) == truth).float().mean()
        top5 = (logp.topk(5).indices == truth[:, None]).any(-1).float().mean()
        same = (logp.argmax(-1) == best).float().mean()
        kl = (reference.exp() * (reference - logp)).sum(-1).mean()
        print(
            f"| {name} | {size / 1e6:.2f} | {loss:.4f} | {top1:.4f} | {top5:.4f} | {same:.4f} | {kl:.2e} |", flush=True
        )

    row("the original (float16)", reference, sum(2 * a.size for a in original.values()))
    for way, rounding in WAYS.items():
        tensors, size = {}, 0
        for name, array in original.items():
            if array.ndim == 2 and "position" not in name:
                tensors[name], more = rounding(name, array)
            else:
                tensors[name], more = array, 2 * array.size
            size += more
        row(way, put(tensors), size)
    if (EMBEDDED / "model.safetensors").exists():
        size = (EMBEDDED / "model.safetensors").stat().st_size
        row("the embedded file", put(load(EMBEDDED, model.config, TABLE["masked_lm"]).tensors), size)


if __name__ == "__main__":
    main()
