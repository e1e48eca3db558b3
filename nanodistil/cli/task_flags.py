"""The flags of tasks, which `finetune` and `evaluate` share: each is a setting of a class in training/tasks/.

Names and defaults are those of transformers' run_glue, run_ner, run_squad, run_mlm and run_clm, with hyphens.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

from nanodistil.cli.parsing import number, share, whole
from nanodistil.reading.forms import TABLES

if TYPE_CHECKING:
    from nanodistil.training.tasks import Task

HELP = {
    "classification": "classes of texts or pairs, several labels at once, numbers: GLUE and its like",
    "token-classification": "labels of words: names, parts of speech; CoNLL columns or JSONL",
    "question-answering": "answers in texts: SQuAD's JSON, 1.1 and 2.0",
    "multiple-choice": "which continuation fits: SWAG's CSV or JSONL",
    "sentence-similarity": "vectors of sentences: pairs with a score of likeness, or that belong together",
    "masked-lm": "masked words: lines of text, or a folder from nanodistil binarize",
    "causal-lm": "the next word, of a GPT-2: lines of text, or a folder from nanodistil binarize",
}


class Examples(NamedTuple):
    """Command lines for a task's help: to learn it, to use what has learned it, to measure that."""

    finetune: str
    use: str
    evaluate: str


EXAMPLES = {
    "classification": Examples(
        "nanodistil finetune classification --task-name sst2 --model nanodistil-mini \\\n"
        "      --train train.tsv --dev dev.tsv --batch-size 32 --out sst2",
        'nanodistil classify "A text."',
        "nanodistil evaluate classification --task-name sst2 --model ./sst2 --data dev.tsv",
    ),
    "token-classification": Examples(
        "nanodistil finetune token-classification --model nanodistil-mini \\\n"
        "      --train train.conll --dev dev.conll --out ner",
        'nanodistil ner "A text." --aggregation-strategy simple',
        "nanodistil evaluate token-classification --model ./ner --data test.conll",
    ),
    "question-answering": Examples(
        "nanodistil finetune question-answering --model nanodistil-mini \\\n"
        "      --train train-v1.1.json --dev dev-v1.1.json --teacher ./bert-squad --out squad",
        'nanodistil answer "A question?" --context "A text."',
        "nanodistil evaluate question-answering --model ./squad --data dev-v1.1.json --out answers",
    ),
    "multiple-choice": Examples(
        "nanodistil finetune multiple-choice --model nanodistil-mini --train train.csv --out swag",
        'nanodistil choose "A text." --choices "One." "Another."',
        "nanodistil evaluate multiple-choice --model ./swag --data val.csv",
    ),
    "sentence-similarity": Examples(
        "nanodistil finetune sentence-similarity --model nanodistil-mini --train pairs.tsv --batch-size 64 --out near",
        'nanodistil embed --normalize "A text."',
        "nanodistil evaluate sentence-similarity --model ./near --data stsb.tsv",
    ),
    "masked-lm": Examples(
        "nanodistil finetune masked-lm --model nanodistil-mini --train letters.txt --out letters",
        'nanodistil fill-mask "A [MASK]."',
        "nanodistil evaluate masked-lm --model nanodistil-mini --data wiki.txt.xz --limit 300",
    ),
    "causal-lm": Examples(
        "nanodistil finetune causal-lm --model distilbert/distilgpt2 --train letters.txt --out letters",
        'nanodistil generate "A text"',
        "nanodistil evaluate causal-lm --model distilbert/distilgpt2 --data wiki.txt.xz",
    ),
}
GLUE = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


def subparsers(parser: argparse.ArgumentParser, verb: str) -> dict[str, argparse.ArgumentParser]:
    """A parser for each task, with its flags. verb: "finetune" or "evaluate"."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    made = {}
    for task, text in HELP.items():
        example = getattr(EXAMPLES[task], verb)
        made[task] = tasks.add_parser(task, help=text, description=text, epilog=f"example:\n  {example}\n")
        made[task].set_defaults(parser=made[task])
        add_flags(task, made[task])
    return made


def add_flags(task: str, parser: argparse.ArgumentParser) -> None:
    """A task's own."""
    flags = parser.add_argument_group("the task")
    longest = {"question-answering": 384, "causal-lm": 1024}.get(task, 128)
    flags.add_argument(
        *(["--block-size"] if task == "causal-lm" else []),
        "--max-seq-length",
        dest="max_seq_length",
        type=whole(4),
        default=longest,
        metavar="N",
        help=f"tokens of a row (default {longest})",
    )
    if task == "classification":
        flags.add_argument(
            "--task-name", choices=GLUE, metavar="NAME", help=f"of GLUE, for its metrics: {', '.join(GLUE)}"
        )
        flags.add_argument(
            "--problem-type", choices=PROBLEMS, metavar="P", help=f"{', '.join(PROBLEMS)} (default: by the labels)"
        )
        flags.add_argument(
            "--column",
            action="append",
            dest="columns",
            default=[],
            metavar="FIELD=NAME",
            help="where a file has sentence, sentence2 or label: a name, or a number from 1 (default: GLUE's names)",
        )
        flags.add_argument("--no-header", action="store_true", help="the first row is an example")
    if task in ("classification", "token-classification"):
        flags.add_argument(
            "--labels",
            type=names,
            default=(),
            metavar="A,B",
            help="the names of the classes, in order (default: theirs)",
        )
    if task == "sentence-similarity":
        flags.add_argument(
            "--highest", type=number, default=5.0, metavar="X", help="the score of two that mean the same (default 5)"
        )
    if task in ("classification", "multiple-choice", "sentence-similarity"):
        flags.add_argument("--format", choices=[*TABLES], help="of the files (default: their names say it)")
    if task == "question-answering":
        flags.add_argument("--version-2-with-negative", action="store_true", help="some questions have no answer")
        for flag, default, text in (
            ("--doc-stride", 128, "tokens from one window of a context to the next"),
            ("--max-query-length", 64, "tokens of a question"),
            ("--n-best-size", 20, "starts, ends and answers that are looked at"),
            ("--max-answer-length", 30, "tokens of an answer"),
        ):
            flags.add_argument(flag, type=whole(1), default=default, metavar="N", help=f"{text} (default {default})")
        flags.add_argument(
            "--null-score-diff-threshold",
            type=number,
            default=0.0,
            metavar="X",
            help="null odds above it mean that there is no answer (default 0)",
        )
    if task == "masked-lm":
        flags.add_argument(
            "--mlm-probability", type=share, default=0.15, metavar="P", help="share of tokens hidden (default 0.15)"
        )
        flags.add_argument("--whole-words", action="store_true", help="learn with all pieces of a word hidden together")
    if task in ("masked-lm", "causal-lm"):
        flags.add_argument(
            "--limit", type=whole(1), metavar="N", help="measure N passages, drawn at random (default: all)"
        )


def task_of(args: argparse.Namespace) -> Task:
    """The task with its settings, as the flags say."""
    from nanodistil.training.evaluate import task_of as made
    from nanodistil.training.tasks import settings_of

    given = {name: getattr(args, name) for name in settings_of(made(args.task)) if hasattr(args, name)}
    return made(args.task, **{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def names(text: str) -> tuple[str, ...]:
    """
    >>> names("O, B-PER,I-PER")
    ('O', 'B-PER', 'I-PER')
    """
    return tuple(name.strip() for name in text.split(","))
