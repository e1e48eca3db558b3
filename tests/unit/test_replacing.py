"""The open backend: any subset of ops replaced by the user's, in every kind of call; what does not fit is said."""

import pickle

import numpy as np
import pytest
from conftest import TINY
from tiny_folders import tiny_folder
from tiny_gpt2s import tiny_gpt2

from nanodistil import AutoModelForCausalLM, DistilBertForMaskedLM, InputError, add_backend
from nanodistil import backend as backends
from nanodistil.backend import BACKENDS
from nanodistil.cli import main
from nanodistil.kernels.definitions import numpy_ops
from nanodistil.kernels.definitions.gelu import gelu
from nanodistil.replacing import FUSED, SHAPES, beside, functions_of

IDS, MASK = [[5, 6, 7, 8], [9, 10, 0, 0]], [[1, 1, 1, 1], [1, 1, 0, 0]]
DEFINITIONS = {op: getattr(numpy_ops, op, gelu) for op in SHAPES}


@pytest.fixture
def made():
    """name -> what is made of the definitions, gone behind the test."""

    def made(on="numpy", dtype=None, **ops):
        add_backend("mine", on=on, **ops)
        return DistilBertForMaskedLM(TINY, backend="mine", dtype=dtype)

    yield made
    BACKENDS.pop("mine", None)


def test_what_may_be_replaced_are_the_ops():
    assert {op for op in SHAPES if not hasattr(backends.Ops, op)} == {"gelu", "softmax"}
    assert {part for parts, _ in FUSED.values() for part in parts} <= SHAPES.keys()


@pytest.mark.parametrize("op", SHAPES)
def test_every_op_alone_is_called_and_changes_nothing(made, op):
    """The definition in place of itself, counted; in float64, so the weights are the model's own."""
    calls = []

    def counted(*given):
        calls.append(given)
        return DEFINITIONS[op](*given)

    model = made(dtype="float64", **{op: counted})
    plain = DistilBertForMaskedLM(TINY, backend="numpy", dtype="float64")
    wanted = plain(IDS, MASK).logits
    np.testing.assert_array_equal(model(IDS, MASK).logits, wanted)
    if op == "vocabulary_softmax":
        model.probabilities(IDS, MASK, [(0, 1)])
    assert calls
    np.testing.assert_array_equal(model.tensors()["vocab_transform.weight"], plain.tensors()["vocab_transform.weight"])


def test_all_of_them_on_the_compiled_backend(made):
    pytest.importorskip("numba")
    model = made(on="numba", **DEFINITIONS)
    plain = DistilBertForMaskedLM(TINY, backend="numpy")
    np.testing.assert_array_equal(model(IDS, MASK).logits, plain(IDS, MASK).logits)
    assert {row.op for row in beside(model, IDS, repeats=1)} < SHAPES.keys()
    with pytest.raises(InputError, match="no function of yours"):
        beside(plain, IDS)


def test_a_wrong_function_shows_in_the_answer_and_beside(made):
    model = made(gelu=lambda x: np.maximum(x, 0))
    assert np.abs(model(IDS).logits - DistilBertForMaskedLM(TINY, backend="numpy")(IDS).logits).max() > 1e-4
    row = beside(model, IDS, repeats=1)[0]
    assert row.op == "gelu" and row.calls == TINY.n_layers + 1
    assert row.error > 100 * row.backend_error


@pytest.mark.sweep
def test_compiled_by_numba(made):
    numba = pytest.importorskip("numba")

    @numba.njit
    def linear(x, w):
        return x @ w.weight.T + w.bias

    @numba.njit
    def attention(q, k, v, who):
        out = np.empty_like(q)
        width = q.shape[1] // who.heads
        for b in range(len(who.starts) - 1):
            rows, keys = slice(who.asking[b], who.asking[b + 1]), slice(who.starts[b], who.starts[b + 1])
            for h in range(who.heads):
                head = slice(h * width, (h + 1) * width)
                scores = (q[rows, head] / np.float32(np.sqrt(width))) @ k[keys, head].T
                for i in range(len(scores)):
                    e = np.exp(scores[i] - scores[i].max())
                    scores[i] = e / e.sum()
                out[rows, head] = scores @ v[keys, head]
        return out

    logits = made(linear=linear, attention=attention)(IDS, MASK).logits
    np.testing.assert_allclose(logits, DistilBertForMaskedLM(TINY, backend="numpy")(IDS, MASK).logits, atol=1e-6)


def test_what_a_function_is_given_is_its_own(made):
    """One that works in place harms nobody."""

    def softmax(scores):
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        return scores

    seen = {}
    model = made(softmax=softmax)
    out = model(IDS, MASK, tap=lambda name, value: seen.setdefault(name, value))
    np.testing.assert_allclose(out.logits, DistilBertForMaskedLM(TINY, backend="numpy")(IDS, MASK).logits, atol=1e-6)
    assert min(s.max() for s in seen["layer.0.attention.scores"]) != 0


def test_a_text_that_is_written_on_is_attended_to_by_your_attention(tmp_path, made):
    folder, calls = tiny_gpt2(tmp_path / "gpt2"), []

    def softmax(scores):
        calls.append(scores.shape)
        return numpy_ops.softmax(scores)

    made(softmax=softmax)
    mine = AutoModelForCausalLM.from_pretrained(folder, backend="mine")
    plain = AutoModelForCausalLM.from_pretrained(folder, backend="numpy")
    options = {"do_sample": False, "max_new_tokens": 4}
    np.testing.assert_array_equal(mine.generate([[5, 6, 7]], **options), plain.generate([[5, 6, 7]], **options))
    assert (4, 1, 4) in calls  # one row asks


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ({"gelu": lambda x: x[:1]}, r"your gelu must return an array of shape \(4, 37\), not \(1, 37\)"),
        ({"gelu": lambda x: x.astype(np.float64)}, "your gelu must return float32, as it was given, not float64"),
        ({"gelu": lambda x: None}, "not NoneType"),
        ({"softmax": lambda s: 1 / 0}, r"your softmax raised ZeroDivisionError at test_replacing.py:\d+: 'division"),
        ({"attention_probs": lambda s: s[0]}, "must return a list of 1 arrays"),
        ({"linear": lambda x, w: w.weight.__setitem__(0, 0)}, "your linear raised ValueError.*read-only"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(made, ops, message):
    with pytest.raises(InputError, match=message):
        made(**ops)([[5, 6, 7, 8]])


@pytest.mark.parametrize(
    ("name", "ops", "message"),
    [
        ("numpy", {}, "a name of its own"),
        ("mine:1", {}, "a name of its own"),
        ("mine", {"gellu": abs}, "there is no op 'gellu'; did you mean gelu"),
        ("mine", {"gelu": 3}, "gelu must be a function, not 3"),
    ],
)
def test_what_cannot_be_is_said(name, ops, message):
    with pytest.raises(InputError, match=message):
        add_backend(name, **ops)


def test_weights_that_are_rounded_are_not_for_your_linear(made):
    pytest.importorskip("numba")
    with pytest.raises(InputError, match="not int8"):
        made(on="numba", dtype="int8", linear=numpy_ops.linear)


def test_pickled_and_gone(made):
    """It is of this process: where nobody adds it, that is said."""
    model = made(linear=numpy_ops.linear)
    stored = pickle.dumps(model)
    np.testing.assert_array_equal(pickle.loads(stored)(IDS).logits, model(IDS).logits)
    del BACKENDS["mine"]
    with pytest.raises(InputError, match="unknown backend 'mine'"):
        pickle.loads(stored)


def test_bench_has_a_table_of_your_functions(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("def gelu(x):\n    return x / (1 + 2 ** (-x.dtype.type(2.45) * x))\n", encoding="utf-8")
    folder = tiny_folder(tmp_path / "model", DistilBertForMaskedLM)
    argv = ["bench", "--model", folder, "--backend", "numpy", "--shape", "1x2", "--seconds", "0"]
    try:
        assert main([*argv, "--ops", str(path)]) == 0
        assert "\ngelu " in capsys.readouterr().out
    finally:
        BACKENDS.pop("yours", None)
    for text, message in (
        ("x = 1", "no function that is called as an op: linear"),
        ("def gelu(x)\n", "SyntaxError"),
        ("1 / 0", "raised ZeroDivisionError at mine.py:1"),
        ("raise SystemExit", "ended"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            functions_of(path)
    assert main([*argv, "--ops", str(tmp_path / "no.py")]) == 2
    assert "cannot be read" in capsys.readouterr().err
