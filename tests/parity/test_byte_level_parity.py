"""GPT-2's and RoBERTa's tokenizers beside the fast ones: every argument of a call, random Unicode, files, histories.

    pytest tests/parity/test_byte_level_parity.py -m "parity and not sweep"     a minute
    pytest tests/parity/test_byte_level_parity.py -m "parity and sweep"         40,000 calls, minutes

The random calls are those of test_tokenizer_calls.py, which says what is different on purpose. The small vocabularies
are trained here, by the reference, on a few lines; the official ones are in ../shared.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import test_tokenizer_calls as calls
from test_tokenizer_calls import differences, one_call, outcome
from test_tokenizer_saving import EVERYTHING, SETTINGS
from test_tokenizer_state import change, plain, state_differences
from tokenizer_texts import random_text

from nanodistil import AutoTokenizer
from nanodistil.tokenization import GPT2Tokenizer, RobertaTokenizer

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

CLASSES = {
    "gpt2": (GPT2Tokenizer, transformers.GPT2TokenizerFast),
    "roberta": (RobertaTokenizer, transformers.RobertaTokenizerFast),
}
SPECIALS = {"gpt2": ["<|endoftext|>"], "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]}
LINES = ["Hello world, it's 2 o'clock; don't you think?", "naïve café in 漢字 and かな", "the théâtre  of 1234 things"]
IN_TEXT = [
    "<mask>",
    " <mask>",
    "<s>",
    "</s>",
    "<|endoftext|>",
    "<pad>",
    "<unk>",
    "<mask",
    "Ġ",
    " ",
    "'s",
    "\n\n",
    "👍🏽",
]


def write_small(folder: Path, name: str) -> Path:
    """vocab.json and merges.txt of a small vocabulary, as the reference's trainer finds it."""
    small = tokenizers.ByteLevelBPETokenizer()
    small.train_from_iterator(LINES * 3, vocab_size=400, min_frequency=2, special_tokens=SPECIALS[name])
    folder.mkdir()
    small.save_model(str(folder))
    return folder


def official(name: str) -> Path | None:
    folder = calls.SHARED / {"gpt2": "distilgpt2", "roberta": "distilroberta-base"}[name]
    return folder if folder.is_dir() else None


def random_options(rng: random.Random, name: str) -> dict[str, Any]:
    options: dict[str, Any] = {"add_prefix_space": rng.random() < 0.5}
    if name == "roberta" and rng.random() < 0.4:
        options["trim_offsets"] = rng.random() < 0.5
    if name == "gpt2" and rng.random() < 0.3:
        options["add_bos_token"] = True
    if name == "gpt2" and rng.random() < 0.7:
        options["pad_token"] = "<|endoftext|>"
    return options


def random_pair(rng: random.Random, name: str, folder: Path, scans: bool | None = None) -> tuple[Any, Any]:
    """The same tokenizer twice, ours and theirs; ours with the compiled scan or without."""
    options = random_options(rng, name)
    mine, other = CLASSES[name]
    files = [str(folder / file) for file in ("vocab.json", "merges.txt")]
    ours, theirs = mine(*files, **options), other(*files, **options)
    if rng.random() < 0.5:
        calls.add_the_same(rng, ours, theirs)
    if rng.random() < 0.5 if scans is None else scans:
        ours.encoder.scanner, ours.encoder.seen = ours.encoder.load_scanner(), None
        assert ours.encoder.scanner is not None
    return ours, theirs


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    base = tmp_path_factory.mktemp("byte level")
    return {name: [write_small(base / name, name), *filter(None, [official(name)])] for name in CLASSES}


@pytest.fixture(autouse=True)
def _words_of_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SPECIALS", IN_TEXT)


@pytest.mark.parametrize("count", [3_000, pytest.param(20_000, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", CLASSES)
def test_random_calls(folders: dict[str, list[Path]], name: str, count: int) -> None:
    rng = random.Random(f"{name} {count}")
    pairs = [random_pair(rng, name, folder) for folder in folders[name] for _ in range(8)]
    wrong: list[str] = []
    for _ in range(count):
        wrong += one_call(rng, *rng.choice(pairs))[:1]
    assert not wrong, f"{len(wrong)} of {count} differ:\n" + "\n".join(line[:900] for line in wrong[:8])


@pytest.mark.parametrize("step", [997, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", CLASSES)
def test_every_code_point_in_context(folders: dict[str, list[Path]], name: str, step: int) -> None:
    """Beside a letter, a digit, a sign and spaces, 100 to a text: ids, offsets, words."""
    mine, other = CLASSES[name]
    files = [str(folders[name][-1] / file) for file in ("vocab.json", "merges.txt")]
    for adds in (False, True):
        ours, theirs = mine(*files, add_prefix_space=adds), other(*files, add_prefix_space=adds)
        characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
        parts = [f"a{c}b1{c}2.{c} {c}  {c}'s" for c in characters[:: step if not adds else 7 * step]]
        texts = ["".join(parts[i : i + 100]) for i in range(0, len(parts), 100)]
        for i in range(0, len(texts), 500):
            batch = texts[i : i + 500]
            a, b = (t(batch, return_offsets_mapping=True, verbose=False) for t in (ours, theirs))
            assert dict(a) == dict(b)
            assert [a.word_ids(k) for k in range(0, len(batch), 50)] == [
                b.word_ids(k) for k in range(0, len(batch), 50)
            ]


def text_of(rng: random.Random) -> str:
    """White space of all kinds, emoji, marks, control characters, contractions, runs of the same."""
    pools = [
        lambda: random_text(rng, 12),
        lambda: rng.choice(IN_TEXT),
        lambda: (
            rng.choice(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\u200b\ufeff")
            * rng.randrange(1, 5)
        ),
        lambda: rng.choice(["'s", "'S", "'ll", "'ve", "''", "'", "'d", "'re'm", "'t5"]),
        lambda: rng.choice("aé漢1٣½$_-😀\U0001f1e9\u0301") * rng.randrange(1, 40),
        lambda: rng.choice(["the", " of", " theatre", "Hello", " 1234", "\n\nAnd", "https://x.yz/?a=1"]),
    ]
    return "".join(rng.choice(pools)() for _ in range(rng.randrange(8)))


@pytest.mark.parametrize("count", [1_000, pytest.param(60_000, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", CLASSES)
def test_random_texts_and_back(folders: dict[str, list[Path]], name: str, count: int) -> None:
    """ids, tokens, offsets, words and masks of texts; texts of ids, also of such as are no UTF-8."""
    rng = random.Random(f"texts {name} {count}")
    for folder in folders[name]:
        ours, theirs = random_pair(rng, name, folder, scans=folder == official(name))
        size = len(theirs)  # which takes a while
        for _ in range(count // 200):
            texts = [text_of(rng) for _ in range(100)]
            a, b = (t(texts, return_offsets_mapping=True, return_special_tokens_mask=True) for t in (ours, theirs))
            assert dict(a) == dict(b)
            for k, text in enumerate(texts):
                assert (a[k].tokens, a[k].word_ids, a[k].offsets) == (b[k].tokens, b[k].word_ids, b[k].offsets), text
            rows = [[rng.randrange(size + 2) for _ in range(rng.randrange(12))] for _ in range(50)]
            for ids in (*b["input_ids"], *rows):
                for skips in (False, True):
                    how = {"skip_special_tokens": skips, "clean_up_tokenization_spaces": rng.choice([None, True])}
                    assert ours.decode(ids, **how) == theirs.decode(ids, **how)
                found = theirs.convert_ids_to_tokens(ids)
                if None not in found:
                    assert ours.convert_ids_to_tokens(ids) == found
                    assert ours.convert_tokens_to_string(found) == theirs.convert_tokens_to_string(found)


@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", CLASSES)
def test_histories_and_round_trips(folders: dict[str, list[Path]], tmp_path: Path, name: str, count: int) -> None:
    """After random changes both say the same of themselves; saved by either and loaded by both they are the same."""
    rng = random.Random(f"histories {name} {count}")
    mine, other = CLASSES[name]
    wrong: list[str] = []
    for number in range(count):
        ours, theirs = random_pair(rng, name, folders[name][0])
        for _ in range(rng.randrange(4)):
            change(rng, ours, theirs)
        if any(getattr(theirs, role) is None for role in ours.kind.needed):
            continue
        if theirs.unk_token is not None and theirs.unk_token not in theirs.get_vocab():
            ours.unk_token = theirs.unk_token = "e"  # see "an unknown unknown" in test_tokenizer_state.py
        wrong += [f"changed: {line}" for line in state_differences(ours, theirs)[:1]]
        ours.model_max_length = theirs.model_max_length = rng.choice([512, 10**30])
        for who, tokenizer in (("theirs", theirs), ("ours", ours)):
            folder = tmp_path / f"{number} {who}"
            legacy = rng.choice([None, None, False])
            tokenizer.save_pretrained(str(folder), legacy_format=legacy)
            a, b = (outcome(lambda c=c, f=folder: c.from_pretrained(str(f))) for c in (mine, other))
            if isinstance(a, BaseException) or isinstance(b, BaseException):
                wrong.append(f"{who}: {a!r} {b!r}")
                continue
            found = state_differences(a, b)
            texts = [text_of(rng) for _ in range(5)]
            found += differences(rng, a(texts, **EVERYTHING), b(texts, **EVERYTHING))
            if who == "ours":
                found += [key for key in SETTINGS[1:] if plain(getattr(a, key)) != plain(getattr(ours, key))]
            wrong += [f"{who}: {line} {theirs.special_tokens_map_extended}" for line in found[:1]]
    assert not wrong, f"{len(wrong)} of {2 * count} differ:\n" + "\n".join(line[:1500] for line in wrong[:6])


@pytest.mark.parametrize("name", CLASSES)
def test_the_files_are_those_transformers_writes(folders: dict[str, list[Path]], tmp_path: Path, name: str) -> None:
    ours, theirs = random_pair(random.Random(1), name, folders[name][0])
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(str(tmp_path / "theirs"))
    names = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "ours").iterdir())
    for file in names:
        a, b = ((tmp_path / which / file).read_text(encoding="utf-8") for which in ("ours", "theirs"))
        assert json.loads(a) == json.loads(b) if file.endswith(".json") else a == b, file
    assert (tmp_path / "ours" / "vocab.json").read_bytes() == (tmp_path / "theirs" / "vocab.json").read_bytes()


@pytest.mark.parametrize("name", CLASSES)
def test_official_folders(name: str) -> None:
    """As they are: with a tokenizer.json or without, and no config."""
    folder = official(name)
    if folder is None:
        pytest.skip("needs ../shared")
    ours = AutoTokenizer.from_pretrained(folder)
    mine, other = CLASSES[name]
    theirs = other.from_pretrained(str(folder))
    assert type(ours) is mine and not state_differences(ours, theirs)
    rng = random.Random(name)
    for _ in range(10):
        texts = [text_of(rng) for _ in range(50)]
        assert not differences(rng, ours(texts, texts[::-1], **EVERYTHING), theirs(texts, texts[::-1], **EVERYTHING))


def test_a_vocabulary_without_all_bytes(tmp_path: Path) -> None:
    """What it lacks is left out, or the unknown token if tokenizer.json names one; merges out of order are made too."""
    alphabet = [*"abcdefĠ", "ab", "abc", "bc", "cd", "Ã", "aa", "aaa", "Ã©"]
    vocab = {token: i for i, token in enumerate(["<unk>", *alphabet])}
    merges = [("ab", "c"), ("a", "b"), ("b", "c"), ("a", "bc"), ("aa", "a"), ("a", "a"), ("c", "d")]
    for unknown in (None, "<unk>"):
        reference = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges, unk_token=unknown))
        reference.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        reference.decoder = tokenizers.decoders.ByteLevel()
        reference.post_processor = tokenizers.processors.ByteLevel(trim_offsets=True)
        path = tmp_path / "tokenizer.json"
        reference.save(str(path))
        ours = GPT2Tokenizer(tokenizer_file=path, unk_token=None, bos_token=None, eos_token=None)
        rng = random.Random(0)
        for _ in range(3_000):
            text = "".join(rng.choice("aaabbccdefxé ñ") for _ in range(rng.randrange(30)))
            a, b = ours(text, return_offsets_mapping=True), reference.encode(text)
            assert (a["input_ids"], a["offset_mapping"], a.word_ids()) == (b.ids, b.offsets, b.word_ids), text
