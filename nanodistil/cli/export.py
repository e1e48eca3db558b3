"""`nanodistil export MODEL OUT`: a folder that transformers reads, of any model that nanodistil does."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from nanodistil.weights.errors import InputError, MissingExtraError

HELP = "write a model as transformers reads it: safetensors, config and tokenizer"
EXAMPLES = """examples:
  nanodistil export nanodistil-mini mini
  nanodistil export my-lora merged --dtype bfloat16
  nanodistil export lightning-checkpoint model
  nanodistil export sst2 sst2-onnx --onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="folder or hub id of a DistilBERT, or of a LoRA for one")
    parser.add_argument("out", metavar="OUT", help="a new folder")
    parser.add_argument("--dtype", default="float32", metavar="D", help="float32 (default), float16, bfloat16, float64")
    parser.add_argument("--onnx", action="store_true", help="model.onnx too, in float32 (pip install nanodistil[onnx])")


def run(args: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    from pathlib import Path

    from nanodistil.exporting import export
    from nanodistil.weights.names import count

    if not args.out:  # which Path takes for the current folder
        raise InputError("OUT is empty: name a new folder")
    if args.onnx and find_spec("onnx") is None:
        raise MissingExtraError('for --onnx: pip install "nanodistil[onnx]"')
    model, has_tokenizer = export(args.model, args.out, args.dtype)
    if args.onnx:
        from nanodistil.onnx_graph import write_onnx

        write_onnx(Path(args.out) / "model.onnx", model)
    if not has_tokenizer:
        print("note: the model has no tokenizer beside it; put a vocab.txt into the new folder", file=sys.stderr)
    parameters = count({name: array.shape for name, array in model.tensors().items()})
    print(f"{args.out}: {type(model).__name__}, {parameters:,} parameters in {args.dtype}")
    return 0
