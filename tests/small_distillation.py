"""A distillation small enough for a test: thirty short texts, a teacher of three layers and a student of one."""

import numpy as np
from tiny_folders import tiny_folder

from nanodistil import DistilBertForMaskedLM, DistilBertTokenizer
from nanodistil.training.binarize import binarize

WORDS = ["a", "b", "c", "good", "bad", "film", "the", "was", "what", "who", "in"]
TEXTS = [" ".join(np.random.default_rng(n).choice(WORDS, 11 + n % 7)) for n in range(30)]


def small_distillation(folder, **config):
    """teacher, student and data in a folder; the flags of a run of 6 steps on the numpy backend, as in Options."""
    (folder / "teacher").mkdir(parents=True)
    (folder / "student").mkdir()
    tiny_folder(folder / "teacher", DistilBertForMaskedLM, seed=1, n_layers=3)
    tiny_folder(folder / "student", DistilBertForMaskedLM, seed=2, **{"n_layers": 1, **config})
    binarize(TEXTS, folder / "data", DistilBertTokenizer.from_pretrained(str(folder / "teacher")))
    return {
        "dump_path": str(folder / "run"),
        "data_file": str(folder / "data"),
        "student_pretrained_weights": str(folder / "student"),
        "teacher_name": str(folder / "teacher"),
        "alpha_ce": 1.0,
        "alpha_mlm": 0.5,
        "alpha_cos": 0.25,
        "batch_size": 5,
        "gradient_accumulation_steps": 2,
        "n_epoch": 2,
        "learning_rate": 1e-2,
        "log_interval": 1,
        "checkpoint_interval": 2,
        "backend": "numpy",
    }


def command(flags):
    """The flags as a command line gives them."""
    words = []
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return words
