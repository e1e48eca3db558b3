"""initial.py: the distributions, the special rows, and that a seed is a seed."""

from types import SimpleNamespace

import numpy as np

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.initial import fresh, sinusoidal
from nanodistil.weights.names import expected

CONFIG = SimpleNamespace(
    vocab_size=500, max_position_embeddings=40, dim=64, hidden_dim=128, n_layers=2, n_heads=4, num_labels=3,
    initializer_range=0.3, padding_idx=7, sinusoidal_pos_embds=False,
)  # fmt: skip
WORDS, POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"


def test_a_whole_model():
    shapes = expected(CONFIG, TABLE["sequence_classification"])
    arrays = fresh(shapes, CONFIG)
    assert {name: array.shape for name, array in arrays.items()} == shapes
    for name, array in arrays.items():
        assert array.dtype == np.float32
        if name.endswith("bias"):
            assert (array == 0).all(), name
        elif "norm" in name.lower():
            assert (array == 1).all(), name
        else:
            few = 5 / np.sqrt(array.size)  # five standard errors
            assert abs(array.mean()) < 0.3 * few and abs(array.std() / 0.3 - 1) < few, name
    assert (arrays[WORDS] == 0).all(axis=1).nonzero()[0].tolist() == [7]


def test_seeds_and_dtypes():
    shapes = expected(CONFIG)
    one, same, double, other = (fresh(shapes, CONFIG, d, s) for d, s in [("f4", 0), ("f4", 0), ("f8", 0), ("f4", 1)])
    for name in shapes:
        np.testing.assert_array_equal(one[name], same[name])
        np.testing.assert_array_equal(one[name], double[name])
        assert double[name].dtype == np.float64
    assert not np.array_equal(one[WORDS], other[WORDS])


def test_sinusoidal_positions():
    config = SimpleNamespace(**{**vars(CONFIG), "sinusoidal_pos_embds": True})
    table = fresh({POSITIONS: (40, 64)}, config)[POSITIONS]
    np.testing.assert_array_equal(table, sinusoidal(40, 64))
    assert table[3, 10] == np.float32(np.sin(3 / 10000 ** (10 / 64)))
    assert table[3, 11] == np.float32(np.cos(3 / 10000 ** (10 / 64)))
    assert sinusoidal(3, 5).shape == (3, 5)  # an odd width has a sine more than cosines
