"""`nanodistil evaluate classification --model ./sst2 --data dev.tsv`: how well does a trained model do?"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from nanodistil.cli import loading, task_flags
from nanodistil.cli.columns import aligned
from nanodistil.cli.parsing import whole
from nanodistil.weights.errors import InputError

HELP = "measure a trained model on a file of examples with their answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for task, sub in task_flags.subparsers(parser, "evaluate").items():
        sub.add_argument("--model", required=True, metavar="M", help="folder or hub id")
        sub.add_argument("--data", required=True, metavar="FILE", help="examples with their answers")
        loading.add_backend_arguments(sub)
        sub.add_argument("--threads", type=whole(1), metavar="N", help="how many threads to use")
        sub.add_argument("--json", action="store_true", help="one JSON document instead of a table")
        sub.add_argument("--out", metavar="FOLDER", help="write what the model answered there")
        if task in ("masked-lm", "causal-lm"):
            sub.add_argument("--seed", type=whole(0), default=42, metavar="N", help="of what is drawn (default 42)")


def run(args: argparse.Namespace) -> int:
    loading.set_threads(args.threads)
    from nanodistil.backend import choose
    from nanodistil.training.evaluate import evaluate
    from nanodistil.training.run import sayable

    if args.out == "":
        raise InputError("--out is empty: name a folder")
    if args.out is not None and os.path.exists(args.out) and not os.path.isdir(args.out):
        raise InputError(f"--out {args.out}: a folder is needed, and that is a file")
    chosen, dtype = choose(args.backend, args.dtype)
    found = evaluate(
        task_flags.task_of(args),
        args.model,
        args.data,
        backend=chosen,
        dtype=dtype,
        threads=None if chosen == "numpy" else args.threads,
    )
    if args.out is not None:
        write(Path(args.out), sayable({"metrics": found.metrics, **found.files}))
    print(json.dumps(sayable(found.metrics), indent=1) if args.json else table(found.metrics))
    return 0


def write(folder: Path, files: dict[str, Any]) -> None:
    """Write each as NAME.json. Raises InputError if that cannot be done."""
    from nanodistil.weights.saving import written

    for name, content in files.items():
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        written(folder / f"{name}.json", lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]


def table(metrics: dict[str, Any]) -> str:
    """Figures by name, those of kinds of entities in a line each.

    >>> print(table({"f1": 0.5, "PER": {"f1": 1.0, "number": 3}}))
    f1   0.5000
    PER  f1 1.0000  number 3
    """

    def shown(value: Any) -> str:
        if isinstance(value, dict):
            return "  ".join(f"{name} {shown(one)}" for name, one in value.items())
        return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"

    return aligned([(name, shown(value)) for name, value in metrics.items()], right=())
