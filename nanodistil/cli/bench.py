"""`nanodistil bench`: this model on this machine, op by op, each beside what the machine could do."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from nanodistil.cli import loading
from nanodistil.cli.columns import aligned
from nanodistil.cli.parsing import number, whole
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.benchmark import OpTime, Profile, Rung
    from nanodistil.comparison import Cell
    from nanodistil.replacing import Row
    from nanodistil.serve.pressing import Level

HELP = "time a model op by op, the ladder from formula to kernel, or a running server"
SHAPES = ["1x16", "8x128"]
COMPARED = ["1x8", "1x16", "1x128", "1x384", "8x128"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    parser.add_argument(
        "--shapes",
        "--shape",
        action="extend",
        nargs="+",
        metavar="BxT",
        help=f"sentences x tokens (default {' '.join(SHAPES)}; with --compare {' '.join(COMPARED)})",
    )
    loading.add_backend_arguments(parser)
    parser.add_argument("--threads", type=whole(1), metavar="N", help="how many threads to use")
    parser.add_argument(
        "--seconds",
        type=number,
        metavar="S",
        help="about so long a shape, twice (default 1); with --serve so long a rate (default 10)",
    )
    parser.add_argument(
        "--ladder", action="store_true", help="the steps from the formula to the kernel of a linear map"
    )
    parser.add_argument(
        "--show-asm",
        nargs="?",
        const="linear",
        metavar="KERNEL",
        help="a kernel's inner loop in machine code: linear (default), linear-bfloat16, linear-int8, gelu, layer-norm",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="ONNX Runtime and OpenVINO beside ours, on the processor; needs the extra compare",
    )
    parser.add_argument(
        "--ops",
        metavar="FILE",
        help="a Python file of yours: its functions that are called as ops replace them, and have a table of their own",
    )
    parser.add_argument(
        "--serve",
        metavar="URL",
        help="a running server of embeddings under load, TEI's, or OpenAI's if the URL ends with /v1: 0.5, 0.8, 1 and "
        "2 times what it can do, latency from when a request was due, every answer checked; needs the extra load",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")


def run(args: argparse.Namespace) -> int:
    """Print tables, or JSON."""
    if args.seconds is None:
        args.seconds = 10.0 if args.serve else 1.0
    if not 0 <= args.seconds < 1e6:
        raise InputError(f"--seconds must be from 0 to a million, not {args.seconds}")
    loading.set_threads(1 if args.ladder else args.threads)  # the ladder's first steps are for one thread
    if args.serve is not None:
        return _serve(args)
    if args.show_asm is not None:
        return _assembly(args)
    if args.compare:
        return _compare(args)
    return _ladder(args) if args.ladder else _model(args)


def _serve(args: argparse.Namespace) -> int:
    import asyncio
    import os

    from nanodistil.cli.serve import KEY
    from nanodistil.serve.pressing import Target, levels, texts

    target = Target(args.serve, os.environ.get(KEY))
    capacity, found = asyncio.run(levels(target, max(args.seconds, 0.1), texts()))
    if args.json:
        rows = [{**one._asdict(), "latencies": len(one.latencies), **_quantiles(one)} for one in found]
        print(json.dumps({"url": args.serve, "capacity": capacity, "levels": rows}, indent=1))
        return 0
    print(f"{target.path}: {capacity:.1f} texts a second, one a request\n")
    print(level_table(found))
    return 0


def _quantiles(level: Level) -> dict[str, float]:
    return {f"p{round(100 * q)}": level.quantile(q) for q in (0.5, 0.9, 0.99)}


def level_table(levels: list[Level]) -> str:
    """A row a rate.

    >>> from nanodistil.serve.pressing import Level
    >>> print(level_table([Level(2.0, 80.0, 10.0, [0.25, 0.5], 3, 0, 0, 0)]))
    times  requests/s  p50 ms  p90 ms  p99 ms  200  429  others  other bits  wrong
      2.0          80     375     475     498    2    3       0           0      0
    """
    cells = [("times", "requests/s", "p50 ms", "p90 ms", "p99 ms", "200", "429", "others", "other bits", "wrong")]
    for one in levels:
        ms = (f"{1e3 * seconds:.0f}" for seconds in _quantiles(one).values())
        counts = (len(one.latencies), one.refused, one.others, one.bits, one.wrong)
        cells.append((f"{one.times:.1f}", f"{one.rate:.0f}", *ms, *map(str, counts)))  # type: ignore[arg-type]
    return aligned(cells, right=range(10))


def _assembly(args: argparse.Namespace) -> int:
    from nanodistil.benchmark import inner_loop

    loop = inner_loop(args.show_asm)
    if args.json:
        print(json.dumps(loop._asdict(), indent=1))
        return 0
    counts = f"{len(loop.lines)} lines, {loop.multiply_adds} multiply-adds of vectors, {loop.stack} at the stack"
    print(f"{loop.kernel}, its innermost loop: {counts}\n")
    print("\n".join(line.expandtabs(8) for line in loop.lines))
    return 0


def _ladder(args: argparse.Namespace) -> int:
    from nanodistil.backend import load
    from nanodistil.benchmark import LADDER_SHAPE, ladder

    load("numba", args.threads)
    rungs = ladder(args.seconds / 3)
    if args.json:
        print(json.dumps([vars(rung) for rung in rungs], indent=1))
    else:
        print(rung_table(rungs, LADDER_SHAPE))
    return 0


def _model(args: argparse.Namespace) -> int:
    from nanodistil.backend import choose, named
    from nanodistil.benchmark import limits, profile, shape_of
    from nanodistil.family.distilbert import DistilBertModel

    shapes = args.shapes or SHAPES
    for shape in shapes:
        shape_of(shape)  # before a model is loaded
    backend, dtype = choose(loading.yours(args.ops, args.backend), args.dtype)
    name = _named(args)
    threads = None if backend == "numpy" else args.threads
    model = DistilBertModel.from_pretrained(name, backend=backend, dtype=dtype, threads=threads)
    machine = limits(backend, dtype)
    profiles = [profile(model, shape, args.seconds, machine) for shape in shapes]
    replaced = [_replaced(model, shape) if args.ops else [] for shape in shapes]
    if args.json:
        found = {"model": str(name), "backend": backend, "dtype": str(dtype), "limits": machine and machine._asdict()}
        each = [p.as_dict() for p in profiles]
        for one, rows in zip(each, replaced, strict=True):
            one |= {"yours": [row._asdict() for row in rows]} if args.ops else {}
        print(json.dumps(found | {"shapes": each}, indent=1))
        return 0
    print(f"{name}, {backend} {dtype}")
    if machine:
        on_gpu = named(backend)[0].on_gpu
        with_threads = "" if on_gpu else f" with {machine.threads} threads"
        measured = f"{machine.flops / 1e9:.0f} GFLOP/s in linear maps of {dtype}"
        if not on_gpu and dtype != "float32":
            measured += f", {machine.others / 1e9:.0f} in float32"
        measured += f" and {machine.bandwidth / 1e9:.1f} GB/s"
        print(f"this {'GPU' if on_gpu else 'machine'}: {measured}{with_threads}, measured just now")
    for p, rows in zip(profiles, replaced, strict=True):
        print("\n" + op_table(p, machine))
        if rows:
            print("\n" + replaced_table(rows))
    return 0


def _replaced(model: Any, shape: str) -> list[Row]:
    from nanodistil.comparison import batch
    from nanodistil.replacing import beside

    return beside(model, batch(shape, model.config.vocab_size)[0])


def replaced_table(rows: list[Row]) -> str:
    """Functions of the user's beside what they replace: time, and the largest error against float64.

    >>> from nanodistil.replacing import Row
    >>> print(replaced_table([Row("gelu", 6, 0.002, 0.0005, 3e-8, 4e-8)]))
    yours  calls    ms  the backend's  times    error  the backend's
    gelu       6  2.00           0.50   4.00  3.0e-08        4.0e-08
    error: the largest against the definition in float64, relative to the largest number
    """
    cells = [("yours", "calls", "ms", "the backend's", "times", "error", "the backend's")]
    for r in rows:
        times = f"{r.seconds / r.backend:.2f}" if r.backend else ""
        ms, theirs = f"{r.seconds * 1e3:.2f}", f"{r.backend * 1e3:.2f}"
        cells.append((r.op, str(r.calls), ms, theirs, times, f"{r.error:.1e}", f"{r.backend_error:.1e}"))
    told = "error: the largest against the definition in float64, relative to the largest number"
    return f"{aligned(cells, right=range(1, 7))}\n{told}"


def _named(args: argparse.Namespace) -> Any:
    """The model that was named, else the command line's own."""
    from nanodistil.weights.hub import resolve_default

    if args.model is not None:
        return args.model
    name, note = resolve_default(need="model")
    if note:
        print(f"nanodistil: {note}", file=sys.stderr)
    return name


def _compare(args: argparse.Namespace) -> int:
    from functools import partial

    from nanodistil import comparison
    from nanodistil.backend import choose, instrument
    from nanodistil.backend import load as load_backend
    from nanodistil.family.distilbert import DistilBertModel

    if args.backend not in (None, "numba"):
        raise InputError(f"--compare times the kernels of the processor: --backend is numba, not {args.backend}")
    dtypes = [choose("numba", args.dtype)[1]] if args.dtype else comparison.DTYPES
    lacking, versions = comparison.missing(), comparison.versions()
    load_backend("numba", args.threads)
    threads = instrument("diagnosis").threads()["used"]
    name = _named(args)
    said = {"model": str(name), "threads": threads, "versions": versions, "missing": lacking}
    if not args.json:
        print(f"{name}, threads: {threads}; {', '.join(' '.join(pair) for pair in versions.items())}")
        if lacking:
            print(f"not installed: {', '.join(lacking)}; {comparison.EXTRA}")
        print("medians of blocks of calls that take turns; x: how many times as long as ours in the same dtype")
    rows = []
    load = partial(DistilBertModel.from_pretrained, name)
    for cell in comparison.compare(load, dtypes, args.shapes or COMPARED, threads, args.seconds):
        rows.append(cell.as_dict())
        if not args.json:
            print("\n" + cell_table(cell), flush=True)
    if args.json:
        print(json.dumps(said | {"shapes": rows}, indent=1))
    return 0


def cell_table(cell: Cell) -> str:
    """A row a dtype, two columns an engine: milliseconds, and times ours.

    >>> from nanodistil.comparison import Cell
    >>> ours, peer = ("nanodistil", "int8"), ("OpenVINO", "int8")
    >>> print(cell_table(Cell("1x8", {}, {ours: 0.002, peer: 0.003}, {ours: 1.0, peer: 1.5}, 5)))
    1x8, ms  nanodistil  OpenVINO
    int8           2.00      3.00  1.50 x
    """
    names = list(dict.fromkeys(name for name, _ in cell.seconds))
    table = [[f"{cell.shape}, ms", *(text for name in names for text in (name, "")[: 1 + (name != names[0])])]]
    for dtype in dict.fromkeys(dtype for _, dtype in cell.seconds):
        row = [dtype]
        for name in names:
            seconds = cell.seconds.get((name, dtype))
            row.append(f"{seconds * 1e3:.2f}" if seconds else "")
            if name != names[0]:
                row.append(f"{cell.ratios[name, dtype]:.2f} x" if seconds else "")
        table.append(row)
    return aligned(table, right=range(1, len(table[0])))


def op_table(p: Profile, machine: Any) -> str:
    """Op by op: calls, time and its share, operations or bytes a second, and the share of the limit reached."""
    rows = [("sentences x tokens " + p.shape, "calls", "ms", "share", "GFLOP", "GFLOP/s", "GB/s", "reached")]
    for op in p.ops:
        rows.append(
            (
                op.name,
                str(op.calls),
                f"{op.seconds * 1e3:.2f}",
                f"{op.seconds / p.seconds:.0%}",
                f"{op.flops / 1e9:.2f}" if op.flops else "",
                f"{op.flops / op.seconds / 1e9:.0f}" if op.flops else "",
                f"{op.bytes / op.seconds / 1e9:.1f}",
                share_of(op),
            )
        )
    whole = f"{p.of_peak():.0%} of peak" if machine else ""
    rate = f"{p.flops / p.seconds / 1e9:.0f}"
    rows.append(("all, timed apart", "", f"{p.seconds * 1e3:.2f}", "", f"{p.flops / 1e9:.2f}", rate, "", whole))
    return aligned(rows, right=range(1, 7))


def share_of(op: OpTime) -> str:
    """What an op reaches of the machine's limit, if there is one to tell.

    >>> from nanodistil.benchmark import OpTime
    >>> share_of(OpTime("lin1 linear", seconds=2.0, floor=1.5, bound="peak"))
    '75% of peak'
    >>> share_of(OpTime("embed", seconds=0.01, floor=1.5, bound="bandwidth")), share_of(OpTime("embed"))
    ('in cache', '')
    """
    if not op.bound:
        return ""
    return "in cache" if op.in_cache() else f"{op.reached():.0%} of {op.bound}"


def rung_table(rungs: list[Rung], shape: tuple[int, int, int]) -> str:
    """The ladder: step, threads, time, operations a second, share of the peak, largest error, idea."""
    N, I, O = shape
    rows = [(f"{N} rows, {I} -> {O}", "threads", "ms", "GFLOP/s", "of peak", "error", "  what it adds")]
    for r in rungs:
        share = f"{r.reached:.0%}" if r.reached else ""
        rate = f"{r.gflops:.1f}"
        rows.append((r.name, str(r.threads), f"{r.seconds * 1e3:.2f}", rate, share, f"{r.error:.1%}", "  " + r.adds))
    return (
        aligned(rows, right=range(1, 6))
        + "\nerror: the largest against float64, relative to the bound I 2^-24 sum |x w|"
    )
