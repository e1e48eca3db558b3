"""`nanodistil train-tokenizer wiki.txt --kind byte-level --out my-tokenizer`: a vocabulary learnt from texts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

from nanodistil.cli import corpus
from nanodistil.cli.parsing import whole
from nanodistil.cli.progress import Line, Progress
from nanodistil.weights.errors import InputError, excerpt

HELP = "learn a vocabulary from texts: byte-level BPE or WordPiece"
EXAMPLES = """examples:
  nanodistil train-tokenizer wiki.txt.xz books.txt.gz --kind byte-level --out my-tokenizer
  nanodistil train-tokenizer reviews.jsonl --kind wordpiece --vocab-size 8000 --cased --out my-tokenizer
  nanodistil tokenize --explain "Hello world" --model my-tokenizer
"""
KINDS = {  # --kind -> the class that the folder is of
    "byte-level": "GPT2Tokenizer",
    "roberta": "RobertaTokenizer",
    "wordpiece": "DistilBertTokenizer",
}
LETTERS = 1000  # that WordPiece keeps, as BertWordPieceTokenizer does


def add_arguments(parser: argparse.ArgumentParser) -> None:
    corpus.add_argument(parser)
    parser.add_argument(
        "--kind",
        required=True,
        choices=KINDS,
        help="byte-level: BPE with GPT-2's <|endoftext|>; roberta: the same with RoBERTa's special tokens; "
        "wordpiece: BERT's",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="a new folder for the tokenizer")
    parser.add_argument("--vocab-size", type=whole(1), default=30_000, metavar="N", help="tokens (default 30000)")
    parser.add_argument(
        "--min-frequency", type=whole(0), default=2, metavar="N", help="rarer pairs are not merged (default 2)"
    )
    parser.add_argument(
        "--limit-alphabet",
        type=whole(1),
        metavar="N",
        help=f"wordpiece: the most frequent letters, which are kept (default {LETTERS})",
    )
    parser.add_argument("--cased", action="store_true", help="wordpiece: keep capitals and accents")
    parser.add_argument(
        "--special-tokens", nargs="+", default=[], metavar="TOKEN", help="more of them, behind those of the kind"
    )


def run(args: argparse.Namespace) -> int:
    from nanodistil import tokenization
    from nanodistil.tokenization.training.blank import blank

    wordpiece = args.kind == "wordpiece"
    for flag, given in (("--cased", args.cased), ("--limit-alphabet", args.limit_alphabet)):
        if given and not wordpiece:
            raise InputError(f"{flag} goes with --kind wordpiece; bytes are kept as they are, all of them")
    check_before(args.out, args.special_tokens)
    corpus.check(args.files)
    begun = blank(getattr(tokenization, KINDS[args.kind]), **({"do_lower_case": not args.cased} if wordpiece else {}))
    settings = {"limit_alphabet": args.limit_alphabet or LETTERS} if wordpiece else {}

    with Progress(sys.stderr, of="texts") as reading:
        merging = Line(sys.stderr)
        count = 0

        def read() -> Iterator[str]:
            nonlocal count
            for text in corpus.texts(args.files, reading.reached, ends=True):
                count += 1
                reading.answered()
                yield text
            reading.erase()

        trained: Any = begun.train_new_from_iterator(
            read(),
            args.vocab_size,
            new_special_tokens=args.special_tokens,
            min_frequency=args.min_frequency,
            watch=lambda size: merging.show(lambda: f"{size:,} of {args.vocab_size:,} tokens"),
            **settings,
        )
        merging.erase()
    if not count:
        raise InputError("there is no text in the files; name others")
    trained.save_pretrained(args.out)
    print(f"{args.out}: {len(trained):,} tokens learnt from {count:,} texts")
    return 0


def check_before(out: str, special: list[str]) -> None:
    """Raises InputError for what saving would find out hours later: no folder can be made, or no file hold a token."""
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise InputError(f"{out} is there already; name a new folder")
    above = os.path.abspath(out)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above) or not os.access(above, os.W_OK):
        raise InputError(f"{out} cannot be made: {above} is no folder that may be written to")
    for token in special:
        if not token or any(c in "\r\n" or "\ud800" <= c <= "\udfff" for c in token):
            raise InputError(f"{excerpt(token)} cannot be a special token: it is empty, or no file can hold it")
