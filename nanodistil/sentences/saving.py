"""A folder that each of the three classes, and sentence-transformers from version 2 to 6, reads to the same results.

Types of modules have the names of versions before 6, which those since know too. modules.json is written last: without
it the folder is a plain model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nanodistil.backend import Array
from nanodistil.sentences.piped import Piped
from nanodistil.weights.files import WEIGHTS
from nanodistil.weights.safetensors_writer import write_safetensors
from nanodistil.weights.saving import written
from nanodistil.weights.sentence_modules import MODULES, SETTINGS


class Written(NamedTuple):
    """A step behind the model, as it is written."""

    type: str  # behind "sentence_transformers."
    config: dict[str, Any]
    arrays: dict[str, Array] | None = None


def save_folder(
    path: str | Path,
    encoder: Piped[Any],
    settings: dict[str, Any],
    steps: Sequence[Written] = (),
    first: str = "models.Transformer",
    of_model: dict[str, Any] | None = None,
) -> Path:
    """Write it. settings: of config_sentence_transformers.json; of_model: more of what stands beside the model.

    Raises InputError if the weights were rounded on loading, or the folder cannot be written.
    """
    folder = Path(path)
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    rows = [_row(0, first, "")]
    for number, step in enumerate(steps, start=1):
        rows.append(_row(number, step.type, f"{number}_{step.type.rpartition('.')[2]}"))
        home = folder / rows[-1]["path"]
        write_json(home / "config.json", step.config)
        if step.arrays is not None:
            written(home / WEIGHTS, partial(write_safetensors, arrays=step.arrays, metadata={"format": "pt"}))
    reads = {"max_seq_length": encoder.longest(), "do_lower_case": encoder.lowers}
    write_json(folder / "sentence_bert_config.json", reads | (of_model or {}))
    write_json(folder / SETTINGS, settings)
    write_json(folder / MODULES, rows)
    return folder


def _row(number: int, kind: str, path: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}


def write_json(path: Path, content: Any) -> None:
    """Indented, by another name first."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    written(path, lambda fresh: fresh.write_text(text, encoding="utf-8"))
