"""What bfloat16 and int8 cost in accuracy: a masked LM in each against itself in float32, on masked Wikipedia.

    python tests/bench/low_precision.py WIKI_VALID.txt.xz [--model nanodistil-mini] [--positions 2000]

15 % of the tokens of each passage's first 128 are replaced by [MASK], seeded, until so many positions are masked.
Printed for each dtype: how often its first word is float32's, how often it is the right one, the loss, and the cosine
between its logits and float32's (the mean, and the least of all positions).
"""

import argparse
import lzma
from typing import Any

import numpy as np

from nanodistil import DistilBertForMaskedLM, DistilBertTokenizer


def masked(tokenizer: Any, text: str, positions: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(ids with [MASK], where, what stood there) of passage after passage, until `positions` are masked.

    tokenizer: ours or transformers'. mini_rounding.py masks the same places.
    """
    random = np.random.default_rng(0)
    batch: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    with lzma.open(text, "rt", encoding="utf-8") as lines:
        for line in lines:
            ids = np.array(tokenizer(line.strip(), truncation=True, max_length=128)["input_ids"])
            if len(ids) < 32:
                continue
            count = min(positions, round(0.15 * (len(ids) - 2)))
            at = 1 + random.choice(len(ids) - 2, count, replace=False)
            truth = ids[at]
            ids[at] = tokenizer.mask_token_id
            batch.append((ids, at, truth))
            positions -= count
            if positions == 0:
                break
    return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text")
    parser.add_argument("--model", default="nanodistil-mini")
    parser.add_argument("--positions", type=int, default=2000)
    args = parser.parse_args()
    batch = masked(DistilBertTokenizer.from_pretrained(args.model), args.text, args.positions)
    truth = np.concatenate([what for _, _, what in batch])

    def logits(dtype: str) -> np.ndarray:
        model = DistilBertForMaskedLM.from_pretrained(args.model, backend="numba", dtype=dtype)
        return np.concatenate([model(ids[None], positions=[(0, int(i)) for i in at]).logits for ids, at, _ in batch])

    reference = logits("float32")
    print(f"{args.model}, {len(truth)} masked positions of {len(batch)} passages")
    print("| dtype | same first word | top-1 | loss | cosine of the logits, mean | least |\n|---|---|---|---|---|---|")
    for dtype in ("float32", "bfloat16", "int8"):
        y = reference if dtype == "float32" else logits(dtype)
        same, top1 = (y.argmax(1) == reference.argmax(1)).mean(), (y.argmax(1) == truth).mean()
        wide = y.astype(np.float64)
        shifted = wide - wide.max(1, keepdims=True)
        loss = (np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(truth)), truth]).mean()
        norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(reference.astype(np.float64), axis=1)
        cosine = (wide * reference).sum(1) / norms
        print(
            f"| {dtype} | {same:.4f} | {top1:.4f} | {loss:.4f} | {cosine.mean():.6f} | {cosine.min():.6f} |", flush=True
        )


if __name__ == "__main__":
    main()
