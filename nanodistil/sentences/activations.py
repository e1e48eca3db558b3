"""Activations by the dotted names that sentence-transformers writes: `torch.nn.modules.activation.Tanh`.

The name is looked up in a table, and never imported: sentence-transformers imports any name under `torch.` and calls
it. What is not in the table is refused (there, what is not torch's falls back to another function, with a warning).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from nanodistil import backend
from nanodistil.backend import Array
from nanodistil.pipelines.scores import sigmoid
from nanodistil.weights.errors import CheckpointError, excerpt, meant

Activation = Callable[[Array], Array]
SELU = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, section 1


def of_checkpoints(name: str) -> Activation:
    """An activation that a config.json may name too, as the NumPy backend computes it."""
    return lambda x: backend.load("numpy").activation(x, name)


def elu(x: Array) -> Array:
    """x, or exp(x) - 1 below 0: any shape.

    >>> elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return np.asarray(np.where(x > 0, x, np.expm1(np.minimum(x, 0))))


def selu(x: Array) -> Array:
    """elu, stretched so that layers of it keep mean 0 and variance 1: any shape."""
    alpha, scale = SELU
    return np.asarray(scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), x.dtype)


ACTIVATIONS: dict[str, Activation] = {
    "ELU": elu,
    "GELU": of_checkpoints("gelu"),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Identity": lambda x: x,
    "LeakyReLU": of_checkpoints("leaky_relu"),
    "LogSigmoid": lambda x: -np.logaddexp(0, -x),
    "Mish": of_checkpoints("mish"),
    "ReLU": of_checkpoints("relu"),
    "ReLU6": of_checkpoints("relu6"),
    "SELU": selu,
    "SiLU": of_checkpoints("silu"),
    "Sigmoid": sigmoid,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanh": np.tanh,
}
_DOTTED = re.compile(r"torch\.nn\.(?:modules\.(?:activation|linear)\.)?(\w{1,40})")


def named(dotted: object, where: object) -> str:
    """The word in ACTIVATIONS that a dotted name stands for. where: its file, for the message of CheckpointError.

    >>> named("torch.nn.modules.activation.Tanh", "config.json"), named("torch.nn.Identity", "config.json")
    ('Tanh', 'Identity')
    >>> named("os.system", "config.json")
    Traceback (most recent call last):
    nanodistil.weights.errors.CheckpointError: config.json: 'os.system' is no activation that is known here: ...
    """
    found = _DOTTED.fullmatch(dotted) if isinstance(dotted, str) else None
    if found is None or found[1] not in ACTIVATIONS:
        near = meant(found[1], ACTIVATIONS) if found else ""
        raise CheckpointError(
            f"{where}: {excerpt(dotted)} is no activation that is known here: torch.nn.{', '.join(ACTIVATIONS)}{near}"
        )
    return found[1]


def dotted(name: str) -> str:
    """The name that sentence-transformers reads.

    >>> dotted("Tanh")
    'torch.nn.modules.activation.Tanh'
    """
    return f"torch.nn.modules.{'linear' if name == 'Identity' else 'activation'}.{name}"
