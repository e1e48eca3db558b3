"""`nanodistil search notes.txt "where is the key?"`: the texts of a file that are nearest to a query."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanodistil.cli import loading, results
from nanodistil.cli.parsing import whole
from nanodistil.reading.forms import TABLES
from nanodistil.reading.records import Record
from nanodistil.weights.errors import InputError

HELP = "find the texts of a file that are nearest to a query in meaning"
EXAMPLES = """examples:
  nanodistil search notes.txt "where did I leave the key?"
  nanodistil search reviews.csv --column review --index reviews.index --top-k 3 "arrived broken" "too small"
  nanodistil search papers.jsonl --column abstract --index papers.index --int8 --jsonl - < questions.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "docs", metavar="DOCS", help="file of texts, a line each; .jsonl, .json, .csv, .tsv, packed too"
    )
    parser.add_argument("inputs", nargs="*", metavar="QUERY", help="a query; - reads a line each from standard input")
    parser.add_argument("--format", choices=["lines", *TABLES], help="of DOCS (default: as its name says)")
    parser.add_argument("--column", metavar="NAME", help="where JSONL, CSV or TSV have the text (default: text)")
    parser.add_argument("--no-header", action="store_true", help="the first row of CSV or TSV is a text")
    parser.add_argument("--index", metavar="FILE", help="keep the vectors there: texts it knows are not computed again")
    parser.add_argument("--int8", action="store_true", help="a byte a number: a quarter of the memory, nearly as exact")
    parser.add_argument("--top-k", type=whole(1), default=5, metavar="K", help="how many texts a query (default: 5)")
    parser.add_argument(
        "--similarity", choices=["cosine", "dot", "euclidean"], help="how alike is measured (default: the model's way)"
    )
    results.add_arguments(parser)
    loading.add_arguments(parser, default="the official distilbert-base-uncased")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import answer
    from nanodistil.cli.records import chunks

    args.input = None
    queries = argparse.Namespace(inputs=args.inputs, input=None, format="lines", column=[], no_header=False)
    with results.Results(args, table) as out:
        find = _finder(args)
        answer(args, chunks(queries, ["query"]), find, out)
    return 0


def _finder(args: argparse.Namespace) -> Any:
    """What answers queries: the model is loaded, the texts are read and their vectors there."""
    if not args.inputs:
        raise InputError("nothing to look for: give each query as an argument, or - for standard input")
    texts, places = _texts(args)
    options = loading.options(args)
    from nanodistil.pipelines import default_model
    from nanodistil.sentences.encoder import SentenceEncoder
    from nanodistil.sentences.index import vectors_of
    from nanodistil.sentences.searching import searched

    model = args.model or default_model("feature-extraction", {})
    encoder = SentenceEncoder.from_pretrained(model, **options)
    similarity = args.similarity or encoder.similarity_fn_name
    vectors = vectors_of(texts, encoder, Path(args.index) if args.index else None, args.int8)

    def find(inputs: list[dict[str, Any]], first: int) -> Iterator[list[dict[str, Any]]]:
        if not inputs:
            return
        asked = encoder.encode_query([one["query"] for one in inputs])
        for ids, scores in searched(asked, vectors, args.top_k, similarity):
            yield [
                {"corpus_id": i, "score": score, "text": texts[i], "place": places[i]}
                for i, score in zip(ids.tolist(), scores.tolist(), strict=True)
            ]

    return find


def _texts(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The texts of DOCS, and where each stands. Raises InputError for what is not one, and if there is none."""
    from nanodistil.cli.records import chunks

    column = [args.column] if args.column else []
    docs = argparse.Namespace(inputs=[], input=args.docs, format=args.format, column=column, no_header=args.no_header)
    records = [record for chunk in chunks(docs, ["text"]) for record in chunk.records]
    for record in records:
        if record.problem is not None:
            raise record.problem
        if not isinstance(text := record.fields["text"], str):
            raise InputError(f"{record.place}: the text is not a string but {type(text).__name__}")
    if not records:
        raise InputError(f"{args.docs} holds no text")
    return [record.fields["text"] for record in records], [record.place for record in records]


def table(record: Record, answer: Any) -> str:
    """A query, and what is nearest to it."""
    lines = [record.fields["query"]]
    for hit in answer:
        lines.append(f"  {hit['score']:8.4f}  {hit['text']}  ({hit['place']})")
    return "\n".join(lines)
