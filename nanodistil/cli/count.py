"""`nanodistil count`: parameters, operations and bytes of every op, and what it waits for."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from nanodistil.cli import loading
from nanodistil.cli.columns import aligned
from nanodistil.cli.parsing import whole

if TYPE_CHECKING:
    from nanodistil.lessons.counting import Counted

HELP = "parameters, operations and bytes of each op, and this machine's roofline"
EXAMPLES = """examples:
  nanodistil count
  nanodistil count --shape 32x128 --dtype int8 --plot roofline.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    parser.add_argument("--shape", default="1x128", metavar="BxT", help="sentences x tokens (default 1x128)")
    loading.add_backend_arguments(parser)
    parser.add_argument("--threads", type=whole(1), metavar="N", help="how many threads to use")
    parser.add_argument("--plot", metavar="FILE", help="draw the roofline too: .png, .svg, .pdf; needs the extra plot")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")


def run(args: argparse.Namespace) -> int:
    """Print tables, or JSON."""
    loading.set_threads(args.threads)
    from nanodistil.backend import choose
    from nanodistil.benchmark import shape_of
    from nanodistil.cli.explain import usual_model
    from nanodistil.lessons.counting import count
    from nanodistil.lessons.drawing import check, draw_roofline

    shape_of(args.shape)
    check(args.plot)
    backend, dtype = choose(args.backend, args.dtype)
    threads = None if backend == "numpy" else args.threads
    name = args.model if args.model is not None else usual_model()
    found = count(name, args.shape, backend=backend, dtype=dtype, threads=threads)
    if args.plot:
        draw_roofline(found, args.plot)
    print(json.dumps(found.as_dict(), indent=1) if args.json else tables(found))
    return 0


def tables(found: Counted) -> str:
    """Parameters, then a line an op.

    >>> from nanodistil.lessons.counting import Counted, Op
    >>> op = Op("lin1 linear", 6, 3548160, 113246208, 14929920, 41287680, 0.002, 2e11, "memory")
    >>> print(tables(Counted("1x16", "numba", "float32", {"whole": 22743738}, [op], 0.01, 4e11, 2e10)))
    parameters: 22,743,738 whole
    this machine: 400 GFLOP/s and 20.0 GB/s; below 20 operations a byte an op waits for memory
    <BLANKLINE>
    1x16, numba float32  calls  parameters   MFLOP  MB memory  MB cache  FLOP/byte    ms  GFLOP/s   roof  waits for
    lin1 linear              6   3,548,160  113.25      14.93     41.29        7.6  2.00     56.6  200.0  memory
    all                      6   3,548,160  113.25      14.93     41.29        7.6  2.00     56.6
    """
    parts = ", ".join(f"{number:,} {part}" for part, number in found.parameters.items())
    lines = [f"parameters: {parts}"]
    if found.peak:
        lines.append(
            f"this machine: {found.peak / 1e9:.0f} GFLOP/s and {found.bandwidth / 1e9:.1f} GB/s; below "
            f"{found.peak / found.bandwidth:.0f} operations a byte an op waits for memory"
        )
    head = ("calls", "parameters", "MFLOP", "MB memory", "MB cache", "FLOP/byte", "ms", "GFLOP/s", "roof", "waits for")
    cells: list[tuple[str, ...]] = [(f"{found.shape}, {found.backend} {found.dtype}", *head)]
    for op in found.ops:
        cells.append((
            op.name, str(op.calls), f"{op.parameters:,}", f"{op.flops / 1e6:.2f}" if op.flops else "",
            f"{op.memory / 1e6:.2f}", f"{op.cache / 1e6:.2f}", f"{op.intensity:.1f}" if op.flops else "",
            f"{op.seconds * 1e3:.2f}", f"{op.rate / 1e9:.1f}" if op.flops else "",
            f"{op.roof / 1e9:.1f}" if op.roof else "", op.waits,
        ))  # fmt: skip
    flops, memory, seconds = (sum(getattr(op, name) for op in found.ops) for name in ("flops", "memory", "seconds"))
    cells.append((
        "all", str(sum(op.calls for op in found.ops)), f"{sum(op.parameters for op in found.ops):,}",
        f"{flops / 1e6:.2f}", f"{memory / 1e6:.2f}", f"{sum(op.cache for op in found.ops) / 1e6:.2f}",
        f"{flops / memory:.1f}" if memory else "", f"{seconds * 1e3:.2f}",
        f"{flops / seconds / 1e9:.1f}" if seconds else "", "", "",
    ))  # fmt: skip
    return "\n".join([*lines, "", aligned(cells, right=range(1, 10))])
