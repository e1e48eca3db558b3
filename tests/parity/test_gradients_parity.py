"""Every gradient of every head against PyTorch's autograd on transformers' models, at full width.

Float64 is held to 1e-12 of the largest entry of each tensor's gradient. Float32 is judged as everywhere here: not by
how near it is to torch's, but by whether it is as near to float64. With dropout on the two draw different masks, so
there only the distribution of the logits can be compared; a sentence many times in a batch samples it.
"""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import nanodistil
from nanodistil.config import DistilBertConfig
from nanodistil.packing import Packing
from nanodistil.training.trainee import Trainee
from nanodistil.weights.names import canonical, expected

pytestmark = pytest.mark.parity

torch.set_num_threads(1)
FULL = {"n_layers": 2, "max_position_embeddings": 64, "vocab_size": 500}
SMALL = {"n_layers": 2, "max_position_embeddings": 16, "vocab_size": 50, "dim": 24, "n_heads": 4, "hidden_dim": 40}
B, T = 4, 24
rng = np.random.default_rng(0)
IDS = rng.integers(0, 500, (B, T))
MASK = np.arange(T) < np.array([[T], [17], [2], [9]])
MASK[3, 0] = False
IDS[~MASK] = 0
TOKENS = {"input_ids": IDS, "attention_mask": MASK.astype(np.int64)}
CHOICES = {name: array.reshape(2, 2, T) for name, array in TOKENS.items()}
SOME = np.where(rng.random((B, T)) < 0.3, rng.integers(0, 5, (B, T)), -100)  # also on padding, which then counts

CASES = {  # class, config, batch
    "masked lm": ("MaskedLM", {"vocab_size": 12000}, {**TOKENS, "labels": SOME}),
    "masked lm, untied": ("MaskedLM", {"tie_word_embeddings": False}, {**TOKENS, "labels": SOME}),
    "one class": ("SequenceClassification", {"num_labels": 5}, {**TOKENS, "labels": np.array([4, 0, 1, 0])}),
    "several classes": ("SequenceClassification", {"num_labels": 3}, {**TOKENS, "labels": np.eye(B, 3)}),
    "a number": ("SequenceClassification", {"num_labels": 1}, {**TOKENS, "labels": np.array([0.5, -2, 3, 1])}),
    "tokens": ("TokenClassification", {"num_labels": 5}, {**TOKENS, "labels": SOME}),
    "question": (
        "QuestionAnswering",
        {},
        {**TOKENS, "start_positions": np.array([3, T + 4, 0, 20]), "end_positions": np.array([7, T, 1, 22])},
    ),
    "choice": ("MultipleChoice", {}, {**CHOICES, "labels": np.array([1, 0])}),
}

MOVES_ALL_ALIKE = {  # what adds the same to all logits of a softmax, besides the bias of k in every layer
    "question": ("qa_outputs.bias", "layer.1.output_layer_norm.bias"),
    "choice": ("classifier.bias",),
}


def random_model(kind, config, seed=0):
    """transformers' class in float32, norms and biases random too."""
    torch.manual_seed(seed)
    model = getattr(transformers, f"DistilBertFor{kind}")(
        transformers.DistilBertConfig(**config, attn_implementation="eager")
    )
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def ours(kind, model, backend, dtype):
    config = DistilBertConfig.from_dict(model.config.to_dict())
    cls = getattr(nanodistil, f"DistilBertFor{kind}")
    found = {canonical(name): array.detach().numpy().astype(dtype) for name, array in model.state_dict().items()}
    tensors = {name: found[name] for name in expected(config, cls.head)}
    return Trainee(cls(config, tensors, backend=backend, dtype=dtype))


def their_gradients(model, batch, dtype):
    """Loss, and canonical name -> gradient in float64."""
    model = model.to(dtype).eval()
    model.zero_grad()
    tensors = {name: torch.tensor(array) for name, array in batch.items()}
    if tensors.get("labels", torch.tensor(0)).is_floating_point():
        tensors["labels"] = tensors["labels"].to(dtype)
    loss = model(**tensors).loss
    loss.backward()
    return loss.item(), {canonical(name): p.grad.double().numpy().copy() for name, p in model.named_parameters()}


def our_gradients(kind, model, batch, backend, dtype):
    trainee = ours(kind, model, backend, dtype)
    loss = trainee.model.head.objective(trainee, batch)
    return loss, {name: gradient.astype(np.float64) for name, gradient in trainee.gradients.items()}


def largest(x):
    return float(np.abs(x).max())


def spread(x):
    return float(np.sqrt(np.square(x).mean()))


@pytest.mark.parametrize(("case", "eps"), [*((case, 1e-12) for case in CASES), ("masked lm", 1e-5)])
def test_every_gradient(case, eps, monkeypatch):
    """eps: of all norms, as another family may have it."""
    kind, config, batch = CASES[case]
    model = random_model(kind, {**FULL, **config})
    monkeypatch.setattr(DistilBertConfig, "layer_norm_eps", eps)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    for norm in norms:
        norm.eps = eps
    assert len(norms) == 1 + 2 * FULL["n_layers"] + (kind == "MaskedLM")
    _, rounded = their_gradients(model, batch, torch.float32)
    ours32_loss, ours32 = our_gradients(kind, model, batch, "numba", "float32")
    loss, exact = their_gradients(model, batch, torch.float64)
    ours64_loss, ours64 = our_gradients(kind, model, batch, "numpy", "float64")
    assert ours64_loss == pytest.approx(loss, rel=1e-12) and ours32_loss == pytest.approx(loss, rel=1e-5)
    assert ours64.keys() == exact.keys()
    top = max(map(largest, exact.values()))
    nought = {name for name in exact if largest(exact[name]) < 1e-12 * top}  # exactly 0 in theory: what moves all alike
    assert all(name.endswith(("k_lin.bias", *MOVES_ALL_ALIKE.get(case, ()))) for name in nought), nought
    worst = {name: largest(ours64[name] - exact[name]) / largest(exact[name]) for name in exact.keys() - nought}
    assert max(worst.values()) < 1e-12, max(worst.items(), key=lambda item: item[1])
    assert all(largest(ours64[name]) < 1e-12 * top for name in nought)
    errors = {
        who: spread(np.array([spread(found[name] - exact[name]) / spread(exact[name]) for name in worst]))
        for who, found in (("theirs", rounded), ("ours", ours32))
    }
    print(f"{case}: float64 {max(worst.values()):.1e}; float32 {errors}, ratio {errors['ours'] / errors['theirs']:.2f}")
    assert errors["ours"] <= errors["theirs"], errors


RATES = {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0, "seq_classif_dropout": 0.0}


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("MaskedLM", "dropout"),
        ("MaskedLM", "attention_dropout"),
        ("SequenceClassification", "dropout"),
        ("SequenceClassification", "seq_classif_dropout"),
        ("TokenClassification", "dropout"),
        ("QuestionAnswering", "qa_dropout"),
        ("MultipleChoice", "seq_classif_dropout"),
    ],
)
def test_dropout_has_the_same_distribution(kind, rate):
    n = 4000
    model = random_model(kind, {**SMALL, **RATES, rate: 0.3, "initializer_range": 0.3})
    ids = np.tile([[1, 7, 3, 4, 9, 2]], (n, 1))
    model.train()
    with torch.no_grad():
        given = torch.tensor(ids)
        output = model(given[:, None] if kind == "MultipleChoice" else given)
        logits = [output.start_logits, output.end_logits] if kind == "QuestionAnswering" else [output.logits]
        theirs = torch.stack(logits, -1).numpy().reshape(n, -1).astype(np.float64)
    trainee = ours(kind, model, "numpy", "float32")
    packing = Packing.of(ids, None, trainee.config)
    first = kind in ("SequenceClassification", "MultipleChoice")
    look = packing.look(packing.batch.starts[:-1])[0] if first else None
    run = trainee.encode(packing.batch, look, key=1)
    found = trainee.apply_head(run.x, key=1).logits.reshape(n, -1).astype(np.float64)
    deviation = theirs.std(0)
    moved = deviation > 0.01  # the padding token's logits, whose row is 0, are its bias always
    assert moved.mean() > 0.9 and (found.std(0)[~moved] < 0.01).all()
    found, theirs, deviation = found[:, moved], theirs[:, moved], deviation[moved]
    assert np.abs((found.mean(0) - theirs.mean(0)) / deviation).max() < 5 * np.sqrt(2 / n)
    np.testing.assert_allclose(found.std(0), deviation, rtol=0.1)
    together = np.corrcoef(found.T), np.corrcoef(theirs.T)
    assert np.abs(together[0] - together[1]).max() < 0.1
