"""config.json: defaults, aliases, and everything a lying file may hold."""

import json

import pytest

from nanodistil import CheckpointError, DistilBertConfig


def test_defaults_are_those_of_distilbert_base_uncased():
    c = DistilBertConfig()
    assert (c.vocab_size, c.max_position_embeddings, c.n_layers, c.n_heads, c.dim, c.hidden_dim) == (
        30522,
        512,
        6,
        12,
        768,
        3072,
    )
    assert c.num_labels == 2


def test_hidden_dim_stays_3072_for_other_dims():
    assert DistilBertConfig.from_dict({"dim": 48, "n_heads": 4}).hidden_dim == 3072


def test_id2label_keys_become_numbers():
    assert DistilBertConfig.from_dict({"id2label": {"0": "no", "1": "yes", "2": "so"}}).id2label[2] == "so"


def test_unknown_keys_are_ignored_and_round_trip():
    c = DistilBertConfig.from_dict({"tie_weights_": True, "_attn_implementation_internal": "evil", "dim": 12})
    assert DistilBertConfig.from_dict(json.loads(json.dumps(c.to_dict()))) == c


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"dim": 770}, "n_heads"),
        ({"dim": "768"}, "dim should be int"),
        ({"dim": True}, "dim should be int"),
        ({"dim": None}, "dim"),
        ({"dim": -12}, "outside"),
        ({"n_layers": 10**9}, "outside"),
        ({"n_layers": 0}, "outside"),
        ({"vocab_size": 1e3}, "vocab_size should be int"),
        ({"dropout": float("nan")}, "dropout"),
        ({"dropout": float("inf")}, "dropout"),
        ({"activation": "softmax"}, "activation"),
        ({"activation": ["gelu"]}, "activation"),
        ({"pad_token_id": 40000}, "pad_token_id"),
        ({"id2label": [1]}, "id2label"),
        ({"id2label": {"x": 1}}, "id2label"),
        ({"dim": 16128, "hidden_dim": 65536, "n_layers": 48}, "parameters"),
    ],
)
def test_lies_are_named(values, message):
    with pytest.raises(CheckpointError, match=message):
        DistilBertConfig.from_dict(values)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"dim": ' + b"9" * 5000 + b"}"]
)
def test_files_that_are_no_config(tmp_path, raw):
    (tmp_path / "config.json").write_bytes(raw)
    with pytest.raises(CheckpointError, match="config"):
        DistilBertConfig.from_json_file(tmp_path / "config.json")


def test_a_missing_and_a_huge_file(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        DistilBertConfig.from_json_file(tmp_path / "config.json")
    (tmp_path / "config.json").write_bytes(b" " * (1 << 27))
    with pytest.raises(CheckpointError, match="larger"):
        DistilBertConfig.from_json_file(tmp_path / "config.json")
