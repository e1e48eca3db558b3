"""Vocabularies learnt from texts: the fast way beside the definition, the folder, the verb, the guide's examples."""

import doctest
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanodistil import AutoTokenizer, InputError
from nanodistil.cli import main
from nanodistil.tokenization import DistilBertTokenizer, GPT2Tokenizer, RobertaTokenizer, wordpiece
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_level import alphabet, spelled, word_pattern
from nanodistil.tokenization.training import definition, merging, words
from nanodistil.tokenization.training.beginning import begin
from nanodistil.tokenization.training.blank import blank
from nanodistil.tokenization.wordpiece import Normalizer, WordPiece

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide" / "tokenizers.md"
TEXTS = ["low low low low low lower lower", "newest newest newest newest newest newest widest widest widest", "new"]

some_words = st.dictionaries(st.text("abc", min_size=1, max_size=8), st.integers(1, 5), max_size=8)


def both(counted, size, min_frequency, prefix):
    """What the two ways learn, vocabulary and merges, and the words as the fast one leaves them."""
    names, coded = begin(counted, ["[UNK]"], prefix=prefix)
    plain = [([names[ord(letter)] for letter in word], n) for word, n in zip(coded, counted.values(), strict=True)]
    vocabulary = {name: number for number, name in enumerate(names)}
    by_definition = definition.learn(plain, vocabulary, size, min_frequency, prefix)
    pairs = merging.learn(coded, list(counted.values()), names, size, min_frequency, prefix)
    return (list(vocabulary), by_definition), (names, pairs), [[names[ord(c)] for c in word] for word in coded]


@settings(max_examples=100, deadline=None)
@given(some_words, st.integers(1, 40), st.integers(0, 4), st.sampled_from(["", "##"]))
def test_only_what_has_changed_is_counted(counted, size, min_frequency, prefix):
    slow, fast, _ = both(counted, size, min_frequency, prefix)
    assert fast == slow
    made = [a + b.removeprefix(prefix) for a, b in fast[1]]
    assert len(made) == len({*made})  # merging.py says why


def test_a_learnt_vocabulary_cuts_its_words_as_training_left_them():
    counted = words.count_words(TEXTS, ByteBPE({}, []))
    names, coded = begin(counted, [], alphabet())
    pairs = merging.learn(coded, list(counted.values()), names, 280)
    pieces = ByteBPE({name: number for number, name in enumerate(names)}, pairs)
    for word, left in zip(counted, coded, strict=True):
        assert pieces(word.replace("Ġ", " ")).ids == list(map(ord, left))


SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u3000", "\x85", "\x1c", "\u2028", "\u200b", ""]
PARTS = ["a", "It's", "it'll", "5", "don't!", "漢字", "Ünder", "...", "x-y", "\x00", "é\u0301"]
text = st.lists(st.sampled_from(SPACES + PARTS), max_size=20).map("".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(text, max_size=5), st.booleans())
def test_words_are_those_that_the_tokenizer_cuts(texts, adds_space):
    bpe = ByteBPE({}, [], adds_space=adds_space)
    prefixed = [" " + one if bpe.gets_space(one) else one for one in texts]
    assert words.count_words(texts, bpe) == Counter(
        spelled(word) for one in prefixed for word in word_pattern().findall(one)
    )
    for normalizer in (Normalizer(), Normalizer(False, clean_text=False)):
        pieces = WordPiece({}, normalizer)
        found = (match for one in texts for match in wordpiece.word_pattern().findall(normalizer.text(one)))
        assert words.count_words([texts], pieces) == Counter(found)


def test_memory_does_not_grow_with_the_texts(monkeypatch):
    monkeypatch.setattr(words, "MOST_STRETCHES", 3)
    monkeypatch.setattr(words, "MOST_CHARACTERS", 20)
    texts = [f"word{i} other words" for i in range(50)] + ["x" * 50]
    assert words.count_words(iter(texts), WordPiece({})) == Counter(" ".join(texts).split())


def test_the_alphabet_and_its_limit(monkeypatch):
    counted = {"abc": 3, "cd": 1, "e": 9}
    assert begin(counted, ["<s>", "b", "<s>"]) == (
        ["<s>", "b", "a", "c", "d", "e"],
        ["\x02\x01\x03", "\x03\x04", "\x05"],
    )
    names, coded = begin(counted, initial="z", limit=3, prefix="##")
    assert names == ["c", "e", "z", "##c"] and coded == ["\x03", "\x00", "\x01"]  # the letters before are left out
    monkeypatch.setattr("nanodistil.tokenization.training.beginning.MAX_TOKENS", 9)
    with pytest.raises(InputError, match="the texts have 5 different letters; keep the most frequent"):
        begin(counted)


@pytest.mark.parametrize("cls", [GPT2Tokenizer, RobertaTokenizer, DistilBertTokenizer])
def test_a_new_tokenizer_has_the_old_ones_settings(cls, tmp_path):
    start = blank(cls, padding_side="left", model_max_length=77)
    old = start.train_new_from_iterator(TEXTS, 300, new_special_tokens=["<old>"])
    special = {old.unk_token: "<what>"}
    changes = {"special_tokens_map": special, "new_special_tokens": ["<n>"]}
    new = old.train_new_from_iterator((TEXTS for _ in "ab"), 310, **changes)
    assert (new.padding_side, new.model_max_length, new.unk_token) == ("left", 77, "<what>")
    assert new.additional_special_tokens == ["<old>", "<n>"] and old.additional_special_tokens == ["<old>"]
    assert [new.convert_tokens_to_ids(token) for token in new.all_special_tokens] == new.all_special_ids
    assert "[UNK]" not in new.get_vocab() and new.decode(new("lowest<n>")["input_ids"], True) == "lowest"
    new.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is cls and again.get_vocab() == new.get_vocab()
    for one in ["lowest  new\n", "a <n> b", " \x1c"]:
        assert again(one, one) == new(one, one)


@pytest.mark.parametrize("cls", [GPT2Tokenizer, RobertaTokenizer, DistilBertTokenizer])
def test_as_transformers_tests_it(cls):
    """test_training_new_tokenizer and test_training_new_tokenizer_with_special_tokens_change, in our words."""
    old = blank(cls, model_max_length=99).train_new_from_iterator(["some other text"], 300)
    texts = [["This is the first sentence.", "This is the second one."], ["This (contains #) numbers 12 3.", "But not"]]
    new = old.train_new_from_iterator(texts, 300)
    inputs = new(["This is the first sentence", "This sentence is different 🤗."])
    decoded = new.decode(inputs["input_ids"][0], skip_special_tokens=True)
    assert decoded == ("this is the first sentence" if cls is DistilBertTokenizer else "This is the first sentence")
    for name in (
        "max_len_single_sentence",
        "max_len_sentences_pair",
        "all_special_tokens_extended",
        "special_tokens_map",
    ):
        assert getattr(new, name) == getattr(old, name)
    renamed = {token: f"{token}a" for token in old.all_special_tokens}
    new = old.train_new_from_iterator(texts, 300, special_tokens_map=renamed)
    assert new.special_tokens_map == {role: renamed[token] for role, token in old.special_tokens_map.items()}
    assert new.all_special_ids == [new.get_vocab()[token] for token in renamed.values()]
    assert new.all_special_tokens_extended == [
        renamed[token] if isinstance(token, str) else replace(token, content=renamed[token.content])
        for token in old.all_special_tokens_extended
    ]


def test_a_token_may_be_as_long_as_what_the_text_repeats(tmp_path):
    new = blank(GPT2Tokenizer).train_new_from_iterator(["-" * 5000, "-" * 5000], 300, min_frequency=2)
    new.save_pretrained(tmp_path)
    assert GPT2Tokenizer.from_pretrained(tmp_path)("-" * 10_000)["input_ids"] == new("-" * 10_000)["input_ids"]
    assert max(map(len, new.get_vocab())) == 5000


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"vocab_size": 0}, "vocab_size=0: must be a whole number from 1 to 1,000,000"),
        ({"vocab_size": True}, "vocab_size=True: must be"),
        ({"min_frequency": -1}, "min_frequency=-1: must be a whole number from 0"),
        ({"limit_alphabet": 1.5}, "limit_alphabet=1.5: must be"),
        ({"min_freqency": 2}, "'min_freqency' is no argument of training; did you mean min_frequency?"),
        ({"max_token_length": 5}, "max_token_length cannot be 5 here; leave it out"),
        ({"continuing_subword_prefix": None}, "continuing_subword_prefix must be a string, not None"),
        ({"initial_alphabet": [1]}, "initial_alphabet must be a list of letters"),
        ({"initial_alphabet": 7}, "initial_alphabet must be a list of letters"),
        ({"special_tokens_map": ["a"]}, "special_tokens_map must be old token -> new token"),
        ({"new_special_tokens": "a"}, "new_special_tokens must be a list of strings"),
        ({"new_special_tokens": ["a", ""]}, "new_special_tokens has an empty token"),
        ({"text_iterator": "a text"}, "texts to train on must be an iterable of strings"),
        ({"text_iterator": 7}, "texts to train on must be an iterable of strings"),
        ({"text_iterator": [7]}, "a text must be a string, not int 7"),
        ({"text_iterator": [["a", None]]}, "a text must be a string, not NoneType None"),
        ({"text_iterator": ["a\ud800"]}, "a text holds a lone surrogate at 1"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(InputError) as found:
        blank(DistilBertTokenizer).train_new_from_iterator(**{"text_iterator": TEXTS, "vocab_size": 99, **arguments})
    assert str(found.value).startswith(message)


def test_what_is_needed_is_asked_for_before_any_text_is_read():
    def unread():
        raise AssertionError
        yield

    tokenizer = blank(DistilBertTokenizer)
    tokenizer.encoder.added.tokens.pop(1)
    with pytest.raises(InputError, match="the unknown token '\\[UNK\\]' is no special token of the tokenizer"):
        tokenizer.train_new_from_iterator(unread(), 99)
    tokenizer.encoder.added.tokens.pop(2)
    with pytest.raises(InputError, match="'\\[CLS\\]' goes around a text, but is no special token"):
        tokenizer.train_new_from_iterator(unread(), 99)


def test_an_alphabet_larger_than_the_vocabulary_is_told():
    with pytest.warns(UserWarning, match="special tokens and alphabet alone are 257 tokens, more than the 100 asked"):
        assert len(blank(GPT2Tokenizer).train_new_from_iterator(TEXTS, 100)) == 257


def test_special_tokens_in_the_texts_are_text():
    new = blank(DistilBertTokenizer).train_new_from_iterator(["[MASK] [MASK]"], 40)
    assert "mask" in new.get_vocab() and new("[MASK]")["input_ids"] == [2, 4, 3]


# ---- the verb


def train(*argv):
    return main(["train-tokenizer", *map(str, argv)])


def test_the_verb_writes_a_folder(tmp_path, capsys):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    out = tmp_path / "out"
    assert train(file, file, "--kind", "roberta", "--vocab-size", 270, "--out", out, "--special-tokens", "<x>") == 0
    assert capsys.readouterr().out == f"{out}: 270 tokens learnt from 6 texts\n"
    made = AutoTokenizer.from_pretrained(out)
    assert isinstance(made, RobertaTokenizer) and made.convert_ids_to_tokens([0, 1, 4, 5]) == [
        "<s>", "<pad>", "<mask>", "<x>",
    ]  # fmt: skip
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_records_and_ends_of_lines(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "ab ab"}\n{"text": "ab"}\n', encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfab\r\nab")
    for name, expected in (("a.jsonl", ("ab",)), ("b.txt", ("ab", "\r\n"))):
        code = train(tmp_path / name, "--kind", "byte-level", "--out", tmp_path / f"{name}-out", "--min-frequency", 1)
        assert code == 0
        vocabulary = AutoTokenizer.from_pretrained(tmp_path / f"{name}-out").get_vocab()
        assert {*map(spelled, expected)} <= vocabulary.keys() and (spelled("\r\n") in vocabulary) == (name == "b.txt")


@pytest.mark.parametrize(
    "argv, message",
    [
        (["there.txt", "--kind", "bpe"], "--kind: 'bpe' is not one of byte-level, roberta, wordpiece"),
        (["there.txt"], "the following arguments are required: --kind"),
        (["nowhere.txt", "--kind", "byte-level"], "nowhere.txt cannot be opened: there is no such file"),
        (["there.txt", "--kind", "byte-level", "--cased"], "--cased goes with --kind wordpiece"),
        (["there.txt", "--kind", "byte-level", "--limit-alphabet", "9"], "--limit-alphabet goes with --kind wordpiece"),
        (["there.txt", "--kind", "byte-level", "--vocab-size", "0"], "--vocab-size: must be a whole number from 1"),
        (["there.txt", "--kind", "byte-level", "--vocab-size", "9999999"], "vocab_size=9999999: must be a"),
        (["there.txt", "--kind", "byte-level", "--special-tokens", "a\nb"], "'a\\nb' cannot be a special token"),
        (["there.txt", "--kind", "byte-level", "--special-tokens", ""], "'' cannot be a special token"),
        (["there.txt", "--kind", "byte-level", "--out", "there.txt/x"], "there.txt/x cannot be made: "),
        (["empty.txt", "--kind", "byte-level"], "there is no text in the files"),
        (["latin.txt", "--kind", "byte-level"], "line 2 of latin.txt is not UTF-8"),
        (["nul.txt", "--kind", "wordpiece"], "line 1 of nul.txt has a NUL byte"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    Path("there.txt").write_text("a b\n")
    Path("empty.txt").write_text("")
    Path("latin.txt").write_bytes(b"a\n\xe4\n")
    Path("nul.txt").write_bytes(b"a\0\n")
    assert train("--out", "out", *argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("nanodistil: ") and message in err and err.count("\n") == 1 and not Path("out").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    file = tmp_path / "x.txt"
    file.write_text("a")
    assert train(file, "--kind", "wordpiece", "--out", tmp_path) == 2
    assert "is there already; name a new folder" in capsys.readouterr().err and os.listdir(tmp_path) == ["x.txt"]


def test_an_interrupted_run_leaves_nothing(tmp_path, interruptible):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "nanodistil", "train-tokenizer", "-", "--kind", "byte-level", "--out", str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"a b c\n" * 50_000)  # more than a pipe holds: it reads
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr, out.exists()) == (130, b"", b"", False)


# ---- the guide


def test_the_examples_of_the_guide(tmp_path, capsys, monkeypatch):
    """Python's by doctest, commands by running them, in the order in which they stand."""
    monkeypatch.chdir(tmp_path)
    page = GUIDE.read_text(encoding="utf-8")
    known = {}
    for language, block in re.findall(r"```(python|console|text)\n(.*?)```", page, re.DOTALL):
        if language == "python":
            test = doctest.DocTestParser().get_doctest(block, known, GUIDE.name, str(GUIDE), 0)
            said = []
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            runner.run(test, out=said.append, clear_globs=False)
            known = test.globs
            assert not said, "".join(said)
        elif language == "console":
            command, _, shown = block.partition("\n")
            capsys.readouterr()
            assert main([part.strip('"') for part in re.findall(r'"[^"]*"|\S+', command)[2:]]) == 0
            assert capsys.readouterr().out.rstrip() == shown.rstrip()
        else:
            name, _, content = block.partition("\n")
            Path(name.removeprefix("# ")).write_text(content, encoding="utf-8")
