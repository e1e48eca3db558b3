"""A picture as SVG: a few shapes and texts on white paper. Equal calls give equal bytes, on any machine.

Plotting libraries draw better, and otherwise with each version; a test here compares the pictures with their pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

INK, PALE, ACCENT, SECOND = "#1f2933", "#9aa5b1", "#2563eb", "#d97706"


class Picture:
    """A sheet of so many pixels. Places are from the upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.parts = [f'<rect width="{width:g}" height="{height:g}" fill="white"/>']

    def text(
        self, x: float, y: float, words: str, size: int = 13, anchor: str = "start", color: str = INK, turn: float = 0
    ) -> None:
        """Words whose baseline is at y; anchor: start, middle or end."""
        turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}"{turned}>'
            f"{escape(words)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, fill: str = ACCENT, opacity: float = 1) -> None:
        """A filled rectangle."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"'
            f' fill-opacity="{opacity:.2f}"/>'
        )

    def line(self, points: Sequence[tuple[float, float]], color: str = INK, width: float = 1) -> None:
        """From point to point."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}"/>')

    def write(self, path: Path) -> None:
        """Under a temporary name first, as all files here."""
        other = path.with_suffix(".new")
        other.write_text(str(self), encoding="utf-8")
        other.replace(path)

    def __str__(self) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}"'
        size = f' width="{self.width:g}" height="{self.height:g}" font-family="sans-serif">'
        return "\n".join([head + size, *self.parts, "</svg>"]) + "\n"


def bars(
    picture: Picture, x: float, y: float, rows: Sequence[tuple[str, float, str]], most: float, width: float
) -> None:
    """A bar each, with its name on the left and its value, in words, on the right: from x on, one below the other."""
    for i, (name, value, words) in enumerate(rows):
        top = y + 26 * i
        picture.text(x - 8, top + 14, name, anchor="end")
        picture.box(x, top, max(1.0, width * value / most), 18)
        picture.text(x + max(1.0, width * value / most) + 6, top + 14, words, 12)
