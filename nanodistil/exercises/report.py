"""What a learner is told, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOWN = 3  # cases that failed


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells as lines, the first column to the left and the others to the right.

    >>> columns([("a", "10"), ("bc", "9")])
    ['a   10', 'bc   9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def of_verdict(verdict: dict[str, Any], name: str) -> list[str]:
    """Lines on a verdict (judging.Verdict as a dict).

    >>> failure = {"case": "by hand", "why": "has other numbers", "yours": "[0]: 1", "right": "[0]: 2"}
    >>> print(*of_verdict({"cases": 9, "failures": [failure], "slips": ["an example"]}, "softmax"), sep="\\n")
    softmax: wrong in 1 of 9 cases
      by hand: has other numbers
        yours     [0]: 1
        right     [0]: 2
    recognised: an example
    """
    failures = verdict["failures"]
    if not failures:
        return [f"{name}: right in all {verdict['cases']} cases"]
    if any(f["why"].startswith("line") and "NotImplementedError" in f["why"] for f in failures):
        return [f"{name}: not written yet ({failures[0]['why']})"]
    lines = [f"{name}: wrong in {len(failures)} of {verdict['cases']} cases"]
    for failure in failures[:SHOWN]:
        lines.append(f"  {failure['case']}: {failure['why']}")
        if failure["yours"] and failure["right"]:
            lines += [f"    yours     {failure['yours']}", f"    right     {failure['right']}"]
    if len(failures) > SHOWN:
        lines.append(f"  and {len(failures) - SHOWN} more")
    return lines + [f"recognised: {slip}" for slip in verdict["slips"]]
