"""Every head against transformers: outputs and losses in float64, errors in float32, and what was saved read back.

Small models vary every argument and hold float64 to 1e-12. Full-size ones judge float32: over all numbers of all heads
the root mean square of our errors is at most that of torch's. (Heads have few numbers; for one of them, which of two
float32 sums is closer is a matter of luck.)
"""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import nanodistil
from nanodistil import CheckpointError, InputError
from nanodistil.config import ACTIVATIONS

pytestmark = pytest.mark.parity

SMALL = {"vocab_size": 99, "dim": 24, "n_heads": 4, "hidden_dim": 37, "n_layers": 3, "max_position_embeddings": 40}
HEADS = [
    "DistilBertModel",
    "DistilBertForMaskedLM",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertForQuestionAnswering",
    "DistilBertForMultipleChoice",
]
OLD = transformers.__version__ < "5"  # the last with head_mask and prune_heads


def random_model(kind, folder, seed=0, scale=0.3, **config):
    """A random model of transformers' making, saved; norms and biases are random too."""
    torch.manual_seed(seed)
    config = transformers.DistilBertConfig(**config, initializer_range=scale, attn_implementation="eager")
    model = getattr(transformers, kind)(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, float("norm" in name.lower() and name.endswith("weight")), 0.1)
    model = model.float()  # xielu's numbers are bfloat16 until told otherwise
    model.save_pretrained(folder)
    return folder


def theirs(kind, folder, dtype="float64"):
    model = getattr(transformers, kind).from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="eager"
    )
    return model.to(getattr(torch, dtype)).eval()


def run(model, inputs, dtype="float64"):
    """Their outputs by name, as flat arrays."""
    tensors = {}
    for name, value in inputs.items():
        tensor = torch.tensor(np.asarray(value))
        tensors[name] = tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor
    with torch.no_grad():
        output = model(**tensors, output_hidden_states=True, output_attentions=True)
    return {name: flat(value) for name, value in output.items()}


def flat(value):
    """A tensor, array or tuple of them as one flat float64 array."""
    parts = value if isinstance(value, tuple) else (value,)
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])


def batch(kind, rng, B=3, T=11, V=99):
    shape = (B, 4, T) if "Choice" in kind else (B, T)
    ids, mask = rng.integers(1, V, shape), np.ones(shape, np.int64)
    mask[1, ..., T - 4 :] = 0
    mask[0, ..., 0] = 0  # also the first token, which most heads look at
    return {"input_ids": ids, "attention_mask": mask}


def assert_same(kind, folder, inputs, ours=None):
    """float64 within 1e-12 of torch's, all outputs and their order; returns them."""
    expected = run(theirs(kind, folder), inputs)
    model = ours or getattr(nanodistil, kind).from_pretrained(folder, backend="numpy", dtype="float64")
    output = model(**inputs, output_hidden_states=True, output_attentions=True, keep_masked=True)
    assert output.keys() == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(flat(output[name]), value, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", HEADS)
def test_outputs(kind, tmp_path):
    folder = random_model(kind, tmp_path, **SMALL)
    assert_same(kind, folder, batch(kind, np.random.default_rng(0)))


@pytest.mark.parametrize("kind", HEADS)
def test_embeddings_instead_of_ids(kind, tmp_path):
    rng = np.random.default_rng(0)
    folder, inputs = random_model(kind, tmp_path, **SMALL), batch(kind, rng)
    inputs["inputs_embeds"] = rng.standard_normal((*inputs.pop("input_ids").shape, 24)).astype(np.float32)
    assert_same(kind, folder, inputs)


@pytest.mark.skipif(not OLD, reason="ignored without a word since 5.0")
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
@pytest.mark.parametrize("kind", HEADS)
def test_head_masks(kind, shape, tmp_path):
    rng = np.random.default_rng(0)
    folder = random_model(kind, tmp_path, **SMALL)
    assert_same(kind, folder, {**batch(kind, rng), "head_mask": rng.random(shape).round().astype(np.float32)})


@pytest.mark.skipif(OLD, reason="accepted since 5.0")
@pytest.mark.parametrize("kind", HEADS)
def test_position_ids(kind, tmp_path):
    rng = np.random.default_rng(0)
    folder, inputs = random_model(kind, tmp_path, **SMALL), batch(kind, rng)
    assert_same(kind, folder, {**inputs, "position_ids": rng.integers(0, 40, (1, inputs["input_ids"].shape[-1]))})


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, tmp_path):
    kind = "DistilBertForMaskedLM"
    folder = random_model(kind, tmp_path, activation=activation, **SMALL)
    assert_same(kind, folder, batch(kind, np.random.default_rng(0)))


def test_sinusoidal_positions(tmp_path):
    folder = random_model("DistilBertModel", tmp_path, sinusoidal_pos_embds=True, **SMALL)
    assert_same("DistilBertModel", folder, batch("DistilBertModel", np.random.default_rng(0)))


def labelled(kind, rng, inputs, classes=5):
    B, T = len(inputs["input_ids"]), inputs["input_ids"].shape[-1]
    if kind == "DistilBertForQuestionAnswering":
        return {"start_positions": np.array([3, 99, 0]), "end_positions": np.array([5, 7, T])}
    if kind == "DistilBertForMultipleChoice":
        return {"labels": rng.integers(0, 4, B)}
    labels = rng.integers(0, 99 if kind == "DistilBertForMaskedLM" else classes, (B, T))
    labels[:, ::3] = -100
    return {"labels": labels}


@pytest.mark.parametrize("kind", [HEADS[1], HEADS[3], HEADS[4], HEADS[5]])
def test_losses(kind, tmp_path):
    rng = np.random.default_rng(0)
    labels = {} if kind in HEADS[4:] else {"num_labels": 5}
    folder, inputs = random_model(kind, tmp_path, **SMALL, **labels), batch(kind, rng)
    assert_same(kind, folder, {**inputs, **labelled(kind, rng, inputs)})


@pytest.mark.parametrize("problem", [None, "regression", "single_label_classification", "multi_label_classification"])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_losses_of_sequence_classification(problem, classes, tmp_path):
    if not OLD and (problem, classes) == ("single_label_classification", 1):
        pytest.skip("refused since 5.0")
    kind, rng = "DistilBertForSequenceClassification", np.random.default_rng(0)
    folder, inputs = random_model(kind, tmp_path, num_labels=classes, problem_type=problem, **SMALL), batch(kind, rng)
    several = [rng.random((3, classes)), rng.random(3), rng.integers(0, classes, 3), rng.integers(0, classes, (3, 1))]
    agreed = 0
    for labels in several:
        try:
            run(theirs(kind, folder), {**inputs, "labels": labels})
        except (RuntimeError, ValueError, IndexError):
            continue  # what upstream refuses, we may
        if problem == "regression" and classes > 1 and labels.shape != (3, classes):
            continue  # upstream broadcasts these, with a warning; here they are refused
        assert_same(kind, folder, {**inputs, "labels": labels})
        agreed += 1
    assert agreed


def test_the_problem_type_is_told_from_the_first_labels(tmp_path):
    kind = "DistilBertForSequenceClassification"
    folder, inputs = random_model(kind, tmp_path, num_labels=3, **SMALL), batch(kind, np.random.default_rng(0))
    model, reference = nanodistil.DistilBertForSequenceClassification.from_pretrained(folder), theirs(kind, folder)
    model(**inputs, labels=[0, 1, 2])
    run(reference, {**inputs, "labels": [0, 1, 2]})
    assert model.config.problem_type == reference.config.problem_type == "single_label_classification"


@pytest.mark.skipif(not OLD, reason="gone since 5.0")
@pytest.mark.parametrize("kind", HEADS)
def test_pruned_heads(kind, tmp_path):
    """The same heads pruned on both sides, in two steps; then saved by either and read by the other."""
    folder, inputs = random_model(kind, tmp_path / "whole", **SMALL), batch(kind, np.random.default_rng(0))
    reference = theirs(kind, folder)
    ours = getattr(nanodistil, kind).from_pretrained(folder, backend="numpy", dtype="float64")
    for heads in ({0: [1], 2: [0, 3]}, {0: [2, 1]}):
        reference.prune_heads({layer: list(numbers) for layer, numbers in heads.items()})
        ours.prune_heads(heads)
    assert ours.config.pruned_heads == {0: [1, 2], 2: [0, 3]}
    reference.save_pretrained(tmp_path / "theirs")
    assert_same(kind, tmp_path / "theirs", inputs, ours)
    assert_same(kind, tmp_path / "theirs", inputs)
    ours.save_pretrained(tmp_path / "ours")
    assert_same(kind, tmp_path / "ours", inputs)
    single = getattr(nanodistil, kind).from_pretrained(tmp_path / "ours")
    got, exact = single(**inputs, keep_masked=True)[0], ours(**inputs, keep_masked=True)[0]
    np.testing.assert_allclose(got, exact, atol=1e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_saved_here_loaded_there(kind, tmp_path):
    """Every tensor bit for bit, every field of the config."""
    labels = {"id2label": {0: "no", 1: "maybe", 2: "yes"}} if "Classification" in kind else {}
    folder = random_model(kind, tmp_path / "theirs", **SMALL, **labels)
    for backend in ("numpy", "numba"):
        getattr(nanodistil, kind).from_pretrained(folder, backend=backend).save_pretrained(tmp_path / backend)
        before, after = theirs(kind, folder, "float32"), theirs(kind, tmp_path / backend, "float32")
        assert before.state_dict().keys() == after.state_dict().keys()
        for name, tensor in before.state_dict().items():
            assert torch.equal(tensor, after.state_dict()[name]), name
        derived = {"_name_or_path": "", "label2id": None}  # upstream leaves label2id out where only id2label was given
        assert {**before.config.to_dict(), **derived} == {**after.config.to_dict(), **derived}


@pytest.mark.parametrize("kind", HEADS[:2])
def test_resizing(kind, tmp_path):
    """Old rows stay; new ones are like upstream's; the larger model runs there and here alike."""
    folder = random_model(kind, tmp_path / "small", **SMALL)
    ours = getattr(nanodistil, kind).from_pretrained(folder, backend="numpy", dtype="float64")
    before = ours.tensors()
    ours.resize_token_embeddings(120, pad_to_multiple_of=16)
    ours.resize_position_embeddings(64)
    reference = theirs(kind, folder)
    reference.resize_token_embeddings(120, pad_to_multiple_of=16)
    assert ours.config.vocab_size == reference.config.vocab_size == 128
    words = "embeddings.word_embeddings.weight"
    after = ours.tensors()
    np.testing.assert_array_equal(after[words][:99], before[words])
    table = reference.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(after[words][99:], table[99:], atol=2e-4)  # the mean, and 3e-5 of the rows' deviation
    ours.save_pretrained(tmp_path / "large")
    inputs = batch(kind, np.random.default_rng(0), T=60, V=128)
    assert_same(kind, tmp_path / "large", inputs, ours)


@pytest.mark.filterwarnings("ignore:.*newly initialised", "ignore:.*no use for")
@pytest.mark.parametrize("source", HEADS)
def test_any_checkpoint_into_any_model(source, tmp_path):
    """What is loaded is what transformers loads; the rest is drawn, and named."""
    folder = random_model(source, tmp_path, **SMALL)
    for target in HEADS:
        model = getattr(nanodistil, target).from_pretrained(folder, ignore_mismatched_sizes=True)
        reference, notes = getattr(transformers, target).from_pretrained(
            folder, ignore_mismatched_sizes=True, output_loading_info=True
        )
        mismatched = (note if isinstance(note, str) else note[0] for note in notes["mismatched_keys"])
        drawn = {*notes["missing_keys"], *mismatched}
        assert set(model.initialised) == drawn - {"vocab_projector.weight"}
        for name, array in model.state_dict().items():
            if name not in drawn:
                np.testing.assert_array_equal(array, reference.state_dict()[name].numpy(), err_msg=name)


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """(head, output) -> errors of ours and of torch's float32 against float64, over some full-size models."""
    errors = {}
    for seed, kind in enumerate(HEADS):
        folder = random_model(kind, tmp_path_factory.mktemp(kind), seed, scale=0.04)
        rng = np.random.default_rng(seed)
        inputs = batch(kind, rng, B=3 if "Choice" in kind else 8, T=48, V=30522)
        if kind not in (HEADS[0], HEADS[2]):
            inputs |= labelled(kind, rng, inputs, classes=2) if kind != HEADS[4] else {}
        exact, single = run(theirs(kind, folder), inputs), run(theirs(kind, folder, "float32"), inputs, "float32")
        truth = getattr(nanodistil, kind).from_pretrained(folder, backend="numpy", dtype="float64")
        ours = getattr(nanodistil, kind).from_pretrained(folder)
        wanted = {"output_hidden_states": True, "output_attentions": True, "keep_masked": True}
        outputs, exactly = ours(**inputs, **wanted), truth(**inputs, **wanted)
        for name, value in exact.items():
            np.testing.assert_allclose(flat(exactly[name]), value, rtol=0, atol=1e-12)
            errors[kind, name] = flat(outputs[name]) - value, single[name] - value
    return errors


def test_float32_is_no_further_from_the_truth_than_torch(full_size):
    for output in ("hidden_states", "attentions", "logits"):
        pairs = [pair for (_, name), pair in full_size.items() if name.endswith(output)]
        mine, torchs = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        assert np.sqrt((mine**2).mean()) <= np.sqrt((torchs**2).mean()), output


def test_what_upstream_refuses_or_overlooks(tmp_path):
    folder = random_model("DistilBertForQuestionAnswering", tmp_path, **SMALL)
    model = nanodistil.DistilBertForQuestionAnswering.from_pretrained(folder)
    ids = [[1, 2, 3]]
    for wrong in (
        {"input_ids": ids, "inputs_embeds": np.zeros((1, 3, 24))},
        {},
        {"inputs_embeds": np.zeros((1, 3, 23))},
        {"input_ids": ids, "head_mask": np.ones(3)},
        {"input_ids": ids, "position_ids": [[0, 1, 40]]},
        {"input_ids": ids, "position_ids": [[0, 1]]},
        {"input_ids": ids, "start_positions": [0.5], "end_positions": [1]},
    ):
        with pytest.raises(InputError):
            model(**wrong)
    with pytest.raises((InputError, CheckpointError)):
        nanodistil.DistilBertForSequenceClassification.from_pretrained(folder, num_labels=0)
