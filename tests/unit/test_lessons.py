"""explain, learn, choose, drift, count: every number is the run's, whatever the family, and what cannot be is said."""

import json
import re
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from tiny_families import FAMILIES
from tiny_folders import tiny_folder
from tiny_gpt2s import tiny_gpt2

from nanodistil import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DistilBertModel,
    InputError,
    add_backend,
    lessons,
    pipeline,
)
from nanodistil.backend import BACKENDS
from nanodistil.cli import main
from nanodistil.family.gpt2 import GPT2ForSequenceClassification
from nanodistil.lessons.explaining import load
from nanodistil.lessons.telling import told, worked
from nanodistil.weights.names import count as numbers
from nanodistil.weights.names import expected

MADE = {
    **FAMILIES,
    "bare": lambda folder: tiny_folder(folder, DistilBertModel),
    "gpt2 classifier": lambda folder: tiny_gpt2(folder, GPT2ForSequenceClassification),
}
TEXT = {"distilbert": "the [MASK] film", "bert": "a good [MASK] .", "roberta": "the film", "gpt2": "the film"}


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    """What the machine can do is measured in a test of its own."""
    found = SimpleNamespace(flops=1e11, bandwidth=1e10, peak_of=lambda op: 1e11)
    for home in ("explaining", "counting"):
        monkeypatch.setattr(import_module(f"nanodistil.lessons.{home}"), "limits_now", lambda model: found)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: str(made(tmp_path_factory.mktemp("lessons") / "m")) for name, made in MADE.items()}


@pytest.fixture(scope="module")
def folder(folders):
    return folders["distilbert"]


@pytest.mark.parametrize("family", MADE)
def test_everything_told_is_what_was_computed(folders, family):
    model, tokenizer = load(folders[family], backend="numpy", dtype="float64")
    text = TEXT.get(family, "good film")
    found = lessons.explain(text, model, tokenizer)
    for call in [*found.trace.calls, *found.trace.steps]:
        path, number = call.source.rsplit(":", 1)
        assert (ROOT / path).read_text(encoding="utf-8").splitlines()[int(number) - 1].strip() == call.line
        assert call.formula and call.definition and call.kernel
        path, number = call.definition.rsplit(":", 1)
        line = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(number) - 1]
        assert line.startswith(f"def {call.op}("), line
    parts = {one.name.partition(".")[0] for one, _ in [*found.step("layer.1"), *found.step("embeddings")]}
    assert parts == {"layer", "embeddings"}
    for call in found.trace.steps:
        for worked_out in (one for _, one in found.step(call.name.partition(",")[0])):
            assert worked_out.error < 1e-12, call.name
    more = {"use_cache": False} if family == "gpt2" else {}
    whole = model([found.ids], output_hidden_states=True, output_attentions=True, **more)
    last = found.trace.values[
        "last_layer_norm" if model.config.pre_norm else f"layer.{model.config.n_layers - 1}.output_layer_norm"
    ]
    np.testing.assert_allclose(whole.hidden_states[-1][0][: len(last)], last, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(whole.attentions[0][0], found.trace.values["layer.0.attention.probs"][0])
    json.dumps(found.as_dict(), allow_nan=False)
    assert repr(found) == str(found) == told(found, 100)  # at Python's prompt too, and not all arrays
    for width in (40, 100):
        assert all(len(line) <= width for line in told(found, width).splitlines())
    if family == "bare":
        assert not found.answer
        return
    at = 0 if "classifier" in family else found.at
    logits = whole.logits[0] if whole.logits.ndim == 2 else whole.logits[0, at]
    e = np.exp(logits - logits.max())
    assert found.answer[0][1] == pytest.approx(float((e / e.sum()).max()), rel=1e-10)
    if family in ("distilbert", "bert"):
        best = pipeline("fill-mask", model=folders[family], backend="numpy")(text)[0]
        assert (found.answer[0][0], found.tokens[found.at]) == (best["token_str"], "[MASK]")


def test_a_weight_that_is_moved_shows_in_the_text(folder):
    """Each of these words is computed: nothing is written down beforehand."""
    model, tokenizer = load(folder, backend="numpy")

    def numbers_of(model):
        lines = told(lessons.explain("the [MASK] film", model, tokenizer), 200).splitlines()
        return [line for line in lines if " us" not in line and " ms" not in line and "GFLOP/s" not in line]

    before = numbers_of(model)
    assert before == numbers_of(model)
    tensors = {name: np.array(array) for name, array in model.tensors().items()}
    tensors["transformer.layer.0.ffn.lin2.bias"] += 1
    after = numbers_of(type(model)(model.config, tensors, backend="numpy"))
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    lin2 = next(i for i, line in enumerate(before) if line.endswith(". layer.0.ffn.lin2"))
    assert changed and min(changed) > lin2
    one = lessons.explain("the [MASK] film", type(model)(model.config, tensors, backend="numpy"), tokenizer)
    two = lessons.explain("the [MASK] film", model, tokenizer)
    assert worked(one, one.step("layer.0.ffn.lin2"), 99) != worked(two, two.step("layer.0.ffn.lin2"), 99)


def test_q_k_and_v_are_worked_each_by_itself(folder):
    found = lessons.explain("good film", folder, backend="numpy")
    firsts = [found.step(f"layer.0.attention.{n}_lin")[0][1].lines[0] for n in "qkv"]
    places = [int(line.partition("[")[2].partition("]")[0]) // 20 for line in firsts]
    assert places == [0, 1, 2]


def test_what_cannot_be_explained_is_said(folder, tmp_path, capsys):
    found = lessons.explain("good film", folder, backend="numpy")
    with pytest.raises(InputError, match=r"there is no step 'layer.0.atention'; did you mean layer.0.attention"):
        found.step("layer.0.atention")
    with pytest.raises(InputError, match="a text is needed, not int"):
        lessons.explain(3, folder, backend="numpy")
    with pytest.raises(InputError, match="no token"):
        lessons.explain("", tiny_gpt2(tmp_path / "gpt2"), backend="numpy")
    with pytest.raises(InputError):
        lessons.explain("a " * 40, folder, backend="numpy")
    capsys.readouterr()
    assert main(["explain", "a " * 40, "--model", folder, "--backend", "numpy"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


OFTEN = ("distilbert", "gpt2")  # in the default run; the others in the sweeps


@pytest.mark.parametrize(
    "family",
    [n if n in OFTEN else pytest.param(n, marks=pytest.mark.sweep) for n in MADE if n != "bare"],
)
def test_every_gradient_is_its_finite_difference(folders, family):
    model, tokenizer = load(folders[family], backend="numpy", dtype="float64")
    found = lessons.learn(TEXT.get(family, "good film"), model, tokenizer, layer=0)
    every = found.every()
    assert max(one.error for one in every) < 1e-5, max(every, key=lambda one: one.error)
    names = {one.name for one in every}
    weights = {n for n in model.tensors() if "layer." not in n or ".layer.0." in n}
    assert weights - {n for n in weights if n.endswith("token_type_embeddings.weight")} <= names
    assert found.after < found.loss and found.after == pytest.approx(found.expected, rel=1e-2)
    assert ("layer.0.attention.k_lin" in names) and ("layer.1" in names)
    assert all(len(line) <= 90 for line in found.told(90).splitlines())
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_wrong_derivative_is_found(folder, monkeypatch):
    from nanodistil.kernels.definitions import numpy_backward

    right = numpy_backward.activation_backward
    monkeypatch.setattr(numpy_backward, "activation_backward", lambda dy, x, which: 1.01 * right(dy, x, which))
    found = lessons.learn("the [MASK] film", folder)
    assert max(one.error for one in found.every()) > 5e-3


def test_what_cannot_be_learnt_is_said(folder, tmp_path):
    with pytest.raises(InputError, match="layer must be from 0 to 1, not 2"):
        lessons.learn("film", folder, layer=2)
    with pytest.raises(InputError, match="a DistilBertModel is not taught by one text"):
        lessons.learn("film", MADE["bare"](tmp_path / "bare"))
    with pytest.raises(InputError, match="two tokens"):
        lessons.learn("a", tiny_gpt2(tmp_path / "gpt2"))


def test_choices_are_those_of_the_pipeline(folders):
    pipe = pipeline("text-generation", model=folders["gpt2"], backend="numpy")
    options = {"max_new_tokens": 4, "do_sample": True, "seed": 3, "top_k": 9, "temperature": 0.5}
    found = lessons.choose(pipe, "the", **options)
    assert found.text == pipe("the", **options)[0]["generated_text"]
    names = [stage.name for stage in found.tokens[0].stages]
    assert names == ["the model", "TemperatureLogitsWarper", "TopKLogitsWarper"]
    assert found.tokens[0].stages[-1].left == 9 and found.tokens[0].stages[1].settings == {"temperature": 0.5}
    model = AutoModelForCausalLM.from_pretrained(folders["gpt2"], backend="numpy")
    logits = model([AutoTokenizer.from_pretrained(folders["gpt2"])("the")["input_ids"]]).logits[0, -1].astype(float)
    e = np.exp(logits - logits.max())
    assert found.tokens[0].stages[0].best[0][1] == pytest.approx(float((e / e.sum()).max()), rel=1e-5)
    with pytest.raises(InputError, match="one text is explained"):
        lessons.choose(pipe, "the", num_beams=2)


def test_drift_names_the_op_that_brought_it(folder):
    """A function of the user's that is wrong, among ops that are right."""
    add_backend("slanted", on="numpy", gelu=lambda x: x / (1 + np.exp(x.dtype.type(-1.702) * x)))
    try:
        found = lessons.drift(folder, "2x5", [("numpy", "float32"), ("slanted", "float32")])
    finally:
        del BACKENDS["slanted"]
    right, wrong = found.candidates
    assert right.final < 1e-5 < wrong.final
    assert max(wrong.alone, key=wrong.alone.get) == "lin1 linear_activation"
    assert wrong.shares("lin1 linear_activation")[1] > 0.9 and wrong.shares("attention")[1] < 0.1
    assert wrong.errors["layer.0.ffn.lin1"] < 1e-5 < wrong.errors["layer.0.ffn.activation"]
    assert [name for name, _ in found.stages()] == [
        "embeddings.LayerNorm", "layer.0.output_layer_norm", "layer.1.output_layer_norm", "vocab_projector",
    ]  # fmt: skip
    exact = lessons.drift(folder, "1x3", [("numpy", "float64")]).candidates[0]
    assert exact.final == 0 and not exact.alone


def test_what_comes_before_an_op_is_not_computed_again(folder, monkeypatch):
    """And that changes no bit."""
    from nanodistil.lessons import drifting

    said, noted = [], drifting._noted
    quick = lessons.drift(folder, "2x3", [("numpy", "float32")], told=lambda what, share: said.append((what, share)))
    assert said[:2] == [("float64", 0), ("numpy float32: word_embeddings embed_layer_norm", 0)] and said[-1][1] < 1

    def from_the_start(model, call):
        found = noted(model, call)
        found.found = dict.fromkeys(found.found, 0)
        return found

    monkeypatch.setattr(drifting, "_noted", from_the_start)
    assert lessons.drift(folder, "2x3", [("numpy", "float32")]).as_dict() == quick.as_dict()


def test_count_counts(folder):
    model, _ = load(folder, backend="numpy")
    found = lessons.count(model, "2x5")
    assert found.parameters["whole"] == numbers(expected(model.config, model.head))
    ops = {op.name: op for op in found.ops}
    assert sum(op.parameters for op in found.ops) == found.parameters["whole"]
    assert ops["lin2 linear"].flops == 2 * 2 * 10 * 24 * 20
    assert ops["attention"].flops == 2 * 4 * 20 * 2 * 25
    assert ops["lin2 linear"].waits == "memory" and ops["lin2 linear"].roof == ops["lin2 linear"].intensity * 1e10
    deeper = type(model)(replace(model.config, hidden_dim=48), backend="numpy")
    assert lessons.count(deeper, "2x5").parameters["whole"] > found.parameters["whole"]
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["explain", "good film"], "layer.0.attention.context"),
        (["explain", "good film", "--step", "layer.1.ffn"], "by hand"),
        (["explain", "good film", "--step", "tokens"], "in the vocabulary"),
        (["explain", "good film", "--backward"], "\nthe loss should be "),
        (["count", "--shape", "1x4"], "waits for"),
        (["drift", "--shape", "1x4", "--with", "numpy:float32"], "alone, gone"),
    ],
)
def test_the_verbs(folder, capsys, argv, says):
    more = [] if argv[0] == "drift" else ["--backend", "numpy"]
    assert main([*argv, "--model", folder, *more]) == 0
    assert says in capsys.readouterr().out
    assert main([*argv, "--model", folder, *more, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_generate_explained(folders, capsys):
    argv = ["generate", "the", "--model", folders["gpt2"], "--backend", "numpy", "--max-new-tokens", "2", "--explain"]
    assert main([*argv, "--greedy"]) == 0
    assert "the best" in capsys.readouterr().out
    assert main([*argv, "more"]) == 2
    assert "takes one text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["explain", "film", "--backend", "numpy", "--step", "x"], "there is no step 'x'"),
        (["count", "--shape", "1"], "sentences x tokens"),
        (["drift", "--with", "numby:float32"], "unknown backend"),
        (["drift", "--with", "numpy:int3"], "int3"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, argv, says):
    assert main([*argv, "--model", folder]) == 2
    err = capsys.readouterr().err
    assert re.search(says, err) and err.count("\n") == 1


@pytest.mark.sweep
def test_pictures(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    drifted, roof = tmp_path / "drift.svg", tmp_path / "roof.svg"
    argv = ["drift", "--model", folder, "--shape", "1x3", "--with", "numpy:float32", "--plot"]
    assert main([*argv, str(drifted)]) == 0
    assert main(["count", "--model", folder, "--backend", "numpy", "--shape", "1x3", "--plot", str(roof)]) == 0
    for picture in (drifted, roof):
        assert picture.read_text(encoding="utf-8").startswith("<?xml")
    capsys.readouterr()
    assert main([*argv, "x.doc"]) == 2
    assert "x.doc: the ending says what picture to draw" in capsys.readouterr().err
