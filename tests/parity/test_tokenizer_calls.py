"""Random calls, every argument varied, answered as the fast tokenizer answers them, and refused where it raises.

    pytest tests/parity/test_tokenizer_calls.py -m "parity and not sweep"     seconds
    pytest tests/parity/test_tokenizer_calls.py -m "parity and sweep"         100,000 calls, minutes

Compared are the keys and their order, every value, every field of every Encoding, and every mapping method with random
arguments. What is different on purpose is DIFFERENT, below, and nothing else.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizer_texts import SPECIALS, random_text

from nanodistil.tokenization import AddedToken, DistilBertTokenizer
from nanodistil.weights.errors import InputError

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}  # one at a time; panics in a line each
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "tokenizers"
MINI = ROOT / "nanodistil" / "weights" / "nanodistil-mini"
Both = tuple[DistilBertTokenizer, Any]  # ours, theirs

DIFFERENT = {
    "strict": "an argument that cannot be (a bool or -1 for a number, an unknown side) is refused also where the "
    "reference does not look at it",
    "empty batch": "tokenizer([]) gives empty lists; the reference fails with an IndexError",
    "ragged": "return_tensors='np' of rows of different lengths is refused; the reference makes arrays of objects",
    "nothing": "the offsets of B texts without tokens are an array (B, 0, 2); the reference's is (B, 0)",
}


@pytest.fixture(scope="module")
def tokenizer_pairs() -> list[tuple[str, Both]]:
    """Every vocabulary there is, each plain, with added tokens, and made from a tokenizer.json."""
    vocabularies = {"uncased": MINI / "vocab.txt"}
    for name in ("cased", "german-cased", "multilingual-cased"):
        path = SHARED / f"distilbert-base-{name}" / "vocab.txt"
        if path.is_file():
            vocabularies[name] = path
    made = []
    for name, path in vocabularies.items():
        for added in (False, True):
            options: dict[str, Any] = {"do_lower_case": name == "uncased"}
            if name == "german-cased":
                options |= {"strip_accents": added, "tokenize_chinese_chars": not added}
            ours = DistilBertTokenizer(path, **options)
            theirs = transformers.DistilBertTokenizerFast(vocab_file=str(path), **options)
            if added:
                add_the_same(random.Random(name), ours, theirs)
            made.append((f"{name}{' with added tokens' * added}", (ours, theirs)))
    folder = SHARED / "distilbert-base-uncased"
    if folder.is_dir():
        theirs = transformers.DistilBertTokenizerFast.from_pretrained(str(folder))
        made.append(("tokenizer.json", (DistilBertTokenizer.from_pretrained(folder), theirs)))
    return made


CONTENTS = [
    *["x", "é"],
    "NewTok",
    "hello",
    "new york",
    "Café",
    "[A]",
    " y",
    "z ",
    "ΑΣ",
    "漢字",
    "<s>",
    "##able",
    "-",
]


def random_flags(rng: random.Random) -> dict[str, bool]:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {flag: rng.random() < 0.4 for flag in flags if rng.random() < 0.5}


def add_the_same(rng: random.Random, ours: DistilBertTokenizer, theirs: Any) -> None:
    for content in rng.sample(CONTENTS, 6):
        flags = random_flags(rng)
        special = rng.random() < 0.3
        assert ours.add_tokens(AddedToken(content, **flags), special) == theirs.add_tokens(
            tokenizers.AddedToken(content, **flags), special
        )


# ---- calls


def words_of(rng: random.Random) -> str:
    """A short text: plain words, added tokens and horrors."""
    if rng.random() < 0.25:
        return random_text(rng, 12)
    length = rng.choice([9, 9, 9, 30])
    words = ["hello", "unaffable", "World", "naïve", "[MASK]", "!", "x", "漢字", "don't", *CONTENTS, *SPECIALS]
    return rng.choice([" ", " ", "", "  "]).join(rng.choices(words, k=rng.randrange(length)))


def word_list(rng: random.Random) -> Any:
    words = [words_of(rng) if rng.random() < 0.3 else rng.choice(["a", "", "can't", "Hi", " ", "é"]) for _ in range(12)]
    return rng.choice([list, tuple])(words[: rng.choice([0, 1, 2, 2, 3, 4, 5, 12])])


WRONG = [None, 3, b"x", "", [], (), [None], ["a", None], ["a", 3], [["a"]], [["a", "b", "c"]], [["a", None]], {"a": 1}]
WRONG += [[[]], ["a", []], "\ud800", ["\udc00"], [[["a"]]], ("a",), [("a", "b"), "c"], ["a", ("b", "c")], 0, False, 1.5]


def random_texts(rng: random.Random, words: bool) -> tuple[Any, Any]:
    """A text and a second one, in all shapes, now and then nonsense."""

    def one() -> Any:
        return word_list(rng) if words and rng.random() < 0.95 else words_of(rng)

    n = rng.randrange(1, 4)
    shape = rng.choice(["one", "one", "pair", "batch", "batch", "pairs", "mixed pairs", "two batches", "nonsense"])
    if shape == "one":
        return one(), None
    if shape == "pair":
        return one(), one()
    if shape == "batch":
        return rng.choice([list, tuple])(one() for _ in range(n)), None
    if shape == "pairs":
        return [(one(), one()) for _ in range(n)], None
    if shape == "mixed pairs":
        return [rng.choice([one(), (one(), one()), [one(), one()]]) for _ in range(n)], None
    if shape == "two batches":
        return [one() for _ in range(n)], [one() for _ in range(n if rng.random() < 0.95 else n + 1)]
    return rng.choice([one(), *WRONG]), rng.choice([None, one(), *WRONG])


TRUNCATIONS = list(transformers.tokenization_utils_base.TruncationStrategy)
PADDINGS = list(transformers.utils.PaddingStrategy)  # names for the same strings
RIGHT: dict[str, Callable[[random.Random], Any]] = {
    "add_special_tokens": lambda rng: rng.random() < 0.5,
    "padding": lambda rng: rng.choice([False, True, "longest", "max_length", "do_not_pad", *PADDINGS]),
    "truncation": lambda rng: rng.choice(
        [None, True, True, "longest_first", "only_first", "only_second", False, "do_not_truncate", *TRUNCATIONS]
    ),
    "max_length": lambda rng: rng.choice([None, *range(16), np.int64(7)]),
    "stride": lambda rng: rng.choice([0, 1, 1, 2, 3, 5, 12]),
    "is_split_into_words": lambda rng: rng.random() < 0.6,
    "pad_to_multiple_of": lambda rng: rng.choice([None, 1, 4, 8]),
    "padding_side": lambda rng: rng.choice([None, "left", "right"]),
    "return_tensors": lambda rng: rng.choice([None, "np", transformers.TensorType.NUMPY]),
    "return_token_type_ids": lambda rng: rng.choice([None, True, False]),
    "return_attention_mask": lambda rng: rng.choice([None, True, False]),
    "return_overflowing_tokens": lambda rng: rng.random() < 0.8,
    "return_special_tokens_mask": lambda rng: rng.random() < 0.7,
    "return_offsets_mapping": lambda rng: rng.random() < 0.8,
    "return_length": lambda rng: rng.random() < 0.7,
    "split_special_tokens": lambda rng: rng.random() < 0.7,
}
RAISES: dict[str, list[Any]] = {  # in the reference too
    "padding": ["longer", None, 1, []],
    "truncation": ["first", 1],
    "add_special_tokens": [1, None, "yes"],
    "return_tensors": ["xx"],
    "is_split_into_words": [1, "yes"],
    "no_such_argument": [1],
}
STRICT: dict[str, list[Any]] = {
    "max_length": [-1, 2.5, True, "5"],
    "stride": [-1, 1.5, "2", None, True],
    "pad_to_multiple_of": [0, -4, True, 2.5],
    "padding_side": ["up", 3],
    "split_special_tokens": [1, "yes"],
}


def random_arguments(rng: random.Random) -> tuple[dict[str, Any], bool]:
    """Arguments by name, and whether one is of those that only we refuse everywhere."""
    rate = rng.choice([0.1, 0.3, 0.6])
    arguments = {name: draw(rng) for name, draw in RIGHT.items() if rng.random() < rate}
    arguments["verbose"] = False
    if rng.random() < 0.4:  # windows
        arguments |= {"max_length": rng.randrange(3, 12), "truncation": RIGHT["truncation"](rng)}
        arguments |= {"return_overflowing_tokens": rng.random() < 0.8, "stride": rng.choice([0, 0, 1, 1, 2, 4])}
    strict = rng.random() < 0.03
    table = STRICT if strict else RAISES
    if strict or rng.random() < 0.03:
        name = rng.choice(list(table))
        arguments[name] = rng.choice(table[name])
    return arguments, strict


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the exception; ours may only raise InputError, or Python's for an unknown argument."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return error


def refused(found: Any) -> bool:
    return isinstance(found, InputError) or (isinstance(found, TypeError) and "no_such_argument" in str(found))


def same(mine: Any, other: Any) -> bool:
    """Equal, and of the same kind: lists are lists, arrays have the same dtype and shape."""
    if isinstance(other, np.ndarray):
        return isinstance(mine, np.ndarray) and mine.dtype == other.dtype and np.array_equal(mine, other)
    return type(mine).__name__ == type(other).__name__ and mine == other


FIELDS = ["ids", "type_ids", "tokens", "offsets", "word_ids", "words", "sequence_ids", "special_tokens_mask"]
FIELDS += ["attention_mask", "n_sequences"]
MAPPINGS = {  # method -> whether it takes a sequence_index
    "token_to_sequence": False,
    "token_to_word": False,
    "token_to_chars": False,
    "word_to_tokens": True,
    "word_to_chars": True,
    "char_to_token": True,
    "char_to_word": True,
}


def differences(rng: random.Random, mine: Any, other: Any) -> list[str]:
    """What is not the same of two BatchEncodings."""
    found = []
    if list(mine.keys()) != list(other.keys()):
        found.append(f"keys {list(mine.keys())} != {list(other.keys())}")
    for key, value in other.items():
        nothing = key == "offset_mapping" and isinstance(value, np.ndarray) and value.size == 0
        if key in mine and not (nothing and mine[key].size == 0) and not same(mine[key], value):
            found.append(f"{key} {mine[key]} != {value}")
    if (mine.is_fast, mine.n_sequences) != (other.is_fast, other.n_sequences):
        found.append(f"is_fast, n_sequences {mine.is_fast, mine.n_sequences} != {other.is_fast, other.n_sequences}")
    if not other.is_fast:
        return found
    if len(mine.encodings) != len(other.encodings):
        return [*found, f"{len(mine.encodings)} encodings != {len(other.encodings)}"]
    for i in range(len(other.encodings)):
        for field in FIELDS:
            if getattr(mine[i], field) != getattr(other[i], field):
                found.append(f"[{i}].{field} {getattr(mine[i], field)} != {getattr(other[i], field)}")
    rows = len(other.encodings)
    for name in ("tokens", "word_ids", "words", "sequence_ids"):
        found += _ask(mine, other, name, rng.choice([(), (rng.randrange(rows),), (-1,), (rows,), ("x",)]), {})
    for name, takes_sequence in MAPPINGS.items():
        for _ in range(3):
            index = (
                rng.choice([rng.randrange(12), rng.randrange(40), -1])
                if rng.random() < 0.97
                else rng.choice([None, 1.5])
            )
            row = rng.choice([0, rng.randrange(rows), -1, rows, -rows - 1])
            place = (index,) if rng.random() < 0.4 else (row, index)
            named = {}
            if takes_sequence and rng.random() < 0.6:
                named = {"sequence_index": rng.choice([0, 1, 1, 1, 2, -1])}
            found += _ask(mine, other, name, place, named)
    return found + (_converted(mine, other, rng.random() < 0.3) if rng.random() < 0.2 else [])


def _converted(mine: Any, other: Any, prepend: bool) -> list[str]:
    """What differs once both were made arrays in place."""
    a, b = (outcome(lambda batch=batch: batch.convert_to_tensors("np", prepend)) for batch in (mine, other))
    if isinstance(b, BaseException) or any(value.dtype == object for value in b.values()):
        return [] if refused(a) else [f"converted: {a!r} != {b!r}"]
    wrong = isinstance(a, BaseException) or [key for key in b if not same(a[key], b[key]) and b[key].size]
    return [f"converted: {a!r} != {b!r}"] if wrong else []


def _ask(mine: Any, other: Any, name: str, place: tuple[Any, ...], named: dict[str, Any]) -> list[str]:
    a, b = (outcome(lambda batch=batch: getattr(batch, name)(*place, **named)) for batch in (mine, other))
    fine = refused(a) if isinstance(b, BaseException) else not isinstance(a, BaseException) and same(a, b)
    return [] if fine else [f"{name}{place}{named or ''}: {a!r} != {b!r}"]


def one_call(rng: random.Random, ours: DistilBertTokenizer, theirs: Any) -> list[str]:
    """What differs for one random call."""
    for tokenizer in (ours, theirs):
        tokenizer.model_max_length = 10**30
    ours.model_max_length = theirs.model_max_length = rng.choice([512, 7, 10**30])
    ours.padding_side, ours.truncation_side = theirs.padding_side, theirs.truncation_side = [
        rng.choice(["left", "right"]) for _ in range(2)
    ]
    ours.split_special_tokens = theirs.split_special_tokens = rng.random() < 0.1
    names = rng.choice(
        [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"], ["input_ids"]]
    )
    ours.model_input_names = theirs.model_input_names = names
    arguments, strict = random_arguments(rng)
    words = arguments.get("is_split_into_words", False)
    text, pair = random_texts(rng, bool(words))
    batch = isinstance(text, list | tuple) and (not words or (bool(text) and isinstance(text[0], list | tuple)))
    fitting = ["batch_encode_plus"] if batch else ["encode_plus", "encode", "tokenize"]
    method = rng.choice(fitting if rng.random() < 0.9 else ["encode_plus", "batch_encode_plus", "encode", "tokenize"])
    method = "__call__" if rng.random() < 0.7 else method
    places: tuple[Any, ...] = (text,) if pair is None else (text, pair)
    named: dict[str, Any] = {}
    if method == "batch_encode_plus":
        lists = isinstance(text, list) and isinstance(pair, list)
        places = (list(zip(text, pair, strict=False)) if lists else text,)
    elif method == "__call__" and rng.random() < 0.15:
        target, target_pair = random_texts(rng, bool(words))
        named = {"text_target": target, "text_pair_target": target_pair}
        if rng.random() < 0.4:
            places = ()
    if method == "tokenize":
        arguments.pop("return_tensors", None)
    mine, other = (outcome(lambda t=t: getattr(t, method)(*places, **named, **arguments)) for t in (ours, theirs))
    sides = f"sides {ours.padding_side} {ours.truncation_side}"
    case = f"{method}{places}{named or ''} {arguments} max {ours.model_max_length} {sides}"
    if strict:
        return [] if refused(mine) else [f"{case}: not refused"]
    given = [tuple(t) for t in (*places[:1], named.get("text_target")) if isinstance(t, list | tuple)]
    if isinstance(other, IndexError) and () in given:
        return []  # "empty batch"; what comes of it, the unit tests say
    arrays = arguments.get("return_tensors") == "np" and not isinstance(other, BaseException)
    values = other.values() if hasattr(other, "values") else [other]
    if arrays and any(value.dtype == object for value in values):
        return [] if refused(mine) else [f"{case}: ragged, not refused"]
    if isinstance(other, BaseException):
        return [] if refused(mine) else [f"{case}: {mine!r} where the reference has {other!r}"]
    if isinstance(mine, BaseException):
        return [f"{case}: {mine!r} where the reference has {other!r}"]
    if not hasattr(other, "values"):
        return [] if same(mine, other) else [f"{case}: {mine} != {other}"]
    return [f"{case}: {difference}" for difference in differences(rng, mine, other)]


@pytest.mark.parametrize("count", [4_000, pytest.param(50_000, marks=pytest.mark.sweep)])
def test_random_calls(tokenizer_pairs: list[tuple[str, Both]], count: int) -> None:
    rng = random.Random(f"calls {count}")
    wrong: list[str] = []
    for _ in range(count):
        name, (ours, theirs) = rng.choice(tokenizer_pairs)
        wrong += [f"{name}: {line}" for line in one_call(rng, ours, theirs)[:1]]
    assert not wrong, f"{len(wrong)} of {count} differ:\n" + "\n".join(line[:900] for line in wrong[:8])
