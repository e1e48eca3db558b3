"""nanodistil download ID: bring a model into the Hugging Face cache, or up to date there, and print its folder."""

import argparse
import sys

HELP = "fetch a model from the Hugging Face hub into the cache"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("id", help="such as distilbert/distilbert-base-uncased")
    parser.add_argument("--revision", help="a branch, tag or commit (default: main)")


def run(args: argparse.Namespace) -> int:
    """Print the folder; if the hub is out of reach and the cache has the model, say so and print that one."""
    from nanodistil.weights.errors import MissingExtraError, ModelNotFoundError
    from nanodistil.weights.hub import download, resolve

    try:
        folder = download(args.id, revision=args.revision)
    except (ModelNotFoundError, MissingExtraError) as error:
        try:
            folder = resolve(args.id, need="all", revision=args.revision, local_files_only=True)
        except ModelNotFoundError:
            raise error from None
        print(f"note: the cached one, not asked whether it is the newest: {error}", file=sys.stderr)
    print(folder)
    return 0
