"""Pairs of sentences for the model of sentence embeddings: `python recipes/pairs.py DATA OUT`.

Two kinds in one file, OUT/train.jsonl: pairs with a score, from the STS benchmark, of which only the captions of images
are taken (CC BY-SA; the licences of the other parts ask for an agreement, or say nothing); and pairs without one,
neighbours in a paragraph of Wikipedia: its beginning and what follows. OUT/stsb.jsonl is the benchmark's whole dev set;
OUT/near.jsonl 1,000 pairs of paragraphs from articles that nothing is learned from, for retrieval: which of 1,000
continuations is this beginning's?
"""

import json
import lzma
import re
import sys
from itertools import islice
from pathlib import Path

FREE = "images"
PAIRS = 12_000
HELD_OUT = 1_000
END = re.compile(r"(?<=[a-z0-9][.!?]) (?=[A-Z])")


def scored(file: Path, parts: tuple[str, ...] = ()) -> list[dict[str, object]]:
    rows = [line.rstrip("\n").split("\t") for line in file.open(encoding="utf-8")]
    return [
        {"sentence1": row[5], "sentence2": row[6], "score": float(row[4])}
        for row in rows
        if not parts or row[1] in parts
    ]


def neighbours(file: Path, many: int) -> list[dict[str, object]]:
    """The first sentence or two of every third paragraph, and the next two, of 60 to 400 letters."""
    found: list[dict[str, object]] = []
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in islice(lines, 0, None, 3):
            sentences = END.split(line.strip())
            cut = 1 + len(found) % 2
            first, second = " ".join(sentences[:cut]), " ".join(sentences[cut : cut + 2])
            if 60 <= len(first) <= 400 and 60 <= len(second) <= 400:
                found.append({"sentence1": first, "sentence2": second})
                if len(found) == many:
                    break
    return found


def write(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main(data: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    free = scored(data / "eval/stsb/sts-train.csv", (FREE,))
    pairs = neighbours(data / "corpus/wiki.train.01.txt.xz", PAIRS)
    write(out / "train.jsonl", free * 3 + pairs)
    write(out / "stsb.jsonl", scored(data / "eval/stsb/sts-dev.csv"))
    write(out / "near.jsonl", neighbours(data / "corpus/wiki.valid.txt.xz", HELD_OUT))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
