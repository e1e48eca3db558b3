"""The verb distill, its refusals, and what it leaves in the folder of a run."""

import argparse
import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from small_distillation import command, small_distillation
from tiny_folders import tiny_folder

from nanodistil import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel, DistilBertTokenizer
from nanodistil.cli import distill as verb
from nanodistil.cli import main
from nanodistil.cli.training import described
from nanodistil.training import distill as distilling
from nanodistil.training.binarize import binarize
from nanodistil.training.communicator import Single, communicator
from nanodistil.training.distill import Options, distill
from nanodistil.training.loop import Stepped, Stopped
from nanodistil.training.plot import plot, read_log
from nanodistil.weights.errors import CheckpointError, InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return folder, small_distillation(folder)


@pytest.fixture
def flags(made, tmp_path):
    return {**made[1], "dump_path": str(tmp_path / "run")}


def log(flags):
    with open(flags["dump_path"] + "/log.jsonl") as file:
        return [json.loads(line) for line in file]


def untimed(lines):
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def test_the_verb_trains_a_student_that_loads(flags, tmp_path, capsys):
    assert main(["distill", *command(flags), "--save-epochs"]) == 0
    assert capsys.readouterr().out == flags["dump_path"] + "\n"
    lines = log(flags)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        whole = 1.0 * line["loss_ce"] + 0.5 * line["loss_mlm"] + 0.25 * line["loss_cos"]
        assert line["loss"] == pytest.approx(whole)
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[-1]["ended"] == 1
    student = DistilBertForMaskedLM.from_pretrained(tmp_path / "run", backend="numpy")
    last = DistilBertForMaskedLM.from_pretrained(tmp_path / "run" / "model_epoch_1", backend="numpy")
    first = DistilBertForMaskedLM.from_pretrained(tmp_path / "run" / "model_epoch_0", backend="numpy")
    for name, array in student.tensors().items():
        np.testing.assert_array_equal(array, last.tensors()[name])
    assert not np.array_equal(student.tensors()["vocab_projector.bias"], first.tensors()["vocab_projector.bias"])
    ids = DistilBertTokenizer.from_pretrained(str(tmp_path / "run"))("a good film")["input_ids"]
    assert student([ids]).logits.shape == (1, 5, 25)
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["temperature"] == 2.0 and settings["seed"] == 56 and settings["data"]["sequences"] == 30


def test_a_run_of_the_verb_goes_on(flags, tmp_path, capsys):
    whole = {**flags, "dump_path": str(tmp_path / "whole")}
    assert main(["distill", *command(whole)]) == 0

    def kill(step):
        if step.done == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        distill(Options(**flags), on_step=kill)
    assert main(["distill", *command(flags)]) == 2
    assert "--resume goes on with it, --force starts it again" in capsys.readouterr().err
    assert main(["distill", *command({**flags, "learning_rate": 0.1}), "--resume"]) == 2
    assert "the run began with learning_rate = 0.01, not 0.1" in capsys.readouterr().err
    assert main(["distill", *command(flags), "--resume", "--checkpoint-interval", "3"]) == 0
    assert untimed(log(flags)) == untimed(log(whole))
    name = "model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_without_a_teacher_it_is_pre_training(flags, made):
    """From a config alone; and the last layer is computed at the masked rows only, by which no number changes."""
    for name in ("student_pretrained_weights", "teacher_name"):
        flags.pop(name)
    flags |= {"alpha_ce": 0.0, "alpha_cos": 0.0, "student_config": str(made[0] / "student" / "config.json")}
    distill(Options(**flags))
    lines = log(flags)
    assert [name for name in lines[0] if name.startswith("loss")] == ["loss", "loss_mlm"]
    assert lines[-1]["loss"] < lines[0]["loss"]
    with pytest.warns(UserWarning, match="of the student's 32 positions those beyond --max-length 16 learn nothing"):
        distill(Options(**{**flags, "max_length": 16, "max_steps": 1, "dump_path": flags["dump_path"] + "2"}))


def test_who_stops_a_run_is_told_how_to_go_on(flags, monkeypatch, capsys):
    def stopped(*_, **__):
        raise Stopped("stopped after 3 of 6 steps; the same command with --resume goes on")

    monkeypatch.setattr(distilling, "distill", stopped)
    assert main(["distill", *command(flags)]) == 130
    assert capsys.readouterr().err == "nanodistil: stopped after 3 of 6 steps; the same command with --resume goes on\n"


def test_defaults_in_the_help_are_the_defaults():
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    told = 0
    for action in parser._actions:
        if found := re.search(r"\(?default:? ([\d.e-]+)\)", action.help or ""):
            assert float(found[1]) == getattr(Options, action.dest), action.dest
            told += 1
    assert told == 23
    known = {action.dest for action in parser._actions} - {"help", "resume", "force", "tensorboard"}
    assert known == {field.name for field in fields(Options)}


WRONG = {
    "--student-type bert: the student is a distilbert": {"student_type": "bert"},
    "one of --student-pretrained-weights and --student-config": {"student_config": "c.json"},
    "--teacher-name is needed": {"teacher_name": None},
    "are all 0: nothing": {"alpha_ce": 0.0, "alpha_mlm": 0.0, "alpha_cos": 0.0},
    "--alpha-ce must be at least 0, not -1": {"alpha_ce": -1.0},
    "--alpha-mlm must be at least 0, not nan": {"alpha_mlm": float("nan")},
    "--temperature must be above 0, not 0": {"temperature": 0.0},
    "--alpha-cos must be at least 0, not inf": {"alpha_cos": float("inf")},
    "--learning-rate must be above 0, not inf": {"learning_rate": float("inf")},
    "--warmup-prop is a share": {"warmup_prop": 2.0},
    "--batch-size must be at least 1": {"batch_size": 0},
    "word_mask, word_keep, word_rand must add up to 1": {"word_rand": 0.5},
    "--teacher-type bert: .* is a distilbert": {"teacher_type": "bert"},
    "max_length must be .* above 11": {"max_length": 5},
    "--max-length 33 is more than the student's 32 positions": {"max_length": 33},
    "--seed must be at least 0": {"seed": -1},
    "a model in int8 cannot be trained": {"backend": "numba", "dtype": "int8"},
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_named(flags, message):
    with pytest.raises(InputError, match=message):
        distill(Options(**{**flags, **WRONG[message]}))


def test_students_and_teachers_that_do_not_fit_are_named(flags, tmp_path):
    def other(name, cls=DistilBertForMaskedLM, **config):
        (tmp_path / name).mkdir()
        return tiny_folder(tmp_path / name, cls, **config)

    wide = other("wide", dim=24)
    with pytest.raises(InputError, match=r"student's dim is 24 and the teacher's 20: .*; with --alpha-cos 0 they may"):
        distill(Options(**{**flags, "student_pretrained_weights": wide}))
    distill(Options(**{**flags, "student_pretrained_weights": wide, "alpha_cos": 0.0, "max_steps": 1}))
    with pytest.raises(InputError, match="max_position_embeddings is 32 and the teacher's 48"):
        distill(Options(**{**flags, "teacher_name": other("long", positions=48)}))
    with pytest.warns(UserWarning, match="newly"), pytest.raises(InputError, match="nothing to teach"):
        distill(Options(**{**flags, "teacher_name": other("headless", DistilBertModel)}))
    with pytest.warns(UserWarning), pytest.raises(InputError, match="nothing to teach"):
        distill(Options(**{**flags, "teacher_name": other("sentiment", DistilBertForSequenceClassification)}))
    t5 = tmp_path / "t5"
    t5.mkdir()
    (t5 / "config.json").write_text('{"model_type": "t5"}')
    (t5 / "model.safetensors").write_bytes(b"")
    for place in ("teacher_name", "student_pretrained_weights"):
        with pytest.raises(CheckpointError, match="is a 't5' model; nanodistil has distilbert"):
            distill(Options(**{**flags, place: str(t5)}))
    swapped = Path(other("swapped", n_layers=3))
    words = (swapped / "vocab.txt").read_text("utf-8").splitlines()
    (swapped / "vocab.txt").write_text("\n".join([*words[:-2], words[-1], words[-2]]) + "\n", "utf-8")
    with pytest.raises(InputError, match="swapped has another vocabulary than the student"):
        distill(Options(**{**flags, "teacher_name": str(swapped)}))
    (swapped / "vocab.txt").unlink()
    distill(Options(**{**flags, "teacher_name": str(swapped), "max_steps": 1}), force=True)  # its words are not known


def test_what_is_lost_of_the_data_is_told(flags):
    with pytest.warns(UserWarning, match="longer than 14 were split"):
        distill(Options(**{**flags, "max_length": 14, "max_steps": 1}))


def test_data_of_another_tokenizer_is_named(flags, tmp_path):
    binarize(["a good film " * 6], tmp_path / "other", DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    with pytest.raises(InputError, match=r"was made with another tokenizer than .*student's"):
        distill(Options(**{**flags, "data_file": str(tmp_path / "other")}))
    (tmp_path / "counts.json").write_text("[1, 2, 3]")
    with pytest.raises(InputError, match="has 3 counts, the student 25 words"):
        distill(Options(**{**flags, "token_counts": str(tmp_path / "counts.json")}))


def test_a_run_does_not_go_on_with_another_teacher(flags, tmp_path):
    """Also where it is in the same folder: nothing would say that half of the lessons were another's."""
    (tmp_path / "teacher").mkdir()
    flags["teacher_name"] = tiny_folder(tmp_path / "teacher", DistilBertForMaskedLM, seed=1, n_layers=3)
    distill(Options(**{**flags, "n_epoch": 1}))
    tiny_folder(tmp_path / "teacher", DistilBertForMaskedLM, seed=2, n_layers=3)
    with pytest.raises(InputError, match="began with teacher_checksum"):
        distill(Options(**{**flags, "n_epoch": 1}), resume=True)


def test_frozen_positions_stay(flags, made):
    before = DistilBertForMaskedLM.from_pretrained(made[0] / "student", backend="numpy").tensors()
    after = distill(Options(**flags, freeze_pos_embs=True, weight_decay=0.1)).tensors()
    name = "embeddings.position_embeddings.weight"
    np.testing.assert_array_equal(after[name], before[name])
    assert not np.array_equal(after["vocab_transform.weight"], before["vocab_transform.weight"])


# ------------------------------------------------------------------------------------------------------- who watches


def test_curves_are_drawn(flags, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    distill(Options(**{**flags, "max_steps": 2}))
    run = flags["dump_path"]
    assert main(["plot", run]) == 0
    assert capsys.readouterr().out == f"{run}/curves.png\n"
    assert (tmp_path / "run" / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    plot([run, run], tmp_path / "both.svg")
    assert "tokens a second" in (tmp_path / "both.svg").read_text() or (tmp_path / "both.svg").stat().st_size > 10000
    with pytest.raises(InputError, match="the ending says what picture"):
        plot([run], tmp_path / "x.docx")


def test_figures_that_are_no_numbers_are_gaps(tmp_path):
    """null as it is written now, NaN as it was; and the line on the terminal says nan."""
    rest = '"lr": 0.1, "tokens_per_second": 3.0}\n'
    said = ('"loss": 2.0, "loss_mlm": null', '"loss": null, "loss_mlm": null', '"loss": NaN, "loss_mlm": Infinity')
    (tmp_path / "log.jsonl").write_text("".join(f'{{"step": {n}, {one}, {rest}' for n, one in enumerate(said)))
    lines = read_log(tmp_path)
    np.testing.assert_array_equal([line["loss"] for line in lines], [2.0, np.nan, np.nan])
    np.testing.assert_array_equal([line["loss_mlm"] for line in lines], [np.nan, np.nan, np.inf])
    loss = {"loss": float("nan"), "loss_mlm": float("inf")}
    assert described(Stepped(1, 2, loss, 0.1, 5, 1.0), 1, 5, 1.0).endswith("step 1 of 2, loss nan (mlm inf)")
    pytest.importorskip("matplotlib")
    plot([tmp_path], tmp_path / "gaps.png")
    assert (tmp_path / "gaps.png").stat().st_size > 1000


def test_what_is_no_log_is_named(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"unfinished')
    with pytest.raises(InputError, match="has no line yet"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"loss": 1}\n')
    with pytest.raises(CheckpointError, match="is no log of a training run"):
        read_log(tmp_path)


def test_curves_for_tensorboard_have_upstreams_names(flags, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    assert main(["distill", *command(flags), "--tensorboard"]) == 0
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    found = {}
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.tensor.float_val[0]))
    lines = log(flags)
    for tag, name in (("losses/loss_ce", "loss_ce"), ("learning_rate/lr", "lr"), ("losses/loss", "loss")):
        assert found[tag] == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines]
    assert [step for step, _ in found["epoch/loss"]] == [0, 1] and len(found["global/speed"]) == 5
    weight = DistilBertForMaskedLM.from_pretrained(tmp_path / "run", backend="numpy").state_dict()
    name = "distilbert.transformer.layer.0.ffn.lin1.weight"
    assert found[f"parameter_mean/{name}"][-1][1] == pytest.approx(weight[name].mean(), rel=1e-5)
    assert found[f"parameter_std/{name}"][-1][1] == pytest.approx(weight[name].std(ddof=1), rel=1e-5)
    assert found[f"grad_std/{name}"][0][1] > 0 and f"grad_mean/{name}" in found


def test_extras_that_are_missing_are_named(flags, monkeypatch, tmp_path, capsys):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0, "lr": 0.1, "tokens_per_second": 3.0}\n')
    words = {"matplotlib.backends.backend_agg": ["plot", str(tmp_path)], "mpi4py": ["distill", *command(flags)]}
    words["tensorboard"] = [*words["mpi4py"], "--tensorboard"]
    extras = {"matplotlib.backends.backend_agg": "plot", "mpi4py": "mpi", "tensorboard": "tensorboard"}
    for module, extra in extras.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)  # importing it now fails
            if module == "mpi4py":
                patch.setenv("PMI_SIZE", "2")
            assert main(words[module]) == 2
        assert f'pip install "nanodistil[{extra}]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_process_is_by_itself(monkeypatch):
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(communicator(), Single)
