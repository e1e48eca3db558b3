"""A distillation step, ours against PyTorch's: a full-size student and a BERT-base-size teacher, in one process.

    python tests/bench/training.py                            8 passages of 128 tokens, all four engines
    python tests/bench/training.py --batch 16 --rounds 5
    python tests/bench/training.py --markdown                 write the table of docs/speed.md, with memory

A step is what DistilBERT's train.py does with one batch: the teacher's forward pass, the student's with dropout, soft
targets at every token (alpha_ce 5), masked words (alpha_mlm 2), the cosine of the hidden states (alpha_cos 1), the
backward pass, clipping, AdamW. Weights and tokens are random, which costs the same time. Engines take turns, and a
ratio is the median over the rounds of (its time / ours in the same round); memory is the peak of a process that does
three steps with one engine, and nothing else. PyTorch runs as its users would run it on a
CPU: sdpa attention, the fused AdamW, in float32 or with bfloat16 autocast, on as many threads as ours.

Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import proofs

from nanodistil import backend

ALPHAS = {"ce": 5.0, "mlm": 2.0, "cos": 1.0}
TEMPERATURE, CLIP, MASKED = 2.0, 5.0, 0.15
ADAM = {"lr": 5e-4, "betas": (0.9, 0.98), "eps": 1e-6}
V, MASK = 30522, 103
PAGE = Path(__file__).resolve().parents[2] / "docs" / "speed.md"

Step = Callable[[], float]


def data(batch: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Masked ids and labels, (B, T) both; labels are -100 where no word was masked."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, V, (batch, tokens))
    masked = rng.random(ids.shape) < MASKED
    return np.where(masked, MASK, ids), np.where(masked, ids, -100)


def ours(dtype: str, ids: np.ndarray, labels: np.ndarray, threads: int) -> Step:
    from nanodistil.backend import load_backward
    from nanodistil.config import DistilBertConfig
    from nanodistil.family.distilbert import DistilBertForMaskedLM
    from nanodistil.packing import Packing
    from nanodistil.training.optimizer import AdamW, clipping
    from nanodistil.training.trainee import Trainee
    from nanodistil.training.triple_loss import TripleLoss

    student = DistilBertForMaskedLM(DistilBertConfig(), threads=threads)
    teacher = DistilBertForMaskedLM(DistilBertConfig(n_layers=12), dtype=dtype, threads=threads, seed=1)  # BERT's size
    trainee = Trainee(student, dtype=dtype)
    optimizer = AdamW(trainee, load_backward("numba", dtype), betas=ADAM["betas"], eps=ADAM["eps"])
    loss = TripleLoss(TEMPERATURE, **{f"alpha_{name}": alpha for name, alpha in ALPHAS.items()})
    packed = Packing.of(ids, None, student.config).batch
    done = 0

    def step() -> float:
        nonlocal done
        done += 1
        trainee.zero_gradients()
        terms = loss.of_batch(trainee, teacher, packed, labels.reshape(-1), key=done)
        optimizer.step(done, ADAM["lr"], clipping(optimizer.gradient_norm(), CLIP))
        trainee.refresh()
        return float(terms[0])

    return step


def pytorch(autocast: bool, ids: np.ndarray, labels: np.ndarray, threads: int) -> Step:
    import torch
    import torch.nn.functional as F
    from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

    torch.set_num_threads(threads)
    student = DistilBertForMaskedLM(DistilBertConfig()).train()
    teacher = BertForMaskedLM(BertConfig()).eval()
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=0.0, fused=True, **ADAM)
    x, y = torch.tensor(ids), torch.tensor(labels)
    mask = torch.ones_like(x)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            with torch.no_grad():
                t = teacher(input_ids=x, attention_mask=mask, output_hidden_states=True)
            s = student(input_ids=x, attention_mask=mask, output_hidden_states=True)
            s_logits, t_logits = s.logits.view(-1, V), t.logits.view(-1, V)
            soft = F.kl_div(
                F.log_softmax(s_logits / TEMPERATURE, -1), F.softmax(t_logits / TEMPERATURE, -1), reduction="batchmean"
            )
            loss = ALPHAS["ce"] * soft * TEMPERATURE**2
            loss = loss + ALPHAS["mlm"] * F.cross_entropy(s_logits, y.view(-1), ignore_index=-100)
            hs, ht = (h.hidden_states[-1].view(-1, 768) for h in (s, t))
            loss = loss + ALPHAS["cos"] * F.cosine_embedding_loss(hs, ht, torch.ones(len(hs)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), CLIP)
        optimizer.step()
        return float(loss.detach())

    return step


ENGINES: dict[str, Callable[..., Step]] = {
    "nanodistil": lambda *a: ours("float32", *a),
    "nanodistil bf16": lambda *a: ours("bfloat16", *a),
    "PyTorch": lambda *a: pytorch(False, *a),
    "PyTorch bf16": lambda *a: pytorch(True, *a),
}


def compare(names: list[str], ids: np.ndarray, labels: np.ndarray, threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every round by engine, after one step that does not count."""
    steps = {name: ENGINES[name](ids, labels, threads) for name in names}
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def own_peak(name: str, ids: np.ndarray, labels: np.ndarray, threads: int) -> float:
    """GB of memory at most, after three steps in this process."""
    step = ENGINES[name](ids, labels, threads)
    for _ in range(3):
        step()
    status = Path("/proc/self/status").read_text()  # not getrusage: its peak is the parent's where that was higher
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20


def peak(name: str, args: argparse.Namespace) -> float:
    """The same in a process of its own."""
    sizes = ["--batch", args.batch, "--tokens", args.tokens, "--threads", args.threads]
    line = [sys.executable, __file__, "--alone", name, *map(str, sizes)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def table(seconds: dict[str, list[float]], memory: dict[str, float], args: argparse.Namespace) -> str:
    """A row an engine."""
    cpu = backend.instrument("diagnosis").cpu()
    versions = ", ".join(f"{p} {version(p).split('+')[0]}" for p in ("torch", "transformers", "numba"))
    lines = [
        f"A step of distilling a full-size student from a teacher of BERT-base's size: {args.batch} passages of "
        f"{args.tokens} tokens,",
        f"{args.threads} threads on {cpu['name']} ({cpu['llvm']}, {platform.machine()}), medians of turns in one",
        f"process ({versions}).",
        "",
        "| | seconds a step | tokens a second | peak memory | times as long as ours in float32 |",
        "|---|---|---|---|---|",
    ]
    for name, times in seconds.items():
        ratio = median(t / m for t, m in zip(times, seconds["nanodistil"], strict=True))
        speed = args.batch * args.tokens / median(times)
        lines.append(f"| {name} | {median(times):.2f} | {speed:.0f} | {memory[name]:.1f} GB | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", action="store_true", help="write the table of docs/speed.md")
    parser.add_argument("--alone", choices=list(ENGINES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    ids, labels = data(args.batch, args.tokens)
    if args.alone:
        print(json.dumps(own_peak(args.alone, ids, labels, args.threads)))
        return
    seconds = compare(list(ENGINES), ids, labels, args.threads, args.rounds)
    memory = {name: peak(name, args) for name in ENGINES}
    text = table(seconds, memory, args)
    print(text)
    if args.markdown:
        proofs.put(PAGE, "training speed", text)


if __name__ == "__main__":
    main()
