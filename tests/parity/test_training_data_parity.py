"""Masking, splitting and batching against upstream's rules, restated as plainly as they can be in torch and Python.

Upstream's own files cannot be run any more (transformers-research-projects, distillation/), so what they do is written
down again here, step by step, from behaviour and formulas. Choices are compared as distributions: both sides mask
the same batch many times, and a chi-square test asks whether the counts could come from one distribution. Seeds are
fixed, so a test that passes passes always.

What is counted must be independent for p to be exact. It is where there is one count a round (the first sentence's, the
tiny batch, a single draw); positions of one round exclude each other, which makes p larger than it should be, so there
a test of the test shows that it still finds differences.
"""

import math
import random
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from tokenizer_texts import random_text

from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.training.binarize import binarize
from nanodistil.training.masking import Masking
from nanodistil.training.sampler import epoch_order
from nanodistil.training.sequences import Sequences
from nanodistil.training.shards import read_shard
from nanodistil.weights.cache import EMBEDDED

torch = pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")
pytestmark = pytest.mark.parity

V, ROUNDS = 40, 6000
PAD, UNK, CLS, SEP, MASK = SPECIAL = range(5)
SHARES = {"word_mask": 0.8, "word_keep": 0.1, "word_rand": 0.1}


def corpus_counts():
    """Counts as words have them, from 0 to thousands."""
    counts = (3000 / np.arange(1, V + 1) ** 1.5).astype(np.int64)
    counts[-4:] = 0, 0, 1, 2
    return np.random.default_rng(5).permutation(counts)


def sentences():
    """Four sequences of different lengths, with an [UNK] and a [MASK] among the words."""
    rng = np.random.default_rng(6)
    made = [np.array([CLS, *rng.integers(5, V, n), SEP]) for n in (11, 25, 18, 30)]
    made[1][7], made[2][3] = UNK, MASK
    return made


def upstream_masks(sequences, counts, rounds):
    """prepare_batch_mlm on the padded batch: (rounds, tokens) ids and labels at the real positions."""
    torch.manual_seed(0)
    lengths = torch.tensor([len(one) for one in sequences])
    width = int(lengths.max())
    batch = torch.full((len(sequences), width), PAD)
    for b, one in enumerate(sequences):
        batch[b, : len(one)] = torch.from_numpy(one)
    real = torch.arange(width) < lengths[:, None]
    weights = torch.from_numpy(np.maximum(counts, 1) ** -0.7)
    weights[list(SPECIAL)] = 0.0
    lot = torch.tensor(list(SHARES.values()))
    n = math.ceil(0.15 * lengths.sum().item())
    for _ in range(rounds):
        probabilities = weights[batch.flatten()]
        chosen = torch.multinomial(probabilities / probabilities.sum(), n, replacement=False)
        hidden = torch.zeros(batch.numel(), dtype=torch.bool)
        hidden[chosen] = True
        hidden = hidden.view(batch.shape)
        hidden[batch == PAD] = False
        words = batch[hidden]
        becomes = torch.multinomial(lot, len(words), replacement=True)
        random_words = torch.randint(V, words.shape)
        shown = torch.where(becomes == 0, MASK, torch.where(becomes == 1, words, random_words))
        ids = batch.masked_scatter(hidden, shown)
        labels = torch.where(hidden, batch, -100)
        yield ids[real].numpy(), labels[real].numpy()


def our_masks(sequences, counts, rounds):
    masking = Masking(counts, special_ids=SPECIAL, mask_id=MASK, **SHARES)
    packed = np.concatenate(sequences)
    for key in range(rounds):
        found = masking(packed, key)
        yield found.ids, found.labels


def tally(masks, n):
    """What there was to count: position chosen, number chosen, what was shown for what, pairs chosen together."""
    at, numbers, shown = np.zeros(n, np.int64), defaultdict(int), np.zeros((3, V), np.int64)
    words, pairs, sequences = np.zeros(V, np.int64), np.zeros((n, n), np.int64), np.zeros(n + 1, np.int64)
    for ids, labels in masks:
        hidden = labels != -100
        at += hidden
        numbers[int(hidden.sum())] += 1
        sequences[hidden[:13].sum()] += 1  # of the first sentence
        words += np.bincount(labels[hidden], minlength=V)
        kept = ids[hidden] == labels[hidden]
        masked = (ids[hidden] == MASK) & ~kept
        shown[0, 0] += masked.sum()
        shown[1, 0] += kept.sum()
        shown[2] += np.bincount(ids[hidden][~kept & ~masked], minlength=V)
        chosen = np.flatnonzero(hidden)
        pairs[np.ix_(chosen, chosen)] += 1
    return at, dict(numbers), shown, words, pairs, sequences


def same_distribution(ours, theirs):
    """p of the chi-square test that two rows of counts come from one distribution; cells too rare are put together."""
    table = np.stack([np.ravel(ours), np.ravel(theirs)])
    rare = table.sum(axis=0) < 20
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    return stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue


@pytest.fixture(scope="module")
def tallies():
    sequences, counts = sentences(), corpus_counts()
    n = sum(map(len, sequences))
    return tally(our_masks(sequences, counts, ROUNDS), n), tally(upstream_masks(sequences, counts, ROUNDS), n)


def test_which_words_are_chosen(tallies):
    """By position, by word, and by word against the probabilities for one draw, which the first draw must have."""
    (at, numbers, _, words, *_), (their_at, their_numbers, _, their_words, *_) = tallies
    assert numbers == their_numbers == {math.ceil(0.15 * (84 + 8)): ROUNDS}
    assert same_distribution(at, their_at) > 0.001
    assert same_distribution(words, their_words) > 0.001
    assert not at[np.isin(np.concatenate(sentences()), SPECIAL)].any()


def test_which_are_chosen_together(tallies):
    """Drawing without replacement makes choices depend on each other; independent ones would pass the test above."""
    ours, theirs = tallies
    above = np.triu_indices(len(ours[4]), 1)
    assert same_distribution(ours[4][above], theirs[4][above]) > 0.001
    assert same_distribution(ours[5], theirs[5]) > 0.001  # how many of the first sentence


def test_what_is_shown_for_a_chosen_word(tallies):
    (_, _, shown, *_), (_, _, their_shown, *_) = tallies
    assert same_distribution(shown.sum(axis=1), their_shown.sum(axis=1)) > 0.001
    assert same_distribution(shown[2], their_shown[2]) > 0.001
    total = shown.sum()
    of_itself = 0.1 / V  # a random word may be the word itself, or [MASK]
    expected = np.array([0.8 + of_itself, 0.1 + of_itself, 0.1 - 2 * of_itself]) * total
    assert stats.chisquare(shown.sum(axis=1), expected).pvalue > 0.001
    others = np.delete(shown[2], MASK)
    assert others[:4].all()  # special tokens too
    assert stats.chisquare(others[:4]).pvalue > 0.001


def test_a_single_draw_has_the_weights_themselves():
    counts = corpus_counts()
    masking = Masking(counts, special_ids=SPECIAL, mask_id=MASK, mlm_mask_prop=1 / V)
    ids = np.arange(V)
    drawn = np.bincount([masking(ids, key).rows[0] for key in range(20_000)], minlength=V)
    weights = np.maximum(counts, 1) ** -0.7
    weights[list(SPECIAL)] = 0
    assert not drawn[:5].any()
    assert stats.chisquare(drawn[5:], 20_000 * weights[5:] / weights.sum()).pvalue > 0.001


def test_two_of_five_have_their_exact_probabilities():
    """Without replacement: p(i first) p(j among the rest) + p(j first) p(i among the rest)."""
    counts = np.array([0] * 5 + [1, 3, 9, 27, 81])
    masking = Masking(counts, special_ids=SPECIAL, mask_id=MASK, mlm_mask_prop=0.4)
    drawn = defaultdict(int)
    for key in range(20_000):
        drawn[tuple(masking(np.arange(5, 10), key).rows.tolist())] += 1
    p = counts[5:] ** -0.7 / (counts[5:] ** -0.7).sum()
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    expected = [20_000 * p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for i, j in pairs]
    assert stats.chisquare([drawn[pair] for pair in pairs], expected).pvalue > 0.001


def test_the_test_can_tell_a_difference():
    """A smoothing of 0.6, or independent choices with the right marginals, would be found out."""
    sequences, counts = sentences(), corpus_counts()
    n = sum(map(len, sequences))
    theirs = tally(upstream_masks(sequences, counts, ROUNDS), n)
    wrong = Masking(counts, special_ids=SPECIAL, mask_id=MASK, mlm_smoothing=0.6)
    packed = np.concatenate(sequences)
    ours = tally(((m.ids, m.labels) for m in (wrong(packed, key) for key in range(ROUNDS))), n)
    assert same_distribution(ours[0], theirs[0]) < 1e-6
    marginal, rng = theirs[0] / ROUNDS, np.random.default_rng(0)
    alone = tally(((packed, np.where(rng.random(n) < marginal, packed, -100)) for _ in range(ROUNDS)), n)
    assert same_distribution(alone[0], theirs[0]) > 0.001 > 1e-6 > same_distribution(alone[5], theirs[5])


# ---- texts to ids


def test_ids_are_those_of_upstreams_texts(tmp_path):
    """binarized_data.py writes [CLS] and [SEP] around the stripped text and encodes that without adding any."""
    transformers = pytest.importorskip("transformers")
    ours = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    theirs = transformers.BertTokenizerFast(vocab_file=str(EMBEDDED / "vocab.txt"))
    rng = random.Random(0)
    lines = [random_text(rng) for _ in range(2000)]
    index = binarize(lines, tmp_path / "x", ours)
    ids, starts = read_shard(tmp_path / "x", index, 0)
    found = iter([ids[a:b].tolist() for a, b in pairwise(starts)])
    for line in lines:
        expected = theirs.encode(f"[CLS] {line.strip()} [SEP]", add_special_tokens=False)
        if len(expected) > 2:
            assert next(found) == expected
    assert next(found, None) is None and index.empty > 0


# ---- splitting and dropping


def upstream_sequences(data, longest, cls, sep, unk):
    """lm_seqs_dataset.py, one Python list at a time."""
    pieces = []
    for sequence in data:
        if len(sequence) <= longest:
            pieces.append(sequence)
            continue
        for start in range(0, len(sequence), longest - 2):
            piece = sequence[start : start + longest - 2]
            if piece[0] != cls:
                piece = [cls, *piece]
            if piece[-1] != sep:
                piece = [*piece, sep]
            pieces.append(piece)
    return [p for p in pieces if len(p) > 11 and p.count(unk) / len(p) < 0.5]


@pytest.mark.parametrize("longest", [12, 13, 16, 31, 128])
def test_sequences_are_upstreams(tmp_path, longest):
    """Random words, unknown ones in stretches, and special tokens written out, so that a piece may begin or end so."""
    tokenizer = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    rng = np.random.default_rng(longest)
    words = ["a", "the", "of", "film", "🦄", "[CLS]", "[SEP]", "[MASK]"]
    lines = []
    for n in rng.integers(1, 200, 300):
        shares = rng.dirichlet([2, 2, 2, 2, rng.choice([0.3, 9]), 0.6, 0.6, 0.3])
        lines.append(" ".join(rng.choice(words, size=n, p=shares)))
    binarize(lines, tmp_path / "x", tokenizer)
    sequences = Sequences(tmp_path / "x", longest)
    expected = upstream_sequences(tokenizer(lines, verbose=False)["input_ids"], longest, 101, 102, 100)
    assert [one.tolist() for one in sequences] == expected
    assert sequences.unknown > 0 and sequences.short > 0 and sequences.lengths.tolist() == list(map(len, expected))


# ---- batches of an epoch


def upstream_batches(order, lengths, size, longest):
    """grouped_batch_sampler.py for sequences that come by in this order."""
    bins = list(range(3, longest, 4))
    waiting, batches = defaultdict(list), []
    for item in order:
        group = sum(edge <= lengths[item] for edge in bins)  # bisect_right
        waiting[group].append(item)
        if len(waiting[group]) == size:
            batches.append(waiting.pop(group))
    rest = []
    for group in sorted(waiting):
        rest += waiting[group]
        if len(rest) >= size:
            batches.append(rest[:size])
            rest = rest[size:]
    return batches + [rest] * bool(rest)


@pytest.mark.parametrize("n", [1, 4, 5, 50, 501])
@pytest.mark.parametrize("size", [1, 2, 5, 32])
def test_batches_are_upstreams(n, size):
    lengths = np.random.default_rng(n).integers(12, 65, n)
    plain = epoch_order(lengths, size, 3, 4, group_by_size=False)
    order = epoch_order(lengths, size, 3, 4, max_length=64)
    batches = upstream_batches(plain.tolist(), lengths.tolist(), size, 64)
    assert [order[k : k + size].tolist() for k in range(0, n, size)] == batches
    assert len(batches) == math.ceil(n / size)
