"""The chapters' pictures, drawn from what the pages show: python docs/lessons/pictures.py.

Every picture takes its numbers from an output of its page, found by its first words. So pictures cannot say anything
else than the pages do, and a test draws them again.
"""

from __future__ import annotations

import re
from pathlib import Path

from course import PAGES, blocks
from drawing import ACCENT, INK, PALE, SECOND, Picture, bars

FOLDER = Path(__file__).resolve().parents[1] / "pictures" / "lessons"


def output(chapter: int, holds: str, after: int = 0) -> list[str]:
    """The lines of the output of a chapter that holds these words; after: the how manieth of them."""
    page = PAGES[chapter - 1].read_text(encoding="utf-8")
    return [block.shown for block in blocks(page) if holds in block.shown][after].splitlines()


def words() -> Picture:
    """The sentence of chapter 1 over its tokens and their numbers."""
    rows = [re.split(r"\s+", line.strip(), maxsplit=4) for line in output(1, "  ##ffa")]
    text = "The café owner hummed unaffably."
    step, left = 24.0, 70.0
    picture = Picture(left * 2 + step * len(text), 150)
    for i, letter in enumerate(text):
        picture.text(left + step * (i + 0.5), 34, letter, 17, "middle")
    for at, (number, token, start, end, _) in enumerate(rows):
        a, b = left + step * int(start), left + step * int(end)
        if a == b:  # [CLS], [SEP]
            a, b = (8, left - 8) if at == 0 else (left + step * len(text) + 6, picture.width - 6)
        picture.box(a + 1, 58, b - a - 2, 34, (ACCENT, SECOND)[at % 2], 0.18)
        picture.text((a + b) / 2, 80, token, 13, "middle")
        picture.text((a + b) / 2, 116, number, 12, "middle", PALE if a == b else INK)
    picture.text(left, 140, "the numbers are all that the model sees", 11, color=PALE)
    return picture


def attention() -> Picture:
    """Two heads as squares: the darker, the larger the share."""
    picture = Picture(900, 460)
    for at, title in enumerate(("layer 0, head 2: the token before", "layer 3, head 1: the hole looks for France")):
        header, *rows = output(2, " [CLS]  paris     is ", at)
        names = header.split()
        left, top, side = 85 + 450 * at, 90, 36
        picture.text(left, 24, title, 14)
        for j, name in enumerate(names):
            picture.text(left + side * (j + 0.6), top - 8, name, 12, turn=-45)
        for i, row in enumerate(rows):
            token, *shares = row.split()
            picture.text(left - 8, top + side * i + 23, token, 12, "end")
            for j, share in enumerate(map(float, shares)):
                x, y = left + side * j, top + side * i
                picture.box(x, y, side - 2, side - 2, ACCENT, 0.04 + 0.96 * share)
                if share >= 0.1:
                    picture.text(x + 17, y + 22, f"{share:.2f}"[1:] if share < 1 else "1", 11, "middle",
                                 "white" if share > 0.5 else INK)  # fmt: skip
        picture.text(left, top + side * len(rows) + 22, "rows: who asks; columns: from whom it takes", 11, color=PALE)
    return picture


def ladder() -> Picture:
    """The rungs of chapter 3."""
    found = [re.match(r"(.*?)\s+([\d.]+) billion a second,\s+(\d+)%", line) for line in output(3, "register tile")]
    rows = [(f[1], float(f[2]), f"{f[2]}, {f[3]} % of the peak") for f in found if f]
    picture = Picture(760, 70 + 26 * len(rows))
    picture.text(20, 24, "billion operations a second, one thread of one machine", 13)
    bars(picture, 150, 44, rows, max(value for _, value, _ in rows), 420)
    return picture


def tile() -> Picture:
    """What stands in registers, for the sizes that chapter 3 prints."""
    rows, columns = map(int, re.findall(r"\d+", output(3, "multiply-adds for")[0])[:2])
    vectors = columns // 16
    picture = Picture(820, 356)
    x0, y0, wide, high = 190, 130, 130, 26
    for j in range(vectors):
        picture.box(x0 + wide * j, 62, wide - 8, high - 6, SECOND, 0.35)
        picture.text(x0 + wide * j + 61, 76, "16 of B", 11, "middle")
    picture.text(x0, 46, f"a row of B: {columns} float32, loaded once", 13)
    for i in range(rows):
        picture.box(110, y0 + high * i, 46, high - 6, SECOND, 0.35)
        picture.text(133, y0 + high * i + 14, "A", 11, "middle")
        for j in range(vectors):
            picture.box(x0 + wide * j, y0 + high * i, wide - 8, high - 6, ACCENT, 0.3)
            picture.text(
                x0 + wide * j + 61, y0 + high * i + 14, f"sums zmm{rows * vectors - 1 - i * vectors - j}", 11, "middle"
            )
    picture.text(20, y0 - 12, f"{rows} numbers of A, one at a time")
    below = y0 + high * rows + 24
    picture.text(x0, below, f"{rows * vectors} registers of sums: each += (number of A) x (16 of B)", 13)
    picture.text(x0, below + 22, "then the next row of B and the next numbers of A; sums never leave", 12, color=PALE)
    return picture


def formats() -> Picture:
    """Sign, exponent and fraction of four formats."""
    picture = Picture(920, 240)
    layout = (("float64", 11, 52), ("float32", 8, 23), ("bfloat16", 8, 7), ("int8", 0, 7))
    for i, (name, exponent, fraction) in enumerate(layout):
        x, y, bit = 90.0, 50.0 + 46 * i, 11.5
        picture.text(80, y + 20, name, 14, "end")
        for count, color in ((1, INK), (exponent, SECOND), (fraction, ACCENT)):
            for _ in range(count):
                picture.box(x, y, bit - 1.5, 28, color, 0.75)
                x += bit
        picture.text(x + 8, y + 20, f"{1 + exponent + fraction} bits", 12)
    picture.text(90, 30, "sign", 13, color=INK)
    picture.text(140, 30, "exponent: how large", 13, color=SECOND)
    picture.text(300, 30, "fraction: how many digits (int8: the number)", 13, color=ACCENT)
    return picture


def teacher() -> Picture:
    """What the teacher says of a hole, and the label."""
    rows = [line.split() for line in output(6, "word          t = 1")[2:] if "beside" not in line]
    picture = Picture(900, 90 + 26 * len(rows))
    for at, title in enumerate(("temperature 1", "temperature 2 (x 10)", "the label")):
        picture.text(130 + 265 * at, 26, title, 14)
        scale = 10 if at == 1 else 1
        shown = [(row[0] if at == 0 else "", float(row[1 + at]) * scale, row[1 + at]) for row in rows]
        bars(picture, 130 + 265 * at, 44, shown, 1.0, 190)
    picture.text(
        130, 72 + 26 * len(rows), "a label knows one word; a teacher says which others are nearly right", 11, color=PALE
    )
    return picture


def curve(picture: Picture, left: float, points: list[tuple[float, float]], names: list[str], title: str) -> None:
    """The exam's loss at some places along x, 0 to 1."""
    bottom, top, wide = 250.0, 50.0, 300.0

    def at(x: float, y: float) -> tuple[float, float]:
        return left + wide * x, bottom - (bottom - top) * (y - 2) / 7

    picture.text(left, 28, title, 14)
    for y in range(2, 10, 2):
        picture.line([at(0, y), at(1, y)], "#e5e7eb")
        picture.text(left - 8, at(0, y)[1] + 4, str(y), 11, "end", PALE)
    picture.line([at(x, y) for x, y in points], ACCENT, 2)
    for (x, y), name in zip(points, names, strict=True):
        px, py = at(x, y)
        picture.box(px - 3, py - 3, 6, 6)
        picture.text(px, bottom + 20, name, 11, "middle")


def smaller() -> Picture:
    """Loss by bits, with a scale for a row, and by the share of weights that are 0."""
    picture = Picture(800, 300)
    bits = [re.findall(r"[\d.]+", line) for line in output(7, "scale for") if "a row" in line]
    curve(
        picture,
        60,
        [(i / 2, float(b[1])) for i, b in enumerate(bits)],
        [f"{b[0]} bits" for b in bits],
        "loss: fewer bits",
    )
    gone = [re.findall(r"[\d.]+", line) for line in output(7, "removed   loss")[1:]]
    places = [(float(g[0]) / 100, float(g[1])) for g in gone]
    curve(picture, 450, places, [f"{g[0]} %" for g in gone], "loss: weights set to 0")
    return picture


def following() -> Picture:
    """What comes next, in the language and in the model."""
    rows = [(line[:20].strip(), *line[20:].split()) for line in output(8, "true  learned")[2:]]
    picture = Picture(720, 70 + 30 * len(rows))
    picture.text(330, 26, "in the language", 13, color=PALE)
    picture.text(450, 26, "learned", 13, color=ACCENT)
    for i, (before, word, truth, learned) in enumerate(rows):
        y = 44 + 30 * i
        first = i == 0 or rows[i - 1][0] != before
        picture.text(20, y + 16, (before or "(beginning)") if first else "", 13)
        picture.text(240, y + 16, word, 13, "end")
        picture.box(252, y, 400 * float(truth), 9, PALE)
        picture.box(252, y + 10, 400 * float(learned), 9)
        picture.text(258 + 400 * max(float(truth), float(learned)), y + 15, f"{truth} / {learned}", 11)
    return picture


PICTURES = {
    "words": words, "attention": attention, "ladder": ladder, "tile": tile, "formats": formats, "teacher": teacher,
    "smaller": smaller, "next": following,
}  # fmt: skip

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, drawn in PICTURES.items():
        drawn().write(FOLDER / f"{name}.svg")
