"""Training on the cupy backend, from the loss to the files, on a GPU or under the stand-in for CuPy."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, random_tensors
from small_distillation import small_distillation
from tiny_folders import tiny_folder

from nanodistil import DistilBertForMaskedLM, DistilBertForQuestionAnswering, InputError
from nanodistil.heads.masked_lm import objective as masked_lm
from nanodistil.training import checkpoint, loop
from nanodistil.training.answer_distillation import AnswerDistillation
from nanodistil.training.communicator import Mpi
from nanodistil.training.distill import Options, distill
from nanodistil.training.finetune import Options as FineTuning
from nanodistil.training.finetune import finetune
from nanodistil.training.trainee import Trainee, how_to_load

pytestmark = pytest.mark.sweep  # a minute of g++ where nothing is compiled yet


SCALE = 2.0**12  # of the loss: gradients that float16 can hold


def losses(folder):
    """Of every step of a run: the loss and its terms."""
    lines = map(json.loads, (Path(folder) / "log.jsonl").read_text().splitlines())
    return np.array([[line[name] for name in line if name.startswith("loss")] for line in lines if "loss" in line])


def loss_scale(folder):
    """What the last checkpoint of a run says of it; None where nothing was scaled."""
    return checkpoint.read(max((folder / "checkpoints").iterdir())).meter.get("loss_scale")


@pytest.fixture
def flags(cupy, tmp_path):
    return {**small_distillation(tmp_path), "backend": "cupy", "alpha_mse": 0.1}


def run(flags, name, **more):
    folder = str(Path(flags["dump_path"]).parent / name)
    return distill(Options(**{**flags, **more, "dump_path": folder})), losses(folder)


def test_a_student_learns_what_it_learns_on_the_cpu(flags):
    """Six steps, with dropout: three losses and the hidden states', clipping, AdamW. Saved, and loaded on the CPU."""
    there, found = run(flags, "there")
    here, truth = run(flags, "here", backend="numpy")
    assert found.shape == (6, 5)
    np.testing.assert_allclose(found, truth, rtol=1e-4)
    settings = json.loads((Path(flags["dump_path"]).parent / "there" / "settings.json").read_text())
    assert {"gpu", "cupy", "cuda"} <= settings["made_with"].keys()
    saved = DistilBertForMaskedLM.from_pretrained(str(Path(flags["dump_path"]).parent / "there"), backend="numpy")
    for name, weight in here.tensors().items():
        np.testing.assert_array_equal(saved.tensors()[name], there.tensors()[name])
        if "k_lin.bias" not in name:  # a softmax does not see it: its gradient is rounding error, which Adam enlarges
            np.testing.assert_allclose(there.tensors()[name], weight, rtol=0, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("dtype", ["tf32", "float16", "bfloat16"])
def test_rounded_products_teach_nearly_the_same(flags, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    student, found = run(flags, dtype, dtype=dtype)
    scale = loss_scale(Path(flags["dump_path"]).parent / dtype)
    assert scale > 1 if dtype == "float16" else scale is None
    _, truth = run(flags, "here", backend="numpy")
    assert student.tensors()["vocab_transform.weight"].dtype == np.float32
    np.testing.assert_allclose(found, truth, rtol=3e-2)


@pytest.mark.parametrize("dtype, apart", [("tf32", 2e-3), ("float16", 4e-3), ("bfloat16", 2e-2)])
def test_gradients_by_rounded_products_point_the_same_way(cupy, dtype, apart):
    """Of every weight, the distance from float64 in shares of its length; but for what is rounding error alone."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    rng, found = np.random.default_rng(0), []
    batch = {"input_ids": rng.integers(4, 50, (3, 9)), "labels": rng.integers(4, 50, (3, 9))}
    for backend, loaded, trained in (("numpy", "float64", "float64"), ("cupy", "float32", dtype)):
        model = DistilBertForMaskedLM(TINY, random_tensors(TINY, "masked_lm", 0, loaded), backend=backend, dtype=loaded)
        found.append(Trainee(model, dtype=trained))
        masked_lm(found[-1], batch, key=1, scale=SCALE)
    exact, rounded = found
    for name, truth in exact.gradients.items():
        if "k_lin.bias" not in name:
            gradient = rounded.ops.fetch(rounded.gradients[name])
            assert np.linalg.norm(gradient - truth) < apart * np.linalg.norm(truth), name


def test_where_gpus_are_not_joined_the_host_adds(cupy):
    """MPI is handed the host's memory, and what it makes of it goes back."""
    array = cupy.asarray(np.arange(5, dtype=np.float32))
    Mpi._on_host(lambda there: np.add(there, there, out=there), array)
    np.testing.assert_array_equal(array.get(), 2 * np.arange(5))


def test_a_run_that_was_killed_goes_on_to_the_same_bits(flags, monkeypatch):
    straight, log = run(flags, "straight")
    save, written = loop.save, []

    def kill_after_two(*arguments):
        save(*arguments)
        written.append(arguments)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save", kill_after_two)
    with pytest.raises(KeyboardInterrupt):
        run(flags, "killed")
    monkeypatch.setattr(loop, "save", save)
    folder = str(Path(flags["dump_path"]).parent / "killed")
    again = distill(Options(**{**flags, "dump_path": folder}), resume=True)
    np.testing.assert_array_equal(losses(folder), log)
    for name, weight in straight.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], weight)


def test_answers_are_distilled(cupy):
    """The same loss and gradients as in float64, of a student and a teacher that both are on the GPU."""
    rng, found = np.random.default_rng(0), {}
    batch = {
        "input_ids": rng.integers(4, 50, (2, 7)), "attention_mask": np.arange(7) < np.array([7, 4])[:, None],
        "start_positions": np.array([2, 1]), "end_positions": np.array([3, 9]),
    }  # fmt: skip
    for backend, dtype in (("numpy", "float64"), ("cupy", "float32")):
        models = [
            DistilBertForQuestionAnswering(
                TINY, random_tensors(TINY, "question_answering", seed, dtype), backend=backend, dtype=dtype
            )
            for seed in (0, 1)
        ]
        trainee = Trainee(models[0])
        found[backend] = AnswerDistillation().of_batch(trainee, models[1], batch, 3), trainee
    (truth, exact), (loss, trainee) = found["numpy"], found["cupy"]
    assert loss == pytest.approx(truth, rel=1e-5)
    difference = trainee.ops.fetch(trainee.flat_gradients) - exact.flat_gradients
    assert np.abs(difference).max() < 2e-5 * np.abs(exact.flat_gradients).max()


def test_a_fine_tuning_in_float16_is_scaled_too(cupy, tmp_path):
    data = tmp_path / "x.tsv"
    data.write_text("sentence\tlabel\nthe cat sat\t0\na dog ran\t1\n")
    folder = tiny_folder(tmp_path / "m", DistilBertForMaskedLM)
    options = FineTuning(
        model=folder, train=str(data), out=str(tmp_path / "r"), backend="cupy", dtype="float16", max_steps=1
    )
    finetune("classification", {"max_seq_length": 8}, options)
    assert loss_scale(tmp_path / "r") > 1


def test_masters_are_loaded_in_float32(cupy):
    with pytest.raises(InputError, match="float16"):
        how_to_load("numba", "float16", None)
    assert how_to_load("cupy", "float16", None) == {"backend": "cupy", "dtype": "float32", "threads": None}
    assert how_to_load("cupy:0", "bfloat16", 3) == {"backend": "cupy:0", "dtype": "float32", "threads": None}
