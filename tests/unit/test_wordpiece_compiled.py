"""The compiled scan against the definition: same ids, offsets, words, tokens, masks, for whatever is thrown at both.

Under NUMBA_DISABLE_JIT=1 the same code runs as plain Python, where an index out of range raises.
"""

import copy
import json
import os
import random
import threading
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanodistil.tokenization import AddedToken, DistilBertTokenizer, unicode_tables
from nanodistil.tokenization.wordpiece import Normalizer

pytest.importorskip("numba")
from nanodistil.kernels.cpu import wordpiece as scan
from nanodistil.kernels.runtime import pool
from nanodistil.tokenization import scanner as scanner_module
from nanodistil.tokenization.code_points import code_points
from nanodistil.tokenization.scanner import Scanner

pytestmark = pytest.mark.filterwarnings("ignore:.*capitals:UserWarning")
MINI = Path(__file__).parents[2] / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
EVERYTHING = dict.fromkeys(
    ("return_offsets_mapping", "return_token_type_ids", "return_special_tokens_mask", "return_length"), True
)
Pair = tuple[DistilBertTokenizer, DistilBertTokenizer]


def compiled(tokenizer: DistilBertTokenizer) -> DistilBertTokenizer:
    encoder = tokenizer.encoder
    encoder.scanner, encoder.seen = Scanner(encoder.pieces, encoder.added, scan), None
    return tokenizer


def both(*arguments: Any, **named: Any) -> Pair:
    """(the definition, the compiled one)."""
    definition = DistilBertTokenizer(*arguments, **named)
    definition.encoder.seen = None
    return definition, compiled(DistilBertTokenizer(*arguments, **named))


def changing_characters() -> list[str]:
    """Every character that is decomposed, lower-cased, reordered, stripped or split, and what becomes of it."""
    out = {*map(chr, range(33, 127)), *map(chr, range(0x1100, 0x1200)), *unicode_tables.combining_classes()}
    for name in ("nonspacing", "punctuation"):
        out |= {chr(c) for start, end in unicode_tables.ranges(name) for c in range(start, end)}
    for name in ("lower", "decomposition"):
        changes = unicode_tables.changes(name)
        out |= {*changes, *"".join(changes.values())}
    return sorted(out)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """In a vocabulary of characters a wrong or misplaced one shows, which in a real one is [UNK] either way."""
    characters = tmp_path_factory.mktemp("characters") / "vocab.txt"
    found = changing_characters()
    characters.write_text("\n".join([*SPECIALS, *found, *("##" + c for c in found)]) + "\n", "utf-8", newline="")
    return {
        "words": both(MINI),
        "cased words": both(MINI, do_lower_case=False),
        "characters": both(characters),
        "cased characters": both(characters, do_lower_case=False),
        "accents kept": both(characters, strip_accents=False),
        "only accents": both(characters, do_lower_case=False, strip_accents=True, tokenize_chinese_chars=False),
    }


KINDS = ["words", "cased words", "characters", "cased characters", "accents kept", "only accents"]


def check(pair: Pair, *texts: Any, **arguments: Any) -> None:
    for extra in ({}, EVERYTHING):
        a, b = (tokenizer(*texts, verbose=False, **extra, **arguments) for tokenizer in pair)
        assert list(a) == list(b)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key]) if "return_tensors" in arguments else None
            assert "return_tensors" in arguments or a[key] == b[key], key
    assert len(a.encodings) == len(b.encodings)
    for mine, other in zip(a.encodings, b.encodings, strict=True):
        assert mine == other


HAND_PICKED = [
    "",
    " ",
    "Hello, world!",
    "unaffable don't $5.00 ...",
    "[MASK]",
    "a [MASK]b[SEP][CLS] [mask] [MASK",
    "é [MASK] 漢 [MASK]\U0001f469\u200d\U0001f469 [UNK]",
    "Né\u00adé ÉCOLE naïve Σίσυφος İstanbul ǅ",
    "漢字kana仮名 한국어 ｈａｌｆ",
    "a\u0301\u0323b \u0301 x\u0301",
    "\u302e\u302f a\u302e\u0323b \u0323\u302e e\u1dfb\u302e",  # marks that survive beside others: HARD
    "\U0001d160\u0323 \U0001d165\U0001d16e\u1d16 \u1b44\u0301",
    "\u037e \u2260 \ufffd\x00\x7f\x85\u2028\ufeff\xa0\u3000",
    "x" * 99 + " " + "x" * 100 + " " + "x" * 101 + " " + "é" * 101 + " y",
    "\U0010ffff\ue000 \U00020000\U0002b820\U0002f800",
    "##able ## #",
]


@pytest.mark.parametrize("kind", KINDS)
def test_hand_picked(pairs: dict[str, Pair], kind: str) -> None:
    for text in HAND_PICKED:
        check(pairs[kind], text)
    check(pairs[kind], HAND_PICKED)
    check(pairs[kind], HAND_PICKED[::-1], HAND_PICKED)
    check(pairs[kind], [])
    for side in ("left", "right"):
        for tokenizer in pairs[kind]:
            tokenizer.truncation_side = side
        for length in (1, 3, 4) if INTERPRETED else range(6):
            check(pairs[kind], HAND_PICKED, truncation=True, max_length=length)
            check(pairs[kind], HAND_PICKED, HAND_PICKED[::-1], truncation=True, max_length=length + 3)
            check(pairs[kind], HAND_PICKED, truncation=True, max_length=length, add_special_tokens=False)
        check(pairs[kind], HAND_PICKED, truncation=True, max_length=4, padding=True, padding_side=side)
        check(pairs[kind], HAND_PICKED, padding=True, padding_side=side, return_tensors="np")
    check(pairs[kind], "x", padding="max_length", max_length=9, return_tensors="np")


alphabet = st.one_of(
    st.characters(exclude_categories=("Cs",)),  # all planes
    st.sampled_from("abcXYZ019 .,'[]#\t\n"),
    st.sampled_from(sorted(unicode_tables.combining_classes())),
    st.sampled_from(sorted(unicode_tables.changes("decomposition"))),
    st.sampled_from([*SPECIALS, "the ", "ing", "한", "漢", "\u302e", "\u0323", "É"]),
)
texts = st.lists(alphabet, max_size=40).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30 if INTERPRETED else 150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=st.lists(texts, max_size=5))
def test_random_text(pairs: dict[str, Pair], kind: str, batch: list[str]) -> None:
    check(pairs[kind], batch)


@pytest.mark.parametrize(
    ("clean", "cjk", "strip", "lower"),
    [
        pytest.param(*parts, marks=[] if all(parts) or not any(parts) else pytest.mark.sweep)
        for parts in product([True, False], repeat=4)
    ],
)
def test_every_code_point_of_the_table(lower: bool, strip: bool, cjk: bool, clean: bool) -> None:
    """What the table says each changing code point, and every fifth of the others, becomes."""
    normalizer = Normalizer(lower, strip, cjk, clean)
    actions, expansions, growth = code_points(normalizer, scan)
    split = code_points(Normalizer(False, False, False, False), scan).actions
    assert growth >= 1
    for c in {*map(ord, changing_characters()), *range(0, 0x110000, 997 if INTERPRETED else 5)}:
        action = int(actions[c])
        kind, argument = action & scan.KIND, action >> scan.ARGUMENT
        elements = {
            scan.WORD: [c],
            scan.ALONE: [c | scan.ALONE << scan.ELEMENT_KIND],
            scan.SPACE: [],
            scan.DROP: [],
            scan.ONE: [argument],
        }.get(kind)
        if elements is None:
            elements = expansions[argument + 1 : argument + 1 + expansions[argument]].tolist()
        found = [e & scan.CODE for e in elements if e >> scan.ELEMENT_KIND != scan.SPACE]
        if 0xD800 <= c < 0xE000:
            continue
        before = normalizer.before_order[chr(c)]
        wanted = [ord(x) for x in "".join(normalizer.after_order[x] for x in before) if split[ord(x)] != scan.SPACE]
        assert found == wanted, hex(c)
        assert len(found) <= growth * len(chr(c).encode())


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_threads_parts_and_cache_do_not_show(pairs: dict[str, Pair], kind: str, monkeypatch: Any) -> None:
    rng = random.Random(0)
    words = ["the", "Unaffable", "naïve", "zzyzx", "x" * 30, "漢字", "[MASK]", "don't", "a\u302e\u0323", "qwrtp"]
    batch = [" ".join(rng.choices(words, k=rng.randrange(30))) for _ in range(6 if INTERPRETED else 400)]
    definition, tokenizer = pairs[kind]
    wanted = definition(batch, verbose=False, return_offsets_mapping=True)
    before = pool._threads
    try:
        for threads in (1, 2, 5):
            for lines, part in ((1, 100), (2, 1000), (1 << 14, 100), (1 << 16, 1 << 20)):
                monkeypatch.setattr(scanner_module, "LINES", lines)
                monkeypatch.setattr(scanner_module, "PART", part)
                tokenizer = compiled(copy.deepcopy(tokenizer))
                pool.set_threads(threads)
                for _ in range(2):  # the second time with a full cache
                    assert tokenizer(batch, verbose=False, return_offsets_mapping=True) == wanted
    finally:
        pool._threads = before


def test_many_callers_at_once(pairs: dict[str, Pair]) -> None:
    definition, tokenizer = pairs["words"]
    rng = random.Random(1)
    batches = [[" ".join(rng.choices(HAND_PICKED, k=5)) for _ in range(3)] for _ in range(6)]
    wanted = [definition(batch, verbose=False)["input_ids"] for batch in batches]
    wrong: list[int] = []

    def call(i: int) -> None:
        for _ in range(2 if INTERPRETED else 50):
            if tokenizer(batches[i], verbose=False)["input_ids"] != wanted[i]:
                wrong.append(i)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_added_tokens_that_take_spaces() -> None:
    """Stripping ones, one that needs a word's end, and two that fight over the spaces between them: HARD."""
    extra = [
        AddedToken("[L]", lstrip=True, special=True),
        AddedToken("[R]", rstrip=True, special=True),
        AddedToken("  y", special=True),
        AddedToken("wort", single_word=True, special=True),
    ]
    pair = both(MINI, additional_special_tokens=extra)
    check(pair, ["a [L]  [R]  y b", "é [R]  [L] wort worts", "[R]  y", "  y", "[R]   ", "x [MASK]  [L][R] 漢"])


@pytest.mark.sweep
@pytest.mark.skipif(INTERPRETED, reason="10 MB in plain Python")
def test_a_long_text_takes_linear_time(pairs: dict[str, Pair]) -> None:
    """10 MB of what is worst: words without end, nearly matching words, added tokens. Seconds where it was squared."""
    tokenizer = pairs["words"][1]
    for unit in ("x", "ab ", "[MASK]é", "internationalizationalism" * 4 + " "):
        text = unit * (10_000_000 // len(unit))
        tokenizer(text, verbose=False)


def test_what_is_left_to_the_definition(tmp_path: Path) -> None:
    """Unusual tokenizers raise ValueError here, and answer all the same."""
    tokenizer = both(MINI)[0]
    tokenizer.add_tokens(AddedToken("NewTok"))
    with pytest.raises(ValueError):
        Scanner(tokenizer.encoder.pieces, tokenizer.encoder.added, scan)
    assert tokenizer.encoder.load_scanner() is None
    assert tokenizer.tokenize("a newtok") == ["a", "newtok"]


@pytest.mark.skipif(INTERPRETED, reason="the definition answers")
def test_it_is_loaded_once_there_is_enough_text() -> None:
    tokenizer = DistilBertTokenizer(MINI)
    tokenizer("hello")
    assert tokenizer.encoder.scanner is None
    long = tokenizer("hello " * 10_000, verbose=False)
    assert isinstance(tokenizer.encoder.scanner, Scanner)
    assert long["input_ids"][:3] == tokenizer("hello hello")["input_ids"][:3]
    assert json.dumps(long["input_ids"][:5])  # Python's own integers
    again = copy.deepcopy(tokenizer)
    assert again.encoder.scanner is None and again("hello") == tokenizer("hello")
