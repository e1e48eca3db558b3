"""RoBERTa without transformers: what only it has to watch, beside what tests of BERT show for both."""

from types import SimpleNamespace

import numpy as np
import pytest

from nanodistil import AutoModel, AutoModelForMaskedLM, CheckpointError, InputError
from nanodistil.family.bert import BertConfig, BertModel
from nanodistil.family.roberta import (
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
)
from nanodistil.training.finetune import Options, make_step
from nanodistil.training.trainee import Trainee
from nanodistil.weights.safetensors_writer import write_safetensors

SHAPE = {"vocab_size": 30, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 14}
TINY = RobertaConfig(**SHAPE, max_position_embeddings=9)
IDS = np.array([[0, 7, 8, 2], [0, 9, 2, 1]])


@pytest.fixture
def model():
    model = RobertaForMaskedLM(TINY, backend="numpy", seed=3)
    bias = np.arange(30, dtype=np.float32)
    model.load_state_dict({"lm_head.bias": bias}, strict=False)
    return model


def test_a_bias_may_stand_in_a_file_as_its_copy_alone(model, tmp_path):
    arrays = model.state_dict()
    for kept in (("lm_head.decoder.bias",), ("lm_head.bias", "lm_head.decoder.bias")):
        file = {name: array for name, array in arrays.items() if name != "lm_head.bias"}
        file |= dict.fromkeys(kept, arrays["lm_head.bias"])
        other = RobertaForMaskedLM(TINY, backend="numpy", seed=4)
        assert other.load_state_dict(file) == ([], [])
        model.save_pretrained(tmp_path)
        write_safetensors(tmp_path / "model.safetensors", file, {"format": "pt"})
        read = AutoModelForMaskedLM.from_pretrained(tmp_path, backend="numpy")
        assert not read.initialised
        for one in (other, read):
            np.testing.assert_array_equal(one(IDS).logits, model(IDS).logits)


def test_a_model_gives_its_projection_by_its_own_names(model):
    scores = model.get_output_embeddings()
    assert scores.weight.shape == (30, 12)
    np.testing.assert_array_equal(np.asarray(scores.bias), np.arange(30))


def test_positions_stay_behind_the_padding_that_the_weights_know(model):
    with pytest.raises(InputError, match=r"config\.pad_token_id is the shape of this model's weights"):
        model.config.pad_token_id = 3
    model.config.pad_token_id = 1
    with pytest.raises(InputError, match="leaves no place for a token: the first is 2"):
        model.resize_position_embeddings(2)
    with pytest.raises(CheckpointError, match="leaves no place for a token"):
        RobertaConfig(max_position_embeddings=5, pad_token_id=4)


def test_dropout_before_the_score_of_a_choice_is_that_of_hidden_states():
    config = RobertaConfig(hidden_dropout_prob=0.3, classifier_dropout=0.6)
    assert [rate(config) for _, rate in RobertaForMultipleChoice.head.dropout] == [0.3]


def test_a_model_takes_the_config_of_its_family():
    for config in (TINY, {"vocab_size": 3}, None):
        with pytest.raises(InputError, match="config must be a BertConfig, not"):
            BertModel(config, backend="numpy")
    with pytest.raises(
        InputError, match="the config of a model of distilbert, bert, roberta, gpt2 is needed, not dict"
    ):
        AutoModel.from_config({})
    assert BertConfig.from_dict({**BertConfig(**SHAPE).to_dict(), "model_type": None}) == BertConfig(**SHAPE)


def test_training_pads_with_the_models_padding_which_the_loss_of_answers_counts():
    whole = RobertaConfig(**SHAPE, max_position_embeddings=9, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = RobertaForQuestionAnswering(whole, backend="numpy", seed=3)
    places = {"start_positions": np.array([1, 0]), "end_positions": np.array([2, 2])}
    batch = {"attention_mask": (IDS != 1).astype(int), **places}
    wanted = model(IDS, batch["attention_mask"], **places).loss
    zeros = SimpleNamespace(batch=lambda rows, key: {**batch, "input_ids": np.where(IDS == 1, 0, IDS)})
    step = make_step(zeros, Options(model="", train="", out=""), [0, 1], Trainee(model), None, None)
    worked = step(np.array([0, 1]), 0, 1.0)
    assert worked.terms == pytest.approx((float(wanted),), rel=1e-6) and worked.tokens == 7
