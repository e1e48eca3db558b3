"""The report of a run, on one page: steps, failures by name, what was found, and the figures themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_NAMED = 200
MOST_FIGURES = 80  # lines


def report(head: str, came: Sequence[Any], records: Sequence[dict], folder: Path) -> tuple[str, bool]:
    """(Markdown, whether nothing failed). came: of each step name, seconds, how it ended, failures of a script."""
    ended = [record for record in records if record["event"] == "ended"]
    failed = [record for record in ended if record["outcome"] == "failed"]
    over = {(r["step"], r["test"]) for r in ended}
    running = [r for r in records if r["event"] == "began" and (r["step"], r["test"]) not in over]
    text = [f"# A run: {head}", "", *table(came, ended)]
    wrong = [f"- {step.step}: {step.ended}" for step in came if step.ended]
    wrong += [f"- {step.step}: {name}" for step in came for name in step.names]
    wrong += [f"- {r['step']}: `{r['test']}`: {r['why']}" for r in failed]
    text += ["", "## What failed", "", *(wrong[:MOST_NAMED] or ["Nothing."])]
    if len(wrong) > MOST_NAMED:
        text += [f"- and {len(wrong) - MOST_NAMED} more: tests.jsonl"]
    if running:
        text += ["", "## What was running", "", *(f"- {r['step']}: `{r['test']}`" for r in running)]
    for title, file in (("Facts", "facts.txt"), ("Figures", "figures.txt")):
        if (folder / file).exists():
            lines = (folder / file).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            text += ["", f"## {title}", "", "```", *lines[:MOST_FIGURES], "```"]
    return "\n".join(text) + "\n", not wrong


def table(came: Sequence[Any], ended: Sequence[dict]) -> list[str]:
    rows = ["| step | passed | failed | skipped | seconds | |", "|---|---|---|---|---|---|"]
    for step in came:
        of = [record["outcome"] for record in ended if record["step"] == step.step]
        counts = [str(of.count(outcome)) if of else "" for outcome in ("passed", "failed", "skipped")]
        if not of and not step.ended:
            counts[0:2] = ["", str(len(step.names))]
        rows.append(f"| {' | '.join([step.step, *counts, f'{step.seconds:.0f}', step.ended])} |")
    return rows
