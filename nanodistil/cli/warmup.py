"""`nanodistil warmup`: compile now what would otherwise be compiled on first use, as when building an image."""

import argparse
import json

HELP = "compile all kernels that answers need, on a GPU too: later starts are then fast"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="CPU,+FEATURE,...", help="as its `doctor --json` has it; runs nothing")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a line")


def run(args: argparse.Namespace) -> int:
    """Print how long it took and where the compiled code is kept."""
    from nanodistil.cli.compiling import announced
    from nanodistil.warmup import compile_for, warm_up, warm_up_gpu

    with announced(None) as line:  # to count; `main` shows them
        warmth = compile_for(args.target) if args.target else warm_up()
    if args.json:
        found = {"seconds": round(warmth.seconds, 2), "compiled": line.count, "cache": warmth.cache}
        gpu = None if args.target else warm_up_gpu()
        print(json.dumps(found | {"gpu": gpu and gpu._asdict()}))
        return 0
    cache = warmth.cache
    kept = f"{cache['files']} in {cache['folder']}, {cache['bytes'] / 1e6:.1f} MB"
    if cache["why_not_writable"] and (line.count or cache["why_not_readable"]):
        kept = f"not kept: {cache['why_not_writable']}"
    print(f"{line.count} kernels compiled in {warmth.seconds:.1f} s; {kept}")
    if not args.target and (gpu := warm_up_gpu()):
        print(f"GPU: {gpu.modules} sources compiled or loaded in {gpu.seconds:.1f} s; CuPy keeps them in {gpu.folder}")
    return 0
