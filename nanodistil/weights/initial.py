"""Fresh numbers for arrays that no checkpoint gave: how a DistilBERT looks before it has learned anything.

The rule is transformers', and BERT's before it. Matrices are drawn from a normal distribution of mean 0 and standard
deviation `initializer_range` (plain, not truncated at two deviations as TensorFlow's BERT did); biases are 0; a
LayerNorm starts as one that only normalises, weight 1 and bias 0. Two rows of the table have rules of their own: the
word embedding of the padding token is 0, and with `sinusoidal_pos_embds` the positions are not drawn but computed.

The usual default of other libraries is another random model at each start. Here the seed has a fixed default, so that
a run can be repeated without a word; whoever wants several models gives several seeds. Numbers are drawn in float32
and widened, so a float64 model is the float32 one of its seed, exactly. (torch's generator is another one: the numbers
are not transformers' for the same seed, only their distribution.)
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .names import is_norm

WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
RESIDUAL = ("attention.out_lin.weight", "ffn.lin2.weight")  # what adds to the residual stream
LEARNED_START = {  # of the activations in names.LEARNED, as PyTorch and transformers start them
    "weight": 0.25,
    "alpha_p": np.log(np.expm1(0.8)),
    "alpha_n": np.log(np.expm1(0.3)),
    "beta": 0.5,
    "eps": -1e-6,
}


def fresh(
    shapes: dict[str, tuple[int, ...]], config: Any, dtype: DTypeLike = np.float32, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Canonical name (names.py) -> a new array of each shape, in float32 or float64.

    shapes: a whole model's, `expected(config, head)`, or any part of it; the numbers follow from seed and the names'
    order. config: any object; initializer_range, padding_idx, residual_start, sinusoidal_pos_embds are read if there.

    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(initializer_range=0.5)
    >>> arrays = fresh({"sa_layer_norm.weight": (3,), "classifier.weight": (2, 900), "classifier.bias": (2,)}, config)
    >>> arrays["sa_layer_norm.weight"].tolist(), arrays["classifier.bias"].tolist()
    ([1.0, 1.0, 1.0], [0.0, 0.0])
    >>> round(float(arrays["classifier.weight"].std()), 1)
    0.5
    """
    random = None  # to import numpy.random takes 8 ms, and most models have nothing to draw
    deviation = np.float32(getattr(config, "initializer_range", 0.02))
    arrays: dict[str, NDArray[Any]] = {}
    for name, shape in shapes.items():
        if name == POSITIONS and getattr(config, "sinusoidal_pos_embds", False):
            arrays[name] = sinusoidal(*shape).astype(dtype, copy=False)
        elif name.endswith(".bias"):
            arrays[name] = np.zeros(shape, dtype)
        elif ".activation." in f".{name}":
            arrays[name] = np.full(shape, LEARNED_START[name.rpartition(".")[2]], dtype)
        elif is_norm(name):
            arrays[name] = np.ones(shape, dtype)
        else:
            random = random or np.random.default_rng(seed)
            drawn = random.standard_normal(shape, np.float32)
            drawn *= deviation
            if name.endswith(RESIDUAL):
                drawn *= np.float32(getattr(config, "residual_start", 1.0))
            if name == WORDS and (padding := getattr(config, "padding_idx", 0)) is not None:
                drawn[padding] = 0
            arrays[name] = drawn.astype(dtype, copy=False)
    return arrays


def sinusoidal(positions: int, width: int) -> NDArray[np.float32]:
    """The position table of "Attention Is All You Need", section 3.5: (P, D) float32.

    Even columns are sines and odd ones cosines of p / 10000^(2i / D), i the pair's number. Computed in float64 and
    rounded once, as transformers does, so the numbers are equal to the last bit.

    >>> [round(x, 4) for x in sinusoidal(2, 4)[1].tolist()]
    [0.8415, 0.5403, 0.01, 0.9999]
    """
    pairs = np.arange(width) // 2
    angles = np.arange(positions)[:, None] / np.power(10000, 2 * pairs / width)  # (P, D)
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    return angles.astype(np.float32)
