"""A command line from its words to its exit code; the head of this folder says which codes there are."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from importlib import import_module
from typing import Any

from nanodistil import __version__
from nanodistil.cli import VERBS
from nanodistil.cli.compiling import announced
from nanodistil.cli.delivery import delivered
from nanodistil.cli.parsing import Parser, near
from nanodistil.cli.streams import Nowhere, as_utf8, mended
from nanodistil.weights.errors import NanoDistilError, excerpt

CANNOT_WRITE = (
    errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EBADF, errno.EFBIG, errno.EAGAIN,
)  # fmt: skip
ALSO_CALLED = {  # what somebody may say who knows transformers' pipelines
    "text-classification": "classify",
    "sentiment-analysis": "classify",
    "token-classification": "ner",
    "question-answering": "answer",
    "zero-shot-classification": "zero-shot",
    "multiple-choice": "choose",
    "feature-extraction": "embed",
    "text-generation": "generate",
    "train": "finetune",
    "predict": "classify",
    "version": "--version",
    "help": "--help",
}


def top_parser() -> Parser:
    """What may stand before the verb."""
    top = Parser("nanodistil", description="DistilBERT from scratch in NumPy and Numba.")
    top.add_argument("-V", "--version", action="version", version=f"nanodistil {__version__}")
    return top


def whole_parser() -> Parser:
    """The whole command line, for its help and for completion."""
    top = top_parser()
    verbs = top.add_subparsers(dest="verb", metavar="VERB")
    for verb, home in VERBS.items():
        module = import_module(home)
        filled(verbs.add_parser(verb, help=module.HELP, **described(module)), module)
    return top


def described(module: Any) -> dict[str, Any]:
    return {"description": module.HELP, "epilog": getattr(module, "EXAMPLES", None)}


def filled(parser: Parser, module: Any) -> Parser:
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What a command line says. Raises InputError; SystemExit after --help or --version."""
    at = next((i for i, word in enumerate(argv) if word[:1] != "-"), len(argv))
    helped = any(word.startswith(("-h", "--h")) for word in argv[:at])
    top = whole_parser() if helped else top_parser()
    general = top.parse_args(argv[:at])
    if at == len(argv):
        top.error("a verb is needed, such as fill-mask")
    verb = argv[at]
    if verb not in VERBS:
        meant = f"; did you mean {ALSO_CALLED[verb]}?" if verb in ALSO_CALLED else near(verb, VERBS)
        top.error(f"there is no verb {excerpt(verb)}{meant}")
    module = import_module(VERBS[verb])
    parser = filled(Parser(f"nanodistil {verb}", **described(module)), module)
    found: argparse.Namespace = parser.parse_args(argv[at + 1 :], general)
    return found


def _one_line_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    kind = "" if str(message).startswith("note: ") else "warning: "
    print(f"nanodistil: {kind}{message}", file=sys.stderr)


def run(argv: Sequence[str] | None) -> int:
    """The exit code of a command line, sys.argv's if there is none."""
    if argv is None:
        as_utf8()
        argv = sys.argv[1:]
    mended()
    try:
        args = parsed(list(argv))
        quiet = args.__dict__.pop("quiet", False)
        with redirect_stderr(Nowhere() if quiet else sys.stderr), warnings.catch_warnings(), announced(sys.stderr):
            warnings.simplefilter("default", UserWarning)  # each once, though inputs come in chunks
            warnings.showwarning = _one_line_warning
            with delivered(args):
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
        if error.errno not in CANNOT_WRITE or error.filename is not None:
            raise
        with suppress(OSError):  # it may not be there
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python writes once more, at exit
        if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as `head` does
            return 0
        print(f"nanodistil: cannot write the output: {error.strerror}", file=sys.stderr)
        return 2
