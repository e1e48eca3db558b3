"""nanodistil models: what is on this machine already, how large it is, and whether it can be used."""

import argparse
import json

HELP = "list the embedded model and those in the Hugging Face cache"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print a row for each model."""
    from nanodistil.weights.hub import cached_models

    models = cached_models()
    if args.json:
        print(json.dumps([model._asdict() for model in models], indent=2))
        return 0
    width = max(len(model.id) for model in models)
    for model in models:
        refs = ", ".join(name[:8] if name == commit else name for name, commit in model.revisions.items())
        print(
            f"{model.id:{width}}  {model.size / 1e6:9.1f} MB  {model.lacks or 'ready'}{f'  ({refs})' if refs else ''}"
        )
    return 0
