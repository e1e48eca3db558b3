"""The command `nanodistil`: one verb a module, each a thin call into the library.

A verb module has HELP (one line), add_arguments(parser) and run(args) -> exit code; some have EXAMPLES, shown below
their help. Verbs import what they need inside `run`, so that `nanodistil --help` answers at once. Those that answer
inputs share records.py (where inputs come from), loading.py (what answers), answering.py (the loop) and results.py
(where answers go).

Exit codes: 0 done; 2 the user can mend it, one line on stderr says how; 1 a bug, with its traceback; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from nanodistil import __version__
from nanodistil.cli.compiling import announced
from nanodistil.weights.errors import NanoDistilError

VERBS = {
    "fill-mask": "nanodistil.cli.fill_mask",
    "classify": "nanodistil.cli.classify",
    "ner": "nanodistil.cli.ner",
    "answer": "nanodistil.cli.answer",
    "zero-shot": "nanodistil.cli.zero_shot",
    "choose": "nanodistil.cli.choose",
    "embed": "nanodistil.cli.embed",
    "tokenize": "nanodistil.cli.tokenize",
    "binarize": "nanodistil.cli.binarize",
    "token-counts": "nanodistil.cli.token_counts",
    "extract-student": "nanodistil.cli.extract_student",
    "distill": "nanodistil.cli.distill",
    "finetune": "nanodistil.cli.finetune",
    "evaluate": "nanodistil.cli.evaluate",
    "plot": "nanodistil.cli.plot",
    "download": "nanodistil.cli.download",
    "models": "nanodistil.cli.models",
    "doctor": "nanodistil.cli.doctor",
    "warmup": "nanodistil.cli.warmup",
    "bench": "nanodistil.cli.bench",
}


CANNOT_WRITE = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EDQUOT)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser("nanodistil", description="DistilBERT from scratch in NumPy and Numba.")
    top.add_argument("--version", action="version", version=f"nanodistil {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, home in VERBS.items():
        module = import_module(home)
        sub = verbs.add_parser(
            verb,
            help=module.HELP,
            description=module.HELP,
            epilog=getattr(module, "EXAMPLES", None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def _one_line_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    kind = "" if str(message).startswith("note: ") else "warning: "
    print(f"nanodistil: {kind}{message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (sys.argv by default) and return its exit code."""
    args = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shows its number
    with warnings.catch_warnings(), announced(sys.stderr):
        warnings.simplefilter("default", UserWarning)  # each once, though inputs come in chunks
        warnings.showwarning = _one_line_warning
        try:
            code = int(args.run(args))
            sys.stdout.flush()
            return code
        except NanoDistilError as error:
            print(f"nanodistil: {error}", file=sys.stderr)
            return 2
        except MemoryError as error:  # after batches were halved to the last row
            print(f"nanodistil: out of memory ({str(error) or 'of the host'}): use shorter texts", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stopped:
            if str(stopped):  # a training run, which is saved
                print(f"nanodistil: {stopped}", file=sys.stderr)
            return 130
        except OSError as error:
            if error.errno not in CANNOT_WRITE:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python writes once more, at exit
            if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as `head` does
                return 0
            print(f"nanodistil: cannot write the output: {error.strerror}", file=sys.stderr)
            return 2
