"""Students: tensor by tensor their teacher's, and what the verb writes and refuses."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from conftest import TINY as TINY_DISTILBERT
from conftest import random_tensors
from tiny_berts import TINY, saved, tensors, under_their_names

from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertModel, DistilBertTokenizer, InputError
from nanodistil.cli import main
from nanodistil.config import Config
from nanodistil.family.bert import BertForMaskedLM
from nanodistil.heads import HEADS as TABLE
from nanodistil.training.binarize import fingerprint
from nanodistil.training.student import Teacher, extract, read_teacher, spread
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.layout import TOKEN_TYPES

IDS = np.array([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
POSITIONS = "embeddings.position_embeddings.weight"
DEEP = replace(TINY, n_layers=12)
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] " + " ".join("abcdefghijklmnopqrstuvwxy")


def bert(config=DEEP, head="masked_lm", dtype="float32"):
    arrays = tensors(head, dtype, config)
    return Teacher(config, arrays, arrays.pop(TOKEN_TYPES), TABLE[head])


def distilbert(**changes):
    config = replace(TINY_DISTILBERT, n_layers=5, **changes)
    return Teacher(config, random_tensors(config), None, TABLE["masked_lm"])


def with_words(folder):
    (folder / "vocab.txt").write_text(WORDS.replace(" ", "\n") + "\n")
    return folder


def call(capsys, *argv):
    code = main(["extract-student", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


# The arrays


def test_upstreams_layers_and_those_of_other_depths():
    assert spread(12) == [0, 2, 4, 7, 9, 11]
    for n_layers in range(1, 49):
        layers = spread(n_layers)
        assert len(layers) == (n_layers + 1) // 2 and layers == sorted(set(layers)) and layers[0] == 0
        assert n_layers < 3 or (layers[-1] == n_layers - 1 and set(np.diff(layers)) <= {2, 3})


@pytest.mark.parametrize("layers", [None, [0, 2, 11], [5]])
@pytest.mark.parametrize("teacher", [bert(), bert(head="base")], ids=["masked_lm", "base"])
def test_every_tensor_is_the_teachers(teacher, layers):
    config, student = extract(teacher, layers)
    chosen = layers or [0, 2, 4, 7, 9, 11]
    assert type(config) is DistilBertConfig and config.n_layers == len(chosen)
    shared = {f.name for f in fields(Config)} - {"n_layers"}
    assert all(getattr(config, name) == getattr(teacher.config, name) for name in shared)
    for name, array in student.items():
        kind, _, rest = name.partition("layer.")
        if kind == "transformer.":
            number, _, inner = rest.partition(".")
            name = f"transformer.layer.{chosen[int(number)]}.{inner}"
        assert array is teacher.tensors[name]
    assert len(student) == 16 * len(chosen) + 4 + 5 * (teacher.head.name == "masked_lm")


@pytest.mark.parametrize(("backend", "dtype"), [("numpy", "float64"), ("numpy", "float32"), ("numba", "float32")])
def test_all_layers_and_folded_token_types_are_the_teacher(backend, dtype):
    """To the last bit: both add the same two tables."""
    if backend == "numba":
        pytest.importorskip("numba")
    teacher = BertForMaskedLM(TINY, tensors("masked_lm", dtype), backend=backend, dtype=dtype)
    for fold in (True, False):
        config, arrays = extract(bert(TINY, dtype=dtype), [0, 1], fold_token_types=fold)
        student = DistilBertForMaskedLM(config, arrays, backend=backend, dtype=dtype)
        difference = np.abs(student(IDS, MASK).logits - teacher(IDS, MASK).logits).max()
        assert difference == 0 if fold else difference > 0.1


def test_a_fresh_transform():
    teacher = bert()
    config, student = extract(teacher, vocab_transform=False)
    same = {name for name in student if student[name] is teacher.tensors.get(name)}
    assert {name for name in student if "layer." not in name} - same == {
        "vocab_transform.weight", "vocab_transform.bias", "vocab_layer_norm.weight", "vocab_layer_norm.bias",
    }  # fmt: skip
    assert abs(student["vocab_transform.weight"].std() - config.initializer_range) < 0.01
    assert (student["vocab_layer_norm.weight"] == 1).all() and (student["vocab_transform.bias"] == 0).all()
    other = extract(teacher, vocab_transform=False, seed=1)[1]
    assert (other["vocab_transform.weight"] != student["vocab_transform.weight"]).all()


def test_a_distilbert_teaches_with_fewer_of_its_layers():
    teacher = distilbert(pruned_heads={0: [1], 4: [2, 3]}, sinusoidal_pos_embds=True)
    config, student = extract(teacher)
    assert config.n_layers == 3 and config.pruned_heads == {0: [1], 2: [2, 3]} and not config.sinusoidal_pos_embds
    assert student["transformer.layer.2.attention.q_lin.weight"].shape == (10, 20)
    DistilBertForMaskedLM(config, student, backend="numpy")(IDS)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([0, 12], "no layer 12; its layers are 0 to 11"),
        ([-1], "no layer -1"),
        ([2, 1], "ascending"),
        ([1, 1], "ascending"),
        ([], "ascending"),
    ],
)
def test_layers_that_cannot_be(layers, message):
    with pytest.raises(InputError, match=message):
        extract(bert(), layers)


def test_a_distilbert_has_no_token_types_to_fold():
    with pytest.raises(InputError, match="no token types"):
        extract(distilbert(), fold_token_types=True)


# The verb


def test_a_masked_lm_and_its_tokenizer(tmp_path, capsys):
    (tmp_path / "teacher").mkdir()
    folder = with_words(saved(tmp_path / "teacher", under_their_names("masked_lm", np.float32)))
    (folder / "tokenizer_config.json").write_text(
        '{"do_lower_case": false, "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}'
    )
    code, out, err = call(capsys, folder, tmp_path / "new" / "student", "--layers", "0,1", "--fold-token-types")
    assert (code, err) == (0, "") and out.endswith("layers 0,1 of the teacher's 2\n")
    student = DistilBertForMaskedLM.from_pretrained(tmp_path / "new" / "student", backend="numpy")
    assert student.initialised == [] and student.dropped == [] and student.config.max_position_embeddings == 7
    teacher = BertForMaskedLM.from_pretrained(folder, backend="numpy")
    np.testing.assert_array_equal(student(IDS, MASK).logits, teacher(IDS, MASK).logits)
    ours, theirs = (DistilBertTokenizer.from_pretrained(p) for p in (tmp_path / "new" / "student", folder))
    assert ours("a b B [MASK]").input_ids == theirs("a b B [MASK]").input_ids and not ours.do_lower_case
    assert ours.model_input_names == ["input_ids", "attention_mask"]
    assert fingerprint(ours) == fingerprint(theirs)  # data made for the teacher is the student's too
    made = json.loads((tmp_path / "new" / "student" / "config.json").read_text())
    assert made["architectures"] == ["DistilBertForMaskedLM"] and made["model_type"] == "distilbert"


def test_a_body_without_a_tokenizer(tmp_path, capsys):
    (tmp_path / "teacher").mkdir()
    folder = saved(tmp_path / "teacher", under_their_names("pooler", np.float32), model_type=None)
    values = json.loads((folder / "config.json").read_text())
    del values["model_type"]  # as in files of 2019
    (folder / "config.json").write_text(json.dumps(values))
    code, out, err = call(capsys, folder, tmp_path / "student")
    assert code == 0 and "no masked-LM head" in err and "no tokenizer" in err and "layers 0 of" in out
    assert DistilBertModel.from_pretrained(tmp_path / "student", backend="numpy").config.n_layers == 1


def test_a_fresh_transform_is_told(tmp_path, capsys):
    with_words(tmp_path)
    saved(tmp_path, under_their_names("masked_lm", np.float32))
    code, _, err = call(capsys, tmp_path, tmp_path / "student", "--no-vocab-transform", "--seed", "3")
    assert code == 0 and err == "note: vocab_transform and vocab_layer_norm were drawn at random\n"


def test_from_the_embedded_model(tmp_path, capsys):
    code, out, _ = call(capsys, "nanodistil-mini", tmp_path / "student")
    assert code == 0 and "layers 0,3,5 of the teacher's 6" in out
    teacher, student = (
        DistilBertModel.from_pretrained(name, backend="numpy").tensors()
        for name in ("nanodistil-mini", tmp_path / "student")
    )
    for mine, theirs in (("transformer.layer.1", "transformer.layer.3"), ("embeddings", "embeddings")):
        for name in student:
            if name.startswith(mine):
                np.testing.assert_array_equal(student[name], teacher[name.replace(mine, theirs)])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--layers", "0,2"], "no layer 2; its layers are 0 to 1"),
        (["--layers", "0-2"], "--layers takes numbers"),
        (["--layers", ""], "--layers takes numbers"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, capsys, argv, message):
    with_words(tmp_path)
    saved(tmp_path, under_their_names("masked_lm", np.float32))
    code, _, err = call(capsys, tmp_path, tmp_path / "student", *argv)
    assert code == 2 and message in err and err.count("\n") == 1 and not (tmp_path / "student").exists()


def test_no_folder_is_not_the_current_one(tmp_path, capsys, monkeypatch):
    with_words(tmp_path)
    saved(tmp_path, under_their_names("masked_lm", np.float32))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, _, err = call(capsys, tmp_path, "")
    assert code == 2 and "OUT is empty" in err and err.count("\n") == 1 and not [*(tmp_path / "here").iterdir()]


def test_what_is_there_is_not_written_over(tmp_path, capsys):
    with_words(tmp_path)
    saved(tmp_path, under_their_names("masked_lm", np.float32))
    before = (tmp_path / "model.safetensors").read_bytes()
    code, _, err = call(capsys, tmp_path, tmp_path)
    assert code == 2 and "already holds a model" in err and (tmp_path / "model.safetensors").read_bytes() == before
    code, _, err = call(capsys, tmp_path, tmp_path / "vocab.txt")
    assert code == 2 and "is a file" in err
    assert call(capsys, tmp_path / "nowhere", tmp_path / "student")[0] == 2


def test_other_families_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    with pytest.raises(CheckpointError, match="'albert'"):
        read_teacher(tmp_path)


def test_a_damaged_head_is_an_error(tmp_path):
    arrays = under_their_names("masked_lm", np.float32)
    del arrays["cls.predictions.transform.LayerNorm.bias"]
    with pytest.raises(CheckpointError, match=r"missing: cls\.predictions\.transform\.LayerNorm\.bias"):
        read_teacher(saved(tmp_path, arrays))
