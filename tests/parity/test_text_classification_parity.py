"""Live against transformers' text-classification: every argument, kind of head and shape of input."""

import itertools
import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from small_models import TEXTS, largest_difference, ours_and_theirs, random_texts, same, save, theirs

from nanodistil import InputError, pipeline

pytestmark = pytest.mark.parity

KINDS = [None, "regression", "single_label_classification", "multi_label_classification"]
HEADS = [(labels, kind, seed) for labels, kind in itertools.product((1, 2, 5), KINDS) for seed in (0, 1)]
INPUTS = [
    TEXTS[0],
    TEXTS[3],
    [],
    [TEXTS[0]],
    TEXTS,
    {"text": TEXTS[0], "text_pair": TEXTS[1]},
    {"text": TEXTS[0], "text_pair": ""},
    {"text": TEXTS[0]},
    [{"text": a, "text_pair": b} for a, b in itertools.pairwise(TEXTS)],
    [[[TEXTS[0], TEXTS[1]]]],
    [[[TEXTS[0], ""]], TEXTS[2], {"text": TEXTS[3]}],
]
ARGUMENTS = [
    {},
    *({"top_k": k} for k in (0, 1, 2, 4, 99, None)),
    *({"return_all_scores": on} for on in (True, False)),
    {"return_all_scores": True, "top_k": 2},
    *({"function_to_apply": f} for f in ("sigmoid", "softmax", "none", "Softmax", None)),
    {"function_to_apply": "sigmoid", "top_k": None},
    {"truncation": True, "max_length": 9},
    {"truncation": "longest_first", "max_length": 12, "padding": "max_length"},
    {"truncation": True},
    {"padding": True, "top_k": None},
    {"add_special_tokens": True, "pad_to_multiple_of": 8, "padding": True},
]


@pytest.fixture(scope="module", params=HEADS, ids=lambda head: "-".join(map(str, head)))
def both(request, tmp_path_factory, shared):
    labels, kind, seed = request.param
    config = {"num_labels": labels, "problem_type": kind}
    if labels == 5:
        config["id2label"] = dict(enumerate(["bad", "POOR", "so so", "good", "best"]))
        config["label2id"] = {label: i for i, label in config["id2label"].items()}
        del config["num_labels"]
    folder = save(tmp_path_factory.mktemp("model"), shared, "ForSequenceClassification", seed, **config)
    return ours_and_theirs("text-classification", folder)


@pytest.mark.filterwarnings("ignore")
def test_every_argument_and_input(both):
    ours, upstream = both
    worst = 0.0
    cases = [*itertools.product(INPUTS, ARGUMENTS[::5]), *itertools.product((INPUTS[1], INPUTS[8][:3]), ARGUMENTS)]
    for inputs, arguments in cases:
        expected = upstream(inputs, **arguments)
        for pipe in ours.values():
            answer = pipe(inputs, **arguments)
            assert same(answer, expected), (inputs, arguments, answer, expected)
            worst = max(worst, largest_difference(answer, expected))
    print(f"largest difference {worst:.1e}")


@pytest.mark.filterwarnings("ignore")
def test_streams_and_many_texts(both):
    ours, upstream = both
    texts = random_texts(30)
    expected = upstream(texts, top_k=None)
    for pipe in ours.values():
        streamed = pipe((text for text in texts), top_k=None)
        assert not isinstance(streamed, list)
        assert same(list(streamed), expected)
        assert same(list(pipe.each(texts, top_k=None)), expected)
    assert same(list(ours["numpy"](iter(texts))), upstream(texts))


@pytest.mark.filterwarnings("ignore")
def test_what_raises_there_raises_here(both):
    ours, upstream = both
    for inputs in ([["a", "b"]], [["a", "b"], ["c", "d"]], [[["a", "b"], ["c", "d"]]], ["a", 3], [None], "word " * 600):
        with pytest.raises(Exception):  # noqa: B017  # whatever it is
            upstream(inputs)
        with pytest.raises(InputError):
            ours["numpy"](inputs)


def edited(folder, **fields):
    """config.json with some fields set."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    return folder


@pytest.mark.filterwarnings("ignore")
def test_what_the_config_may_ask_for(tmp_path, shared):
    """return_all_scores counts. function_to_apply never does: upstream looks at it where there are no labels at all."""
    folder = save(tmp_path, shared, "ForSequenceClassification", num_labels=3)
    for fields in ({"return_all_scores": True}, {"return_all_scores": False}, {"function_to_apply": "sigmoid"}):
        edited(folder, **fields)
        ours, upstream = pipeline("text-classification", model=folder), theirs("text-classification", folder)
        for arguments in ({}, {"top_k": 2}, {"return_all_scores": True}, {"function_to_apply": "none"}):
            for inputs in (TEXTS[0], TEXTS[:3], {"text": "a", "text_pair": "b"}):
                assert same(ours(inputs, **arguments), upstream(inputs, **arguments)), (fields, arguments, inputs)


def test_what_upstream_gets_wrong(tmp_path, shared):
    """Each of these has its row in docs/differences.md."""
    folder = save(tmp_path, shared, "ForSequenceClassification", num_labels=2)
    ours, upstream = pipeline("text-classification", model=folder), theirs("text-classification", folder)
    with pytest.raises(KeyError, match="DEFAULT"):
        upstream("a", function_to_apply="default")
    assert same(ours("a", function_to_apply="default"), upstream("a"))
    assert same(upstream(["a"], top_k=2.0), upstream(["a"]))  # upstream ignores what it does not understand
    with pytest.raises(InputError, match="top_k"):
        ours("a", top_k=2.0)
    with pytest.raises(InputError, match=r"the input has 602 tokens.*512.*truncation=True"):
        ours("word " * 600)
