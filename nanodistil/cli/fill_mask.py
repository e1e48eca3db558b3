"""`nanodistil fill-mask "Hello I'm a [MASK] model."`: the project's face."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.pipelines.fill_mask import FillMaskPipeline

HELP = "rank words for the [MASK] of a text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="+", help="texts with one or more [MASK]; - reads one a line from standard input")
    parser.add_argument("--top-k", type=int, default=5, metavar="K", help="how many words a mask (default 5)")
    parser.add_argument("--targets", nargs="+", metavar="WORD", help="rank only these words; put -- before the texts")
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    parser.add_argument("--backend", choices=["numpy", "numba"], help="default: numba where it is installed")
    parser.add_argument("--dtype", choices=["float32", "float64", "bfloat16", "int8"], help="default float32")
    parser.add_argument("--threads", type=int, metavar="N", help="how many threads to use")
    parser.add_argument("--truncate", action="store_true", help="cut texts that are longer than the model's positions")
    parser.add_argument("--raw", action="store_true", help="sequences as transformers decodes them: i ' m, not i'm")
    parser.add_argument("--truth", action="store_true", help="compute in float64 too and print the largest difference")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document: what nanodistil.pipeline returns")
    form.add_argument("--jsonl", action="store_true", help="one JSON line a text, as soon as it is done")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.texts import chunks
    from nanodistil.weights.hub import resolve_default

    model = args.model
    if model is None:
        model, note = resolve_default()
        if note:
            print(f"nanodistil: {note}", file=sys.stderr)
    fill = _pipeline(args, model, args.backend, args.dtype)
    options: dict[str, Any] = {
        "top_k": args.top_k,
        "targets": args.targets,
        "clean_up_tokenization_spaces": not args.raw,
        "tokenizer_kwargs": {"truncation": True} if args.truncate else None,
    }
    exact = _pipeline(args, model, "numpy", "float64") if args.truth else None
    truth, everything, done = Truth(), [], 0
    for texts in chunks(args.text):
        answers = fill.each(texts, done, **options)
        if exact:
            answers = map(truth.compare, answers, exact.each(texts, done, **options))
        for text, answer in zip(texts, answers, strict=True):
            if args.json:
                everything.append(answer)
            else:
                print(json.dumps(answer, ensure_ascii=False) if args.jsonl else table(text, answer), flush=True)
        done += len(texts)
    if args.json:
        print(json.dumps(everything[0] if len(everything) == 1 else everything, ensure_ascii=False, indent=1))
    if exact:
        print(truth, file=sys.stderr)
    return 0


def _pipeline(args: argparse.Namespace, model: Any, backend: str | None, dtype: str | None) -> FillMaskPipeline:
    """The pipeline on a backend. NumPy's BLAS takes its threads from the environment, which it reads when imported."""
    if args.threads is not None:
        if args.threads < 1:
            raise InputError(f"--threads must be at least 1, not {args.threads}")
        for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ.setdefault(variable, str(args.threads))
    from nanodistil.backend import choose
    from nanodistil.pipelines import pipeline

    chosen, _ = choose(backend, dtype)
    threads = None if chosen == "numpy" else args.threads
    fill: FillMaskPipeline = pipeline("fill-mask", model=model, backend=chosen, dtype=dtype, threads=threads)
    return fill


class Truth:
    """Keeps the largest difference of any score from its float64 twin."""

    def __init__(self) -> None:
        self.largest, self.compared, self.elsewhere = 0.0, 0, 0

    def compare(self, answer: Any, exact: Any) -> Any:
        """The answer, unchanged."""
        for ours, theirs in zip(per_mask(answer), per_mask(exact), strict=True):
            scores = {filling["token"]: filling["score"] for filling in theirs}
            for filling in ours:
                if filling["token"] in scores:
                    self.largest = max(self.largest, abs(filling["score"] - scores[filling["token"]]))
                    self.compared += 1
                else:
                    self.elsewhere += 1
        return answer

    def __str__(self) -> str:
        note = f"; {self.elsewhere} ranked otherwise" if self.elsewhere else ""
        return f"truth: largest difference of {self.compared} scores from float64: {self.largest:.1e}{note}"


def per_mask(answer: Any) -> list[list[dict[str, Any]]]:
    """One list of fillings a [MASK], whether the text had one (a flat list) or several."""
    return answer if answer and isinstance(answer[0], list) else [answer]


def table(text: str, answer: Any) -> str:
    """A text's fillings, readable: score, word, sequence."""
    lines = [text]
    for mask, fillings in enumerate(per_mask(answer), start=1):
        if answer and isinstance(answer[0], list):
            lines.append(f"  [MASK] {mask}")
        width = max((len(f["token_str"]) for f in fillings), default=0)
        lines += [f"  {f['score']:7.4f}  {f['token_str']:<{width}}  {f['sequence']}" for f in fillings]
    return "\n".join(lines)
