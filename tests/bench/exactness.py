"""Writes the table of docs/exactness.md: measured here and now against PyTorch, not claimed.

python tests/bench/exactness.py        (needs the [parity] extra; a minute or two)
"""

import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import proofs
import torch
import transformers

from nanodistil import DistilBertForMaskedLM

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))  # the measure is the one that the parity tests judge by
from full_size import SHAPES, batch, errors, our_run, save_random_model  # noqa: E402

COLUMNS = ["torch float32", "numpy float32", "numba float32", "numpy float64"]


def spread(folder, backend):
    """Largest difference of a sentence's logits alone and in a batch, over long and short sentences."""
    model, worst = DistilBertForMaskedLM.from_pretrained(folder, backend=backend), 0.0
    for shape in ((8, 100), (12, 9), (20, 3)):
        ids, mask = batch(shape, model.config.vocab_size)
        together = our_run(model, ids, mask)[1]
        for b in range(shape[0]):
            alone = our_run(model, ids[b : b + 1], mask[b : b + 1])[1][0]
            worst = max(worst, float(np.abs(alone - together[b]).max()))
    return worst


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = save_random_model(Path(name))
        table = errors(folder)
        spreads = {backend: spread(folder, backend) for backend in ("numpy", "numba")}
    lines = [
        "Largest error of the logits against PyTorch in float64, full-size random model, padding and masked positions",
        f"included (transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, "
        f"numpy {np.__version__}, {platform.machine()}):",
        "",
        "| sentences x tokens | " + " | ".join(COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for shape in SHAPES:
        row = table[shape]
        cells = []
        for column in COLUMNS:
            error = row[column][1]
            ratio = (
                "" if column in ("torch float32", "numpy float64") else f" ({error / row['torch float32'][1]:.2f} x)"
            )
            cells.append(f"{error:.1e}{ratio}")
        lines.append(f"| {shape[0]} x {shape[1]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "The logits of a sentence alone and in a batch: numba "
        f"{'bitwise equal' if spreads['numba'] == 0 else spreads['numba']}; "
        f"numpy, whose BLAS promises nothing, up to {spreads['numpy']:.1e} apart.",
    ]
    proofs.put(ROOT / "docs" / "exactness.md", "exactness", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
