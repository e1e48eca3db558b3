"""Texts that are hard on a tokenizer, for the tests that compare it with another."""

import random

from nanodistil.tokenization import unicode_tables

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def random_text(rng: random.Random, longest: int = 25) -> str:
    marks = list(unicode_tables.combining_classes())
    tables = unicode_tables._tables()
    pools = [
        lambda: rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
        lambda: rng.choice(["the", "Hello", "un", "able", "ing ", " world", "don't", "$5.00", "..."]),
        lambda: rng.choice(marks),
        lambda: rng.choice(list(tables["decomposition"])),
        lambda: chr(rng.randrange(0xAC00, 0xD7A4)),
        lambda: chr(rng.randrange(0x4E00, 0xA000)),
        lambda: rng.choice(list(tables["lower"])),
        lambda: chr(rng.choice(tables["punctuation"])),
        lambda: rng.choice(" \t\n\r\x0b\x0c\x85\xa0\u2028\u3000\u200b\u200d\xad\x00\ufffd\ufeff"),
        lambda: rng.choice(
            [*SPECIALS, "[mask]", "[MASK", "[", "]", "##", "##s", "👩\u200d👩\u200d👧", "🏴", "e\u0301"]
        ),
        lambda: chr(rng.randrange(0xD800)),
        lambda: chr(rng.randrange(0xE000, 0x110000)),
    ]
    weights = [rng.random() ** 3 for _ in pools]
    return "".join(rng.choices(pools, weights)[0]() for _ in range(rng.randrange(longest)))
