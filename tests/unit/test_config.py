"""config.json: defaults, aliases, and everything a lying file may hold."""

import copy
import json
import pickle

import pytest

from nanodistil import CheckpointError, DistilBertConfig, DistilBertForSequenceClassification, InputError


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


# ---- as users of transformers make, read, change and save a config

SMALL = {"vocab_size": 30, "dim": 12, "n_heads": 3, "n_layers": 3, "hidden_dim": 8, "max_position_embeddings": 9}


def test_other_names_and_a_number_of_labels_make_a_config():
    c = DistilBertConfig(hidden_size=48, num_attention_heads=4, num_hidden_layers=2, num_labels=5)
    assert (c.dim, c.n_heads, c.n_layers) == (48, 4, 2) == (c.hidden_size, c.num_attention_heads, c.num_hidden_layers)
    assert len(c.id2label) == len(c.label2id) == c.num_labels == 5
    assert DistilBertConfig(label2id={"no": 0, "yes": 1}).id2label == {0: "no", 1: "yes"}
    assert DistilBertConfig(99, 7).max_position_embeddings == 7


def test_what_is_no_field_is_kept_and_a_slip_is_not(tmp_path):
    c = DistilBertConfig(**SMALL, finetuning_task="mnli")
    c.my_note = [1, 2]
    c.save_pretrained(tmp_path)
    again = DistilBertConfig.from_pretrained(tmp_path)
    assert again == c and again.finetuning_task == "mnli" and again.my_note == [1, 2]
    assert not hasattr(c, "no_such_thing")
    assert c.is_encoder_decoder is False and c.eos_token_id is None and c.model_type == "distilbert"  # nobody said so
    assert "is_encoder_decoder" not in c.to_dict()
    for slip in ("n_layer", "hidden_dims", "num_label", "id2labels"):
        with pytest.raises(InputError, match="is no field"):
            DistilBertConfig(**{slip: 3})


def test_fields_can_be_set_and_are_checked():
    c = DistilBertConfig(**SMALL)
    c.num_labels = 4
    c.hidden_size = 24
    assert c.id2label[3] == "LABEL_3" and c.dim == 24
    c.id2label = {"0": "a", "1": "b"}
    c.num_labels = 2  # as many as there are: the names stay
    assert c.label2id == {"a": 0, "b": 1}
    c.update({"output_attentions": True, "n_layers": 2})
    assert c.output_attentions and c.n_layers == 2
    for name, value in {"dim": 13, "num_labels": 0, "activation": "no", "n_layers": "3", "label2id": ["a"]}.items():
        with pytest.raises(CheckpointError):
            setattr(c, name, value)
    assert c.dim == 24 and c.num_labels == 2


def test_text_and_file_of_a_config_read_back(tmp_path):
    c = DistilBertConfig(**SMALL, pruned_heads={0: [1], -1: [0, 2]}, return_dict=False, problem_type="regression")
    c.to_json_file(tmp_path / "c.json")
    assert (tmp_path / "c.json").read_text() == c.to_json_string()
    assert json.loads(c.to_json_string())["pruned_heads"] == {"0": [1], "2": [0, 2]}
    again = DistilBertConfig.from_json_file(tmp_path / "c.json")
    assert again == c and again.to_dict() == c.to_dict() and again.use_return_dict is False


def test_loading_with_changes(tmp_path):
    DistilBertConfig(**SMALL, note="x").save_pretrained(tmp_path)
    c = DistilBertConfig.from_pretrained(tmp_path, num_labels=3, hidden_size=24, note="y")
    assert (c.num_labels, c.dim, c.n_heads, c.note) == (3, 24, 3, "y")
    with pytest.raises(InputError, match="no_such"):
        DistilBertConfig.from_pretrained(tmp_path, no_such=1)
    with pytest.raises(OSError, match="none"):  # as transformers: no such folder
        DistilBertConfig.from_pretrained(tmp_path / "none", local_files_only=True)


def test_copies_are_apart():
    c = DistilBertConfig(**SMALL)
    for other in (copy.deepcopy(c), pickle.loads(pickle.dumps(c))):
        other.num_labels = 7
        assert c.num_labels == 2 and other.num_labels == 7


def test_a_model_has_its_own_config_whose_shape_stays():
    c = DistilBertConfig(**SMALL, num_labels=3)
    model = DistilBertForSequenceClassification(c, backend="numpy")
    c.n_layers = 1
    assert model.config.n_layers == 3
    for name, value in {"n_layers": 1, "hidden_dim": 9, "activation": "relu", "num_labels": 2, "vocab_size": 9}.items():
        with pytest.raises(InputError, match="this model"):
            setattr(model.config, name, value)
    model.config.label2id = {"entailment": 2, "neutral": 1, "contradiction": 0}
    assert model.config.id2label[2] == "entailment"
    model.config.output_hidden_states = True
    assert len(model([[1, 2]]).hidden_states) == 4
    model.config.return_dict = False
    assert isinstance(model([[1, 2]]), tuple)
    assert model([[1, 2]], return_dict=True).logits.shape == (1, 3)
