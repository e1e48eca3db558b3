"""Ours against transformers, ONNX Runtime and OpenVINO: one full-size random DistilBERT, one process, turn by turn.

    python tests/bench/peers.py                                      everything, some minutes
    python tests/bench/peers.py --shapes 1x8 8x128 --engines OpenVINO --budget 3
    python tests/bench/peers.py --results speed.json --markdown      keep the cells of several runs; write docs/speed.md

Needs torch, transformers, onnx, onnxruntime, openvino, and nncf for OpenVINO's int8; an engine that is not installed is
left out. Nothing is downloaded: the weights are random, which costs the same time.

How it is made fair, and steady on a machine that is neither:

- each peer at its best: every variant (fixed and dynamic shapes, spinning or not, fused by its own tool or not, one
  stream or two, with and without a mask) is tried on every cell, and the fastest counts (engines.py);
- turns: A B C A B C ..., each turn after a pause in which the others' threads go to sleep, and after a call that does
  not count; what slows the machine for a while slows all;
- a ratio is the median over the rounds of (its time / our time in the same round), not a ratio of medians;
- the machine's own peak is measured in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import lzma
import platform
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import engines
import numpy as np
import proofs
from engines import THREADS, Files, Variant

import nanodistil
from nanodistil import backend

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "speed.md"
CORPUS = ROOT.parent / "shared" / "data" / "corpus" / "wiki.valid.txt.xz"
SHAPES = ["1x8", "1x16", "1x128", "1x384", "8x128", "32x128"]
TASKS = {"fill-mask 1x9": "masked_lm", "classify 8x128": "classifier"}
PAUSE = 0.02  # seconds between two engines
TURN = 0.05  # seconds of one turn, where a call is shorter
ROUNDS = 5
COLUMNS = ["nanodistil", "transformers", "ONNX Runtime", "OpenVINO"]
LOW = ["nanodistil bf16", "OpenVINO bf16", "nanodistil int8", "ONNX Runtime int8", "OpenVINO int8"]

Cell = dict[str, Any]


def clock(call: engines.Call, ids: np.ndarray, mask: np.ndarray) -> float:
    began = time.perf_counter()
    call(ids, mask)
    return time.perf_counter() - began


def batch(shape: str) -> tuple[np.ndarray, np.ndarray]:
    B, T = (int(n) for n in shape.split("x"))
    ids = np.random.default_rng((B, T)).integers(0, 30522, (B, T))
    return ids, np.ones_like(ids)


def fastest(
    candidates: list[Variant], kind: str, ids: np.ndarray, mask: np.ndarray, fixed: bool = True
) -> dict[str, tuple[str, engines.Call, float]]:
    """engine -> name, call and shortest time of its best variant. The shortest, because a short try meets noise."""
    best: dict[str, tuple[str, engines.Call, float]] = {}
    for v in candidates:
        if ("fixed" if fixed else "padded") not in v.shapes or ("even" in v.shapes and len(ids) % 2):
            continue
        try:
            call = v.load(kind, ids.shape if fixed else None)
            call(ids, mask)
            shortest, until = clock(call, ids, mask), time.perf_counter() + 0.2
            while time.perf_counter() < until:
                shortest = min(shortest, clock(call, ids, mask))
        except ImportError as error:
            print(f"  {v.engine} is left out: {error}")
            continue
        if v.engine not in best or shortest < best[v.engine][2]:
            best[v.engine] = (v.name, call, shortest)
        del call
        engines.release()
        time.sleep(PAUSE)
    return best


def measure(candidates: list[Variant], kind: str, shape: str, budget: float) -> Cell:
    """One cell: every engine's time and its ratio to ours, over rounds of turns."""
    ids, mask = batch(shape)
    chosen = fastest(candidates, kind, ids, mask)
    machine, peaks = backend.instrument("peak"), []
    samples: dict[str, list[float]] = {name: [] for name in chosen}  # engine -> the median of each of its turns
    began = time.perf_counter()
    while len(peaks) < ROUNDS or time.perf_counter() - began < budget * len(chosen):
        order = list(chosen)
        shift = len(peaks) % len(order)
        for name in order[shift:] + order[:shift]:
            _, call, shortest = chosen[name]
            time.sleep(PAUSE)
            if shortest < 2 * TURN:
                call(ids, mask)
            samples[name].append(median(clock(call, ids, mask) for _ in range(max(1, int(TURN / shortest)))))
        peaks.append(machine.peak(0.02, threads=THREADS))
        if len(peaks) >= 3 and time.perf_counter() - began > 3 * budget * len(chosen):
            break  # a cell of long calls: three rounds must do
    return {
        "variants": {name: chosen[name][0] for name in chosen},
        "seconds": {name: median(times) for name, times in samples.items()},
        "rounds": len(peaks),
        "ratios": ratios(samples),
        "peak": median(peaks),
        "bandwidth": machine.bandwidth(),
        "flops": encoder_flops(*ids.shape),
    }


def ratios(samples: dict[str, list[float]]) -> dict[str, float]:
    """engine -> median over the rounds of its time / ours."""
    own = samples.get("nanodistil")
    if not own:
        return {}
    return {name: median(a / b for a, b in zip(times, own, strict=True)) for name, times in samples.items()}


def encoder_flops(B: int, T: int, D: int = 768, F: int = 3072, L: int = 6) -> int:
    """Multiplications and additions of the whole encoder, all positions."""
    return L * B * T * (2 * D * (4 * D + 2 * F) + 4 * T * D)


def ragged_batches(corpus: Path, lines: int = 512, size: int = 32) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first lines of a corpus in file order, tokenized, each batch padded to its longest line."""
    tokenizer = nanodistil.DistilBertTokenizer.from_pretrained("nanodistil-mini")
    with lzma.open(corpus, "rt", encoding="utf-8") as file:
        texts = [line.strip() for line, _ in zip(file, range(lines), strict=False)]
    for i in range(0, lines, size):
        yield tuple(
            np.asarray(tokenizer(texts[i : i + size], padding=True, truncation=True, max_length=512)[name])
            for name in ("input_ids", "attention_mask")
        )


def ragged(candidates: list[Variant], corpus: Path, every: int) -> Cell:
    """Batches of lines as they come, batch by batch and engine by engine. Peers compute the padding, we do not."""
    batches = list(ragged_batches(corpus))[::every]
    shortest_first = min(batches, key=lambda b: b[0].size)
    chosen = fastest([v for v in candidates if v.engine in COLUMNS], "encoder", *shortest_first, fixed=False)
    samples: dict[str, list[float]] = {name: [] for name in chosen}
    for number, (ids, mask) in enumerate(batches):
        order = list(chosen)
        shift = number % len(order)
        for name in order[shift:] + order[:shift]:
            time.sleep(PAUSE)
            samples[name].append(clock(chosen[name][1], ids, mask))
    total = {name: sum(times) for name, times in samples.items()}
    real, padded = sum(int(m.sum()) for _, m in batches), sum(i.size for i, _ in batches)
    return {
        "variants": {name: chosen[name][0] for name in chosen},
        "seconds": total,
        "rounds": len(batches),
        "ratios": {name: t / total["nanodistil"] for name, t in total.items() if "nanodistil" in total},
        "tokens": real,
        "padded": padded,
    }


def show(name: str, cell: Cell) -> None:
    """A cell for whoever watches."""
    print(f"{name}, {cell['rounds']} rounds")
    for engine, seconds in cell["seconds"].items():
        rate = ""
        if "flops" in cell and "x" in name.split()[0]:
            floor = max(cell["flops"] / cell["peak"], 170e6 / cell["bandwidth"])
            rate = f"  {cell['flops'] / seconds / 1e9:6.0f} GFLOP/s  {floor / seconds:5.0%} of the float32 limit"
        elif "tokens" in cell:
            rate = f"  {cell['tokens'] / seconds:8.0f} real tokens/s"
        ratio = f"{cell['ratios'][engine]:6.2f} x ours" if engine in cell["ratios"] else ""
        print(f"  {engine:<18}{seconds * 1e3:10.2f} ms  {ratio}{rate}  {cell['variants'][engine]}")
    if "peak" in cell:
        print(f"  the machine: {cell['peak'] / 1e9:.0f} GFLOP/s, {cell['bandwidth'] / 1e9:.1f} GB/s", flush=True)


def table(cells: dict[str, Cell], columns: list[str], base: str) -> list[str]:
    """Markdown: a row a cell, a column an engine, milliseconds and how many times `base` takes as long."""
    columns = [c for c in columns if any(c in cell["seconds"] for cell in cells.values())]
    lines = ["| milliseconds | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, cell in cells.items():
        row = []
        for column in columns:
            seconds, ratio = cell["seconds"].get(column), cell["ratios"].get(column)
            if seconds is None:
                row.append("")
                continue
            shown = f"{seconds * 1e3:.{1 if seconds < 0.0995 else 0}f}"
            row.append(shown if column == base or ratio is None else f"{shown} ({ratio:.2f} x)")
        if any(row):
            lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def markdown(cells: dict[str, Cell]) -> str:
    """The section of docs/speed.md between its markers."""
    order = [*SHAPES, *TASKS, "ragged"]
    cells = {n: cells[n] for n in sorted(cells, key=lambda n: order.index(n) if n in order else len(order))}
    encoder = {n: c for n, c in cells.items() if "peak" in c and n not in TASKS}
    packages = ("torch", "transformers", "onnxruntime", "openvino", "numba")
    versions = ", ".join(f"{p} {version(p).split('+')[0]}" for p in packages)
    cpu = backend.instrument("diagnosis").cpu()
    lines = [
        f"Full-size model, {THREADS} threads on {cpu['name']} ({cpu['llvm']}, {platform.machine()}), medians of turns",
        f"in one process, each peer in its fastest way ({versions}).",
        "In brackets: how many times as long as ours in the same round. Rows are sentences x tokens through the whole",
        "encoder; then whole tasks, where we leave out what the answer does not need.",
        "",
        *table(cells, COLUMNS, "nanodistil"),
    ]
    best = max(encoder, key=lambda n: encoder[n]["flops"] / encoder[n]["seconds"]["nanodistil"], default=None)
    if best:
        cell = encoder[best]
        rate = cell["flops"] / cell["seconds"]["nanodistil"]
        share = (
            f"{rate / cell['peak']:.0%} of the {cell['peak'] / 1e9:.0f} that this machine was measured to do at most"
        )
        lines += ["", f"At {best}: {rate / 1e9:.0f} GFLOP/s in float32, {share}."]
    low = table(cells, LOW, "")
    if low[0].count("|") > 2:
        lines += ["", "In lower precision (in brackets: times as long as our float32):", "", *low]
    if "ragged" in cells:
        cell = cells["ragged"]
        lines += [
            "",
            f"ragged: {cell['rounds']} batches of 32 lines of Wikipedia in file order; {cell['tokens']:,} tokens, "
            f"{cell['padded']:,} with the padding.",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="*", default=SHAPES, help="sentences x tokens through the encoder")
    parser.add_argument(
        "--tasks", nargs="*", default=["fill-mask", "classify", "ragged"], help="whole tasks to compare"
    )
    parser.add_argument("--engines", nargs="*", help="only these and ours, by the beginning of their names")
    parser.add_argument("--budget", type=float, default=1.5, help="seconds an engine and cell")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="text for the ragged task, .xz")
    parser.add_argument("--every", type=int, default=1, help="take every n-th of the 16 ragged batches")
    parser.add_argument("--models", type=Path, help="keep the random model and its ONNX files here")
    parser.add_argument("--results", type=Path, help="a JSON file that keeps the cells of several runs")
    parser.add_argument("--markdown", action="store_true", help="write the table of docs/speed.md")
    args = parser.parse_args()
    backend.load("numba", THREADS)
    with tempfile.TemporaryDirectory() as name:
        candidates = engines.variants(Files(args.models or Path(name)))
        if args.engines is not None:
            wanted = ("nanodistil", *args.engines)
            candidates = [v for v in candidates if v.engine.startswith(wanted)]
        cells: dict[str, Cell] = {}
        if args.results and args.results.exists():
            cells = json.loads(args.results.read_text())

        def keep(name: str, cell: Cell) -> None:
            cells[name] = cell
            show(name, cell)
            if args.results:
                args.results.write_text(json.dumps(cells, indent=1))
            engines.release()

        for shape in args.shapes:
            keep(shape, measure(candidates, "encoder", shape, args.budget))
        for task, kind in TASKS.items():
            if task.split()[0] in args.tasks:
                exact = [v for v in candidates if v.engine in COLUMNS]
                keep(task, measure(exact, kind, task.split()[1], args.budget))
        if "ragged" in args.tasks and args.corpus.exists():
            keep("ragged", ragged(candidates, args.corpus, args.every))
    if args.markdown:
        proofs.put(PAGE, "speed", markdown(cells))


if __name__ == "__main__":
    main()
