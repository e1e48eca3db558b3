"""The README's three proofs: rows of the tables in docs/, so that the two never disagree, and the picture above them.

    python tests/bench/proofs.py             write them from what docs/exactness.md and docs/speed.md say now
    python tests/bench/proofs.py --sizes     install the package and its rival afresh, and write what they weigh

Tables that a script writes stand between two markers, `<!-- name -->` and `<!-- /name -->`; `between` and `put` read
and write there. tests/unit/test_docs.py holds the README to what this file makes of the docs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
EXACT_ROWS = ("1 x 5", "8 x 100", "1 x 512")
FAST_ROWS = ("1x16", "1x128", "32x128", "ragged")
RIVALS = {  # what is weighed: the packages, as pip is asked for them
    "nanodistil": ["."],
    "without Numba (NumPy backend)": ["--no-deps", ".", "numpy>=2.0", "safetensors>=0.4.5", "regex"],
    "transformers and torch (CPU build)": ["torch==2.13.0", "transformers==4.57.6"],
}


def between(text: str, name: str) -> str:
    """What stands between the markers of this name."""
    return text.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]


def put(path: Path, name: str, written: str) -> None:
    """Write between the markers of this name, which the file has."""
    text = path.read_text(encoding="utf-8")
    old = between(text, name)
    marked = f"<!-- {name} -->\n"
    path.write_text(text.replace(f"{marked}{old}", f"{marked}{written.rstrip()}\n"), encoding="utf-8")


def rows(table: str) -> list[list[str]]:
    """The cells of a Markdown table's rows, its head first."""
    lines = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def short(table: list[list[str]], wanted: tuple[str, ...]) -> str:
    """The head and the rows of these names, as Markdown."""
    kept = [table[0], *(row for name in wanted for row in table if row[0] == name)]
    lines = ["| " + " | ".join(row) + " |" for row in kept]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])


def exact() -> str:
    """A few rows of docs/exactness.md."""
    return short(rows(between((DOCS / "exactness.md").read_text(encoding="utf-8"), "exactness")), EXACT_ROWS)


def speeds() -> list[list[str]]:
    """The first table of docs/speed.md."""
    text = between((DOCS / "speed.md").read_text(encoding="utf-8"), "speed")
    return rows(text.split("\nAt ")[0])


def fast() -> str:
    """A few of its rows."""
    return short(speeds(), FAST_ROWS)


def draw(path: Path) -> None:
    """Bars: how many times as long as ours each rival takes."""
    from matplotlib.figure import Figure

    head, *table = speeds()
    shown = [row for row in table if row[0] in ("1x16", "1x128", "32x128", "classify 8x128", "ragged")]
    figure = Figure(figsize=(8, 3), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / (len(head) - 1)
    for column, name in enumerate(head[1:]):
        ratios = [1.0 if column == 0 else float(re.findall(r"\(([\d.]+) x\)", row[column + 1])[0]) for row in shown]
        places = [i + (column - (len(head) - 2) / 2) * width for i in range(len(shown))]
        bars = axes.bar(
            places, ratios, width * 0.94, label=name, color=("#0b6e4f", "#c9a227", "#5b8fb9", "#8a6fa8")[column]
        )
        axes.bar_label(bars, [f"{r:.2g}" for r in ratios], fontsize=7, padding=1)
    axes.set_xticks(range(len(shown)), [row[0] for row in shown])
    axes.set_ylabel("time, nanodistil = 1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=len(head) - 1)
    axes.set_ylim(0, 4.3)
    axes.set_title("Shorter is faster: float32, two threads, each rival in its fastest way", fontsize=9)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def megabytes(packages: list[str]) -> int:
    """What these packages and all they need weigh, installed into an empty folder, with their compiled Python."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "pip", "install", "-q", "--target", folder, *packages]
        subprocess.run(line, cwd=ROOT, check=True)
        return round(sum(p.lstat().st_size for p in Path(folder).rglob("*")) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", action="store_true", help="weigh the packages too, freshly installed")
    args = parser.parse_args()
    put(README, "proof: exact", exact())
    put(README, "proof: fast", fast())
    draw(DOCS / "pictures" / "speed.png")
    if args.sizes:
        weights = [f"{megabytes(packages):,}" for packages in RIVALS.values()]
        put(README, "proof: small", short([["", *RIVALS], ["megabytes", *weights]], ("megabytes",)))


if __name__ == "__main__":
    main()
