"""Gradient accumulation against transformers' own Trainer: which micro-batches make a step, and how they are weighed.

Needs accelerate beside the [parity] extra. Seven rows in micro-batches of two make four an epoch, the last of one row;
three make a step, so an epoch ends with a step on what is left.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tiny_folders import TEXTS, tiny_folder  # noqa: E402

from nanodistil import DistilBertConfig, DistilBertTokenizer, heads  # noqa: E402
from nanodistil.training.evaluate import task_of  # noqa: E402
from nanodistil.training.finetune import Options, finetune  # noqa: E402
from nanodistil.training.loop import key_of  # noqa: E402
from nanodistil.training.sampler import epoch_order  # noqa: E402

pytestmark = pytest.mark.parity
transformers.utils.import_utils._datasets_available = False  # the Trainer would import it, and needs nothing of it

CLASSES = [{"text": text, "label": "xyz"[i % 3]} for i, text in enumerate(TEXTS)]
WORDS = [{"tokens": text.split(), "tags": ["OAB"[len(w) % 3] for w in text.split()]} for text in TEXTS]
BATCH, RATE, SEED = 2, 5e-4, 3
SURE = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0, "initializer_range": 0.2}


@pytest.mark.filterwarnings("ignore:note")
@pytest.mark.parametrize(
    "accumulation, epochs, max_steps", [(3, 2.0, -1), (3, 1.5, -1), (4, 2.0, -1), (5, 2.0, -1), (3, 3.0, 5)]
)
@pytest.mark.parametrize(
    "name, rows, labels", [("classification", CLASSES, "xyz"), ("token-classification", WORDS, "OAB")]
)
def test_steps_are_the_trainers(name, rows, labels, accumulation, epochs, max_steps, tmp_path):
    task = task_of(name, max_seq_length=16)
    id2label = dict(enumerate(labels))
    folder = tiny_folder(tmp_path / "m", getattr(heads, "DistilBert" + task.HEAD), id2label=id2label, **SURE)
    data, out = tmp_path / "x.jsonl", tmp_path / "run"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    options = Options(
        model=folder, train=str(data), out=str(out), num_train_epochs=epochs, batch_size=BATCH, learning_rate=RATE,
        max_steps=None if max_steps < 0 else max_steps, gradient_accumulation_steps=accumulation, warmup_steps=1,
        logging_steps=1, backend="numpy", dtype="float64", seed=SEED,
    )  # fmt: skip
    finetune(name, {"max_seq_length": 16}, options)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]

    # ---- the same with a Trainer, over the same rows in the same order
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    encoded = task.rows(task.read(data), tokenizer, DistilBertConfig.from_pretrained(out))
    lengths = np.array([task.length(row) for row in encoded])

    class Order(torch.utils.data.Sampler):
        epoch = 0

        def __iter__(self):
            yield from epoch_order(lengths, BATCH, SEED, self.epoch, group_by_size=False).tolist()
            self.epoch += 1

        def __len__(self):
            return len(encoded)

    class Trainer(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return Order()

    def together(numbers):
        batch = task.batch([encoded[i] for i in numbers], key_of(SEED, 0, 0))
        return {key: torch.tensor(np.asarray(value)) for key, value in batch.items()}

    arguments = transformers.TrainingArguments(
        str(tmp_path / "theirs"), num_train_epochs=epochs, max_steps=max_steps, per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=accumulation, learning_rate=RATE, warmup_steps=1, logging_steps=1, report_to=[],
        save_strategy="no", remove_unused_columns=False, use_cpu=True, disable_tqdm=True, logging_nan_inf_filter=False,
    )  # fmt: skip
    model = getattr(transformers, "DistilBert" + task.HEAD).from_pretrained(folder, dtype=torch.float64)
    trainer = Trainer(model, arguments, together, list(range(len(encoded))))
    trainer.train()
    theirs = [line for line in trainer.state.log_history if "loss" in line]
    assert len(log) == len(theirs) == trainer.state.max_steps
    for mine, yours in zip(log, theirs, strict=True):
        assert mine["epoch"] == pytest.approx(yours["epoch"], abs=1e-3)
        assert mine["grad_norm"] == pytest.approx(yours["grad_norm"], abs=1e-9)
        assert mine["lr"] == pytest.approx(yours["learning_rate"])
        assert mine["loss"] == pytest.approx(yours["loss"], abs=6e-5)  # theirs is rounded
    ours = getattr(heads, "DistilBert" + task.HEAD).from_pretrained(out, backend="numpy", dtype="float64").state_dict()
    end = trainer.model.state_dict()
    assert max(np.abs(ours[key] - end[key].numpy()).max() for key in ours) < 1e-8
