"""A GPT-2 teaches a GPT-2: binarize, extract-student and distill, with the next word in place of masked ones."""

import json

import numpy as np
import pytest
from small_distillation import command
from tiny_folders import tiny_folder
from tiny_gpt2s import END, TOKENS, tiny_gpt2

from nanodistil import AutoModelForCausalLM, AutoTokenizer, DistilBertForMaskedLM
from nanodistil.cli import main
from nanodistil.family.gpt2 import GPT2LMHeadModel, GPT2Model
from nanodistil.heads.causal_lm import next_words
from nanodistil.training.distill import Options, distill
from nanodistil.training.sequences import Sequences, packed
from nanodistil.training.shards import read_index, read_shard

TEXTS = [f"the film was {word} and the {word} was a film" for word in ("good", "bad", "what", "who", "in")] * 3
LAST = len(TOKENS) - 1


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A teacher, its student and data, all by the command line."""
    folder = tmp_path_factory.mktemp("gpt2s")
    teacher = tiny_gpt2(folder / "teacher")
    (folder / "texts.txt").write_text("\n".join([*TEXTS, "", "a" * 70, f"{END} " * 20]), encoding="utf-8")
    assert main(["binarize", str(folder / "texts.txt"), "--out", str(folder / "data"), "--tokenizer", teacher]) == 0
    assert main(["extract-student", teacher, str(folder / "student")]) == 0
    return folder


def flags(made, folder, **more):
    """Of a run in `folder`, as in Options."""
    places = {"student_pretrained_weights": str(made / "student"), "teacher_name": str(made / "teacher")}
    run = {"batch_size": 5, "gradient_accumulation_steps": 1, "learning_rate": 3e-3, "log_interval": 1}
    return {"data_file": str(made / "data"), **places, "dump_path": str(folder / "run"), **run, **more}


def test_a_text_stands_between_ends_of_text(made):
    index = read_index(made / "data")
    assert (index.cls_id, index.sep_id, index.unk_id, index.mask_id, index.empty) == (LAST, LAST, LAST, None, 1)
    ids, starts = read_shard(made / "data", index, 0)
    tokenizer = AutoTokenizer.from_pretrained(made / "teacher")
    for text, first, end in zip(TEXTS, starts[:-1], starts[1:], strict=False):
        assert ids[first:end].tolist() == [LAST, *tokenizer(text)["input_ids"], LAST]


def test_pieces_are_framed_and_unknown_texts_dropped(made):
    """Upstream's unknown token of a GPT-2 is the one at both ends, which counts for the share of unknown ones."""
    sequences = Sequences(made / "data", max_length=32)
    assert (sequences.split, sequences.short, sequences.unknown) == (2, 0, 2) and len(sequences) == len(TEXTS) + 3
    pieces = [sequences[i] for i in range(len(TEXTS), len(sequences))]
    assert [len(piece) for piece in pieces] == [31, 32, 13]
    assert all(piece[0] == piece[-1] == LAST and not (piece[1:-1] == LAST).any() for piece in pieces)


def test_a_student_is_a_gpt2_with_some_of_its_layers(made, tmp_path, capsys):
    teacher, student = (AutoModelForCausalLM.from_pretrained(made / n, backend="numpy") for n in ("teacher", "student"))
    assert type(student) is GPT2LMHeadModel and student.config.n_layers == 2
    theirs = teacher.state_dict()
    for name, array in student.state_dict().items():
        np.testing.assert_array_equal(array, theirs[name.replace("h.1.", "h.2.")], err_msg=name)
    bare = tiny_gpt2(tmp_path / "bare", GPT2Model)  # as official files are; the head is tied to the words
    assert main(["extract-student", bare, str(tmp_path / "s"), "--layers", "0,1,2"]) == 0
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "s", backend="numpy")
    np.testing.assert_array_equal(
        again([[1, 2]]).logits, AutoModelForCausalLM.from_pretrained(bare, backend="numpy")([[1, 2]]).logits
    )
    for flag, message in (("--fold-token-types", "no token types"), ("--no-vocab-transform", "no vocab_transform")):
        assert main(["extract-student", bare, str(tmp_path / "t"), flag]) == 2
        assert message in capsys.readouterr().err


def test_labels_are_the_next_words():
    assert next_words(packed([np.array([7, 8, 9]), np.array([5, 6])])).tolist() == [8, 9, -100, 6, -100]


def test_it_learns_from_its_teacher(made, tmp_path):
    """With the recipe's terms; interrupted and resumed it is the same to the last bit."""
    given = flags(made, tmp_path, alpha_ce=5.0, alpha_clm=2.0, alpha_cos=1.0, n_epoch=8, backend="numpy")
    assert main(["distill", *command(given), "--student-type", "gpt2", "--no-group-by-size"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss_clm"] for line in lines]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["alpha_clm"] == 2 and "alpha_mlm" not in settings
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "run", backend="numpy")
    assert type(student) is GPT2LMHeadModel and AutoTokenizer.from_pretrained(tmp_path / "run").eos_token == END

    class Enough(Exception): ...

    def kill(stepped):
        if stepped.done == 7:
            raise Enough

    other = {**given, "dump_path": str(tmp_path / "other"), "group_by_size": False, "checkpoint_interval": 5}
    with pytest.raises(Enough):
        distill(Options(**other), on_step=kill)
    again = distill(Options(**other), resume=True)
    for name, array in student.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array, err_msg=name)


def test_without_a_teacher_it_learns_to_read(made, tmp_path):
    given = flags(made, tmp_path, teacher_name=None, alpha_ce=0.0, max_steps=2)
    assert len(distill(Options(**given, restrict_ce_to_mask=True)).tensors()) > 0


def test_what_does_not_fit_is_named(made, tmp_path, capsys):
    tiny_folder(tmp_path, DistilBertForMaskedLM)
    for changed, message in (
        ({"mlm": True}, "--mlm: the student is a gpt2 and learns the next word: use --alpha-clm"),
        ({"alpha_mlm": 2.0}, "--alpha-mlm: the student is a gpt2 and learns the next word: use --alpha-clm"),
        ({"alpha_ce": 0, "alpha_clm": 0}, "--alpha-ce, --alpha-clm, --alpha-mse and --alpha-cos are all 0"),
        ({"teacher_name": tmp_path}, "the student is a gpt2 and the teacher a distilbert, which teaches a distilbert"),
    ):
        assert main(["distill", *command(flags(made, tmp_path, **changed))]) == 2
        assert message in capsys.readouterr().err
