"""`nanodistil finetune classification --model nanodistil-mini --train train.tsv --out sst2`: teach a model a task."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from nanodistil.cli import task_flags, training
from nanodistil.cli.columns import aligned
from nanodistil.cli.evaluate import table
from nanodistil.cli.parsing import Parser, whole
from nanodistil.weights.errors import InputError, excerpt

if TYPE_CHECKING:
    from nanodistil.training.together import Also

HELP = "train a model for a task on a file of examples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of a run that are not given are not in the namespace: their defaults stand in training/part.py."""
    for task, sub in task_flags.subparsers(parser, "finetune").items():
        option = partial(training.option, sub)
        option("--model", "folder or hub id to begin from", required=True, metavar="M")
        option("--train", "the examples to learn from", required=True, metavar="FILE")
        option("--dev", "examples to measure it on, after each epoch", metavar="FILE")
        option("--out", "the folder of the run and of the model it makes", required=True, metavar="RUN")
        option("--num-train-epochs", "how often all examples are seen (default 3)", float)
        option("--max-steps", "optimiser steps, instead of --num-train-epochs", int)
        option("--batch-size --per-device-train-batch-size", "rows in a micro-batch (default 8)", int)
        option("--accumulate-across-epochs", "steps reach over into the next epoch (default: each ends with one)", bool)
        option("--group-by-length", "put rows of like length in a batch", bool)
        option("--warmup-steps", "steps with a rising learning rate (default 0)", int)
        option("--load-best-model-at-end", "end with the model that did best on --dev", bool)
        option("--ignore-mismatched-sizes", "give up a head of another number of labels for a new one", bool)
        if task == "question-answering":
            option("--teacher", "a BERT or DistilBERT that answers already: folder or hub id", metavar="M")
            option("--alpha-ce", "share of what the teacher says (default 0.5)", float)
            option("--alpha-squad", "share of the true answers (default 0.5)", float)
            option("--temperature", "of the teacher's and the student's softmax (default 2)", float)
        option("--lora-r", "learn a LoRA of this rank and the head, all else stays (default: learn all)", int)
        option("--lora-alpha", "what it is added with, times its rank (default 16)", float)
        option("--frozen-layers", "the lowest so many, and the embeddings, learn nothing (default 0)", int)
        option("--layer-decay", "each layer learns at this share of the rate of the one above (default 1)", float)
        training.add_step_arguments(option, 1, "5e-5", "1e-8", 1, ("order, masks, dropout and a new head", 42))
        option("--logging-steps", "steps between two lines of the log (default 50)", int)
        option("--save-steps", "steps between two checkpoints (default 500)", int)
        sub.add_argument(
            "--also",
            action="append",
            default=[],
            metavar="'TASK ...'",
            help="learn this too: a task, --train FILE, --dev FILE, --batch-size N and its own flags (again for more)",
        )
        sub.add_argument(
            "--search",
            type=whole(1),
            metavar="TRIALS",
            help="look for learning rate, batch size and epochs, those not given, by so many runs (needs the extra)",
        )
        training.add_arguments(sub)


def also(text: str, seed: int | None = None) -> Also:
    """A task that is learned along, from its words. seed: the run's, if one was given. Raises InputError.

    >>> one = also("masked-lm --train letters.txt --whole-words")
    >>> one.task, one.train, one.settings["whole_words"]
    ('masked-lm', 'letters.txt', True)
    """
    from nanodistil.training.tasks import settings_of
    from nanodistil.training.together import Also

    try:
        task, *words = shlex.split(text) or [""]
    except ValueError as error:
        raise InputError(f"--also {excerpt(text)}: {error}") from None
    if task not in task_flags.HELP:
        raise InputError(f"--also begins with a task ({', '.join(task_flags.HELP)}), not {excerpt(task)}")
    parser = Parser(f"nanodistil finetune ... --also {task}")
    parser.add_argument("--train", required=True, metavar="FILE", help="the examples to learn from")
    parser.add_argument("--dev", metavar="FILE", help="examples to measure it on")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="rows in a micro-batch (default: the first's)")
    task_flags.add_flags(task, parser)
    args = parser.parse_args(words)
    args.task = task
    if seed is not None:
        args.seed = seed
    settings = settings_of(task_flags.task_of(args))
    return Also(task=task, settings=settings, train=args.train, dev=args.dev, batch_size=args.batch_size)


def run(args: argparse.Namespace) -> int:
    """Train, with a line on the terminal; then say how well the model does and where it is."""
    training.threads(getattr(args, "threads", None))
    from nanodistil.training.finetune import Options, finetune
    from nanodistil.training.tasks import settings_of

    options = training.settings_of(args, Options)
    settings = settings_of(task_flags.task_of(args))
    others = [also(text, getattr(args, "seed", None)) for text in args.also]
    if others and args.tensorboard:
        raise InputError(
            "--tensorboard draws the curves of one model: not with --also; nanodistil plot draws the losses"
        )

    def end(found: dict[str, Any]) -> str:
        if found:
            print(table(found))
        print(options.out)
        return f"{task_flags.EXAMPLES[args.task].use} --model {shlex.quote(options.out)}"

    if args.search is not None:
        if others:
            raise InputError("--search looks for the settings of one task: not with --also")
        from nanodistil.training.search import SOUGHT, search

        def searched(found: tuple[list[dict[str, Any]], str]) -> str:
            lines, metric = found
            print(trials(lines, metric))
            print(options.out)
            return f"{task_flags.EXAMPLES[args.task].use} --model {shlex.quote(options.out)}"

        given = {name for name in SOUGHT if name in vars(args)}
        return training.train(args, partial(search, args.task, settings, options, args.search, given), searched)
    return training.train(args, partial(finetune, args.task, settings, options, also=others), end)


def trials(lines: list[dict[str, Any]], metric: str) -> str:
    """The trials of a search, readable, in their order.

    >>> print(trials([{"trial": 0, "learning_rate": 4e-5, "acc": 0.91}], "acc"))
    trial  learning_rate     acc
        0        4.0e-05  0.9100
    """
    rows = [tuple(lines[0])]
    for line in lines:
        rows.append(
            tuple(
                f"{v:.4f}" if n == metric else f"{v:.1e}" if isinstance(v, float) else str(v) for n, v in line.items()
            )
        )
    return aligned(rows, right=range(len(rows[0])))
