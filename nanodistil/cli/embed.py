"""`nanodistil embed --input texts.txt --output vectors.npy`: a vector for every text."""

from __future__ import annotations

import argparse
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.reading.records import Record
from nanodistil.weights.errors import InputError

HELP = "turn texts into vectors, for search, clustering and classifiers"
EXAMPLES = """examples:
  nanodistil embed "A text." "Another one."
  nanodistil embed --normalize --input reviews.csv --column review --output vectors.npy
  nanodistil embed --pooling none --jsonl - < texts.txt
"""
SHOWN = 6  # numbers of a vector, in a table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text to embed"})
    parser.add_argument(
        "--pooling",
        choices=["mean", "cls", "none"],
        help="a text's vector: the mean of its tokens', that of [CLS], or none: all of them (default: as a folder of "
        "sentence-transformers says, with all that it does behind; else mean)",
    )
    parser.add_argument("--normalize", action="store_true", help="vectors of length 1: a product is then a cosine")
    parser.add_argument("--truncate", action="store_true", help="cut texts that are longer than the model's positions")
    results.add_arguments(parser, files=", .npy or .npz (an array with a row an input)")
    loading.add_arguments(parser, default="the official distilbert-base-uncased")


def run(args: argparse.Namespace) -> int:
    chosen = loading.options(args)  # first, since what follows imports NumPy
    from nanodistil.cli.answering import answer, asking, named
    from nanodistil.cli.forms import VECTORS, form_of
    from nanodistil.cli.rows import Rows
    from nanodistil.sentences.body import has_modules
    from nanodistil.sentences.encoder import SentenceEncoder

    form = form_of(args, vectors=True).form
    in_rows = form in VECTORS
    if form in (*VECTORS, "csv", "tsv") and args.pooling == "none":
        raise InputError("texts have different numbers of tokens, so their vectors are no array: write .jsonl")
    dtype = "float64" if args.dtype == "float64" else "float32"
    if args.pooling is None and args.model is not None and has_modules(args.model):
        encoder = SentenceEncoder.from_pretrained(args.model, **chosen)
        embed, width, options = encoder.pipe, encoder.get_sentence_embedding_dimension(), encoder.usual(args.normalize)
    else:
        embed = loading.load("feature-extraction", args)
        width, options = embed.model.config.dim, {"pooling": args.pooling or "mean", **named(args, "normalize")}
        options |= {"truncation": args.truncate, "return_tensors": True}
    with Rows(args, width, dtype) if in_rows else results.Results(args, table) as out:
        answer(args, records.chunks(args, ["text"]), asking(embed, options), out)
    return 0


def table(record: Record, answer: Any) -> str:
    """A text's vector, or vectors: how many numbers, and the first of them."""
    lines = [record.fields["text"]]
    for vector in answer.reshape(-1, answer.shape[-1]):
        some = " ".join(f"{x:7.4f}" for x in vector[:SHOWN])
        lines.append(f"  {some}{' ...' if len(vector) > SHOWN else ''}  ({len(vector)} numbers)")
    return "\n".join(lines)
