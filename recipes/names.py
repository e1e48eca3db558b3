"""Sentences with names for the model of entities: `python recipes/names.py DATA OUT`.

OUT/train.conll: WikiANN's English train, WNUT-17's twice, since it is tweets and WikiANN is titles and lists; and
sentences of Wikipedia and of novels in which nobody is named, as running text mostly is. These need no annotator:
after its first word, such a sentence has no capital and no digit. Kinds are WikiANN's: of WNUT's, a corporation and a
group are organisations, products and works are no names here. OUT/wikiann.conll, OUT/wnut.conll: the two dev sets.
"""

import lzma
import re
import sys
from collections.abc import Iterator
from pathlib import Path

KINDS = {"person": "PER", "location": "LOC", "corporation": "ORG", "group": "ORG", "product": "", "creative-work": ""}
NAMELESS = 3_000  # of each source
END = re.compile(r"(?<=[a-z0-9][.!?]) (?=[A-Z])")
PIECES = re.compile(r"\w+|[^\w\s]")
Sentence = list[tuple[str, str]]


def sentences(file: Path) -> Iterator[Sentence]:
    words: Sentence = []
    for line in [*file.read_text(encoding="utf-8").split("\n"), ""]:
        if line.strip():
            word, _, tag = line.rstrip("\r").rpartition("\t")
            mark, _, kind = tag.partition("-")
            kind = KINDS.get(kind, kind)
            if word.strip():  # WNUT's dev ends with none
                words.append((word.removeprefix("en:"), f"{mark}-{kind}" if kind else "O"))
        elif words:
            yield words
            words = []


def nameless(file: Path, many: int) -> Iterator[Sentence]:
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            for text in END.split(line.strip()):
                words = PIECES.findall(text)
                if 6 <= len(words) <= 30 and not any(not w.islower() for w in words[1:] if w.isalnum() and w != "I"):
                    yield [(word, "O") for word in words]
                    many -= 1
                    break
            if not many:
                return


def write(file: Path, found: list[Sentence]) -> None:
    text = "\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in found)
    file.write_text(text, encoding="utf-8")


def main(data: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    wikiann, wnut, corpus = data / "eval/wikiann/en", data / "eval/wnut17", data / "corpus"
    learned = [*sentences(wikiann / "train"), *(2 * list(sentences(wnut / "wnut17train.conll")))]
    for name in ("wiki.train.02", "books.train"):
        learned += nameless(corpus / f"{name}.txt.xz", NAMELESS)
    write(out / "train.conll", learned)
    write(out / "wikiann.conll", list(sentences(wikiann / "dev")))
    write(out / "wnut.conll", list(sentences(wnut / "emerging.dev.conll")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
