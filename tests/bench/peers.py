"""Ours against transformers, ONNX Runtime and OpenVINO: one full-size random DistilBERT, one process, turn by turn.

    python tests/bench/peers.py                                      everything, some minutes
    python tests/bench/peers.py --shapes 1x8 8x128 --engines OpenVINO --budget 3
    python tests/bench/peers.py --results speed.json --markdown      keep the cells of several runs; write docs/speed.md

Needs torch, transformers and the extra `compare`; a peer that is not installed is left out. Nothing is downloaded: the
weights are random, which costs the same time. How it is made fair is said in nanodistil/comparison.py, whose blocks,
turns and ratios these are; here are added transformers, whole tasks, padding, and the machine's own peak.
"""

from __future__ import annotations

import argparse
import gc
import json
import lzma
import platform
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import engines
import numpy as np
import proofs
from engines import THREADS

import nanodistil
from nanodistil import backend, comparison
from nanodistil.peers import Variant

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "speed.md"
CORPUS = ROOT.parent / "shared" / "data" / "corpus" / "wiki.valid.txt.xz"
SHAPES = ["1x8", "1x16", "1x128", "1x384", "8x128", "32x128"]
TASKS = {"fill-mask 1x9": "masked_lm", "classify 8x128": "classifier"}
COLUMNS = ["nanodistil", "transformers", "ONNX Runtime", "OpenVINO"]
LOW = ["nanodistil bfloat16", "OpenVINO bfloat16", "nanodistil int8", "ONNX Runtime int8", "OpenVINO int8"]
WORDS = 30522

Cell = dict[str, Any]


def column(engine: comparison.Engine) -> str:
    """An engine in one dtype, as the table calls it."""
    name, dtype = engine
    return name if dtype == "float32" else f"{name} {dtype}"


def measure(candidates: list[Variant], shape: str, budget: float) -> Cell:
    """One cell: every engine's time and its ratio to ours, and what the machine can do before and after."""
    ids, mask = comparison.batch(shape, WORDS)
    chosen = comparison.fastest(candidates, ids, mask)
    machine = backend.instrument("peak")
    peaks = [machine.peak(threads=THREADS)]
    cell = comparison.measure(shape, chosen, ids, mask, budget)
    peaks.append(machine.peak(threads=THREADS))
    found = {name: {column(e): v for e, v in getattr(cell, name).items()} for name in ("variants", "seconds", "ratios")}
    machine = {"peak": max(peaks), "bandwidth": machine.bandwidth(), "flops": encoder_flops(*ids.shape)}
    return found | machine | {"rounds": cell.rounds}


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
    chosen = comparison.fastest([v for v in candidates if v.dtype == "float32"], *shortest_first, fixed=False)
    samples: dict[str, list[float]] = {column(engine): [] for engine in chosen}
    for number, (ids, mask) in enumerate(batches):
        for engine in comparison.turns(chosen, number):
            time.sleep(comparison.PAUSE)
            samples[column(engine)].append(comparison.clock(chosen[engine].call, ids, mask))
    total = {name: sum(times) for name, times in samples.items()}
    real, padded = sum(int(m.sum()) for _, m in batches), sum(i.size for i, _ in batches)
    return {
        "variants": {column(engine): best.name for engine, best in chosen.items()},
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


def table(cells: dict[str, Cell], columns: list[str]) -> list[str]:
    """Markdown: a row a cell, a column an engine, milliseconds and how many times as long as ours in its dtype."""
    columns = [c for c in columns if any(c in cell["seconds"] for cell in cells.values())]
    lines = ["| milliseconds | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for shape, cell in cells.items():
        row = []
        for name in columns:
            seconds, ratio = cell["seconds"].get(name), cell["ratios"].get(name)
            if seconds is None:
                row.append("")
                continue
            shown = f"{seconds * 1e3:.{1 if seconds < 0.0995 else 0}f}"
            row.append(shown if name.startswith("nanodistil") or ratio is None else f"{shown} ({ratio:.2f} x)")
        if any(row):
            lines.append(f"| {shape} | " + " | ".join(row) + " |")
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
        *table(cells, COLUMNS),
    ]
    best = max(encoder, key=lambda n: encoder[n]["flops"] / encoder[n]["seconds"]["nanodistil"], default=None)
    if best:
        cell = encoder[best]
        rate = cell["flops"] / cell["seconds"]["nanodistil"]
        share = (
            f"{rate / cell['peak']:.0%} of the {cell['peak'] / 1e9:.0f} that this machine was measured to do at most"
        )
        lines += ["", f"At {best}: {rate / 1e9:.0f} GFLOP/s in float32, {share}."]
    low = table(cells, LOW)
    if low[0].count("|") > 2:
        lines += ["", "In lower precision (in brackets: times as long as ours in the same):", "", *low]
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
        folder = args.models or Path(name)
        cells: dict[str, Cell] = {}
        if args.results and args.results.exists():
            cells = json.loads(args.results.read_text())

        def candidates(kind: str) -> list[Variant]:
            wanted = ("nanodistil", *args.engines) if args.engines is not None else ""
            return [v for v in engines.participants(folder, kind) if column((v.engine, v.dtype)).startswith(wanted)]

        def keep(name: str, cell: Cell) -> None:
            cells[name] = cell
            show(name, cell)
            if args.results:
                args.results.write_text(json.dumps(cells, indent=1))
            gc.collect()  # what the engines of this cell held

        for shape in args.shapes:
            keep(shape, measure(candidates("encoder"), shape, args.budget))
        for task, kind in TASKS.items():
            if task.split()[0] in args.tasks:
                exact = [v for v in candidates(kind) if v.dtype == "float32"]
                keep(task, measure(exact, task.split()[1], args.budget))
        if "ragged" in args.tasks and args.corpus.exists():
            keep("ragged", ragged(candidates("encoder"), args.corpus, args.every))
    if args.markdown:
        proofs.put(PAGE, "speed", markdown(cells))


if __name__ == "__main__":
    main()
