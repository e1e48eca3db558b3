"""Live against `tokenizers` and transformers: same ids, offsets, words, tokens and texts, for everything tried.

    pytest tests/parity/test_tokenizer_parity.py -m "parity and not sweep"     seconds
    pytest tests/parity/test_tokenizer_parity.py -m "parity and sweep"         minutes: all code points, corpora

An unknown word is [UNK] whatever it was normalized to, so besides the real vocabularies there is one that holds every
character Unicode does anything with: there a wrong or misplaced character shows.
"""

import json
import lzma
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizer_files import bert_frame, template, tokenizer_json
from tokenizer_texts import SPECIALS, random_text

from nanodistil.tokenization import DistilBertTokenizer, unicode_tables
from nanodistil.tokenization.wordpiece import Normalizer
from nanodistil.weights.errors import NanoDistilError

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
MINI = ROOT / "nanodistil" / "weights" / "nanodistil-mini"
ATTRIBUTES = [
    *("model_max_length", "clean_up_tokenization_spaces", "padding_side", "truncation_side", "model_input_names"),
    *("all_special_tokens", "all_special_ids", "mask_token", "mask_token_id", "pad_token_id", "special_tokens_map"),
    *("added_tokens_encoder", "split_special_tokens", "max_len_sentences_pair"),
]
KINDS = ["uncased", "cased", "characters", "cased characters"]


def reacting_characters() -> list[str]:
    """Every character that is decomposed, lower-cased, reordered, stripped or split, and what becomes of it."""
    tables = unicode_tables._tables()
    out = {*map(chr, range(33, 127)), *tables["lower"], *tables["decomposition"], *unicode_tables.combining_classes()}
    for name in ("nonspacing", "punctuation"):
        out |= {chr(c) for i in range(0, len(tables[name]), 2) for c in range(tables[name][i], tables[name][i + 1])}
    out |= {c for text in (*tables["lower"].values(), *tables["decomposition"].values()) for c in text}
    return sorted(out | {chr(c) for c in range(0x1100, 0x1200)})


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[DistilBertTokenizer, Any]]:
    """Kind -> (ours, transformers' fast one), from the same file."""
    out = {}
    characters = tmp_path_factory.mktemp("characters") / "vocab.txt"
    lines = [*SPECIALS, *reacting_characters(), *("##" + c for c in reacting_characters())]
    characters.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    for kind in KINDS:
        lower = "uncased" in kind or kind == "characters"
        vocab = characters if "characters" in kind else MINI / "vocab.txt" if lower else _cased_vocab()
        if vocab is None:
            continue
        theirs = transformers.DistilBertTokenizerFast(vocab_file=str(vocab), do_lower_case=lower)
        out[kind] = DistilBertTokenizer(vocab, do_lower_case=lower), theirs
    return out


def _cased_vocab() -> Path | None:
    path = SHARED / "tokenizers" / "distilbert-base-cased" / "vocab.txt"
    return path if path.is_file() else None


def compare(ours: DistilBertTokenizer, theirs: Any, texts: Iterable[Any], **arguments: Any) -> list[str]:
    """What differs in ids, types, masks, tokens, offsets, words or sequences, one line a text."""
    texts = list(texts)
    arguments = {"return_offsets_mapping": True, "return_token_type_ids": True, **arguments}
    arguments["return_special_tokens_mask"] = True
    mine, other = ours(texts, **arguments), theirs(texts, **arguments)
    wrong = []
    if list(mine.keys()) != list(other.keys()):
        wrong.append(f"{list(mine.keys())} != {list(other.keys())}")
    for i, text in enumerate(texts):
        for key in other:
            if mine[key][i] != other[key][i]:
                wrong.append(f"{text!r}: {key} {mine[key][i]} != {other[key][i]}")
        for name in ("tokens", "word_ids", "sequence_ids"):
            if getattr(mine, name)(i) != getattr(other, name)(i):
                wrong.append(f"{text!r}: {name} {getattr(mine, name)(i)} != {getattr(other, name)(i)}")
    return wrong


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


# ---- texts to ids


@pytest.mark.parametrize("kind", KINDS)
def test_random_texts(pairs: Any, kind: str) -> None:
    _compare_random(pairs, kind, 2_000)


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
def test_100_000_random_texts(pairs: Any, kind: str) -> None:
    _compare_random(pairs, kind, 25_000)


def _compare_random(pairs: Any, kind: str, count: int) -> None:
    if kind not in pairs:
        pytest.skip("needs ../shared")
    rng = random.Random(f"{kind} {count}")
    wrong = []
    for batch in batches((random_text(rng) for _ in range(count)), 1_000):
        wrong += compare(*pairs[kind], batch)
    assert not wrong, f"{len(wrong)} differ: {wrong[:5]}"


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("kind", "context"),
    [
        *((kind, context) for kind in ("uncased", "cased") for context in ("{}", "a{}b", "漢{}한")),
        *((kind, "e{}\u0323\u302e\u0301\u1dfb") for kind in KINDS),
        *((kind, "É\u0323{}\u0315x") for kind in KINDS[2:]),
    ],
)
def test_every_code_point(pairs: Any, kind: str, context: str) -> None:
    """1,112,064 of them, 500 in a text, set apart by spaces: nothing reaches across white space."""
    if kind not in pairs:
        pytest.skip("needs ../shared")
    points = (chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    wrong = []
    for batch in batches((" ".join(map(context.format, group)) for group in batches(points, 500)), 100):
        wrong += compare(*pairs[kind], batch, verbose=False)
    assert not wrong, f"{len(wrong)} differ: {wrong[0][:300]}"


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("lower", "strip", "cjk", "clean"),
    [
        (True, None, True, True),
        (False, None, True, True),
        (True, False, True, False),
        (False, True, False, True),
        (False, False, False, False),
    ],
)
def test_every_code_point_normalized(lower: bool, strip: bool | None, cjk: bool, clean: bool) -> None:
    """The normalized text itself, for each way to set the normalizer up."""
    ours = Normalizer(lower, strip, cjk, clean)
    theirs = tokenizers.normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=cjk, strip_accents=strip, lowercase=lower
    )
    points = (chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    for group in batches(points, 1_000):
        text = " ".join(c + "\u0323\u302e" for c in group)
        assert ours(text)[0] == theirs.normalize_str(text), text[:20]


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["wiki.valid", "books.valid"])
@pytest.mark.parametrize("kind", ["uncased", "cased"])
def test_corpus(pairs: Any, kind: str, name: str) -> None:
    path = SHARED / "corpus" / f"{name}.txt.xz"
    if not path.is_file() or kind not in pairs:
        pytest.skip("needs ../shared")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for batch in batches((line.rstrip("\n") for line in file), 500):
            assert compare(*pairs[kind], batch, verbose=False) == []


# ---- truncation, padding, pairs


@pytest.mark.parametrize("count", [1_500, pytest.param(15_000, marks=pytest.mark.sweep)])
def test_random_calls(pairs: Any, count: int) -> None:
    """Same result or, where transformers raises, an error of ours."""
    rng = random.Random(count)
    words = ["hello", "unaffable", "World", "naïve", "[MASK]", "!", "x", "漢字"]
    ours, theirs = pairs["uncased"]
    wrong = []
    for _ in range(count):
        ours.model_max_length = theirs.model_max_length = rng.choice([512, 7, 10**30])
        sides = [rng.choice(["left", "right"]) for _ in range(2)]
        ours.padding_side, ours.truncation_side = theirs.padding_side, theirs.truncation_side = sides

        def text() -> str:
            return " ".join(rng.choices(words, k=rng.randrange(12)))

        shape = rng.choice(["one", "pair", "list", "list of pairs", "two lists"])
        texts: tuple[Any, ...] = (text(),)
        if shape == "pair":
            texts = (text(), text())
        elif shape == "list":
            texts = ([text() for _ in range(rng.randrange(1, 4))],)
        elif shape == "list of pairs":
            texts = ([(text(), text()) for _ in range(rng.randrange(1, 4))],)
        elif shape == "two lists":
            n = rng.randrange(1, 4)
            texts = ([text() for _ in range(n)], [text() for _ in range(n)])
        arguments: dict[str, Any] = {
            "padding": rng.choice([False, True, "longest", "max_length", "do_not_pad"]),
            "truncation": rng.choice([None, None, True, "longest_first", "only_first", "only_second", False]),
            "max_length": rng.choice([None, *range(20)]),
            "add_special_tokens": rng.random() < 0.8,
            "return_token_type_ids": True,
            "return_offsets_mapping": True,
            "return_special_tokens_mask": True,
            "return_length": rng.random() < 0.3,
            "verbose": False,
        }
        if rng.random() < 0.2:
            arguments["pad_to_multiple_of"] = rng.choice([1, 4, 8])
        if rng.random() < 0.2:
            arguments["padding_side"] = rng.choice(["left", "right"])
        try:
            other = theirs(*texts, **arguments)
        except BaseException as error:
            other = error
        try:
            mine: Any = ours(*texts, **arguments)
        except NanoDistilError as error:
            mine = error
        if isinstance(other, BaseException) or isinstance(mine, Exception):
            if not (isinstance(other, BaseException) and isinstance(mine, Exception)):
                wrong.append((texts, arguments, mine, other))
        elif dict(mine) != dict(other) or list(mine) != list(other):
            wrong.append((texts, arguments, dict(mine), dict(other)))
        else:
            for i, encoding in enumerate(mine.encodings):
                assert encoding.sequence_ids == other.sequence_ids(i) and encoding.word_ids == other.word_ids(i)
                assert encoding.tokens == other.tokens(i)
    ours.model_max_length = theirs.model_max_length = 10**30
    ours.padding_side = ours.truncation_side = theirs.padding_side = theirs.truncation_side = "right"
    assert not wrong, f"{len(wrong)} differ: {wrong[:2]}"


# ---- ids to texts


@pytest.mark.parametrize("count", [2_000, pytest.param(30_000, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("kind", ["uncased", "cased"])
def test_decode(pairs: Any, kind: str, count: int) -> None:
    if kind not in pairs:
        pytest.skip("needs ../shared")
    ours, theirs = pairs[kind]
    rng = random.Random(count)
    tidy = ours.convert_tokens_to_ids([*".?!,'mst", "n't", "do", "not", "re", "ve", "##s", "[MASK]", "[SEP]", "[CLS]"])
    for _ in range(count):
        length = rng.randrange(12)
        ids = [rng.choice(tidy) if rng.random() < 0.6 else rng.randrange(len(ours) + 50) for _ in range(length)]
        for skip in (False, True):
            for clean in (False, True, None):
                assert ours.decode(ids, skip, clean) == theirs.decode(
                    ids, skip_special_tokens=skip, clean_up_tokenization_spaces=clean
                )
        assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)


def test_every_token_decodes(pairs: Any) -> None:
    for ours, theirs in pairs.values():
        assert [ours.decode([i]) for i in range(len(ours))] == theirs.batch_decode([[i] for i in range(len(ours))])
        assert ours.get_vocab() == theirs.get_vocab() and len(ours) == len(theirs)
        assert ours.vocab_size == theirs.vocab_size
        assert ours.all_special_ids == theirs.all_special_ids and ours.all_special_tokens == theirs.all_special_tokens


# ---- files


def _flags(rng: random.Random, content: str, special: bool) -> dict[str, Any]:
    return {
        "content": content,
        "single_word": rng.random() < 0.3,
        "lstrip": rng.random() < 0.3,
        "rstrip": rng.random() < 0.3,
        "normalized": rng.random() < (0.1 if special else 0.6),
        "special": special,
    }


def _random_folder(rng: random.Random, folder: Path) -> list[str]:
    """A model folder with random but valid settings. Returns contents worth having in texts."""
    words = ["hello", "world", "un", "##aff", "##able", "new", "##tok", "New", "Hello", "naive", "caf", "##é", "##e"]
    words += [*"é().'漢xyze", "##x", "##y", "##z"]
    tokens = [*SPECIALS, *dict.fromkeys(words)]
    if rng.random() < 0.2:
        tokens.remove("[MASK]")
    extra = ["NewTok", "hello", "<x>", "new york", "Café", "é", "É", "x", "[A]", "  y", "z ", "ΑΣ", "漢字"]
    extra = rng.sample(extra, k=3)
    config: dict[str, Any] = {}
    if rng.random() < 0.6:
        config["do_lower_case"] = rng.random() < 0.5
    for key, choices in {
        "strip_accents": [None, True, False],
        "tokenize_chinese_chars": [True, False],
        "clean_up_tokenization_spaces": [True, False],
        "model_max_length": [512, 12],
        "padding_side": ["left", "right"],
        "truncation_side": ["left", "right"],
        "model_input_names": [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]],
        "mask_token": ["[MASK]", {"__type": "AddedToken", **_flags(rng, "[MASK]", True)}],
        "additional_special_tokens": [["[A]"], [], ["<x>", "hello"]],
    }.items():
        if rng.random() < 0.3:
            config[key] = rng.choice(choices)
    if rng.random() < 0.2:
        flags = {**_flags(rng, "[MASK]", True), "normalized": False}
        (folder / "special_tokens_map.json").write_text(json.dumps({"mask_token": flags}))

    used_json = rng.random() < 0.6
    size = len(tokens)
    if used_json:
        added = [{"id": tokens.index(t), **_flags(rng, t, True), "normalized": False} for t in SPECIALS if t in tokens]
        for content in extra if rng.random() < 0.6 else []:
            number = tokens.index(content) if content in tokens else size
            size += content not in tokens
            added.append({"id": number, **_flags(rng, content, rng.random() < 0.3)})
        vocab = {token: i for i, token in enumerate(tokens)}
        content = tokenizer_json(
            vocab,
            added_tokens=sorted(added, key=lambda token: token["id"]),
            normalizer__clean_text=rng.random() < 0.7,
            normalizer__handle_chinese_chars=rng.random() < 0.7,
            normalizer__strip_accents=rng.choice([None, True, False]),
            normalizer__lowercase=rng.random() < 0.5,
            post_processor=rng.choice([template(vocab), bert_frame(vocab)]),
            decoder__cleanup=rng.random() < 0.7,
            model__max_input_chars_per_word=rng.choice([100, 5]),
        )
        (folder / "tokenizer.json").write_text(json.dumps(content))
    else:
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
        if rng.random() < 0.5:
            numbers: dict[str, Any] = {}
            for content in extra:
                if content not in tokens:
                    numbers[content] = size
                    size += 1
            if rng.random() < 0.5:
                (folder / "added_tokens.json").write_text(json.dumps(numbers))
            else:
                flagged = {str(i): _flags(rng, content, rng.random() < 0.3) for content, i in numbers.items()}
                config["added_tokens_decoder"] = flagged
    if rng.random() < 0.9:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    spaces = [" ", " ", "  ", "\t"]
    return [*extra, *SPECIALS, *words, *spaces, "NEWTOK", "newtok", "HELLO", "É", "e\u0301", "unaffable", "-"]


@pytest.mark.parametrize("count", [150, pytest.param(2_000, marks=pytest.mark.sweep)])
def test_random_folders(tmp_path: Path, count: int) -> None:
    """tokenizer.json or vocab.txt with random flags, added tokens and settings: loaded the same, or refused by both."""
    rng = random.Random(count)
    refused, wrong = 0, []
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        contents = _random_folder(rng, folder)
        (folder / "config.json").write_text('{"model_type": "distilbert"}')
        try:
            theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
        except BaseException as error:
            theirs = error
        try:
            ours = DistilBertTokenizer.from_pretrained(folder)
        except NanoDistilError as error:
            refused += 1
            assert isinstance(theirs, BaseException), (number, error)
            continue
        if isinstance(theirs, BaseException):
            continue
        texts = ["".join(rng.choices(contents, k=rng.randrange(9))) for _ in range(40)]
        state = [(len(t), t.get_vocab(), *(getattr(t, name) for name in ATTRIBUTES)) for t in (ours, theirs)]
        if state[0] != state[1]:
            wrong.append(f"{number}: {[(a, b) for a, b in zip(*state, strict=True) if a != b]}")
            continue
        wrong += [f"{number}: {line}" for line in compare(ours, theirs, texts, verbose=False)]
        for text in texts:
            ids = theirs(text, verbose=False)["input_ids"]
            for skip in (False, True):
                if ours.decode(ids, skip) != theirs.decode(ids, skip_special_tokens=skip):
                    wrong.append(f"{number}: decode {ids} {ours.decode(ids, skip)!r}")
    assert not wrong, f"{len(wrong)} differ: " + "\n".join(wrong[:6])
    assert refused < count / 3


@pytest.mark.parametrize("name", [f"distilbert-base-{kind}" for kind in ("uncased", "cased", "multilingual-cased")])
def test_official_files(name: str) -> None:
    folder = SHARED / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    theirs = transformers.DistilBertTokenizerFast.from_pretrained(str(folder), do_lower_case="uncased" in name)
    ours = DistilBertTokenizer.from_pretrained(folder, do_lower_case="uncased" in name)
    rng = random.Random(name)
    assert compare(ours, theirs, [random_text(rng) for _ in range(1_000)]) == []
    ids = ours.encode("Hello, I'm a [MASK] model.")
    assert ours.decode(ids) == theirs.decode(ids)
    assert ours.clean_up_tokenization_spaces == theirs.clean_up_tokenization_spaces
    assert ours.model_max_length == theirs.model_max_length
