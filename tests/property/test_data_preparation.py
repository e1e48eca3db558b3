"""What holds for every text that is binarized, every epoch, every masked batch."""

import tempfile
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.training import binarize as binarizing
from nanodistil.training.binarize import binarize
from nanodistil.training.masking import Masking
from nanodistil.training.sampler import epoch_order
from nanodistil.training.sequences import SHORT, Sequences
from nanodistil.training.shards import read_shard
from nanodistil.weights.errors import InputError

VOCAB = Path(__file__).parents[2] / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt"
TOKENIZER = DistilBertTokenizer(VOCAB)
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=8)


@settings(deadline=None, max_examples=50)  # files are forced to the disk
@given(texts, st.integers(1, 60), st.integers(1, 30))
def test_what_was_binarized_is_decoded_as_the_tokenizer_has_it(lines: list[str], batch: int, shard: int) -> None:
    """Whatever the texts and wherever batches and shards end, and a resumed run likewise."""
    expected = [ids for ids in (TOKENIZER.encode(line) for line in lines) if len(ids) > 2]
    with tempfile.TemporaryDirectory() as home, mock.patch.multiple(binarizing, BATCH=batch, SHARD=shard):
        folder = Path(home) / "x"
        try:
            index = binarize(lines, folder, TOKENIZER)
        except InputError:
            assert not expected
            return
        found = []
        for number in range(len(index.shards)):
            ids, starts = read_shard(folder, index, number)
            found += [ids[a:b].tolist() for a, b in pairwise(starts)]
        assert found == expected
        assert [TOKENIZER.decode(ids) for ids in found] == [TOKENIZER.decode(ids) for ids in expected]
        assert (index.lines, index.empty) == (len(lines), len(lines) - len(expected))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(SHORT + 1, 40))
def test_the_words_of_split_sequences_are_those_there_were(words: list[int], longest: int) -> None:
    """No word is lost but with a piece of 11 tokens or fewer, none comes twice, and order is kept."""
    rng = np.random.default_rng(sum(words))
    lines = [" ".join(rng.choice(list("abcdefgh"), size=n)) for n in words]
    with tempfile.TemporaryDirectory() as home:
        index = binarize(lines, Path(home) / "x", TOKENIZER)
        try:
            sequences = Sequences(Path(home) / "x", longest)
        except InputError:
            assert max(words) + 2 <= SHORT or longest == SHORT + 1  # then the first piece has 11
            return
        everything = np.concatenate([one[1:-1] for one in sequences]).tolist()
        assert all(SHORT < len(one) <= longest and (one[0], one[-1]) == (101, 102) for one in sequences)
        lost = sum(words) - len(everything)
        assert index.tokens == sum(words) + 2 * len(words) and 0 <= lost <= sequences.short * (SHORT - 2)
        remaining = iter(token for line in lines for token in TOKENIZER.encode(line)[1:-1])
        assert all(token in remaining for token in everything)  # a subsequence


@given(
    st.lists(st.integers(12, 128), min_size=1, max_size=80),
    st.integers(1, 9),
    st.integers(0, 2**40),
    st.integers(0, 99),
    st.booleans(),
)
def test_an_epoch_has_every_sequence_once(lengths: list[int], size: int, seed: int, epoch: int, grouped: bool) -> None:
    order = epoch_order(np.array(lengths), size, seed, epoch, group_by_size=grouped, max_length=128)
    assert sorted(order.tolist()) == list(range(len(lengths)))


@given(
    st.lists(st.integers(0, 19), max_size=200),
    st.integers(0, 2**64 - 1),
    st.floats(0.01, 1),
    st.lists(st.integers(0, 10**12), min_size=20, max_size=20),
)
def test_a_masked_batch_says_what_was_there(ids: list[int], key: int, share: float, counts: list[int]) -> None:
    masking = Masking(counts, special_ids=[0, 1, 2], mask_id=2, mlm_mask_prop=share)
    batch = np.array(ids, np.int64)
    found = masking(batch, key)
    there = np.where(found.labels == -100, found.ids, found.labels)
    assert np.array_equal(there, batch) and np.array_equal(np.flatnonzero(found.labels != -100), found.rows)
    assert len(found.rows) == min(np.ceil(share * len(ids)), (batch > 2).sum()) and (batch[found.rows] > 2).all()
