"""A full-size random model in transformers and here: whose float32 is closer to float64?

Used by test_model_parity.py, which judges, and by exactness.py, which writes the table of docs/exactness.md.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

from nanodistil import DistilBertForMaskedLM

SHAPES = [(1, 1), (1, 5), (2, 64), (4, 17), (8, 100), (1, 512)]  # sentences x tokens
SEEDS = 12  # batches of a shape with fewer tokens than that: of a single row the largest error is a matter of luck
CANDIDATES = [("numpy", "float64"), ("numpy", "float32"), ("numba", "float32")]


def save_random_model(folder: Path, **config) -> Path:
    """A DistilBertForMaskedLM as transformers initialises it, but with biases and norms that are not 0 and 1."""
    torch.manual_seed(0)
    return save_shaken(transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**config)), folder)


def save_shaken(model, folder: Path) -> Path:
    """Save a new model of torch's, with biases that are not 0 and norms that are not 1."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def batch(shape, vocabulary, seed=0):
    """Ids and mask (B, T): sentences of random lengths, every other one with position 0 masked."""
    B, T = shape
    rng = np.random.default_rng((seed, B, T))
    ids, mask = rng.integers(0, vocabulary, shape), np.ones(shape, np.int64)
    for b in range(1, B):
        mask[b, rng.integers(2, T + 1) :] = 0
        mask[b, 0] = b % 2 == 0
    return ids, mask


def torch_run(model, ids, mask):
    """All hidden states (L + 1, B, T, D) and logits (B, T, V)."""
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), output_hidden_states=True)
    return np.stack([h.numpy() for h in out.hidden_states]), out.logits.numpy()


def our_run(model, ids, mask):
    out = model(ids, mask, output_hidden_states=True)
    return np.stack(out.hidden_states), out.logits


def errors(folder: Path, shapes=SHAPES):
    """{(B, T): {"torch float32": (hidden, logits), ...}}: largest errors against torch float64 at real tokens.

    Of one token alone PyTorch's can be the smaller: on one processor 0.95e-6 where ours was 1.06e-6, and over twelve
    tokens 1.31e-6 where ours was 1.20e-6.
    """
    load = transformers.DistilBertForMaskedLM.from_pretrained
    exact, rounded = (load(folder, dtype=d).eval() for d in (torch.float64, torch.float32))
    ours = {
        f"{backend} {dtype}": DistilBertForMaskedLM.from_pretrained(folder, backend=backend, dtype=dtype)
        for backend, dtype in CANDIDATES
    }
    table = {}
    for shape in shapes:
        row = dict.fromkeys(["torch float32", *ours], (0.0, 0.0))
        for seed in range(SEEDS if shape[0] * shape[1] < SEEDS else 1):
            ids, mask = batch(shape, exact.config.vocab_size, seed)
            real = mask != 0
            hidden, logits = torch_run(exact, ids, mask)
            found = {"torch float32": torch_run(rounded, ids, mask)}
            found |= {name: our_run(model, ids, mask) for name, model in ours.items()}
            for name, (h, scores) in found.items():
                worst = np.abs(h - hidden)[:, real].max(), np.abs(scores - logits)[real].max()
                row[name] = tuple(map(max, row[name], map(float, worst)))
        table[shape] = row
    return table
