"""How fast text becomes ids: the definition, the compiled scan, and HF `tokenizers`, taking turns in one process.

    python tests/bench/tokenizer_speed.py wiki.valid.txt.xz books.valid.txt.xz [--vocab vocab.txt] [--rounds 7]

The lines of all files are one batch. Every contestant runs twice a round, the second time timed, so that a busy machine
is busy for all; the tables give medians, and ratios of medians. HF's `encode_batch` is timed without making Python
lists of its result, `tokenizers`' fastest way (`encode_batch_fast`, no offsets) too; ours is timed as arrays, and as
the lists of `tokenizer(texts)` with every one of them made. Before anything is timed all ids are compared. Needs
`tokenizers`.
"""

import argparse
import lzma
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MINI = Path(__file__).parents[2] / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt"
LINE = "Hello, I'm a [MASK] model."  # 9 tokens


def read(path: Path) -> list[str]:
    raw = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return raw.decode().rstrip("\n").split("\n")


def medians(contestants: dict[str, Callable[[], Any]], rounds: int, repeats: int = 1) -> dict[str, float]:
    """Seconds a call, median over rounds in which all take turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            call()  # untimed: caches and memory are the contestant's own, not what the one before left
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            times[name].append((time.perf_counter() - start) / repeats)
    return {name: statistics.median(taken) for name, taken in times.items()}


def table(title: str, found: dict[str, float], base: str, megabytes: float | None) -> None:
    speed = "MB/s" if megabytes else "us a call"
    print(f"\n| {title} | ms | {speed} | times {base} |\n|---|---|---|---|")
    for name, seconds in found.items():
        figure = megabytes / seconds if megabytes else seconds * 1e6
        print(f"| {name} | {seconds * 1e3:.3g} | {figure:.3g} | {found[base] / seconds:.3g} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--vocab", type=Path, default=MINI)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()

    import tokenizers

    from nanodistil.kernels.cpu import wordpiece as scan
    from nanodistil.kernels.runtime import pool
    from nanodistil.tokenization import DistilBertTokenizer
    from nanodistil.tokenization.definition import encode
    from nanodistil.tokenization.scanner import Scanner

    texts = [line for path in arguments.files for line in read(path)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    tokenizer = DistilBertTokenizer(arguments.vocab)
    encoder = tokenizer.encoder
    scanner = Scanner(encoder.pieces, encoder.added, scan)
    encoder.scanner, encoder.seen = scanner, None
    other = tokenizers.BertWordPieceTokenizer(str(arguments.vocab))._tokenizer
    other.no_truncation()

    ids = tokenizer(texts, verbose=False)["input_ids"]
    wrong = sum(mine != theirs.ids for mine, theirs in zip(ids, other.encode_batch(texts), strict=True))
    print(f"{len(texts)} texts, {megabytes:.2f} MB, {sum(map(len, ids))} tokens; {wrong} texts differ; ", end="")
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {pool.available_threads()} cores")
    del ids

    def definition(batch: list[str]) -> Any:
        return [encode(text, encoder.added, encoder.pieces) for text in batch]

    for threads in arguments.threads:
        pool.set_threads(threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        contestants: dict[str, Callable[[], Any]] = {
            "HF encode_batch": lambda: other.encode_batch(texts),
            "HF encode_batch_fast": lambda: other.encode_batch_fast(texts),
            "compiled, arrays": lambda: scanner.rows(texts),
            "compiled, ids as lists": lambda: tokenizer(texts, verbose=False)["input_ids"],
            "compiled, all lists of a call": lambda: list(tokenizer(texts, verbose=False).values()),
        }
        if threads == 1:
            contestants["definition"] = lambda: definition(texts)
        medians(dict(list(contestants.items())[2:5]), 1)  # caches filled, kernels loaded
        found = medians(contestants, arguments.rounds)
        table(f"one batch, {threads} thread{'s' * (threads > 1)}", found, "HF encode_batch", megabytes)

    settings_of_a_call = {
        "HF Tokenizer.encode": lambda: other.encode(LINE),
        "definition, pieces alone": lambda: definition([LINE]),
        "compiled, arrays": lambda: scanner.rows([LINE]),
        "compiled, tokenizer(line)": lambda: tokenizer(LINE)["input_ids"],
    }
    try:
        from transformers import DistilBertTokenizerFast
    except ImportError:
        pass
    else:
        fast = DistilBertTokenizerFast(vocab_file=str(arguments.vocab))
        settings_of_a_call["transformers, tokenizer(line)"] = lambda: fast(LINE)["input_ids"]
    medians(settings_of_a_call, 3, 100)
    table(f"one line, {LINE!r}", medians(settings_of_a_call, 15, 300), "HF Tokenizer.encode", None)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
