"""A RoBERTa teaches a RoBERTa: binarize, extract-student and distill with a byte-level vocabulary; files of 2019."""

import json
import shutil

import numpy as np
import pytest
from conftest import TINY
from small_distillation import command
from tiny_robertas import TOKENS, tiny_roberta

from nanodistil import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, DistilBertForMaskedLM, pipeline
from nanodistil.cli import main
from nanodistil.family import family_of
from nanodistil.family.roberta import RobertaForMaskedLM
from nanodistil.model import Packed
from nanodistil.training.sequences import Sequences, with_positions
from nanodistil.training.shards import read_index, read_shard
from nanodistil.weights.errors import CheckpointError

TEXTS = [f"the film was {word} and the {word} was a film" for word in ("good", "bad", "what", "who", "in")] * 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A teacher, its student and data, all by the command line."""
    folder = tmp_path_factory.mktemp("robertas")
    teacher = tiny_roberta(folder / "teacher", untold=True)
    (folder / "texts.txt").write_text("\n".join([*TEXTS, ""]), encoding="utf-8")
    out = str(folder / "data")
    assert main(["binarize", str(folder / "texts.txt"), "--out", out, "--tokenizer", str(teacher)]) == 0
    assert main(["extract-student", str(teacher), str(folder / "student")]) == 0
    return folder


def flags(made, folder, **more):
    """A command line for a run in `folder`."""
    places = {"student_pretrained_weights": made / "student", "teacher_name": made / "teacher"}
    return command({"data_file": made / "data", **places, "dump_path": folder / "run", **more})


def test_sequences_are_framed_by_its_own_tokens(made):
    index = read_index(made / "data")
    assert (index.cls_id, index.sep_id, index.mask_id, index.vocab_size) == (0, 2, len(TOKENS) - 1, len(TOKENS))
    ids, starts = read_shard(made / "data", index, 0)
    tokenizer = AutoTokenizer.from_pretrained(made / "teacher")
    for text, first, end in zip(TEXTS, starts[:-1], starts[1:], strict=True):
        assert ids[first:end].tolist() == tokenizer(text)["input_ids"]


def test_positions_are_those_of_a_call(made):
    config = AutoConfig.from_pretrained(made / "teacher")
    batch = Sequences(made / "data", max_length=config.max_tokens).batch([0, 3])
    ids = np.array(batch.ids)
    ids[4] = config.pad_token_id  # a random word may be that
    found = with_positions(batch._replace(ids=ids), config).positions
    pieces = np.split(ids, batch.starts[1:-1])
    assert found.tolist() == [p for one in pieces for p in config.positions(one[None], (1, len(one)))[0].tolist()]
    assert found[4] == 1 and found[3] == 5 and found[5] == 6
    plain = Packed(np.arange(5), np.array([0, 1, 2, 0, 1]), np.array([0, 3, 5]), None)
    assert with_positions(plain, TINY).positions.tolist() == [0, 1, 2, 0, 1]


def test_a_student_is_a_roberta_with_some_of_its_layers(made):
    teacher, student = (AutoModelForMaskedLM.from_pretrained(made / n, backend="numpy") for n in ("teacher", "student"))
    assert type(student) is type(teacher) is RobertaForMaskedLM and not student.initialised
    assert student.config.n_layers == 2 and student.config.layer_norm_eps == 1e-5
    theirs = teacher.state_dict()
    for name, array in student.state_dict().items():
        np.testing.assert_array_equal(array, theirs[name.replace("layer.1.", "layer.2.")], err_msg=name)
    assert any("token_type" in name for name in student.state_dict())
    ours, own = (AutoTokenizer.from_pretrained(made / n) for n in ("student", "teacher"))
    assert type(ours) is type(own) and ours("the film <mask>")["input_ids"] == own("the film <mask>")["input_ids"]


def test_all_its_layers_are_the_teacher(made, tmp_path):
    assert main(["extract-student", str(made / "teacher"), str(tmp_path / "all"), "--layers", "0,1,2"]) == 0
    ids = [AutoTokenizer.from_pretrained(made / "teacher")(TEXTS[0])["input_ids"]]
    models = (AutoModelForMaskedLM.from_pretrained(f, backend="numpy") for f in (made / "teacher", tmp_path / "all"))
    one, other = (model(ids).logits for model in models)
    np.testing.assert_array_equal(one, other)


def test_it_learns_from_its_teacher_and_answers(made, tmp_path):
    more = {"alpha_cos": 0.25, "n_epoch": 8, "gradient_accumulation_steps": 1, "learning_rate": 3e-3, "log_interval": 1}
    assert main(["distill", *flags(made, tmp_path, **more, backend="numpy", student_type="roberta")]) == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    fill = pipeline("fill-mask", model=str(tmp_path / "run"), backend="numpy")
    assert type(fill.model) is RobertaForMaskedLM and len(fill("the film was<mask>.", top_k=3)) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"student_type": "distilbert"}, "--student-type distilbert: the student is a roberta"),
        ({"max_length": 33}, "--max-length 33 is more than the student's 32 positions"),
        ({"teacher_name": "a distilbert"}, "the student is a roberta and the teacher a distilbert, which teaches a"),
    ],
)
def test_what_does_not_fit_is_named(made, tmp_path, changed, message, capsys):
    if "teacher_name" in changed:
        DistilBertForMaskedLM(TINY, backend="numpy").save_pretrained(tmp_path / "other")
        changed = {"teacher_name": tmp_path / "other"}
    assert main(["distill", *flags(made, tmp_path, **changed)]) == 2
    assert message in capsys.readouterr().err


def test_there_is_nothing_to_fold(made, tmp_path, capsys):
    assert main(["extract-student", str(made / "teacher"), str(tmp_path / "s"), "--fold-token-types"]) == 2
    assert "a roberta keeps the token types of its teacher" in capsys.readouterr().err


def test_a_text_that_gets_no_frame_is_refused(made, tmp_path, capsys):
    gpt2 = tmp_path / "gpt2"
    shutil.copytree(made / "teacher", gpt2)
    (gpt2 / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer", "bos_token": null}')
    assert main(["binarize", str(made / "texts.txt"), "--out", str(tmp_path / "d"), "--tokenizer", str(gpt2)]) == 2
    assert "has no one token to stand before a text and one behind it" in capsys.readouterr().err


BERT = {"vocab_size": 30, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "max_position_embeddings": 512}
ROBERTA = {"vocab_size": 50265, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "max_position_embeddings": 514}


@pytest.mark.parametrize(
    ("config", "name", "family"),
    [
        (ROBERTA, "x", "roberta"),
        ({**ROBERTA, "layer_norm_eps": 1e-12}, "x", "roberta"),
        ({**ROBERTA, "max_position_embeddings": 130}, "x", "roberta"),
        ({"type_vocab_size": 1}, "./RoBERTa-base", "roberta"),
        ({"type_vocab_size": 1}, "x", "bert"),
        (BERT, "x", "bert"),
        ({"vocab_size": 30522, "type_vocab_size": 2}, "x", "bert"),
        ({**BERT, "architectures": ["RobertaForMaskedLM"]}, "x", "roberta"),
        ({**ROBERTA, "architectures": ["BertForMaskedLM"]}, "x", "bert"),
        ({**ROBERTA, "architectures": None, "model_type": "bert"}, "roberta", "bert"),
    ],
)
def test_files_of_2019_are_told_by_class_name_and_shape(config, name, family):
    assert family_of(config, name) == family


def test_a_name_and_a_shape_that_differ_are_refused():
    with pytest.raises(CheckpointError, match=r"its name says roberta and .* the shape of a bert: put a model_type"):
        family_of(BERT, "./roberta")
