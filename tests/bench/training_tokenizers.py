"""Seconds of processor time to learn a vocabulary, here and by the trainers of `tokenizers`, one thread both.

    python tests/bench/training_tokenizers.py wiki.txt 5

Each is a process of its own, in turns; what its imports take is not counted. docs/measurements.md has the figures.
"""

import os
import subprocess
import sys
from statistics import median

THEIRS = """
import sys, time, tokenizers
kind, file = sys.argv[1:]
made = {"byte-level": tokenizers.ByteLevelBPETokenizer, "wordpiece": tokenizers.BertWordPieceTokenizer}[kind]()
before = time.process_time()
made.train(file, vocab_size=30_000, min_frequency=2, show_progress=False)
print(time.process_time() - before)
"""
OURS = """
import sys, tempfile, time
from nanodistil.cli import main
import nanodistil.tokenization.training.blank
kind, file = sys.argv[1:]
before = time.process_time()
main(["train-tokenizer", file, "--kind", kind, "--out", tempfile.mkdtemp()])
print(time.process_time() - before)
"""


def seconds(script: str, *argv: str) -> float:
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-c", script, *argv]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main(file: str, rounds: int) -> None:
    for kind in ("byte-level", "wordpiece"):
        found = [(seconds(OURS, kind, file), seconds(THEIRS, kind, file)) for _ in range(rounds)]
        ours, theirs = zip(*found, strict=True)
        ratios = [one / other for one, other in found]
        print(f"{kind:10}  here {min(ours):.2f} ({median(ours):.2f}) s, tokenizers {min(theirs):.2f} ", end="")
        print(f"({median(theirs):.2f}) s, median of the ratios {median(ratios):.2f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
