"""Small random models with the embedded vocabulary, for unit tests of the pipelines."""

from dataclasses import replace

from conftest import random_tensors

from nanodistil import DistilBertConfig, DistilBertTokenizer
from nanodistil.family import class_of

SIZE = {"vocab_size": 30522, "max_position_embeddings": 64, "n_layers": 2, "n_heads": 2, "dim": 16, "hidden_dim": 24}


def small(head, backend="numpy", seed=0, **config):
    """A random nanodistil model of the class `head`, and a tokenizer for it."""
    cls = class_of("distilbert", head.removeprefix("DistilBert"))
    config = replace(DistilBertConfig(**SIZE), **config)
    tensors = random_tensors(config, cls.head.name, seed, scale=0.3)
    return cls(config, tensors, backend=backend), DistilBertTokenizer.from_pretrained("nanodistil-mini")


class Counting:
    """An iterable of texts that counts how many were asked for, and may end with something that is no text."""

    def __init__(self, n, text="number {} is good", last=()):
        self.taken, self.n, self.text, self.last = 0, n, text, last

    def __iter__(self):
        for i in range(self.n):
            self.taken += 1
            yield self.text.format(i)
        yield from self.last
