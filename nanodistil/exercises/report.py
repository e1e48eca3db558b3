"""What a learner is told, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOWN = 3  # cases that failed, or ways to fail


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
      has other numbers (by hand)
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
    alike: dict[str, list[dict[str, Any]]] = {}
    for failure in failures:
        alike.setdefault(failure["why"], []).append(failure)
    for why, cases in list(alike.items())[:SHOWN]:
        more = f", and {len(cases) - 1} more" if len(cases) > 1 else ""
        lines.append(f"  {why} ({cases[0]['case']}{more})")
        for case in cases[: SHOWN if len(alike) == 1 else 1]:
            if case["yours"] and case["right"]:
                lines += [f"    {case['case']}"] * (case is not cases[0])
                lines += [f"    yours     {case['yours']}", f"    right     {case['right']}"]
    if len(alike) > SHOWN:
        lines.append(f"  and {len(alike) - SHOWN} other kinds")
    return lines + [f"recognised: {slip}" for slip in verdict["slips"]]
