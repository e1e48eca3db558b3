"""names.py: the table against known parameter counts, and what files may call an array."""

from types import SimpleNamespace

import pytest

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.names import canonical, count, expected, filed, is_head


def official(vocab_size):
    return SimpleNamespace(vocab_size=vocab_size, max_position_embeddings=512, dim=768, hidden_dim=3072, n_layers=6)


@pytest.mark.parametrize(
    ("vocab_size", "base", "masked_lm"),
    [(30522, 66_362_880, 66_985_530), (28996, 65_190_912, 65_812_036), (119547, 134_734_080, 135_445_755)],
)
def test_published_parameter_counts(vocab_size, base, masked_lm):
    assert count(expected(official(vocab_size))) == base
    assert count(expected(official(vocab_size), TABLE["masked_lm"])) == masked_lm
    assert len(expected(official(vocab_size), TABLE["masked_lm"])) == 105


def test_untied():
    config = official(30522)
    config.tie_word_embeddings = False
    assert expected(config, TABLE["masked_lm"])["vocab_projector.weight"] == (30522, 768)
    assert "vocab_projector.weight" not in expected(config)


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("distilbert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
        ("embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"),
        ("distilbert.transformer.layer.3.output_layer_norm.beta", "transformer.layer.3.output_layer_norm.bias"),
        ("vocab_layer_norm.gamma", "vocab_layer_norm.weight"),
        ("transformer.layer.0.ffn.lin1.gamma", "transformer.layer.0.ffn.lin1.gamma"),  # no norm: left as it is
        ("distilbert.embeddings.position_ids", None),
        ("embeddings.position_ids", None),
        ("weight", "weight"),
        ("", ""),
        ("distilbert.", ""),
    ],
)
def test_what_files_say(stored, name):
    assert canonical(stored) == name


@pytest.mark.parametrize("head", ["base", "masked_lm"])
def test_filed_is_undone(head):
    for name in expected(official(10), TABLE[head]):
        assert canonical(filed(name, TABLE[head])) == name
        assert filed(name, TABLE[head]).startswith("distilbert.") == (head != "base" and not is_head(name))


@pytest.mark.parity
@pytest.mark.parametrize(("head", "kind"), [("base", "DistilBertModel"), ("masked_lm", "DistilBertForMaskedLM")])
def test_against_transformers(head, kind):
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(vocab_size=20, dim=12, n_heads=3, hidden_dim=7, n_layers=2)
    theirs = {name: tuple(p.shape) for name, p in getattr(transformers, kind)(config).named_parameters()}
    assert theirs == {filed(name, TABLE[head]): shape for name, shape in expected(config, TABLE[head]).items()}
