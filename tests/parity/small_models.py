"""Small random checkpoints with the official uncased tokenizer, and transformers' pipelines on them.

Used by the parity tests of the pipelines.
"""

import shutil
import warnings

import numpy as np
import torch
import transformers

from nanodistil import pipeline

torch.set_num_threads(1)  # models this small only wait for the others

SIZE = {"vocab_size": 30522, "max_position_embeddings": 512, "dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 48}
SCALE = 0.3  # of the weights: logits and scores then differ from text to text, as a trained model's do

TEXTS = [
    "HuggingFace is in",
    "Paris is in France",
    "",
    "What a terribly good film! I can't say I wasn't moved...",
    "naïve café 東京 \t\n and 12,345.67 [MASK] [SEP] #hashtags @people",
    "word " * 60,
    "a",
    "The quick brown fox jumps over the lazy dog. " * 5,
]


def save(folder, shared, head, seed=0, scale=SCALE, tokenizer="distilbert-base-uncased", **config):
    """A random transformers.DistilBert`head` and an official tokenizer in a folder."""
    torch.manual_seed(seed)
    model = getattr(transformers, f"DistilBert{head}")(transformers.DistilBertConfig(**{**SIZE, **config})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.lower().endswith("norm.weight"):
                parameter.copy_(scale * torch.randn_like(parameter))
    model.save_pretrained(folder)
    for file in (shared / "data" / "tokenizers" / tokenizer).iterdir():
        if file.name != "config.json":
            shutil.copy(file, folder)
    return folder


def theirs(task, folder):
    """transformers' pipeline on the CPU with the dropout off: pipeline() does not switch it off for an instance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = transformers.pipeline(task, model=str(folder), device="cpu")
    pipe.model.eval()
    return pipe


def ours_and_theirs(task, folder):
    """{backend: our pipeline} and transformers' of the same folder."""
    return {b: pipeline(task, model=folder, backend=b) for b in ("numpy", "numba")}, theirs(task, folder)


def same(mine, other, atol=1e-5):
    """Whether two results have the same types, fields in the same order, strings and numbers, floats within atol."""
    if isinstance(other, float):
        return type(mine) is float and abs(mine - other) <= atol
    if isinstance(other, list):
        return isinstance(mine, list) and len(mine) == len(other) and all(map(same, mine, other, [atol] * len(mine)))
    if isinstance(other, dict):
        return list(mine) == list(other) and all(same(mine[k], other[k], atol) for k in other)
    return type(mine) is type(other) and mine == other


def largest_difference(mine, other):
    """The largest difference of any two floats of results that are `same`."""
    if isinstance(other, float):
        return abs(mine - other)
    if isinstance(other, dict):
        mine, other = list(mine.values()), list(other.values())
    if isinstance(other, list):
        return max(map(largest_difference, mine, other), default=0.0)
    return 0.0


def random_texts(n, seed=0):
    """n texts of 0 to 40 words of the vocabulary's kind."""
    rng = np.random.default_rng(seed)
    words = ["the", "a", "good", "film", "London", "un##able", "3.14", "don't", "naïve", "東", "x_y", "...", "Straße"]
    return [" ".join(rng.choice(words, rng.integers(0, 40))) for _ in range(n)]
