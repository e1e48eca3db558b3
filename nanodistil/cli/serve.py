"""`nanodistil serve sst=./sst2 nanodistil-mini:feature-extraction`: models behind a port."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

from nanodistil.cli import loading
from nanodistil.cli.parsing import number, whole
from nanodistil.weights.errors import InputError, MissingExtraError

HELP = "put models behind a port: TEI's, OpenAI's and the Inference API's endpoints"
EXAMPLES = """examples:
  nanodistil serve nanodistil-mini
  nanodistil serve sst=./sst2 names=./ner words=nanodistil-mini:feature-extraction --port 8080
  curl localhost:8080/embed -d '{"inputs": ["A text.", "Another one."]}'
"""
KEY = "NANODISTIL_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="folder or hub id, as [NAME=]MODEL[:TASK]")
    parser.add_argument("--task", metavar="T", help="of models that name none (default: what each one's head is for)")
    parser.add_argument(
        "--pooling",
        choices=["mean", "cls"],
        help="a text's vector: the mean of its tokens', or [CLS]'s (default: as a folder of sentence-transformers "
        "says, with all that it does behind; else mean)",
    )
    loading.add_backend_arguments(parser)
    parser.add_argument("--threads", type=whole(1), metavar="N", help="how many threads to use")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="default 127.0.0.1; 0.0.0.0: from anywhere")
    parser.add_argument("--port", type=whole(0), default=8080, metavar="P", help="default 8080")
    parser.add_argument("--uds", metavar="PATH", help="a Unix socket instead of a port")
    parser.add_argument(
        "--max-batch-tokens", type=whole(1), metavar="N", help="computed at once (default: 512 on a CPU)"
    )
    parser.add_argument(
        "--max-queue-tokens",
        type=whole(1),
        metavar="N",
        help="of all requests; then 429 (default: 128 batches)",
    )
    parser.add_argument("--max-requests", type=whole(1), metavar="N", help="at once; then 429 (default 512)")
    parser.add_argument("--max-inputs", type=whole(1), metavar="N", help="of a request; then 413 (default 2048)")
    parser.add_argument("--max-bytes", type=whole(1), metavar="N", help="of a request; then 413 (default 2,000,000)")
    parser.add_argument("--timeout", type=number, metavar="S", help="seconds for an answer; then 429 (default 30)")
    parser.add_argument("--grace", type=whole(1), default=30, metavar="S", help="seconds to finish in after SIGTERM")
    parser.add_argument(
        "--api-key-file", metavar="FILE", help=f"a file with the key that requests must have (or the variable {KEY})"
    )
    parser.add_argument(
        "--allow-origin", action="append", default=[], metavar="URL", help="pages that may ask from a browser (CORS)"
    )
    parser.add_argument("--certificate", metavar="FILE", help="for TLS, in PEM")
    parser.add_argument("--key", metavar="FILE", help="the certificate's private key")
    parser.add_argument("--no-journal", action="store_true", help="do not write a line of JSON a request to stderr")


def run(args: argparse.Namespace) -> int:
    options = loading.options(args)
    try:
        from nanodistil.serve.journal import Journal
        from nanodistil.serve.listening import listen
        from nanodistil.serve.site import Site, limits_for
    except ImportError as error:
        raise MissingExtraError(f'serving needs more ({error}): pip install "nanodistil[serve]"') from None
    from nanodistil.serve.served import all_loaded, spec

    if args.timeout is not None and not 0 < args.timeout <= 3600:
        raise InputError(f"--timeout must be above 0 and at most 3600 seconds, not {args.timeout}")
    if args.port > 65535:
        raise InputError(f"--port must be at most 65535, not {args.port}")
    if args.key is not None and args.certificate is None:
        raise InputError("--key goes with --certificate")
    api_key = key_of(args.api_key_file)
    models = all_loaded([spec(one, args.task) for one in args.models], pooling=args.pooling, **options)
    limits = limits_for(
        models,
        args.max_batch_tokens,
        tokens=args.max_queue_tokens,
        requests=args.max_requests,
        inputs=args.max_inputs,
        body=args.max_bytes,
        seconds=args.timeout,
    )
    warnings.simplefilter("ignore")  # from here on they are about clients' texts, and may quote them
    site = Site(models, limits, api_key=api_key, journal=Journal(None if args.no_journal else sys.stderr))
    return listen(
        site,
        host=args.host,
        port=args.port,
        uds=args.uds,
        origins=args.allow_origin,
        certificate=args.certificate,
        key=args.key,
        grace=args.grace,
    )


def key_of(path: str | None) -> str | None:
    """The key that requests must have; None: they need none. Raises InputError."""
    if path is None:
        return os.environ.get(KEY) or None
    try:
        key = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the key cannot be read: {error}") from None
    if not key:
        raise InputError(f"{path}: is empty, where a key was to be")
    return key
