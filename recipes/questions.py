"""Questions for the model of answers: `python recipes/questions.py DATA OUT`.

There are 1,190 questions of people (XQuAD's English, from SQuAD's dev set), too few to learn from alone. So most are
made of Wikipedia itself: out of a sentence of a paragraph a name, a year or a number is taken, and what is left, behind
who, what, when or how many, is the question (cloze questions, Lewis et al. 2019). They read oddly, and teach where to
look.

OUT/train.json: made ones, then those on 40 of XQuAD's 48 articles, three times; OUT/dev.json: those on the other 8.
"""

import json
import lzma
import random
import re
import sys
from itertools import islice
from pathlib import Path
from typing import Any

MADE = 10_000
ARTICLES = 40  # of 48
END = re.compile(r"(?<=[a-z0-9][.!?]) (?=[A-Z])")
WHAT = (  # a pattern of answers, and how one asks for them
    (re.compile(r"\b(?:in|since|until|by) ((?:1\d|20)\d\d)\b"), "when"),
    (re.compile(r"\b(\d[\d,.]*\d|\d)(?= [a-z]+s\b)"), "how many"),
    (re.compile(r"(?<=[a-z,] )((?:[A-Z][a-z]+ ){1,2}[A-Z][a-z]+)\b"), "who or what"),
    (re.compile(r"\b(?:in|at|to|from|near) ([A-Z][a-z]+)\b"), "where"),
)


def asked(paragraph: str, draw: random.Random) -> dict[str, Any] | None:
    """A question on a paragraph, or None if nothing in it can be asked for."""
    start = 0
    sentences = []
    for sentence in END.split(paragraph):
        sentences.append((paragraph.index(sentence, start), sentence))
        start = sentences[-1][0] + len(sentence)
    draw.shuffle(sentences)
    for at, sentence in sentences:
        ways = [(match, word) for pattern, word in WHAT for match in pattern.finditer(sentence)]
        if not 40 <= len(sentence) <= 200 or not ways:
            continue
        match, word = draw.choice(ways)
        left = f"{sentence[: match.start(1)]}{sentence[match.end(1) :]}".rstrip(".!? ")
        answer = {"text": match.group(1), "answer_start": at + match.start(1)}
        return {"question": f"{word} {left}?", "answers": [answer]}
    return None


def made(file: Path, many: int) -> list[dict[str, Any]]:
    draw, found = random.Random(42), []
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in islice(lines, 1, None, 3):  # none of those that pairs.py takes
            paragraph = line.strip()
            if 200 <= len(paragraph) <= 800 and (one := asked(paragraph, draw)):
                found.append({"context": paragraph, "qas": [one | {"id": f"made-{len(found)}"}]})
                if len(found) == many:
                    break
    return found


def write(file: Path, articles: list[dict[str, Any]]) -> None:
    file.write_text(json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False), encoding="utf-8")


def main(data: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    articles = json.loads((data / "eval/xquad/xquad.en.json").read_text(encoding="utf-8"))["data"]
    again = [
        {"paragraphs": [
            {"context": p["context"], "qas": [q | {"id": f"{q['id']}-{i}"} for q in p["qas"]]} for p in a["paragraphs"]
        ]}
        for i in range(3) for a in articles[:ARTICLES]
    ]  # fmt: skip
    write(out / "train.json", [{"paragraphs": made(data / "corpus/wiki.train.03.txt.xz", MADE)}, *again])
    write(out / "dev.json", articles[ARTICLES:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
