"""`nanodistil explain "Paris is the [MASK] of France."`: what one text goes through, in real numbers."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from nanodistil.cli import loading
from nanodistil.cli.columns import aligned
from nanodistil.cli.parsing import whole
from nanodistil.weights.errors import InputError

HELP = "narrate a forward pass or a training step, in the run's own numbers"
ROOM = 100_000  # characters of a line in a file: nothing is cut there
EXAMPLES = """examples:
  nanodistil explain "Paris is the [MASK] of France."
  nanodistil explain --step layer.0.attention "Paris is the [MASK] of France."
  nanodistil explain --step tokens "unaffable"
  nanodistil explain --backward "Paris is the [MASK] of France."
  nanodistil explain --diff "Paris is the [MASK] of France."
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="one text")
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    loading.add_backend_arguments(parser)
    parser.add_argument("--threads", type=whole(1), metavar="N", help="how many threads to use")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--step",
        metavar="NAME",
        help="work one step by hand, such as layer.0.attention, layer.2.ffn.lin1, embeddings, vocab_projector; "
        "tokens: how the text was cut",
    )
    what.add_argument("--diff", action="store_true", help="beside transformers' tensors; needs the extra parity")
    what.add_argument(
        "--backward", action="store_true", help="a training step, every gradient checked by a finite difference"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead")


def run(args: argparse.Namespace) -> int:
    """Print the narration, or JSON."""
    loading.set_threads(args.threads)
    from nanodistil.backend import choose
    from nanodistil.lessons import explaining
    from nanodistil.lessons.telling import told, worked

    if any("\ud800" <= c <= "\udfff" for c in args.text):
        raise InputError("the text is not UTF-8, which texts must be")
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else ROOM
    name = args.model if args.model is not None else usual_model()
    if args.step == "tokens":
        return _tokens(args, name)
    if args.backward:
        from nanodistil.lessons.learning import learn

        found = learn(args.text, name)
        _show(args, found.as_dict(), lambda: found.told(width))
        return 0
    backend, dtype = choose(args.backend, args.dtype)
    threads = None if backend == "numpy" else args.threads
    model, tokenizer = explaining.load(name, backend=backend, dtype=dtype, threads=threads)
    explanation = explaining.explain(args.text, model, tokenizer)
    if args.step:
        steps = explanation.step(args.step)
        by_hand = [
            {"name": call.name, "op": call.op, "formula": call.formula, "source": call.source, "line": call.line,
             "definition": call.definition, "lines": one.lines, "by_hand": one.by_hand, "computed": one.computed,
             "error": one.error} for call, one in steps
        ]  # fmt: skip
        _show(args, by_hand, lambda: worked(explanation, steps, width))
    elif args.diff:
        from nanodistil.lessons.theirs import beside

        rows = beside(model, explanation.ids, explanation.trace.values)
        _show(args, [row._asdict() for row in rows], lambda: diff_table(rows))
    else:
        _show(args, explanation.as_dict(), lambda: told(explanation, width))
    return 0


def usual_model() -> Any:
    """The command line's own model, and a line on stderr if it is not the official one."""
    from nanodistil.weights.hub import resolve_default

    name, note = resolve_default()
    if note:
        print(f"nanodistil: {note}", file=sys.stderr)
    return name


def _show(args: argparse.Namespace, record: Any, text: Any) -> None:
    print(json.dumps(record, indent=1) if args.json else text())


def _tokens(args: argparse.Namespace, name: Any) -> int:
    from dataclasses import asdict

    from nanodistil.auto import AutoTokenizer
    from nanodistil.cli.tokenize import table, told
    from nanodistil.tokenization.explain import explain

    tokenizer = AutoTokenizer.from_pretrained(name)
    found = explain(tokenizer, args.text)
    _show(args, asdict(found), lambda: f"{table(tokenizer(args.text)[0], args.text)}\n\n{told(found, args.text)}")
    return 0


def diff_table(rows: Any) -> str:
    """One line a tensor: how far ours and transformers' are apart, and each from float64.

    >>> from nanodistil.lessons.theirs import Apart
    >>> print(diff_table([Apart("layer.0.ffn.lin1", (8, 1536), 2e-7, 1e-7, 1.5e-7)]))
    name              shape     apart    ours     transformers
    layer.0.ffn.lin1  8 x 1536  2.0e-07  1.0e-07  1.5e-07
    the largest differences, relative to the largest number: from one another, and from float64
    """
    from nanodistil.lessons.telling import shape

    cells = [("name", "shape", "apart", "ours", "transformers")]
    cells += [(r.name, shape(r.shape), f"{r.apart:.1e}", f"{r.ours:.1e}", f"{r.theirs:.1e}") for r in rows]
    told = "the largest differences, relative to the largest number: from one another, and from float64"
    return f"{aligned(cells, right=())}\n{told}"
