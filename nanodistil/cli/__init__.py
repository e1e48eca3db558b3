"""The command `nanodistil`: one verb a module, each a thin call into the library.

A verb module has HELP (one line), add_arguments(parser) and run(args) -> exit code; some have EXAMPLES, shown below
their help. Verbs import what they need inside `run`, so that `nanodistil --help` answers at once. Those that answer
inputs share records.py (where inputs come from), loading.py (what answers), answering.py (the loop) and results.py
(where answers go). parsing.py reads the command line, command.py runs it; streams.py
and interrupts.py look after what it is run in.

Exit codes: 0 done; 2 the user can mend it, one line on stderr says how; 1 a bug, with its traceback; 130 Ctrl-C.

This file imports next to nothing, so that there is hardly a moment at which Ctrl-C finds nobody to take it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nanodistil.cli.interrupts import CODE, install

VERBS = {
    "fill-mask": "nanodistil.cli.fill_mask",
    "classify": "nanodistil.cli.classify",
    "ner": "nanodistil.cli.ner",
    "answer": "nanodistil.cli.answer",
    "zero-shot": "nanodistil.cli.zero_shot",
    "choose": "nanodistil.cli.choose",
    "embed": "nanodistil.cli.embed",
    "generate": "nanodistil.cli.generate",
    "score": "nanodistil.cli.score",
    "search": "nanodistil.cli.search",
    "tokenize": "nanodistil.cli.tokenize",
    "explain": "nanodistil.cli.explain",
    "train-tokenizer": "nanodistil.cli.train_tokenizer",
    "binarize": "nanodistil.cli.binarize",
    "token-counts": "nanodistil.cli.token_counts",
    "extract-student": "nanodistil.cli.extract_student",
    "distill": "nanodistil.cli.distill",
    "finetune": "nanodistil.cli.finetune",
    "evaluate": "nanodistil.cli.evaluate",
    "plot": "nanodistil.cli.plot",
    "page": "nanodistil.cli.page",
    "export": "nanodistil.cli.export",
    "download": "nanodistil.cli.download",
    "models": "nanodistil.cli.models",
    "doctor": "nanodistil.cli.doctor",
    "warmup": "nanodistil.cli.warmup",
    "bench": "nanodistil.cli.bench",
    "count": "nanodistil.cli.count",
    "drift": "nanodistil.cli.drift",
    "exercise": "nanodistil.cli.exercise",
    "serve": "nanodistil.cli.serve",
    "completion": "nanodistil.cli.completion",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (sys.argv by default) and return its exit code."""
    try:
        if argv is None:  # the process is ours
            install()
        from nanodistil.cli.command import run

        return run(argv)
    except KeyboardInterrupt:  # while that was being imported
        return CODE
