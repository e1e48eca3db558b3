"""What a name that leads to no model may have meant, and what a folder without a model has instead.

Whoever types a name wrong, or names the folder of a whole training run, is told what is there; it is never taken in
place of what was asked for.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path

from .cache import cache_folder
from .embedded import NAMES
from .files import CONFIG, FLAX, KERAS, TORCH, WEIGHT_FILES, WEIGHTS, weights_file

MOST_LISTED = 10_000  # folders looked at
NO_MODEL = ("training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state.pth", "scaler.pt")


def near(name: str, cache: str | Path | None = None) -> str:
    """What a name that leads nowhere may have meant, as words behind a message; "" if nothing is like it.

    Folders beside where it would be, and what answers without one: the embedded model, and the models of the cache.
    """
    try:
        place = Path(name).expanduser()
        while not place.parent.is_dir():  # a/b/c, if there is no a/b: look for what is like a/b
            place = place.parent
        folders = [str(other.relative_to(place.parent)) for other in place.parent.iterdir() if other.is_dir()]
    except (OSError, ValueError, RuntimeError):
        return ""
    close = get_close_matches(place.name, [f for f in folders if f[0] != "."][:MOST_LISTED], n=3, cutoff=0.5)
    found = [os.path.join(os.path.dirname(name[: len(str(place))]), other) for other in close]
    found += get_close_matches(name, [*NAMES, *(other for other in _cached_ids(cache) if other != name)], n=2)
    listed = ", ".join(other if other.isprintable() else repr(other) for other in dict.fromkeys(found))
    return f" (near: {listed})" if found else ""


def _cached_ids(cache: str | Path | None) -> list[str]:
    try:
        homes = [home.name for home in cache_folder(cache).glob("models--*")][:MOST_LISTED]
    except OSError:
        return []
    return [home.removeprefix("models--").replace("--", "/") for home in homes]


def perhaps(folder: Path) -> str:
    """What a folder without a model has instead, as words behind a message: "" for nothing that is known."""
    try:
        names = sorted(other.name for other in folder.iterdir())
    except OSError:
        return ""
    checkpoints = [n for n in names if re.fullmatch(r"checkpoint-\d+", n) and (folder / n).is_dir()]
    if checkpoints:
        newest = max(checkpoints, key=lambda n: int(n.split("-")[1]))
        return f"; it has {len(checkpoints)} training checkpoints, the newest is {folder / newest}"
    if any(n.startswith("pytorch_model_fsdp") or n == ".metadata" for n in names):
        return "; it has an FSDP checkpoint in pieces: put it together with `accelerate merge-weights`"
    if "zero_to_fp32.py" in names or any(re.fullmatch(r"global_step\d+", n) for n in names):
        return "; it has a DeepSpeed checkpoint in pieces: put it together with its zero_to_fp32.py"
    if "modules.json" in names:
        inner = [n for n in names if (folder / n / CONFIG).is_file() and weights_file(folder / n)]
        return f"; it is of sentence-transformers, its model lies in {folder / inner[0]}" if inner else ""
    others = [n for n in names if n.endswith((".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".h5", ".msgpack"))]
    others = [n for n in others if n not in NO_MODEL and n not in WEIGHT_FILES]
    if len(others) == 1 and weights_file(folder) is None:
        as_name = {".safetensors": WEIGHTS, ".h5": KERAS, ".msgpack": FLAX}.get(Path(others[0]).suffix, TORCH)
        return f"; if {others[0]} is its weights, name it {as_name}"
    return ""
