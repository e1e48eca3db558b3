"""The token-classification pipeline: what it answers, in which form, and everything it refuses. No trained model."""

from itertools import islice, pairwise

import numpy as np
import pytest

from nanodistil import (
    CheckpointError,
    DistilBertConfig,
    DistilBertForTokenClassification,
    DistilBertTokenizer,
    InputError,
    pipeline,
)
from nanodistil.pipelines.entities import Entity, Piece, aggregate, groups, merged
from nanodistil.pipelines.overlap import overlapping

NAMES = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
LABELS = dict(enumerate(NAMES))
TEXTS = ["Hello Ramazotti, unaffable!", "", "the U.S.A. and Zürich", "co\u00adoperating " * 7]
ALL = {"ignore_labels": []}


@pytest.fixture(scope="module")
def ner():
    config = DistilBertConfig(
        max_position_embeddings=32, n_layers=1, n_heads=2, dim=8, hidden_dim=8, initializer_range=0.5, id2label=LABELS
    )
    model = DistilBertForTokenClassification(config, backend="numpy", seed=3)
    return pipeline("ner", model=model, tokenizer=DistilBertTokenizer.from_pretrained("nanodistil-mini"))


def test_the_fields_in_order(ner):
    for entity in ner(TEXTS[0], **ALL):
        assert list(entity) == ["entity", "score", "index", "word", "start", "end"]
        assert type(entity["score"]) is float and entity["word"] == TEXTS[0][entity["start"] : entity["end"]]
    for entity in ner(TEXTS[0], aggregation_strategy="first", **ALL):
        assert list(entity) == ["entity_group", "score", "word", "start", "end"]


def test_the_scores_are_those_of_the_model(ner):
    encoded = ner.tokenizer(TEXTS[0], return_offsets_mapping=True)
    logits = ner.model([encoded["input_ids"]]).logits[0]
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)  # (T, C)
    answer = ner(TEXTS[0], **ALL)
    assert [e["index"] for e in answer] == list(range(1, len(logits) - 1))
    for e in answer:
        assert e["entity"] == LABELS[probs[e["index"]].argmax()]
        assert e["score"] == pytest.approx(probs[e["index"]].max(), abs=1e-6)
        assert (e["start"], e["end"]) == encoded["offset_mapping"][e["index"]]


def test_one_many_and_streams(ner):
    alone = [ner(text, **ALL) for text in TEXTS]
    for together in (ner(TEXTS, **ALL), list(ner(iter(TEXTS), **ALL)), list(ner.each(TEXTS, **ALL))):
        for a, b in zip(alone, together, strict=True):
            assert [{**e, "score": 0} for e in a] == [{**e, "score": 0} for e in b]
            assert [e["score"] for e in a] == pytest.approx([e["score"] for e in b], abs=1e-6)
    assert ner(TEXTS[:1], **ALL) == alone[:1] and ner("") == [] and ner([]) == []
    assert alone[0] != alone[2]


def test_a_stream_is_read_as_it_is_answered(ner):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield f"number {len(read)}"

    assert len(list(islice(ner(endless(), **ALL), 3))) == 3
    assert len(read) < 10


def test_labels_that_do_not_count(ner):
    everything = ner(TEXTS[0], **ALL)
    some = everything[0]["entity"]
    assert ner(TEXTS[0], ignore_labels=[some]) == [e for e in everything if e["entity"] != some]
    assert ner(TEXTS[0]) == [e for e in everything if e["entity"] != "O"]
    grouped = ner(TEXTS[0], aggregation_strategy="simple", **ALL)
    kind = grouped[0]["entity_group"]
    left = ner(TEXTS[0], aggregation_strategy="simple", ignore_labels=[kind])
    assert left == [e for e in grouped if e["entity_group"] != kind]


def test_words_as_they_stand_and_as_the_tokens_say(ner):
    text = "Hello Ramazotti"
    ours = [e["word"] for e in ner(text, **ALL)]
    upstream = [e["word"] for e in ner(text, word="tokens", **ALL)]
    assert "".join(ours) == "HelloRamazotti" and upstream[0] == "hello" and upstream[2].startswith("##")


def test_a_removed_character_does_not_glue_words(ner):
    """Upstream takes a token shorter than its text for the inside of a word: here behind a soft hyphen."""
    text = "the co\u00adoperative"
    pieces = [{"start": e["start"], "end": e["end"]} for e in ner(text, **ALL)]
    assert pieces == [{"start": 0, "end": 3}, {"start": 4, "end": 16}]
    options = {"aggregation_strategy": "first", "ignore_labels": []}
    both = ner(text, word="tokens", **options)
    assert [e["word"] for e in both] == ["the cooperative"]  # one word, under one label
    tokens = ner(text, **ALL)
    if tokens[0]["entity"] != tokens[1]["entity"]:
        assert len(ner(text, **options)) == 2


def test_words_are_not_torn(ner):
    text = " ".join(["Ramazotti", "unaffable", "qzxqzxv", "floccinaucinihilipilification"] * 2)[:95]
    edges = (
        {0, len(text)} | {i for i, c in enumerate(text) if c == " "} | {i + 1 for i, c in enumerate(text) if c == " "}
    )
    for strategy in ("first", "average", "max"):
        assert all(
            {e["start"], e["end"]} <= edges
            for e in ner(text, aggregation_strategy=strategy, truncation=True, **ALL)[:-1]
        )
    simple = ner(text, aggregation_strategy="simple", truncation=True, **ALL)
    assert any(e["start"] not in edges for e in simple)  # so the above could have failed


def test_given_words(ner):
    words = ["Hello", "U.S.A.", "", "Zürich"]
    for delimiter, joined in (
        (None, "Hello U.S.A.  Zürich"),
        ("", "HelloU.S.A.Zürich"),
        ("--", "Hello--U.S.A.----Zürich"),
    ):
        (answer,) = ner(words, is_split_into_words=True, delimiter=delimiter, **ALL)
        assert [e["word"] for e in answer if e["start"] >= len(joined) - 6] in (
            ["Zürich"],
            ["Z", "ürich"],
            ["Zür", "ich"],
        )
        assert all(joined[e["start"] : e["end"]] == e["word"] for e in answer)
    assert ner([words, ["a"]], is_split_into_words=True, **ALL)[0] == ner(words, is_split_into_words=True, **ALL)[0]
    assert list(ner(iter([words]), is_split_into_words=True, **ALL)) == ner(words, is_split_into_words=True, **ALL)
    assert ner([[]], is_split_into_words=True) == [[]]


LONG = "word " * 100


def test_nothing_is_lost_in_silence(ner):
    with pytest.raises(InputError, match=r"input has 102 tokens, more than the model's 32.*stride.*truncation"):
        ner(LONG)
    with pytest.raises(InputError, match="input 2 has 102 tokens"):
        ner(["word", LONG])
    assert len(ner(LONG, truncation=True, **ALL)) == 30
    found = ner(LONG, stride=5, aggregation_strategy="simple", **ALL)
    assert found[-1]["end"] == len(LONG) - 1
    tokens = ner(LONG, stride=5, **ALL)
    assert [e["start"] for e in tokens] == list(range(0, 500, 5))  # every token once
    assert max(e["index"] for e in tokens) <= 30  # where it stands in its window, as upstream counts


@pytest.mark.parametrize("strategy", ["simple", "first", "max", "average"])
def test_windows_are_as_long_as_the_tokenizer_says_now(ner, strategy):
    """A limit that is set on the tokenizer when the pipeline is made already counts for the next call."""
    tokenizer = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    cut = pipeline("ner", ner.model, tokenizer, aggregation_strategy=strategy)
    text = "the company based in new york city was founded by french people in the north of rome long ago"
    usual = cut(text, **ALL)
    assert usual[-1]["end"] == len(text) and tokenizer.model_max_length > 12
    tokenizer.model_max_length = 12
    seen = []
    answer = type(ner.model).__call__

    def watched(model, **inputs):
        seen.append(inputs["input_ids"].shape[1])
        return answer(model, **inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(ner.model), "__call__", watched)
        found = cut(text, stride=4, **ALL)
    assert seen and max(seen) == 12
    assert (found[0]["start"], found[-1]["end"]) == (0, len(text))
    assert all(a["end"] <= b["start"] for a, b in pairwise(found))  # what two windows share comes once
    for entity in found:
        assert entity["word"] == text[entity["start"] : entity["end"]]


def test_the_side_that_is_cut(ner):
    left = DistilBertTokenizer.from_pretrained("nanodistil-mini", truncation_side="left")
    cut = pipeline("ner", model=ner.model, tokenizer=left)
    assert cut(LONG, truncation=True, **ALL)[-1]["end"] == len(LONG) - 1
    assert cut(LONG, stride=5, **ALL)[0]["start"] == 0


def test_offsets_of_ones_own(ner):
    text, spans = "Hello you", [(0, 0), (1, 3), (6, 7), (0, 0)]
    assert [e["word"] for e in ner(text, offset_mapping=spans, **ALL)] == ["el", "y"]
    assert [[e["word"] for e in a] for a in ner([text, text], offset_mapping=[spans, spans], **ALL)] == [
        ["el", "y"]
    ] * 2
    bad = (
        [(0, 1)],
        [[(0, 0)], [(0, 0)]],
        "no",
        [(0, 0), (-1, 3), (6, 7), (0, 0)],
        [(0, 0), ("a", "b"), (6, 7), (0, 0)],
    )
    for wrong in bad:
        with pytest.raises(InputError, match="offset_mapping"):
            ner(text, offset_mapping=wrong)
    with pytest.raises(InputError, match="stream"):
        ner(iter([text]), offset_mapping=[spans])


def test_old_names(ner):
    for old, new in (
        ({"grouped_entities": True}, "simple"),
        ({"grouped_entities": True, "ignore_subwords": True}, "first"),
        ({"grouped_entities": False, "ignore_subwords": True}, "none"),
        ({"ignore_subwords": True}, "none"),
    ):
        with pytest.warns(UserWarning, match=new):
            assert ner(TEXTS[0], **old, **ALL) == ner(TEXTS[0], aggregation_strategy=new, **ALL)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (3, {}, "not int"),
        (None, {}, "not NoneType"),
        ({"text": "a"}, {}, "not dict"),
        (["a", 3], {}, "input 2 is not a string but int"),
        ([["a", "b"]], {}, "the input is not a string but list; .*is_split_into_words"),
        (["a", "b \ud800"], {}, "input 2: .*surrogate"),
        ("a b", {"is_split_into_words": True}, "the input is not a list of words"),
        ([["a"], [3]], {"is_split_into_words": True}, "input 2 is not a list of words"),
        ([["a"], "b"], {"is_split_into_words": True}, "the input is not a list of words"),
        ("a", {"aggregation_strategy": "mean"}, "aggregation_strategy"),
        ("a", {"ignore_labels": "O"}, "ignore_labels"),
        ("a", {"ignore_labels": 3}, "ignore_labels"),
        ("a", {"stride": 30}, "stride must be a whole number from 0 to 29"),
        ("a", {"stride": -1}, "stride"),
        ("a", {"stride": 1.5}, "stride"),
        ("a", {"stride": 2, "aggregation_strategy": "none"}, "stride goes with"),
        ("a", {"stride": 2, "truncation": True}, "choose one"),
        ("a", {"delimiter": 3}, "delimiter"),
        ("a", {"word": "pieces"}, "word must be"),
    ],
)
def test_refusals(ner, inputs, options, message):
    with pytest.raises(InputError, match=message) as error:
        ner(inputs, **options)
    assert "\n" not in str(error.value)


def test_answers_before_a_bad_text_are_given(ner):
    answers = ner.each(["a", "b", 3, "c"], first=10)
    assert len(list(islice(answers, 2))) == 2
    with pytest.raises(InputError, match="input 13 "):
        next(answers)


def test_broken_weights_and_foreign_vocabularies(ner):
    broken = DistilBertForTokenClassification(ner.model.config, backend="numpy")
    broken.weights = broken.weights._replace(word_embeddings=np.full_like(broken.weights.word_embeddings, np.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        pipeline("ner", model=broken, tokenizer=ner.tokenizer)("a")
    small = DistilBertForTokenClassification(
        DistilBertConfig(vocab_size=99, dim=12, n_layers=1, hidden_dim=8), backend="numpy"
    )
    with pytest.raises(CheckpointError, match="30522 entries and the model 99"):
        pipeline("ner", model=small, tokenizer=ner.tokenizer)


# ---- aggregation by itself; the two examples are those of transformers' own tests


def pieces(*rows):
    """(token, {label number: score}, start, end, continues) each."""
    out = []
    for at, (token, scores, start, end, continues) in enumerate(rows, start=1):
        vector = np.zeros(len(NAMES))
        vector[list(scores)] = list(scores.values())
        out.append(Piece(token, vector, start, end, at, continues))
    return out


def joined(tokens):
    return " ".join(tokens).replace(" ##", "")


ENZO = pieces(
    ("En", {4: 0.9968166351318359}, 0, 2, False),
    ("##zo", {4: 0.9957635998725891}, 2, 4, True),
    ("UN", {6: 0.9986497163772583}, 11, 13, False),
)
RAMAZOTTI = pieces(
    ("Ra", {1: 0.55, 3: 0.45}, 0, 2, False),
    ("##ma", {3: 0.2, 7: 0.8}, 2, 4, True),
    ("##zotti", {3: 0.4, 6: 0.6}, 11, 13, True),
)


@pytest.mark.parametrize(
    ("strategy", "score"),
    [
        ("simple", 0.9962901175022125),
        ("first", 0.9968166351318359),
        ("max", 0.9968166351318359),
        ("average", 0.9962901175022125),
    ],
)
def test_enzo(strategy, score):
    enzo, un = aggregate(ENZO, strategy, LABELS, joined)
    assert enzo[:1] + enzo[2:] == ("PER", "Enzo", 0, 4, None) and enzo.score == pytest.approx(score, abs=1e-12)
    assert un == Entity("ORG", 0.9986497163772583, "UN", 11, 13)


@pytest.mark.parametrize(
    ("strategy", "label", "score"), [("first", "MISC", 0.55), ("max", "LOC", 0.8), ("average", "PER", 0.35)]
)
def test_ramazotti(strategy, label, score):
    (word,) = aggregate(RAMAZOTTI, strategy, LABELS, joined)
    assert word[:1] + word[2:] == (label, "Ramazotti", 0, 13, None) and word.score == pytest.approx(score)
    assert [e.label for e in aggregate(RAMAZOTTI, "none", LABELS, joined)] == ["B-MISC", "B-LOC", "I-ORG"]


def test_what_begins_a_group():
    labels = ["B-PER", "I-PER", "PER", "B-PER", "I-LOC", "O", "O"]
    found = groups([Entity(label, 1.0, "w", i, i + 1) for i, label in enumerate(labels)], " ".join)
    assert [(e.label, e.start, e.end) for e in found] == [("PER", 0, 3), ("PER", 3, 4), ("LOC", 4, 5), ("O", 5, 7)]


def test_which_of_two_windows_wins():
    short, longer, sure = Entity("A", 0.9, "", 0, 4), Entity("B", 0.2, "", 2, 8), Entity("C", 0.7, "", 5, 11)
    assert merged([short, longer, Entity("D", 0.1, "", 8, 9)]) == [longer, Entity("D", 0.1, "", 8, 9)]
    assert merged([longer, sure]) == [sure]  # equally long, more certain
    assert merged([sure, short]) == [short, sure] and merged([]) == []


def test_windows_cover_the_text_and_overlap():
    for n in range(40):
        for size in range(1, 12):
            for overlap in range(size):
                windows = overlapping(n, size, overlap)
                assert windows[0][0] == 0 and windows[-1][1] == n and all(b - a <= size for a, b in windows)
                assert all(end - start == overlap for (_, end), (start, _) in pairwise(windows))
                assert overlapping(n, size, overlap, True) == [(n - b, n - a) for a, b in windows]
