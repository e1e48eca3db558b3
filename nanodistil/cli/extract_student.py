"""`nanodistil extract-student TEACHER OUT`: a student that begins with some of its teacher's layers."""

from __future__ import annotations

import argparse
import sys

from nanodistil.cli.parsing import whole
from nanodistil.weights.errors import InputError, excerpt

HELP = "make a student out of some of a teacher's layers, to distil into"
EXAMPLES = """examples:
  nanodistil extract-student google-bert/bert-base-uncased student
  nanodistil extract-student my-bert student --layers 0,3,5 --fold-token-types
  nanodistil extract-student nanodistil-mini student
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("teacher", metavar="TEACHER", help="folder or hub id of a BERT, DistilBERT, RoBERTa or GPT-2")
    parser.add_argument("out", metavar="OUT", help="a new folder for the student")
    parser.add_argument("--layers", metavar="0,2,...", help="from 0 (default: half, spread evenly: 0,2,4,7,9,11 of 12)")
    parser.add_argument(
        "--vocab-transform",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="copy the inner map of the masked-LM head too (default), or draw it at random",
    )
    parser.add_argument(
        "--fold-token-types",
        action="store_true",
        help="add the vector of token type 0 to every position, as the teacher adds it to every token",
    )
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of what is drawn at random (default 0)")


def run(args: argparse.Namespace) -> int:
    """Write the student's folder and say what is in it."""
    from pathlib import Path

    from nanodistil.training.student import extract, read_teacher, spread, write_student
    from nanodistil.weights.errors import MissingExtraError, ModelNotFoundError
    from nanodistil.weights.hub import resolve
    from nanodistil.weights.names import count

    layers = None if args.layers is None else _numbers(args.layers)
    if not args.out:  # which Path takes for the current folder
        raise InputError("OUT is empty: name a new folder for the student")
    try:
        folder = resolve(args.teacher, need="all")
    except (ModelNotFoundError, MissingExtraError):  # perhaps it only lacks a tokenizer
        folder = resolve(args.teacher)
    teacher = read_teacher(folder)
    config, tensors = extract(
        teacher, layers, vocab_transform=args.vocab_transform, fold_token_types=args.fold_token_types, seed=args.seed
    )
    has_tokenizer = write_student(Path(args.out), folder, config, tensors)
    if teacher.head.bare:
        print("note: the teacher has no masked-LM head, and so neither has the student", file=sys.stderr)
    elif not args.vocab_transform and not config.causal:
        print("note: vocab_transform and vocab_layer_norm were drawn at random", file=sys.stderr)
    if not has_tokenizer:
        print("note: the teacher has no tokenizer beside it; put its files into the student's folder", file=sys.stderr)
    parameters = count({name: array.shape for name, array in tensors.items()})
    chosen = ",".join(map(str, spread(teacher.config.n_layers) if layers is None else layers))
    print(f"{args.out}: {parameters:,} parameters, layers {chosen} of the teacher's {teacher.config.n_layers}")
    return 0


def _numbers(text: str) -> list[int]:
    """The numbers of --layers. Raises InputError if there are other things in it."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(
            f"--layers takes numbers with commas between them, such as 0,2,4, not {excerpt(text)}"
        ) from None
