"""From lines of text to masked batches: what is on disk, what an epoch is, what is hidden; and what is refused."""

import gzip
import json
import lzma
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nanodistil.cli import main
from nanodistil.tokenization import AddedToken, DistilBertTokenizer
from nanodistil.training import binarize as binarizing
from nanodistil.training import shards
from nanodistil.training.binarize import binarize, fingerprint
from nanodistil.training.masking import Masking
from nanodistil.training.sampler import Batches, epoch_order
from nanodistil.training.sequences import Sequences
from nanodistil.training.shards import read_index, read_shard
from nanodistil.training.tasks.masked_lm import continuing
from nanodistil.training.token_counts import read_token_counts, token_counts, write_token_counts
from nanodistil.weights.errors import CheckpointError, InputError

VOCAB = Path(__file__).parents[2] / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt"
TEXTS = ["Hello world!", "", "A [MASK] and a [SEP].", " \t", "\u200b", "naïve café", "x " * 40, "one more"]


@pytest.fixture(scope="module")
def tokenizer():
    return DistilBertTokenizer(VOCAB)


@pytest.fixture
def small(monkeypatch):
    """Batches of a line or two and shards of a few lines."""
    monkeypatch.setattr(binarizing, "BATCH", 12)
    monkeypatch.setattr(binarizing, "SHARD", 10)


def sequences_in(folder):
    index = read_index(folder)
    found = []
    for number in range(len(index.shards)):
        ids, starts = read_shard(folder, index, number)
        found += [ids[a:b].tolist() for a, b in pairwise(starts)]
    return found


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- binarize


def test_each_line_is_a_sequence_as_the_tokenizer_makes_it(tmp_path, tokenizer, small):
    index = binarize(TEXTS, tmp_path / "x", tokenizer, name="mini")
    expected = [ids for ids in tokenizer(TEXTS)["input_ids"] if len(ids) > 2]
    assert sequences_in(tmp_path / "x") == expected and index == read_index(tmp_path / "x")
    assert (index.lines, index.empty, index.sequences) == (8, 3, 5) and index.tokens == sum(map(len, expected))
    assert len(index.shards) > 2 and index.dtype == np.uint16 and index.special_ids == [0, 100, 101, 102, 103]
    assert (index.cls_id, index.sep_id, index.unk_id, index.mask_id) == (101, 102, 100, 103)
    assert any(103 in sequence for sequence in expected)  # [MASK] in a text is [MASK], as upstream
    assert not [path for path in (tmp_path / "x").iterdir() if path.name.startswith((".", "unfinished"))]


def test_the_compiled_scan_writes_the_same(tmp_path, tokenizer, small):
    binarize(TEXTS, tmp_path / "definition", tokenizer)
    compiled = DistilBertTokenizer(VOCAB)
    compiled.encoder.scanner, compiled.encoder.seen = compiled.encoder.load_scanner(), None
    if compiled.encoder.scanner is None:
        pytest.skip("there is no compiled scan here")
    binarize(TEXTS, tmp_path / "compiled", compiled)
    assert contents(tmp_path / "definition") == contents(tmp_path / "compiled")


def test_a_large_vocabulary_takes_int32(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(70_000))]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    binarize(["w69999 w0"], tmp_path / "x", DistilBertTokenizer(tmp_path / "vocab.txt"))
    assert sequences_in(tmp_path / "x") == [[2, 70_004, 5, 3]]
    assert np.load(tmp_path / "x" / "ids-00000.npy").dtype == np.int32


def test_whatever_write_a_run_ends_at_it_goes_on_to_the_same_bytes(tmp_path, tokenizer, small, monkeypatch):
    real, writes = shards.written, []

    def counting(path, write):
        writes.append(path)
        if len(writes) == stop:
            raise KeyboardInterrupt
        real(path, write)

    monkeypatch.setattr(shards, "written", counting)
    stop = 0
    binarize(TEXTS, tmp_path / "whole", tokenizer)
    whole, ends = contents(tmp_path / "whole"), len(writes)
    assert ends > 10
    for stop in range(1, ends + 1):
        folder = tmp_path / str(stop)
        writes.clear()
        with pytest.raises(KeyboardInterrupt):
            binarize(TEXTS, folder, tokenizer)
        with pytest.raises(InputError, match="data set"):
            read_index(folder)
        (folder / ".ids-00001.npy.abcd1234").touch()  # as a kill leaves it
        binarize(TEXTS, folder, tokenizer, resume=True)
        assert contents(folder) == whole


def interrupted(folder, tokenizer, texts=TEXTS, after=6):
    def source():
        yield from texts[:after]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        binarize(source(), folder, tokenizer)


def test_what_cannot_be_begun_or_gone_on_with(tmp_path, tokenizer, small):
    interrupted(tmp_path / "x", tokenizer)
    before = contents(tmp_path / "x")
    with pytest.raises(InputError, match="--resume"):
        binarize(TEXTS, tmp_path / "x", tokenizer)
    with pytest.raises(InputError, match="not those"):
        binarize(["Hello World!", *TEXTS[1:]], tmp_path / "x", tokenizer, resume=True)
    with pytest.raises(InputError, match="not those"):
        binarize(TEXTS[:2], tmp_path / "x", tokenizer, resume=True)
    with pytest.raises(InputError, match="another tokenizer"):
        binarize(TEXTS, tmp_path / "x", DistilBertTokenizer(VOCAB, strip_accents=False), resume=True)
    assert contents(tmp_path / "x") == before
    binarize(TEXTS, tmp_path / "x", tokenizer, resume=True)
    with pytest.raises(InputError, match="finished"):
        binarize(TEXTS, tmp_path / "x", tokenizer, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"not empty \(it has thesis.txt\)"):
        binarize(TEXTS, tmp_path / "mine", tokenizer)
    with pytest.raises(InputError, match="cannot be made"):
        binarize(TEXTS, tmp_path / "mine" / "thesis.txt", tokenizer)
    with pytest.raises(InputError, match="cannot be made"):
        binarize(TEXTS, "a\0b", tokenizer)


def test_a_run_that_wrote_no_shard_is_begun_again_without_a_word(tmp_path, tokenizer):
    interrupted(tmp_path / "x", DistilBertTokenizer(VOCAB, strip_accents=False))
    assert binarize(TEXTS, tmp_path / "x", tokenizer).sequences == 5


def test_texts_that_are_none(tmp_path, tokenizer):
    for texts, message in (([], "no text in 0"), (["", " "], "no text in 2"), ([b"a"], "bytes"), (["\ud800"], "lone")):
        with pytest.raises(InputError, match=message):
            binarize(texts, tmp_path / "x", tokenizer)


def test_a_fingerprint_is_that_of_what_ids_mean(tokenizer):
    assert fingerprint(tokenizer) == fingerprint(DistilBertTokenizer(VOCAB, model_max_length=9))
    other = DistilBertTokenizer(VOCAB)
    other.add_tokens([AddedToken("new")])
    kinds = [tokenizer, other, DistilBertTokenizer(VOCAB, split_special_tokens=True)]
    assert len({fingerprint(one) for one in kinds}) == 3


# ---- the files


def test_damaged_folders_are_refused(tmp_path, tokenizer):
    folder = tmp_path / "x"
    binarize(TEXTS, folder, tokenizer)
    whole = contents(folder)
    index = json.loads(whole["index.json"])
    spoilt = [
        ("index.json", json.dumps(index | changed).encode())
        for changed in (
            {"format": "other"},
            {"more": 1},
            {"vocab_size": 103},
            {"vocab_size": 1 << 70},
            {"special_ids": [-1]},
            {"shards": [[5, 61, 1]]},
            {"shards": [[5, 60]]},
            {"shards": [[1 << 61, 1 << 61]]},
            {"shards": [[0, 0]]},
            {"shards": [[5, index["shards"][0][1]]] * 2},
            {"cls_id": None},
            {"cls_id": 5},
        )
    ]
    ids, starts = np.load(folder / "ids-00000.npy"), np.load(folder / "starts-00000.npy")
    arrays = [
        ("ids-00000.npy", ids.astype(np.int32)),
        ("ids-00000.npy", ids[:-1]),
        ("ids-00000.npy", np.where(ids == ids[1], np.uint16(30522), ids)),
        ("ids-00000.npy", ids[::-1]),
        ("starts-00000.npy", starts[::-1]),
        ("starts-00000.npy", np.where(starts == starts[1], starts[2], starts)),
        ("starts-00000.npy", np.where(starts == starts[1], starts[1] + 1, starts)),
        ("starts-00000.npy", starts.astype(np.float64)),
    ]
    for name, array in arrays:
        np.save(folder / name, array)
        spoilt.append((name, (folder / name).read_bytes()))
    spoilt += [(name, content) for name in whole for content in (b"", whole[name][:40], b"{" * 5000)]
    for name, content in spoilt:
        for other in whole:
            (folder / other).write_bytes(whole[other])
        (folder / name).write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            Sequences(folder)
        assert "\n" not in str(caught.value), caught.value


# ---- counts


def test_token_counts(tmp_path, tokenizer, small, monkeypatch):
    monkeypatch.setattr("nanodistil.training.token_counts.PIECE", 1)
    binarize(TEXTS, tmp_path / "x", tokenizer)
    counts = token_counts(tmp_path / "x")
    assert counts.tolist() == np.bincount(np.concatenate(sequences_in(tmp_path / "x")), minlength=30522).tolist()
    assert len(token_counts(tmp_path / "x", 30600)) == 30600
    with pytest.raises(InputError, match="more than any model has"):
        token_counts(tmp_path / "x", 10**14)
    with pytest.raises(InputError, match="vocab_size=5"):
        token_counts(tmp_path / "x", 5)
    for name in ("a.json", "a.npy"):
        write_token_counts(tmp_path / name, counts)
        assert np.array_equal(read_token_counts(tmp_path / name), counts)
    with pytest.raises(InputError, match=r"\.json or \.npy"):
        write_token_counts(tmp_path / "a.pickle", counts)
    for content in (b"", b"{}", b"[[1]]", b"[-1]", b"[0.5]", b"[]", b"[1" * 9000, b'["a"]'):
        (tmp_path / "b.json").write_bytes(content)
        (tmp_path / "b.npy").write_bytes(content)
        for name in ("b.json", "b.npy"):
            with pytest.raises(CheckpointError):
                read_token_counts(tmp_path / name)


# ---- sequences


def dataset(folder, tokenizer, words, max_length):
    """Sequences of so many words each, every one a token; -n for n unknown ones."""
    binarize([("a " if n > 0 else "🦄 ") * abs(n) for n in words], folder, tokenizer)
    return Sequences(folder, max_length)


def test_long_sequences_are_split_and_short_ones_dropped(tmp_path, tokenizer, small):
    sequences = dataset(tmp_path / "x", tokenizer, [9, 10, 14, 15, 40, -20], 16)
    a, cls, sep = tokenizer.convert_tokens_to_ids(["a", "[CLS]", "[SEP]"])
    # 10 + 2 = 12 stays; 14 + 2 = 16 stays; 17 -> [CLS] 13 a [SEP], [CLS] 2 a [SEP]; 42 = 3 x 14, the last ends so
    lengths = [12, 16, 15, 15, 16, 15]
    assert sequences.lengths.tolist() == lengths and len(sequences) == 6
    assert [one.tolist() for one in sequences] == [[cls, *[a] * (n - 2), sep] for n in lengths]
    assert (sequences.split, sequences.short, sequences.unknown) == (3, 2 + 1, 1)
    assert str(sequences).startswith("6 sequences, 89 tokens; 3 longer than 16 were split, 3 of at most 11")
    batch = sequences.batch([5, 0])
    assert batch.starts.tolist() == [0, 15, 27] and batch.positions.tolist() == [*range(15), *range(12)]
    assert batch.ids.tolist() == [*sequences[5].tolist(), *sequences[0].tolist()] and batch.keep is None
    for wrong in (-1, 6):
        with pytest.raises(IndexError):
            sequences[wrong]


def test_half_unknown_is_too_much(tmp_path, tokenizer):
    binarize(["🦄 " * 9 + "a " * 7, "🦄 " * 9 + "a " * 8], tmp_path / "x", tokenizer)  # 9 of 18, 9 of 19
    sequences = Sequences(tmp_path / "x", 20)
    assert sequences.lengths.tolist() == [19] and sequences.unknown == 1


def test_nothing_left_and_numbers_that_cannot_be(tmp_path, tokenizer):
    with pytest.raises(InputError, match=r"no sequence is left \(2 too short, 1 mostly"):
        dataset(tmp_path / "x", tokenizer, [1, 2, -30], 512)
    for wrong in (11, -1, 64.0, True, None):
        with pytest.raises(InputError, match="max_length"):
            Sequences(tmp_path / "x", wrong)
    with pytest.raises(InputError, match="no data set"):
        Sequences(tmp_path)


# ---- an epoch


@pytest.mark.parametrize("grouped", [True, False])
def test_every_sequence_once_an_epoch_whatever_came_before(grouped):
    lengths = np.random.default_rng(0).integers(12, 65, 101)
    for size in (1, 7, 101, 500):
        epochs = [epoch_order(lengths, size, 56, e, group_by_size=grouped, max_length=64) for e in (0, 1, 0)]
        assert all(sorted(order) == list(range(101)) for order in epochs)
        assert np.array_equal(epochs[0], epochs[2]) and not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epoch_order(lengths, 7, 57, 0), epoch_order(lengths, 7, 56, 0))


def test_grouping_is_the_default_and_can_be_turned_off():
    """Upstream's --group_by_size turns it off; see sampler.py."""
    lengths = np.random.default_rng(0).integers(12, 512, 2000)

    def spread(**flag):
        order = epoch_order(lengths, 4, 0, 0, **flag)
        return np.mean([np.ptp(batch) for batch in lengths[order].reshape(-1, 4)])

    assert spread() == spread(group_by_size=True) < 30 < 200 < spread(group_by_size=False)


def test_epochs_that_cannot_be():
    good = {"lengths": np.array([12, 13]), "batch_size": 2, "seed": 0, "epoch": 0}
    wrongs = [("lengths", []), ("lengths", [1.5]), ("lengths", [[1]]), ("batch_size", 0), ("batch_size", 2.0)]
    for name, wrong in [*wrongs, ("seed", -1), ("seed", "a"), ("epoch", None), ("epoch", True)]:
        with pytest.raises(InputError, match="length" if name == "lengths" else name):
            epoch_order(**good | {name: wrong})


# ---- masking

COUNTS = np.array([0, 50, 50, 50, 50, 1000, 100, 10, 1, 0])
SPECIAL = {"special_ids": range(5), "mask_id": 4}


def test_a_masked_batch():
    masking = Masking(COUNTS, **SPECIAL)
    ids = np.random.default_rng(0).integers(0, 10, 1001)
    ids[::10] = 2
    before = ids.copy()
    found = masking(ids, key=7)
    assert len(found.rows) == math.ceil(0.15 * 1001) and (np.diff(found.rows) > 0).all()
    assert not np.isin(ids[found.rows], range(5)).any() and np.array_equal(ids, before)
    rest = np.setdiff1d(np.arange(1001), found.rows)
    assert (found.labels[rest] == -100).all() and np.array_equal(found.labels[found.rows], ids[found.rows])
    assert np.array_equal(found.ids[rest], ids[rest]) and (found.ids[found.rows] == 4).mean() > 0.7
    again, other = masking(ids, key=7), masking(ids, key=8)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert not np.array_equal(found.rows, other.rows)
    assert all(array.dtype == np.int64 for array in masking(ids.astype(np.uint16), key=7))


def test_the_number_is_that_of_the_batch_as_floating_point_has_it():
    masking = Masking(COUNTS, **SPECIAL)
    for n in range(12, 400):
        assert len(masking(np.full(n, 5), key=0).rows) == math.ceil(0.15 * n)


def test_whole_words_are_chosen_with_all_their_pieces():
    masking = Masking(COUNTS, **SPECIAL, continuing=np.array([7, 8]), mlm_smoothing=0.0)
    ids = np.random.default_rng(0).choice([2, 5, 6, 7, 8], 4001, p=[0.1, 0.3, 0.2, 0.2, 0.2])
    hidden = np.zeros(len(ids), bool)
    hidden[masking(ids, key=7).rows] = True
    inner = np.isin(ids[1:], [7, 8]) & (ids[:-1] != 2)
    assert (hidden[1:] == hidden[:-1])[inner].all() and not (hidden & (ids == 2)).any()
    assert 0.14 * 4001 < hidden.sum() <= math.ceil(0.15 * 4001)
    assert masking(np.array([5, 7, 8]), key=0).rows.tolist() == [0, 1, 2]  # one word at least
    assert not len(masking(np.array([2, 2]), key=0).rows)
    alone = Masking(COUNTS, **SPECIAL, continuing=np.array([7, 8]), mlm_smoothing=0.0, mlm_mask_prop=0.5)
    assert np.isin(alone(np.array([2, 7, 2, 5]), key=1).rows, [1, 3]).all()


def test_whole_words_of_a_tokenizer_that_does_not_mark_pieces():
    names = SimpleNamespace(encoder=SimpleNamespace(names={0: "a", 1: "##"}))
    with pytest.raises(InputError, match="needs a WordPiece tokenizer"):
        continuing(names)
    names.encoder.names |= {7: "##s", 5: "##ed"}
    assert continuing(names).tolist() == [5, 7]


def test_rare_words_come_more_often():
    """Upstream's weights: the larger of count and 1, to the power -0.7; specials nothing."""
    assert np.allclose(Masking(COUNTS, **SPECIAL).weights[5:], [1000**-0.7, 100**-0.7, 10**-0.7, 1, 1], rtol=1e-15)
    assert not Masking(COUNTS, **SPECIAL).weights[:5].any()
    ids = np.array([5, 8])
    one = Masking(COUNTS, **SPECIAL, mlm_mask_prop=0.5)
    rare = np.mean([one(ids, key=k).rows[0] == 1 for k in range(2000)])
    assert rare == pytest.approx(1 / (1 + 1000**-0.7), abs=0.01)


def test_random_words_are_of_the_whole_vocabulary():
    """Special ones and the word itself too, as upstream."""
    masking = Masking(COUNTS, **SPECIAL, word_mask=0, word_keep=0, word_rand=1, mlm_mask_prop=1)
    assert set(masking(np.full(500, 5), key=3).ids.tolist()) == set(range(10))
    shares = {"word_mask": 0.5, "word_keep": 0.5, "word_rand": 0}
    assert set(Masking(COUNTS, **SPECIAL, **shares)(np.full(500, 5), key=3).ids.tolist()) == {4, 5}


def test_fewer_that_may_be_chosen_than_are_wanted():
    masking = Masking(COUNTS, **SPECIAL, mlm_mask_prop=0.9)
    assert masking(np.array([2, 5, 6, 3]), key=0).rows.tolist() == [1, 2]
    for ids in ([2, 4, 3], []):
        none = masking(np.array(ids, np.int64), key=0)
        assert none.ids.tolist() == ids and len(none.rows) == 0 and (none.labels == -100).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": []},
        {"counts": [[1]]},
        {"counts": [1.5] * 10},
        {"counts": [-1] * 10},
        {"mask_id": 10},
        {"mask_id": None},
        {"special_ids": [-1]},
        {"mlm_mask_prop": 0},
        {"mlm_mask_prop": 1.5},
        {"mlm_mask_prop": math.nan},
        {"word_mask": 0.9},
        {"word_mask": 1.2, "word_keep": -0.2, "word_rand": 0},
        {"word_rand": "0.1"},
        {"mlm_smoothing": -1},
        {"mlm_smoothing": math.inf},
    ],
)
def test_masking_that_cannot_be(wrong):
    arguments = {"counts": COUNTS, **SPECIAL} | wrong
    with pytest.raises(InputError) as caught:
        Masking(arguments.pop("counts"), **arguments)
    assert "\n" not in str(caught.value)


def test_batches_that_cannot_be_masked():
    masking = Masking(COUNTS, **SPECIAL)
    for ids in (np.array([10]), np.array([-1]), np.array([[5]]), np.array([5.0])):
        with pytest.raises(InputError, match="ids"):
            masking(ids, key=0)
    for key in (-1, 1 << 64, 0.5, None, True):
        with pytest.raises(InputError, match="key"):
            masking(np.array([5]), key=key)


# ---- the verbs


def test_binarize_and_count_from_the_command_line(tmp_path, tokenizer, capsys):
    text = "\ufeffHello world!\r\n\nA line\u2028of one text\n".encode()
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(b"packed"))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"\nzipped\n"))
    files = [str(tmp_path / name) for name in ("a.txt", "b.txt.xz", "c.txt.gz")]
    assert main(["binarize", *files, "--out", str(tmp_path / "x")]) == 0
    lines = ["Hello world!", "A line\u2028of one text", "packed", "zipped"]
    assert sequences_in(tmp_path / "x") == tokenizer(lines)["input_ids"]
    assert capsys.readouterr().out.endswith("in 4 sequences, of 6 lines; 2 without a token were left out\n")
    assert main(["token-counts", str(tmp_path / "x"), "--out", str(tmp_path / "c.json")]) == 0
    assert read_token_counts(tmp_path / "c.json")[102] == 4
    assert main(["token-counts", str(tmp_path / "x"), "--out", str(tmp_path / "c.json")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_mistakes_at_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("nanodistil.cli.corpus.LONGEST", 100_000)
    (tmp_path / "bad").write_bytes(b"good\nb\xe4d\n")
    (tmp_path / "long").write_bytes(b"short\n" + b"a " * 200_000)
    for file, message in (("bad", "line 2 of {} is not UTF-8"), ("long", "line 2 of {} has more than 100,000 bytes")):
        assert main(["binarize", str(tmp_path / file), "--out", str(tmp_path / "x")]) == 2
        assert message.format(tmp_path / file) in capsys.readouterr().err
    assert main(["binarize", str(tmp_path / "bad"), "nowhere", "--out", str(tmp_path / "y")]) == 2
    assert "nowhere cannot be opened" in capsys.readouterr().err and not (tmp_path / "y").exists()
    assert main(["token-counts", str(tmp_path), "--out", str(tmp_path / "c.npy")]) == 2
    assert "no data set" in capsys.readouterr().err


def test_batches_are_stretches_of_the_order():
    batches = Batches(np.array([4, 2, 0, 1, 3]), 2)
    assert [batch.tolist() for batch in batches] == [[4, 2], [0, 1], [3]] and len(batches) == 3
