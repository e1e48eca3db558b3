"""The form that answers take in a file, told by its name: what is written, and how it is packed.

A name that says nothing is refused before any work is done: that hours of answers are in a table for the eye, with six
numbers of 384, would be found out afterwards.
"""

from __future__ import annotations

import argparse
import os
from typing import NamedTuple

from nanodistil.reading.packed import ending_of, opener
from nanodistil.reading.tables import arrow
from nanodistil.weights.errors import InputError

FORMS = {  # a file's ending -> what is in it
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
    ".arrow": "arrow", ".txt": "table", ".npy": "npy", ".npz": "npz",
}  # fmt: skip
VECTORS = ("npy", "npz")  # which only `embed` has
WHOLE = ("parquet", "arrow", *VECTORS)  # not to be packed once more


class Form(NamedTuple):
    """form: of FORMS. packing: an ending of reading/packed.py, or nothing."""

    form: str
    packing: str


def form_of(args: argparse.Namespace, vectors: bool = False) -> Form:
    """The form of a verb's answers. vectors: whether they are rows of one length.

    Raises InputError if the file's name does not say it, or says another than the options; MissingExtraError.
    """
    flag = "json" if args.json else "jsonl" if args.jsonl else None
    if args.output is None:
        return Form(flag or "table", "")
    packing = ending_of(args.output)
    ending = os.path.splitext(args.output.lower().removesuffix(packing))[1]
    named = FORMS.get(ending)
    if flag is not None and named not in (None, flag, "table"):
        raise InputError(f"a {ending} file is no {flag.upper()}: leave out --{flag}, or name another file")
    form = flag or named
    if form is None:
        known = ", ".join(ending for ending, form in FORMS.items() if form not in VECTORS or vectors)
        raise InputError(f"{args.output}: its name does not say what to write; end it in one of {known} (or with .gz)")
    if form in VECTORS and not vectors:
        raise InputError(f"{args.output}: {ending} is for vectors, a row a text, of `embed`; write .jsonl or .csv")
    if packing:
        if form in WHOLE:
            raise InputError(f"{args.output}: a {ending} file is not packed once more; leave out {packing}")
        opener(packing)  # a missing extra is told now
    if form in ("parquet", "arrow"):
        arrow()
    return Form(form, packing)
