"""`nanodistil drift`: how far every number of a model is from float64, and which op brought it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from nanodistil.cli.columns import aligned

if TYPE_CHECKING:
    from nanodistil.lessons.drifting import Drift

HELP = "how far each layer and op is from float64, and which op brought it"
EXAMPLES = """examples:
  nanodistil drift
  nanodistil drift --with numba:float32 numba:int8 --shape 1x128 --plot drift.png
  nanodistil drift --ops mine.py
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    parser.add_argument(
        "--with",
        dest="others",
        nargs="+",
        metavar="B:D",
        help="backend:dtype pairs (default: numpy:float32, numba in all its dtypes, transformers if it is installed)",
    )
    parser.add_argument("--shape", default="1x32", metavar="BxT", help="sentences x tokens (default 1x32)")
    parser.add_argument("--ops", metavar="FILE", help="with ops of yours, in a Python file, as one more")
    parser.add_argument("--plot", metavar="FILE", help="draw it too: .png, .svg or .pdf; needs the extra plot")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")


def run(args: argparse.Namespace) -> int:
    """Print tables, or JSON."""
    from nanodistil.backend import choose
    from nanodistil.benchmark import shape_of
    from nanodistil.cli import loading
    from nanodistil.cli.explain import usual_model
    from nanodistil.cli.progress import shown
    from nanodistil.lessons.drawing import check, draw_drift
    from nanodistil.lessons.drifting import drift

    shape_of(args.shape)
    check(args.plot)
    others = None
    if args.others is not None:
        others = [pair_of(text) for text in args.others]
        for backend, dtype in others:
            choose(backend, dtype)
    yours = loading.yours(args.ops, None)
    name = args.model if args.model is not None else usual_model()
    with shown(sys.stderr) as told:
        found = drift(name, args.shape, others, yours=[("yours", "float32")] if yours else [], told=told)
    if args.plot:
        draw_drift(found, args.plot)
    print(json.dumps(found.as_dict(), indent=1) if args.json else tables(found))
    return 0


def pair_of(text: str) -> tuple[str, str]:
    """ "numba:int8" -> ("numba", "int8"); "cupy:1:float16" is of the second GPU.

    >>> pair_of("numba:int8"), pair_of("cupy:1:float16"), pair_of("numpy")
    (('numba', 'int8'), ('cupy:1', 'float16'), ('numpy', 'float32'))
    """
    backend, _, dtype = text.rpartition(":")
    return (backend, dtype) if backend else (text, "float32")


def tables(found: Drift) -> str:
    """How far, layer by layer; and what each kind of op brings of the answer's squared error.

    >>> from nanodistil.lessons.drifting import Candidate, Drift
    >>> errors = {"embeddings.LayerNorm": 1e-8, "layer.0.output_layer_norm": 2e-7, "vocab_projector": 4e-7}
    >>> one = Candidate("numpy float32", errors, 4e-7, {"attention": 2e-7}, {"attention": 3e-7})
    >>> print(tables(Drift("1x4", 1, [one])))
    error against float64, 1x4   numpy float32
    embeddings.LayerNorm               1.0e-08
    layer.0.output_layer_norm          2.0e-07
    vocab_projector                    4.0e-07
    <BLANKLINE>
    of its square, alone, gone  numpy float32
    attention                       25%,  44%
    <BLANKLINE>
    error: root of the mean square, relative to that of the numbers. alone: only this op computes so, all else exactly;
    gone: what goes if this op alone is exact. Shares need not add up to 100%.
    """
    names = [c.name for c in found.candidates]
    cells = [(f"error against float64, {found.shape}", *names)]
    cells += [(name, *("" if e is None else f"{e:.1e}" for e in errors)) for name, errors in found.stages()]
    text = aligned(cells, right=range(1, len(names) + 1))
    if kinds := found.kinds():
        cells = [("of its square, alone, gone", *(c.name for c in found.candidates if c.alone))]
        for kind, shares in kinds:
            told = [one for one, c in zip(shares, found.candidates, strict=True) if c.alone]
            cells.append((kind, *("" if one is None else f"{one[0]:.0%}, {one[1]:>4.0%}" for one in told)))
        text += "\n\n" + aligned(cells, right=range(1, len(names) + 1))
        text += (
            "\n\nerror: root of the mean square, relative to that of the numbers. alone: only this op computes so, all "
            "else exactly;\ngone: what goes if this op alone is exact. Shares need not add up to 100%."
        )
    return text
