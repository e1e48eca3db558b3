"""LoRA: of a model that knows much, learn little (Hu et al. 2021).

    W = W0 + s B A,  s = alpha / r          W0 (O, I) stays, B (O, r) and A (r, I) are learned, and so is the head

Every matrix of the blocks has its A and B; words, positions, biases and norms stay what they are. So a task is a
few hundred thousand numbers, a file of a megabyte, that is added to a body which many tasks share (weights/adapter.py).

The trainee does not know of it: it goes forward and back with W as ever, and what is here stands between it and the
optimiser, as the chain rule has it. From the gradient of W come those of its parts,

    dB = s dW A^T          dA = s B^T dW

once a step and not once a micro-batch, since they are linear in dW; and after the step W is put together again.
AdamW then has one weight in thirty to move. The product B A begins as 0: A as PEFT draws it, B nothing.

What is written is a folder of PEFT's save_pretrained, which peft reads too, with the config of the model (its labels'
names are in no adapter) beside it. What it does not do: dropout of its own, DoRA, models of maps side by side (GPT-2).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.training.trainee import Trainee, aligned
from nanodistil.weights.errors import InputError
from nanodistil.weights.files import ADAPTER_CONFIG, CONFIG
from nanodistil.weights.names import is_head
from nanodistil.weights.safetensors_writer import write_safetensors
from nanodistil.weights.saving import written_together

WEIGHTS = "adapter_model.safetensors"
BLOCKS = "transformer.layer."
KINDS = {"SequenceClassification": "SEQ_CLS", "TokenClassification": "TOKEN_CLS", "QuestionAnswering": "QUESTION_ANS"}


class Parts(NamedTuple):
    """What is added to a matrix, or its gradients."""

    a: Array  # (r, I)
    b: Array  # (O, r)


class LowRank:
    """What of a trainee the loop and the optimiser see: A, B and the head in one array, and their gradients.

    >>> from nanodistil import DistilBertConfig, DistilBertForSequenceClassification
    >>> tiny = DistilBertConfig(vocab_size=9, max_position_embeddings=4, n_layers=1, n_heads=2, dim=4, hidden_dim=8)
    >>> low = LowRank(Trainee(DistilBertForSequenceClassification(tiny, backend="numpy")), r=2, alpha=4, seed=1)
    >>> low.parts["transformer.layer.0.ffn.lin1.weight"].b.shape, len(low.flat), len(low.trainee.flat)
    ((8, 2), 142, 262)
    """

    def __init__(self, trainee: Trainee, *, r: int, alpha: float, seed: int) -> None:
        """r: of every matrix. alpha: see above. seed: of A.

        Raises InputError for a model whose maps lie side by side in files.
        """
        table = trainee.config.names
        self.trainee, self.ops, self.r, self.alpha = trainee, trainee.ops, r, alpha
        weights = trainee.weights
        adapted = [
            name for name, array in weights.items()
            if name.startswith(BLOCKS) and array.ndim == 2 and name not in trainee.frozen | trainee.still
        ]  # fmt: skip
        if any(table.whole(table.filed(name, trainee.model.head)) != table.filed(name, trainee.model.head)
               for name in adapted):  # fmt: skip
            raise InputError("a LoRA is learned by models whose maps are files' arrays: not by a GPT-2")
        self.head = sorted((name for name in weights if is_head(name)), key=lambda name: name.endswith(".bias"))
        shapes = [shape for name in adapted for shape in ((r, weights[name].shape[1]), (weights[name].shape[0], r))]
        shapes += [weights[name].shape for name in self.head]
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)]).tolist()
        floats = trainee.flat.dtype
        self.flat: Array = self.ops.send(aligned(ends[-1], floats))  # (n,)
        self._gradients: Array = self.ops.send(aligned(ends[-1], floats))
        self.decayed = ends[-1] - sum(weights[name].size for name in self.head if name.endswith(".bias"))
        views, slopes = (
            [flat[start:end].reshape(shape) for start, end, shape in zip(ends, ends[1:], shapes, strict=False)]
            for flat in (self.flat, self._gradients)
        )
        pairs = range(0, 2 * len(adapted), 2)
        self.parts = {name: Parts(*views[i : i + 2]) for name, i in zip(adapted, pairs, strict=True)}
        self.slopes = {name: Parts(*slopes[i : i + 2]) for name, i in zip(adapted, pairs, strict=True)}
        self.whole = dict(zip(self.head, views[2 * len(adapted) :], strict=True))
        self._whole_slopes = dict(zip(self.head, slopes[2 * len(adapted) :], strict=True))
        self.places = {name: slice(ends[i], ends[i + 2]) for name, i in zip(adapted, pairs, strict=True)}
        at = 2 * len(adapted)
        self.places |= {name: slice(*ends[at + i : at + i + 2]) for i, name in enumerate(self.head)}
        self.base = {name: weights[name].copy() for name in adapted}
        rng = np.random.default_rng(seed)
        for part in self.parts.values():
            bound = part.a.shape[1] ** -0.5
            part.a[...] = self.ops.send(rng.uniform(-bound, bound, part.a.shape).astype(floats))
        for name, array in self.whole.items():
            array[...] = weights[name]
        self._told = False

    @property
    def flat_gradients(self) -> Array:
        """(n,): made of the trainee's when they are asked for the first time after a step."""
        if not self._told:
            s, dW = self.alpha / self.r, self.trainee.gradients
            for name, slope in self.slopes.items():
                part = self.parts[name]
                slope.a[...] = s * (part.b.T @ dW[name])
                slope.b[...] = s * (dW[name] @ part.a.T)
            for name, gradient in self._whole_slopes.items():
                gradient[...] = dW[name]
            self._told = True
        return self._gradients

    def zero_gradients(self) -> None:
        """Forget what was added to the gradients so far."""
        self.trainee.zero_gradients()
        self._told = False

    def refresh(self) -> None:
        """The trainee answers with what A, B and the head are now."""
        s = self.alpha / self.r
        for name, part in self.parts.items():
            weight = self.trainee.weights[name]
            np.matmul(part.b * s, part.a, out=weight)
            weight += self.base[name]
        for name, array in self.whole.items():
            self.trainee.weights[name][...] = array
        self.trainee.refresh()

    def save(self, folder: Path, base: str) -> None:
        """Write the adapter's folder. base: the name of the model it is added to. Raises InputError if it cannot."""
        model, fetch = self.trainee.model, self.ops.fetch
        arrays: dict[str, Array] = {}
        for name, part in self.parts.items():
            module = f"base_model.model.{model._filed(name).removesuffix('.weight')}"
            arrays |= {f"{module}.lora_A.weight": fetch(part.a), f"{module}.lora_B.weight": fetch(part.b)}
        arrays |= {f"base_model.model.{model._filed(name)}": fetch(array) for name, array in self.whole.items()}
        config = json.dumps(self._described(base), indent=2, sort_keys=True) + "\n"
        written_together(
            {
                folder / WEIGHTS: lambda path: write_safetensors(path, arrays, {"format": "pt"}),
                folder / ADAPTER_CONFIG: lambda path: path.write_text(config, encoding="utf-8"),
                folder / CONFIG: lambda path: path.write_text(model.config_as_filed("float32"), encoding="utf-8"),
            }
        )

    def _described(self, base: str) -> dict[str, Any]:
        """What PEFT keeps of a LoRA."""
        model = self.trainee.model
        modules = {model._filed(name).split(".")[-2] for name in self.parts}
        layers = sorted({int(name.removeprefix(BLOCKS).partition(".")[0]) for name in self.parts})
        pattern = model._filed(next(iter(self.parts))).split(f".{layers[0]}.")[0].rpartition(".")[2]
        kind = next((kind for name, kind in KINDS.items() if type(model).__name__.endswith(name)), None)
        return {
            "peft_type": "LORA",
            "task_type": kind or "FEATURE_EXTRACTION",
            "base_model_name_or_path": base,
            "r": self.r,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "target_modules": sorted(modules),
            "layers_to_transform": layers,
            "layers_pattern": pattern,
            "modules_to_save": sorted({model._filed(name).rpartition(".")[0] for name in self.head}) or None,
        }
