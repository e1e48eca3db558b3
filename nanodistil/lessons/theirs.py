"""transformers' tensors under our names, from the same weights, wherever it is installed (extra parity).

The names of intermediates are those of the modules that make them, so a hook on a module finds each: what
`attention.q_lin` gives is what passes our tap under that name. Two are what a module is given (context, activation),
and probabilities are returned. Scores, and sums that no module makes, are not to be had.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.lessons.exact import exactly
from nanodistil.lessons.trace import values_of
from nanodistil.replacing import relative
from nanodistil.weights.errors import InputError, MissingExtraError

GIVEN = {"attention.context": "attention.out_lin", "ffn.activation": "ffn.lin2"}  # what a module of that name is given


def built(model: Any, dtype: str = "float32") -> Any:
    """The model as transformers has it, with the same weights, in a dtype of PyTorch's.

    Raises MissingExtraError without transformers or torch, InputError where weights were rounded.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f'transformers and torch are needed ({error}): pip install "nanodistil[parity]"'
        ) from None
    config = transformers.AutoConfig.for_model(model.config.model_type, **_config(model))
    config._attn_implementation = "eager"  # the only one that shows probabilities
    made = getattr(transformers, type(model).__name__)(config)
    arrays = {name: torch.tensor(np.array(array)) for name, array in model.state_dict().items()}
    for copy, own in model.config.names.COPIES.items():
        if own in arrays and copy in made.state_dict():
            arrays[copy] = arrays[own]
    lacks, unknown = made.load_state_dict(arrays, strict=False)
    missing = [name for name in lacks if name.removesuffix(".weight") not in _tied(made)]
    if missing or unknown:
        raise InputError(f"transformers has other weights: {', '.join([*missing, *unknown][:3])}")
    made.tie_weights()
    return made.to(getattr(torch, dtype)).eval()


def _config(model: Any) -> dict[str, Any]:
    import json

    return {k: v for k, v in json.loads(model.config.to_json_string()).items() if k not in ("model_type", "dtype")}


def _tied(made: Any) -> set[str]:
    return {str(name).removesuffix(".weight") for name in (getattr(made, "_tied_weights_keys", None) or ())}


def theirs(model: Any, ids: list[int], dtype: str = "float32") -> dict[str, Array]:
    """Our name -> transformers' value, for one text (T,) ids: (T, width), and (H, T, T) for probabilities.

    model: ours. Raises as `built`.
    """
    made = built(model, dtype)
    import torch

    found: dict[str, Array] = {}

    def kept(name: str, tensor: Any, part: int = 0, parts: int = 1) -> None:
        rows = tensor[0] if tensor.ndim == 3 else tensor
        found[name] = np.array_split(rows.detach().numpy(), parts, axis=-1)[part]

    handles = []
    for name, (module, given, part, parts) in _modules(model, made).items():

        def before(_: Any, given: Any, name: str = name, part: int = part, parts: int = parts) -> None:
            kept(name, given[0], part, parts)

        def behind(_: Any, given: Any, out: Any, name: str = name, part: int = part, parts: int = parts) -> None:
            kept(name, out, part, parts)

        handles.append(module.register_forward_pre_hook(before) if given else module.register_forward_hook(behind))
    try:
        with torch.no_grad():
            out = made(torch.tensor([ids]), output_attentions=True)
    finally:
        for handle in handles:
            handle.remove()
    for i, probs in enumerate(out.attentions):
        found[f"layer.{i}.attention.probs"] = probs[0].numpy()
    return found


def _modules(model: Any, made: Any) -> dict[str, tuple[Any, bool, int, int]]:
    """Our name -> the module, whether what it is given is meant, and which part of how many of its result."""
    found: dict[str, tuple[Any, bool, int, int]] = {}
    modules, names = dict(made.named_modules()), model.config.names
    for canonical in model.tensors():
        module, _, last = canonical.rpartition(".")
        if last != "weight" or "_embeddings" in module:
            continue
        filed = model._filed(canonical)
        whole = names.whole(filed)
        parts = [part.name for part in names.parts(whole)] if whole != filed else [filed]
        part = parts.index(filed) if filed in parts else 0
        name = module.removeprefix("transformer.")
        theirs = modules.get(whole.rpartition(".")[0])
        if theirs is not None:
            found[name] = (theirs, False, part, len(parts))
            for inner, of in GIVEN.items():
                if name.endswith(of):
                    found[name.removesuffix(of) + inner] = (theirs, True, 0, 1)
    for name in model.head.tied:  # the words again, which our tables have no name for
        if (projection := made.get_output_embeddings()) is not None:
            found[name.removesuffix(".weight")] = (projection, False, 0, 1)
    return found


class Apart(NamedTuple):
    """A tensor of ours beside transformers': the largest differences, relative to the largest number."""

    name: str
    shape: tuple[int, ...]
    apart: float
    ours: float  # from float64
    theirs: float  # from float64


def beside(model: Any, ids: list[int], ours: dict[str, Any]) -> list[Apart]:
    """Every tensor of ours that transformers has too, in float32. ours: as trace.py keeps them. Raises as `built`."""
    other = theirs(model, ids)
    exact = values_of(exactly(model), lambda m, tap: m([ids], tap=tap))
    found = []
    for name, value in ours.items():
        if name not in other:
            continue
        mine, true = (one[0] if isinstance(one, list) else one for one in (value, exact[name]))
        rows = slice(None)
        if len(mine) != len(other[name]):  # the head was asked for one token alone
            rows = slice(*_only(mine, other[name]))
        his, true = other[name][rows], true[rows]
        apart = relative(mine.astype(np.float64), his.astype(np.float64))
        found.append(Apart(name, mine.shape, apart, relative(mine, true), relative(his, true)))
    return found


def _only(mine: Array, all_rows: Array) -> tuple[int, int]:
    """Which row of all this one is: the nearest."""
    at = int(np.abs(all_rows - mine).max(-1).argmin())
    return at, at + 1
