"""More embedding rows than tokens: padded tables, vocabularies with holes. Such rows are never an answer."""

import json
import warnings

import numpy as np
import pytest
from small_pipelines import SIZE, small

from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertTokenizer, pipeline
from nanodistil.kernels.runtime.target import INTERPRETED
from nanodistil.pipelines.pairing import words_of
from nanodistil.training.masking import Masking
from nanodistil.training.tasks.masked_lm import MaskedLM
from nanodistil.weights.errors import CheckpointError, InputError

TEXTS = ["Paris is the [MASK] of France.", "a [MASK] b [MASK] c"]
V = SIZE["vocab_size"]
HEADS = {
    "fill-mask": ("DistilBertForMaskedLM", "a [MASK]"),
    "text-classification": ("DistilBertForSequenceClassification", "a b"),
    "token-classification": ("DistilBertForTokenClassification", "a b"),
    "question-answering": ("DistilBertForQuestionAnswering", {"question": "who", "context": "it was he"}),
    "feature-extraction": ("DistilBertModel", "a b"),
    "multiple-choice": ("DistilBertForMultipleChoice", {"prompt": "a", "choices": ["b", "c"]}),
}


def padded(backend="numpy", rows=30720, lure=6.0):
    """A random masked LM and the same with `rows` rows, of which those without a token would win everywhere."""
    model, tokenizer = small("DistilBertForMaskedLM", backend)
    tensors = model.tensors()
    spare = rows - V
    rng = np.random.default_rng(1)
    for name in ("embeddings.word_embeddings.weight", "vocab_projector.weight"):
        if name in tensors:
            more = rng.standard_normal((spare, tensors[name].shape[1])).astype(np.float32)
            tensors[name] = np.concatenate([tensors[name], more])
    lures = np.full(spare, lure, np.float32)
    tensors["vocab_projector.bias"] = np.concatenate([tensors["vocab_projector.bias"], lures])
    config = DistilBertConfig(**{**SIZE, "vocab_size": rows})
    return model, DistilBertForMaskedLM(config, tensors, backend=backend), tokenizer


def words(answer):
    return [filling["token"] for filling in answer]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("rows", [30720, *(pytest.param(n, marks=pytest.mark.sweep) for n in (V + 1, 32768))])
def test_fill_mask_answers_as_without_the_rows(backend, rows):
    whole, more, tokenizer = padded(backend, rows)
    mine, theirs = (pipeline("fill-mask", model, tokenizer) for model in (more, whole))
    probs = more.probabilities(
        *(tokenizer(TEXTS[0], return_tensors="np")[k] for k in ("input_ids", "attention_mask")), [(0, 4)]
    )
    assert rows == V + 1 or probs[0].argmax() >= V  # the lure works
    calls = ({"top_k": 50}, {}, {"targets": ["paris", "france"]})
    for options in calls[:1] if INTERPRETED else calls:
        for text in TEXTS:
            ours, without = mine(text, **options), theirs(text, **options)
            for a, b in zip(ours, without, strict=True):
                assert words(a) == words(b) if isinstance(a, list) else a["token"] == b["token"]
    assert [f["score"] for f in mine(TEXTS[0])] == [
        pytest.approx(float(probs[0, f["token"]]), rel=1e-5) for f in mine(TEXTS[0])
    ]
    for filling in mine(TEXTS[1], joint=True, beams=3):
        assert max(filling["token"]) < V
    assert words(mine(TEXTS[0], joint=True)) == [[word] for word in words(mine(TEXTS[0]))]
    assert len(mine(TEXTS[0], top_k=rows)) == V  # all there are
    assert mine(TEXTS[0], targets=["paris france"], whole_words=True)[0]["token"]


@pytest.mark.parametrize("task", HEADS)
def test_every_pipeline_answers(task):
    head, question = HEADS[task]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (V + 100, 30720, 32768):
            answer = pipeline(task, *small(head, vocab_size=rows))(question)
            assert len(np.atleast_1d(answer)) > 0
    with pytest.warns(UserWarning, match="30522 entries and the model 31103 embedding rows"):
        pipeline(task, *small(head, vocab_size=31103))
    with pytest.raises(CheckpointError, match="30522 entries and the model 30521 embedding rows"):
        pipeline(task, *small(head, vocab_size=V - 1))


def test_our_own_padding():
    model, tokenizer = small("DistilBertForMaskedLM")
    before = pipeline("fill-mask", model, tokenizer)(TEXTS[0])
    model.resize_token_embeddings(pad_to_multiple_of=256)
    assert model.config.vocab_size == 30720
    assert words(pipeline("fill-mask", model, tokenizer)(TEXTS[0])) == words(before)
    model.resize_token_embeddings()
    assert model.config.vocab_size == 30720
    model.resize_token_embeddings(30523, pad_to_multiple_of=64)
    assert model.config.vocab_size == 30528


def test_a_token_without_a_row():
    model, tokenizer = small("DistilBertForMaskedLM")
    fill = pipeline("fill-mask", model, tokenizer)
    tokenizer.add_tokens(["newword"])
    with pytest.raises(InputError, match="no row for"):
        fill(TEXTS[0], targets=["newword"])
    with pytest.raises(CheckpointError, match="resize_token_embeddings"):
        pipeline("fill-mask", model, tokenizer)
    model.resize_token_embeddings(len(tokenizer))
    assert fill(TEXTS[0], targets=["newword"])[0]["token"] == V


def test_a_hole_is_never_an_answer(tmp_path):
    """Of a token that stands twice the last line counts; the first is a row of nobody's."""
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "a", "c"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines))
    tokenizer = DistilBertTokenizer(tmp_path / "vocab.txt")
    config = DistilBertConfig(**{**SIZE, "vocab_size": 9})
    assert words_of(config, tokenizer).tolist() == [0, 1, 2, 3, 4, 6, 7, 8]
    model, _ = small("DistilBertForMaskedLM", vocab_size=9)
    assert len(pipeline("fill-mask", model, tokenizer)("a [MASK]", top_k=9)) == 8
    assert 5 not in words(pipeline("fill-mask", model, tokenizer)("a [MASK]", top_k=9))


def test_measuring_ranks_words_only():
    whole, more, tokenizer = padded()
    task = MaskedLM(max_seq_length=32, mlm_probability=0.5)
    texts = ["a cat sat on the mat and looked at me", "to be or not to be"]
    a, b = (task.evaluate(model, tokenizer, texts).metrics for model in (whole, more))
    assert (a["top1"], a["top5"]) == (b["top1"], b["top5"]) and b["loss"] > a["loss"] + 1


def test_learning_replaces_words_by_words():
    config = DistilBertConfig(**{**SIZE, "vocab_size": 60_000})
    _, tokenizer = small("DistilBertForMaskedLM")
    task = MaskedLM(mlm_probability=1.0)
    (row,) = task.rows(["a b c d e f g h i j k l m n o p q r s t u v w x y z " * 4], tokenizer, config)
    seen = [task.batch([row], key)["input_ids"].max() for key in range(60)]
    assert max(seen) < V and max(seen) > V - 3000
    everything = {"mlm_mask_prop": 1, "word_mask": 0, "word_keep": 0, "word_rand": 1}
    masking = Masking(np.ones(9, np.int64), special_ids=[], mask_id=1, words=np.array([2, 8]), **everything)
    assert set(masking(np.arange(9), 1).ids.tolist()) == {2, 8}


def test_from_a_folder(tmp_path):
    whole, more, tokenizer = padded()
    more.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == 30720
    fill = pipeline("fill-mask", str(tmp_path), backend="numpy")
    assert words(fill(TEXTS[0])) == words(pipeline("fill-mask", whole, tokenizer)(TEXTS[0]))
