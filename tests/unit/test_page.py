"""A page's numbers: that they are the model's, move with it, add up; and that nothing of a text becomes HTML."""

import json
import re

import numpy as np
import pytest
from conftest import random_tensors
from small_pipelines import small

from nanodistil import GPT2Config, GPT2LMHeadModel
from nanodistil.cli import main
from nanodistil.page import attributing, erasing, made, question
from nanodistil.page.ablation import ablation
from nanodistil.page.compact import unpacked
from nanodistil.page.labels import visible
from nanodistil.page.lens import lens
from nanodistil.page.running import attentions, hidden_states, logits_of
from nanodistil.weights.errors import InputError

HEADS = ["ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"]
TEXT = "hello [MASK] world, says Ann"


def asked(head="ForMaskedLM", text=TEXT, backend="numpy", **config):
    model, tokenizer = small(head, backend=backend, **config)
    return model, tokenizer, question.ask(model, tokenizer, text)


@pytest.fixture
def quick(monkeypatch):
    """A page whose gradients are summed over few points."""
    monkeypatch.setattr(attributing, "STEPS", (4,))


@pytest.mark.parametrize("head", HEADS)
def test_shares_add_up(backend, head):
    model, _, q = asked(head, backend=backend)
    assert len(q.targets) >= 2
    for one in attributing.integrated_gradients(model, q):
        assert abs(one.gap) < 1e-3 * abs(one.score - one.baseline)
        assert one.shares[q.inserted].tolist() == [0, 0]


def test_shares_are_slopes():
    """With few points too they are the gradient there, as finite differences find it, times the way."""
    model, _, q = asked()
    (one, *_) = attributing.integrated_gradients(model, q, steps=2)
    table = model.weights.word_embeddings.astype(np.float64)
    start, end = table[np.where(q.inserted, q.ids, q.baseline)], table[q.ids]
    exact = type(model)(model.config, {k: v.astype("float64") for k, v in model.tensors().items()}, dtype="float64")

    def score(x):
        logits = exact(inputs_embeds=x[None]).logits[0, q.targets[0].row]
        return question.log_scores(logits, "softmax")[q.targets[0].answer]

    token, h, found = 4, 1e-4, 0.0
    for point in (0.5 - 12**-0.5, 0.5 + 12**-0.5):  # Gauss-Legendre's two, of weight 1/2
        x, d = start + point * (end - start), np.zeros_like(start)
        d[token] = h * (end - start)[token]
        found += (score(x + d) - score(x - d)) / (2 * h) / 2
    np.testing.assert_allclose(one.shares[token], found, rtol=1e-3)


def test_last_look_of_the_lens_is_the_model(backend):
    for head in ("ForMaskedLM", "ForTokenClassification"):
        model, _, q = asked(head, backend=backend)
        hidden = hidden_states(model, q.ids)
        logits = model(q.ids[None]).logits[0]
        assert np.array_equal(logits_of(model, hidden[-1]), logits)
        seen = lens(model, hidden, None, q.kind, k=2)
        assert np.array_equal(seen.best[-1, :, 0], logits.argmax(1))
        assert (seen.ranks[-1] == 1).all() and seen.best.shape == (3, len(q.ids), 2)


def test_ablation_is_a_head_mask():
    model, _, q = asked()
    place = q.targets[0].row
    for layer, one in enumerate(ablation(model, q)):
        for head in range(3):  # the last stands for both
            mask = np.ones((2, 2))
            mask[layer, slice(None) if head == 2 else head] = 0
            scores = question.log_scores(model(q.ids[None], head_mask=mask).logits[0, place], "softmax")
            lost = [target.score - scores[target.answer] for target in q.targets]
            np.testing.assert_allclose(one.lost[head], lost, atol=1e-5)
            assert one.best[head, 0, 0] == scores.argmax()


def test_erasure_asks_again_without_a_token(monkeypatch):
    model, _, q = asked()
    lost, together = erasing.erasure(model, q)
    ids = q.ids.copy()
    ids[1] = q.baseline
    scores = question.log_scores(model(ids[None]).logits[0, q.targets[0].row], "softmax")
    np.testing.assert_allclose(lost[0, 1], q.targets[0].score - scores[q.targets[0].answer], atol=1e-6)
    assert together == 1 and not lost[:, q.ids == q.baseline].any()
    monkeypatch.setattr(erasing, "MOST_RUNS", 2)
    shared, together = erasing.erasure(model, q)
    assert together == 3 and shared[0, 1] == shared[0, 3]


def test_every_number_is_the_models(quick):
    """Another weight, and every part of the page is another."""
    model, tokenizer = small("ForMaskedLM", backend="numpy")
    before = made.page(TEXT, model, tokenizer).found
    tensors = {name: array.copy() for name, array in model.tensors().items()}
    tensors["transformer.layer.0.attention.q_lin.weight"] *= 1.5
    after = made.page(TEXT, type(model)(model.config, tensors, backend="numpy"), tokenizer).found

    def numbers(found, name):
        for step in name.split("."):
            found = found[int(step) if step.isdigit() else step]
        return unpacked(found) if isinstance(found, dict) else found

    names = ["gradients", "erased", "rollout", "cosines", "points", "shares", "thumbnails.0", "lens.probabilities"]
    for name in [*names, "without.0.lost", "without.1.probabilities", "targets.0.score", "targets.0.gradient.baseline"]:
        assert not np.array_equal(numbers(before, name), numbers(after, name)), name


def test_attention_of_a_page(quick):
    model, tokenizer = small("ForMaskedLM", backend="numpy")
    said = []
    page = made.page(TEXT, model, tokenizer, told=lambda what, share: said.append((what, share)))
    assert [*dict(said)] == [
        "gradients at 4 points", "the text without each word", "what every layer would say",
        "the model without each head",
    ]  # fmt: skip
    assert said == sorted(said, key=lambda one: ([*dict(said)].index(one[0]), one[1])) and max(dict(said).values()) < 1
    ids = np.array(tokenizer(TEXT)["input_ids"])
    for found, layer in zip(page.layers, attentions(model, ids), strict=True):
        np.testing.assert_allclose((unpacked(found) / 255) ** 2, layer, atol=0.004)


def test_models_that_write_and_that_sort():
    model, _, q = asked("ForSequenceClassification", id2label={0: "stars"}, problem_type="regression")
    assert q.kind == "none" and len(q.targets) == 1 and not q.everywhere
    one = attributing.integrated_gradients(model, q)[0]
    assert one.score == pytest.approx(model(q.ids[None]).logits[0, 0], abs=1e-6)
    model, _, q = asked("ForSequenceClassification", problem_type="multi_label_classification")
    assert q.kind == "sigmoid" and max(target.score for target in q.targets) < 0


def test_a_causal_model():
    config = GPT2Config(vocab_size=30522, n_positions=16, n_embd=12, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config, random_tensors(config, "causal_lm", scale=0.3), backend="numpy")
    q = question.ask(model, small("ForMaskedLM")[1], "hello there world")
    assert {target.row for target in q.targets} == {len(q.ids) - 1}
    one = attributing.integrated_gradients(model, q)[0]
    assert abs(one.gap) < 1e-3 * abs(one.score - one.baseline)
    assert np.array_equal(logits_of(model, hidden_states(model, q.ids)[-1]), model(q.ids[None]).logits[0])
    assert len(ablation(model, q)) == config.n_layers


@pytest.mark.parametrize(
    ("text", "head", "said"),
    [
        ("no mask", "ForMaskedLM", r"no \[MASK\] in the text"),
        ("", "ForSequenceClassification", "no tokens"),
        ("word " * 100, "ForSequenceClassification", "102 tokens, more than the model's 64"),
        ("hello", "ForQuestionAnswering", "not a DistilBertForQuestionAnswering"),
        (7, "ForMaskedLM", "not of int"),
    ],
)
def test_what_cannot_be_asked(text, head, said):
    with pytest.raises(InputError, match=said):
        asked(head, text)


def test_instances_need_a_tokenizer_and_no_loading():
    model, tokenizer = small("ForMaskedLM", backend="numpy")
    with pytest.raises(InputError, match="tokenizer"):
        made.page(TEXT, model)
    with pytest.raises(InputError, match="loaded already"):
        made.page(TEXT, model, tokenizer, backend="numpy")


HOSTILE = "</script><b>[MASK]</b><!-- \u202eabc\u2066 😀 \ud800 & \u2028 " + "x" * 10_000


def test_nothing_of_a_text_becomes_html(quick, tmp_path):
    model, tokenizer = small("ForMaskedLM", backend="numpy")
    text = HOSTILE.replace("\ud800", "")
    page = made.page(text, model, tokenizer)
    page.save(tmp_path / "page.html")
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    blocks = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', written)
    assert [name for name, _ in blocks] == ["data", "attention-0", "attention-1"]
    assert all(not re.search("[<>&]", block) for _, block in blocks)
    assert json.loads(blocks[0][1])["text"] == text
    assert written.count("<script") == 4 and "</b>" not in written
    assert "srcdoc" in page._repr_html_() and "<script" not in page._repr_html_()
    assert not [other for other in tmp_path.iterdir() if other.name != "page.html"]


def test_labels_show_what_is_not_seen():
    assert visible("a\u202e\u200b") == "a[U+202E][U+200B]"
    assert len(visible("y" * 10_000)) == 64


def test_the_verb(tmp_path, capsys):
    out = str(tmp_path / "page.html")
    for part in small("ForTokenClassification", id2label={0: "O", 1: "B-PER"}):
        part.save_pretrained(tmp_path / "model")
    those = ["--model", str(tmp_path / "model"), "--backend", "numpy", "--out"]
    assert main(["page", "Ann sings", *those, out]) == 0
    said, gap = capsys.readouterr()
    assert said.startswith(f"{out}: 4 tokens, 0.0") and gap.startswith("attribution of ")
    for wrong in (["", *those, out], ["Ann sings", *those, str(tmp_path)]):
        assert main(["page", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
