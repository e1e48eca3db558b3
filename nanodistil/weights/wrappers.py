"""Names that stand behind something: what DataParallel, torch.compile, FSDP or Lightning put before a model's own.

    module.distilbert.embeddings...       DataParallel, DistributedDataParallel
    _orig_mod.distilbert...               torch.compile
    model.distilbert..., net.distilbert.  the attribute of a Lightning module
    distilbert.transformer.layer.0._checkpoint_wrapped_module.ffn...   a part that was wrapped

Two rules, neither of which guesses. A wrapper's own word (SEGMENTS), which is no part of any model's names, is left out
wherever it stands. And if one model is in the file, but behind a prefix, the prefix is left off: a model is there if
the word embeddings and a layer of this family are. Names outside of the prefix are of no use: a `classifier` beside
`encoder.embeddings...` is somebody's own head, and its being called as ours would not make it ours. Two models behind
two prefixes (a student and its teacher, a model and its average) are an error, as only the user knows which is meant.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .errors import CheckpointError, excerpt
from .renamed import Names

SEGMENTS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
WORDS = "embeddings.word_embeddings.weight"
LAYER = "transformer.layer.0.ffn.lin1.weight"  # as names.py calls it, whatever the family
MOST = 20  # word embeddings looked at in one file
OUTSIDE = "outside of the model: "  # before the name of what is: none of any table


class Unwrapped(NamedTuple):
    """Names without what stood before them."""

    names: list[str]  # in the order given
    left_off: str  # what stood before the word embeddings; "" if nothing did


def unwrapped(where: str, names: Sequence[str], table: Names) -> Unwrapped:
    """The names of a file, as a model of this family by itself would have them. where: begins every message.

    Raises CheckpointError if two models are in it, or LoRA's parts beside the weights they belong to.

    >>> from . import names
    >>> file = ["net.module.distilbert.embeddings.word_embeddings.weight", "net.module.classifier.bias", "step"]
    >>> file += ["net.module.distilbert.transformer.layer.0.ffn.lin1.weight"]
    >>> unwrapped("x", file, names).names[1:3], unwrapped("x", file, names).left_off
    (['classifier.bias', 'outside of the model: step'], 'net.module.')
    """
    if any(".lora_A." in name for name in names):
        raise CheckpointError(
            f"{where}: holds a model with LoRA parts beside its weights; save it after merge_and_unload(), or keep "
            f"the folder that PEFT's save_pretrained writes"
        )
    bare = [_without_segments(name) for name in names]
    prefixes = _prefixes(bare, table)
    if len(prefixes) > 1:
        listed = " and ".join(excerpt(prefix) for prefix in sorted(prefixes)[:3])
        raise CheckpointError(f"{where}: holds {len(prefixes)} models, behind {listed}; save one of them by itself")
    prefix = next(iter(prefixes), "")
    if not prefix and bare == list(names):
        return Unwrapped(list(names), "")
    words = next((name for name in names if name.endswith(WORDS)), "")
    left_off = words.removesuffix(WORDS).removesuffix(table.PREFIX) or "a wrapper's words"
    return Unwrapped([_within(name, prefix) for name in bare], left_off)


def _without_segments(name: str) -> str:
    if not SEGMENTS.isdisjoint(parts := name.split(".")):
        name = ".".join(part for part in parts if part not in SEGMENTS)
    return name


def _prefixes(names: Iterable[str], table: Names) -> set[str]:
    """What stands before each model; {""} if one stands by itself, as `model` or `task.model` names it."""
    names = list(names)
    found = set()
    for prefix in [name.removesuffix(WORDS) for name in names if name.endswith(WORDS)][:MOST]:
        inner = (other.removeprefix(prefix) for other in names if other.startswith(prefix))
        if any(table.canonical(other) == LAYER for other in inner):
            found.add(prefix.removesuffix(table.PREFIX))
    return {""} if "" in found else found


def _within(name: str, prefix: str) -> str:
    return name.removeprefix(prefix) if name.startswith(prefix) else OUTSIDE + name
