"""Perplexity by word: `python recipes/per_word.py MODEL FILE...`, which vocabularies of any size can be compared by.

What `nanodistil score --whole` says of a file, spread over its words, as they stand between spaces, and its line ends,
one each: the count that figures for WikiText-2 go by. The texts are taken as they are, `<unk>` and ` @-@ ` included.
"""

import math
import re
import subprocess
import sys

from nanodistil.reading.lines import lines_of


def main(model: str, files: list[str]) -> None:
    for file in files:
        with lines_of(file) as lines:
            words = sum(len(line.split()) + 1 for line in lines)
        told = subprocess.run(
            [sys.executable, "-m", "nanodistil", "score", "--whole", "--input", file, "--model", model],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        said = re.search(r"perplexity ([\d.]+) over (\d+) tokens, log-probability (-[\d.]+)", told.stdout + told.stderr)
        assert said, told
        per_word = math.exp(-float(said[3]) / words)
        print(
            f"{file}: {per_word:.1f} a word ({words:,} words), {float(said[1]):.1f} a token ({int(said[2]):,} tokens)"
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
