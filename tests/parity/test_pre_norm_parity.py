"""Blocks in GPT-2's order against PyTorch's own encoder with norm_first, and its autograd."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nanodistil.config import DistilBertConfig  # noqa: E402
from nanodistil.heads import DistilBertModel  # noqa: E402
from nanodistil.packing import Packing  # noqa: E402
from nanodistil.training.trainee import Trainee  # noqa: E402

pytestmark = pytest.mark.parity

EPS = 1e-5
SHAPE = {"vocab_size": 60, "max_position_embeddings": 16, "n_layers": 3, "n_heads": 4, "dim": 24, "hidden_dim": 40}
IDS = np.array([[3, 9, 17, 4, 22, 8], [5, 6, 2, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
NAMES = {  # ours -> PyTorch's
    "attention.out_lin": "self_attn.out_proj",
    "sa_layer_norm": "norm1",
    "ffn.lin1": "linear1",
    "ffn.lin2": "linear2",
    "output_layer_norm": "norm2",
}


class Theirs(torch.nn.Module):
    """Words and places, and torch.nn.TransformerEncoder."""

    def __init__(self, config):
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(config.vocab_size, config.dim)
        self.places = torch.nn.Embedding(config.max_position_embeddings, config.dim)
        options = {"dropout": 0.0, "activation": "gelu", "layer_norm_eps": EPS, "batch_first": True, "norm_first": True}
        layer = torch.nn.TransformerEncoderLayer(config.dim, config.n_heads, config.hidden_dim, **options)
        last = torch.nn.LayerNorm(config.dim, eps=EPS)
        self.body = torch.nn.TransformerEncoder(layer, config.n_layers, norm=last, enable_nested_tensor=False)
        for parameter in self.parameters():
            parameter.data = 0.2 * torch.randn_like(parameter) + (0.0 if parameter.dim() > 1 else 0.5)

    def forward(self, ids, mask):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        return self.body(x, src_key_padding_mask=mask == 0)

    def by_our_names(self, config, of=lambda parameter: parameter):
        """Canonical name -> array, of the weights or what belongs to each."""
        found = {name: of(parameter).detach().numpy() for name, parameter in self.named_parameters()}
        ours = {f"embeddings.{n}_embeddings.weight": found[f"{t}.weight"] for n, t in
                (("word", "words"), ("position", "places"))}  # fmt: skip
        for kind in ("weight", "bias"):
            for i in range(config.n_layers):
                theirs, at = f"body.layers.{i}", f"transformer.layer.{i}"
                for c, array in zip("qkv", np.split(found[f"{theirs}.self_attn.in_proj_{kind}"], 3), strict=True):
                    ours[f"{at}.attention.{c}_lin.{kind}"] = array
                ours |= {f"{at}.{name}.{kind}": found[f"{theirs}.{its}.{kind}"] for name, its in NAMES.items()}
            ours[f"transformer.last_layer_norm.{kind}"] = found[f"body.norm.{kind}"]
        return ours


@pytest.mark.parametrize(("backend", "dtype", "near"), [("numpy", "float64", 1e-12), ("numba", "float32", 2e-5)])
def test_hidden_states_and_every_gradient(monkeypatch, backend, dtype, near):
    monkeypatch.setattr(DistilBertConfig, "pre_norm", True)
    monkeypatch.setattr(DistilBertConfig, "layer_norm_eps", EPS)
    config = DistilBertConfig(**SHAPE, dropout=0.0, attention_dropout=0.0, pad_token_id=59)
    theirs = Theirs(config).double()
    expected = theirs(torch.tensor(IDS), torch.tensor(MASK))[torch.tensor(MASK == 1)]  # (N, D)
    dx = np.random.default_rng(1).standard_normal(expected.shape)
    expected.backward(torch.tensor(dx))
    tensors = {name: array.astype(dtype) for name, array in theirs.by_our_names(config).items()}
    model = DistilBertModel(config, tensors, backend=backend, dtype=dtype)
    trainee = Trainee(model)
    run = trainee.encode(Packing.of(IDS, MASK, config, False, None).batch)
    exact = expected.detach().numpy()
    np.testing.assert_allclose(run.x, exact, rtol=0, atol=near * np.abs(exact).max())
    np.testing.assert_array_equal(model(IDS, MASK).last_hidden_state[MASK == 1], run.x)
    trainee.encode_backward(dx.astype(dtype), run)
    gradients = theirs.by_our_names(config, lambda parameter: parameter.grad)
    top = max(np.abs(gradient).max() for gradient in gradients.values())
    assert trainee.gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(trainee.gradients[name], gradient, rtol=0, atol=near * top, err_msg=name)
