"""Random histories: tokens added, roles given and taken, then everything asked; ours beside the fast tokenizer.

Also ids without a text (pad, prepare_for_model, truncate_sequences, the conversions), with random arguments. What is
different on purpose is DIFFERENT, below.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tokenizer_calls import CONTENTS, Both, differences, outcome, random_flags, refused, same, words_of
from tokenizer_texts import SPECIALS

from nanodistil.tokenization import AddedToken, DistilBertTokenizer

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

DIFFERENT = {
    "a tuple of tokens": "add_tokens takes one; the reference's compiled part wants a list",
    "no token left": "a token that is normalized to nothing is refused; in the reference it is found everywhere",
    "lists alone": "additional_special_tokens must be a list of tokens; the reference stores anything and fails later",
    "rows of a wrong kind": "`pad` and `prepare_for_model` refuse ids and rows of a wrong kind at once",
    "NumPy's integers": "convert_ids_to_tokens(np.int64(5)) is a token; the reference wants Python's",
    "an unknown unknown": "with an unk_token that is in no vocabulary, unknown ids are None; the reference recurses",
    "one number": "prepare_for_model makes an array of a length too; the reference raises",
    "no ids": "without a cls_token or sep_token nothing is framed; the reference puts None among the ids",
    "ids are whole": "convert_ids_to_tokens([1.5, '7']) is refused; the reference rounds and parses",
}
WORDS = [
    *SPECIALS,
    "hello",
    "world",
    "un",
    "##able",
    "new",
    "york",
    "x",
    "y",
    "z",
    "cafe",
    "##e",
    "漢",
    "!",
    "'",
    "a",
    "b",
]
ROLES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
ROLES.append("additional_special_tokens")
OBJECT = np.dtype(object)
FLAGS = ["content", "single_word", "lstrip", "rstrip", "normalized", "special"]


def write_vocab(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def plain(value: Any) -> Any:
    """With every AddedToken, ours or theirs, as its fields."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return [getattr(value, flag) for flag in FLAGS] if hasattr(value, "content") else value


def token_pair(rng: random.Random) -> tuple[Any, Any]:
    content = rng.choice([*CONTENTS, *SPECIALS, "new", "Ünï", "[B]", "<pad>"])
    if rng.random() < 0.5:
        return content, content
    flags = random_flags(rng)
    return AddedToken(content, **flags), tokenizers.AddedToken(content, **flags)


def token_pairs(rng: random.Random) -> tuple[list[Any], list[Any]]:
    made = [token_pair(rng) for _ in range(rng.randrange(4))]
    return [a for a, _ in made], [b for _, b in made]


def fresh(rng: random.Random, vocab: Path) -> Both:
    options: dict[str, Any] = {"do_lower_case": rng.random() < 0.7}
    other = dict(options)
    for role in ROLES:
        if rng.random() < 0.1:
            options[role], other[role] = token_pairs(rng) if role.endswith("s") else token_pair(rng)
    for role in ("unk_token", "cls_token", "sep_token"):  # one must be in the vocabulary, the others name no template
        token = str(options.get(role, "[UNK]"))
        if " " in token or (role == "unk_token" and token not in WORDS):
            options.pop(role), other.pop(role)
    theirs = transformers.DistilBertTokenizerFast(vocab_file=str(vocab), **other)
    return DistilBertTokenizer(vocab, **options), theirs


def drawn(seed: str, count: int, folder: Path, draw: Callable[[random.Random, Path], Both]) -> Iterator[Any]:
    """So many tokenizers, each as a pair, with the generator that they come from."""
    rng, vocab = random.Random(seed), write_vocab(folder)
    for _ in range(count):
        yield rng, *draw(rng, vocab)


ATTRIBUTES = [*ROLES, *(f"{role}_id" for role in ROLES[:-1]), f"{ROLES[-1]}_ids", "vocab_size", "vocab", "is_fast"]
ATTRIBUTES += ["added_tokens_encoder", "added_tokens_decoder", "special_tokens_map", "special_tokens_map_extended"]
ATTRIBUTES += ["all_special_tokens", "all_special_tokens_extended", "all_special_ids", "max_len_single_sentence"]
ATTRIBUTES += ["max_len_sentences_pair", "model_max_length", "padding_side", "clean_up_tokenization_spaces"]


def state_differences(ours: Any, theirs: Any) -> list[str]:
    """Where two tokenizers do not say the same of themselves."""
    found = [f"len {len(ours)} != {len(theirs)}"] if len(ours) != len(theirs) else []
    for name in (*ATTRIBUTES, "get_vocab", "get_added_vocab"):
        a, b = (plain(value() if callable(value := getattr(t, name)) else value) for t in (ours, theirs))
        if a != b:
            found.append(f"{name} {str(a)[-500:]} != {str(b)[-500:]}")
    return found


def change(rng: random.Random, ours: Any, theirs: Any) -> tuple[str, Any, Any]:
    """One random change to both: what it was, and what each answered."""
    kind = rng.choice(["add", "add", "roles", "roles", "set", "set id", "sanitize", "nonsense"])
    if kind == "add":
        mine, other = token_pairs(rng) if rng.random() < 0.7 else token_pair(rng)
        special = rng.random() < 0.3
        calls = (lambda: ours.add_tokens(mine, special), lambda: theirs.add_tokens(other, special))
    elif kind == "roles":
        mine, other = {}, {}
        for role in rng.sample(ROLES, rng.randrange(4)):
            mine[role], other[role] = token_pairs(rng) if role.endswith("s") else token_pair(rng)
        replace = rng.random() < 0.6
        calls = (lambda: ours.add_special_tokens(mine, replace), lambda: theirs.add_special_tokens(other, replace))
    elif kind in ("set", "set id"):
        role = rng.choice(ROLES)
        if kind == "set":
            mine, other = token_pairs(rng) if role.endswith("s") else rng.choice([token_pair(rng), (None, None)])
            if role == "unk_token":
                mine = other = rng.choice([None, "hello", "[MASK]"])  # see "an unknown unknown"
        else:
            role += "_ids" if role.endswith("s") else "_id"
            mine = other = [3, 5] if role.endswith("ids") else rng.choice([0, 7, len(theirs) - 1, 999, None])
        calls = (lambda: setattr(ours, role, mine), lambda: setattr(theirs, role, other))
        kind += f" {role}"
    elif kind == "sanitize":
        calls = (ours.sanitize_special_tokens, theirs.sanitize_special_tokens)
        mine = None
    else:
        mine = rng.choice([3, [3], ["a", None], {"a": "b"}, b"x", [["a"]]])
        name = rng.choice(["add_tokens", "add_special_tokens", "pad_token"])
        if name == "add_special_tokens":
            mine = rng.choice([{"no_such_token": "x"}, {"pad_token": 3}, {"pad_token": None}, {ROLES[-1]: "x"}])
        if name == "pad_token":
            calls = (lambda: setattr(ours, name, mine), lambda: setattr(theirs, name, mine))
        else:
            calls = (lambda: getattr(ours, name)(mine), lambda: getattr(theirs, name)(mine))
        kind = f"nonsense {name}"
    return f"{kind} {mine}", outcome(calls[0]), outcome(calls[1])


@pytest.mark.parametrize("count", [400, pytest.param(5_000, marks=pytest.mark.sweep)])
def test_random_histories(tmp_path: Path, count: int) -> None:
    wrong: list[str] = []
    for rng, ours, theirs in drawn(f"histories {count}", count, tmp_path, fresh):
        history = [repr(theirs.special_tokens_map_extended)]
        found = state_differences(ours, theirs)
        for _ in range(rng.randrange(5)):
            what, mine, other = change(rng, ours, theirs)
            history.append(what)
            fine = refused(mine) if isinstance(other, BaseException) else same(mine, other)
            found += [] if fine else [f"answered {mine!r} != {other!r}"]
            found += state_differences(ours, theirs)
            if found:
                break
        texts = ["".join(words_of(rng) for _ in range(3)) for _ in range(4)]
        named = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "verbose": False}
        if not found:
            found += differences(rng, ours(texts, **named), theirs(texts, **named))
            found += conversions(rng, ours, theirs)
        wrong += [f"{history}: {line}" for line in found[:1]]
    assert not wrong, f"{len(wrong)} of {count} differ:\n" + "\n".join(line[:1500] for line in wrong[:6])


def conversions(rng: random.Random, ours: Any, theirs: Any) -> list[str]:
    """Ids to tokens to texts and back, with random ids."""
    ids = [rng.randrange(len(theirs) + 3) for _ in range(rng.randrange(8))]
    other_ids = [rng.randrange(len(theirs)) for _ in range(rng.randrange(4))]
    tokens = [rng.choice([*WORDS, *CONTENTS, "absent", ""]) for _ in range(rng.randrange(6))]
    odd = rng.choice([None, -1, [-1], "x", ["x"], [None], 2**40])
    skip = rng.random() < 0.5
    tidy = rng.choice([None, True, False])
    questions: dict[str, Callable[[Any], Any]] = {
        "decode": lambda t: t.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=tidy),
        "decode array": lambda t: t.decode(np.array(ids, np.int64), skip),
        "decode one": lambda t: t.decode(ids[0] if ids else 3),
        "batch_decode": lambda t: t.batch_decode([ids, other_ids], skip, tidy),
        "batch_decode array": lambda t: t.batch_decode(np.array([ids, ids], np.int64), skip_special_tokens=skip),
        "to tokens": lambda t: t.convert_ids_to_tokens(ids, skip_special_tokens=skip),
        "to a token": lambda t: t.convert_ids_to_tokens(ids[0] if ids else 3),
        "to ids": lambda t: t.convert_tokens_to_ids(tokens),
        "to an id": lambda t: t.convert_tokens_to_ids(rng.choice(tokens) if tokens and t is None else "hello"),
        "to string": lambda t: t.convert_tokens_to_string(tokens),
        "built": lambda t: t.build_inputs_with_special_tokens(ids, rng_pair),
        "types": lambda t: t.create_token_type_ids_from_sequences(ids, rng_pair),
        "mask": lambda t: t.get_special_tokens_mask(ids, already_has_special_tokens=True),
        "mask of two": lambda t: t.get_special_tokens_mask(ids, other_ids, already_has_special_tokens=True),
        "mask of bare": lambda t: t.get_special_tokens_mask(ids),
        "number": lambda t: (t.num_special_tokens_to_add(), t.num_special_tokens_to_add(True)),
        "tidy": lambda t: t.clean_up_tokenization("a . b n't do not , x 'm"),
        "odd decode": lambda t: t.decode(odd),
        "odd tokens": lambda t: t.convert_tokens_to_ids(odd) if not isinstance(odd, str | list) or odd != ["x"] else 0,
        "prepared": lambda t: t.prepare_for_model(list(ids), pair_copy(), **prepare_arguments),
        "truncated": lambda t: t.truncate_sequences(list(ids), pair_copy(), excess, strategy, stride),
        "padded": lambda t: t.pad(pad_input(), **pad_arguments),
    }
    rng_pair = rng.choice([None, other_ids])
    excess, stride = rng.randrange(6), rng.randrange(3)
    strategy = rng.choice(["longest_first", "only_first", "only_second", "do_not_truncate", "nonsense"])

    def pair_copy() -> list[int] | None:
        return None if rng_pair is None else list(rng_pair)

    side = rng.choice([None, "left", "right"])
    prepare_arguments: dict[str, Any] = {"verbose": False, "padding_side": side}
    draws = {
        "add_special_tokens": [True, False],
        "padding": [True, False, "max_length"],
        "truncation": [None, True, "only_first", "only_second", False],
        "max_length": [None, 4, 8, 12],
        "stride": [1, 2],
        "pad_to_multiple_of": [4],
        "return_tensors": ["np"],
        "return_token_type_ids": [True, False],
        "return_attention_mask": [True, False],
        "return_overflowing_tokens": [True],
        "return_special_tokens_mask": [True],
        "return_length": [True],
        "prepend_batch_axis": [True],
    }
    prepare_arguments |= {name: rng.choice(values) for name, values in draws.items() if rng.random() < 0.25}
    rows = [[rng.randrange(9) for _ in range(rng.randrange(5))] for _ in range(rng.randrange(1, 4))]
    extras = rng.sample(["attention_mask", "token_type_ids", "special_tokens_mask", "labels"], rng.randrange(4))
    form = rng.choice(["list of dicts", "dict of lists", "one", "encodings", "encoding", "arrays", "nonsense"])
    odd_input = rng.choice([[], {}, None, [3], {"x": [1]}, {"input_ids": "abc"}, {"input_ids": []}])

    def pad_input() -> Any:
        made = [{"input_ids": list(row), **{name: [1] * len(row) for name in extras}} for row in rows]
        if form == "list of dicts":
            return made
        if form == "dict of lists":
            return {name: [item[name] for item in made] for name in made[0]}
        if form == "one":
            return made[0]
        if form == "arrays":
            return [{name: np.array(value, np.int64) for name, value in item.items()} for item in made]
        return odd_input

    if form.startswith("encoding"):
        texts = [words_of(rng) for _ in range(3)]
        questions["padded"] = lambda t: t.pad(t(texts if form == "encodings" else texts[0]), **pad_arguments)
    pad_arguments = {"verbose": False, "padding_side": side} | {
        name: rng.choice(draws[name])
        for name in ("padding", "max_length", "pad_to_multiple_of", "return_attention_mask", "return_tensors")
        if rng.random() < 0.3
    }
    found = []
    for name, question in questions.items():
        mine, other = outcome(lambda q=question: q(ours)), outcome(lambda q=question: q(theirs))
        arguments = {"padded": (form, rows, extras, pad_arguments, odd_input), "prepared": prepare_arguments}.get(
            name, ""
        )
        case = f"{name} {ids} {rng_pair} {tokens} {odd} {arguments}"
        ragged = hasattr(other, "values") and any(getattr(v, "dtype", None) is OBJECT for v in other.values())
        if isinstance(other, ValueError) and ("`num_trunc" in str(other) or "`length`" in str(other)):
            continue  # "one number"
        if "None" in str(other) and name in ("prepared", "built") and refused(mine):
            continue  # "no ids"
        if ragged or isinstance(other, BaseException):
            if not refused(mine):
                found.append(f"{case}: {mine!r} where the reference has {other!r}")
        elif isinstance(mine, BaseException):
            found.append(f"{case}: {mine!r} where the reference has {other!r}")
        elif hasattr(other, "values"):
            if list(mine) != list(other) or not all(same(mine[key], other[key]) for key in other):
                found.append(f"{case}: {dict(mine)} != {dict(other)}")
        elif not same(mine, other):
            found.append(f"{case}: {mine!r} != {other!r}")
    return found
