"""Live against transformers' zero-shot-classification: labels, templates, both kinds of scores, truncation."""

import itertools
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from small_models import TEXTS, largest_difference, ours_and_theirs, random_texts, same, save, theirs

from nanodistil import InputError, pipeline

pytestmark = pytest.mark.parity

NLI = [
    ["entailment", "neutral", "contradiction"],
    ["contradiction", "neutral", "entailment"],
    ["CONTR", "ENTAIL", "NEUTRAL"],
    ["ENTAIL", "NON-ENTAIL"],
    ["LABEL_0", "LABEL_1", "LABEL_2"],  # none says entailment: the last is taken
]
LABELS = [
    "politics",
    "politics, public health",
    ["politics"],
    ["politics", "public health", "science"],
    " a ,, b,c , ",
    ["", "x"],
    [f"label number {i}" for i in range(20)],
]
ARGUMENTS = [
    {},
    {"multi_label": True},
    {"multi_label": False, "hypothesis_template": "This text is about {}"},
    {"hypothesis_template": "{}", "multi_label": True},
    {"hypothesis_template": "{0}? Yes, {0}!"},
    {"hypothesis_template": "{:>12}"},
]
SEQUENCES = [TEXTS[3], [TEXTS[0]], [t for t in TEXTS if t][:4], []]


@pytest.fixture(scope="module", params=list(enumerate(NLI)), ids=lambda p: p[1][0])
def both(request, tmp_path_factory, shared):
    seed, names = request.param
    config = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    folder = save(tmp_path_factory.mktemp("model"), shared, "ForSequenceClassification", seed, **config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ours_and_theirs("zero-shot-classification", folder)


@pytest.mark.filterwarnings("ignore")
def test_every_argument(both):
    ours, upstream = both
    assert ours["numpy"].entailment_id == upstream.entailment_id
    cases = [
        *itertools.product(SEQUENCES, LABELS[1:3], ARGUMENTS[:2]),
        *itertools.product(SEQUENCES[:1], LABELS, ARGUMENTS),
    ]
    worst = 0.0
    for sequences, labels, arguments in cases:
        expected = upstream(sequences, candidate_labels=labels, **arguments)
        for pipe in ours.values():
            answer = pipe(sequences, labels, **arguments)
            assert same(answer, expected), (sequences, labels, arguments, answer, expected)
            worst = max(worst, largest_difference(answer, expected))
    print(f"largest difference {worst:.1e}")


@pytest.mark.filterwarnings("ignore")
def test_streams_and_truncation(both):
    """Texts of up to 700 tokens, of which the end is cut and never the hypothesis."""
    ours, upstream = both
    texts = [t or "x" for t in random_texts(8)] + ["Who are you voting for in 2020? " * n for n in (60, 70, 100)]
    labels = ["politics", "public health", "science and the many things it may be about"]
    expected = upstream(texts, candidate_labels=labels)
    assert same(list(ours["numpy"]((t for t in texts), labels)), expected)
    assert same(list(ours["numpy"].each(texts, candidate_labels=labels)), expected)


def test_truncation_gives_up_where_the_hypothesis_alone_is_too_long(both):
    ours, upstream = both
    mine, other = ours["numpy"].tokenizer, upstream.tokenizer
    before = other.model_max_length
    mine.model_max_length = other.model_max_length = 9
    try:
        for text, labels in (("a b c d e f g", "x"), ("a b c", ["one two three four five six seven", "x"])):
            assert same(ours["numpy"](text, labels), upstream(text, candidate_labels=labels))
    finally:
        mine.model_max_length = other.model_max_length = before


@pytest.mark.filterwarnings("ignore")
def test_what_raises_there_raises_here(both):
    ours, upstream = both
    for sequences, arguments in [
        ("", {"candidate_labels": "politics"}),
        (["a", ""], {"candidate_labels": "politics"}),
        (None, {"candidate_labels": "politics"}),
        ("Who?", {"candidate_labels": ""}),
        ("Who?", {"candidate_labels": []}),
        ("Who?", {"candidate_labels": None}),
        ("Who?", {"candidate_labels": "politics", "hypothesis_template": "Not formatting template"}),
        ("Who?", {"candidate_labels": "politics", "hypothesis_template": None}),
        ("Who?", {"candidate_labels": "politics", "hypothesis_template": "{} {}"}),
        ("Who?", {"candidate_labels": "politics", "hypothesis_template": "{"}),
        ("Who?", {"candidate_labels": "politics", "hypothesis_template": "{label}"}),
    ]:
        with pytest.raises(Exception):  # noqa: B017  # whatever it is
            upstream(sequences, **arguments)
        with pytest.raises(InputError):
            ours["numpy"](sequences, **arguments)


def test_large_logits_overflow_upstream_and_not_here(tmp_path, shared):
    """A row of docs/differences.md."""
    names = {0: "entailment", 1: "contradiction"}
    folder = save(
        tmp_path, shared, "ForSequenceClassification", 3, 2.0, id2label=names, label2id={n: i for i, n in names.items()}
    )
    upstream = theirs("zero-shot-classification", folder)
    ours = pipeline("zero-shot-classification", model=folder)
    with np.errstate(all="ignore"):
        broken = [s for t in TEXTS if t for s in upstream(t, candidate_labels=["a", "b"], multi_label=True)["scores"]]
    mine = [s for t in TEXTS if t for s in ours(t, ["a", "b"], multi_label=True)["scores"]]
    assert np.isnan(broken).any() and not np.isnan(mine).any()
