"""Small random checkpoints and random texts, for the comparison of pipelines with transformers'."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOKENIZERS = ["mini", "distilbert-base-uncased", "distilbert-base-cased", "distilbert-base-multilingual-cased"]
LABELS = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "PLAIN", "A-B"]
SENTENCES = """
the a of Paris London John Smith Hugging Face was founded in 1976 and UN Zürich Ramazotti unaffable don't U.S.A. $5.00
(so) Müller café İstanbul straße 東京 北京大学 한국어 नमस्ते Привет мир العربية 👩\u200d👧 co\u00adoperate [MASK] [UNK]
[SEP] [CLS] ## ##ing Cafe\u0301 e\u0301\u0301 x\x00y ﬁn ① ½ … -- \u200b qzxqzxv supercalifragilistic
"""
WORDS = SENTENCES.split()


def random_text(rng: random.Random, longest: int = 40) -> str:
    """Words of many scripts, punctuation, unknown and special tokens, odd white space; sometimes nothing."""
    out = []
    for _ in range(rng.randrange(longest)):
        kind = rng.random()
        if kind < 0.85:
            word = rng.choice(WORDS)
            out.append(rng.choice([word, word, word.upper(), word.title(), word[: rng.randrange(1, 9)]]))
        elif kind < 0.95:
            out.append(
                "".join(chr(rng.choice([rng.randrange(33, 0x250), rng.randrange(0x370, 0x3000)])) for _ in "abc")
            )
        else:
            out.append(chr(rng.randrange(0x10000, 0x20000)))
        out.append(rng.choice([" ", " ", " ", " ", "", ", ", ".", "  ", "\n", "-", "\u3000"]))
    return "".join(out)


def save(folder: Path, head: str, tokenizer: str, shared: Path, seed: int, positions: int = 512, **config: Any) -> Path:
    """A random model of transformers' class `head` with a tokenizer, ready for both libraries."""
    import torch
    import transformers

    mini = ROOT / "nanodistil" / "weights" / "nanodistil-mini"
    source = mini if tokenizer == "mini" else shared / "data" / "tokenizers" / tokenizer
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "vocab.txt", folder)
    settings = {"do_lower_case": "uncased" in tokenizer or tokenizer == "mini", "model_max_length": positions}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with open(folder / "vocab.txt", encoding="utf-8", newline="\n") as lines:
        size = sum(1 for _ in lines)
    shape = {"vocab_size": size, "max_position_embeddings": positions, "dim": 24, "hidden_dim": 40, "n_layers": 2}
    shape |= {"n_heads": 3, "initializer_range": 0.25}
    torch.manual_seed(seed)
    model = getattr(transformers, head)(transformers.DistilBertConfig(**shape, **config))
    model.eval().save_pretrained(folder)
    return folder


def differences(ours: Any, theirs: Any, where: str = "answer") -> list[str]:
    """What differs between two nested results: fields and their order, types, values; numbers by more than 1e-5."""
    if isinstance(theirs, dict):
        if not isinstance(ours, dict) or list(ours) != list(theirs):
            return [f"{where}: {ours!r} != {theirs!r}"]
        return [d for key in theirs for d in differences(ours[key], theirs[key], f"{where}.{key}")]
    if isinstance(theirs, list):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            return [f"{where}: {ours!r} != {theirs!r}"]
        return [
            d for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) for d in differences(a, b, f"{where}[{i}]")
        ]
    if isinstance(ours, float):
        return [] if abs(ours - theirs) <= 1e-5 else [f"{where}: {ours!r} != {theirs!r}"]
    return [] if ours == theirs and type(ours) is type(theirs) else [f"{where}: {ours!r} != {theirs!r}"]
