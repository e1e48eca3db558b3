"""From the folder of a run to a model inside the package: `python recipes/ship.py RUN NAME`.

RUN holds a LoRA, as `nanodistil finetune --lora-r` leaves it. Its arrays are rounded to float16, which costs less than
the figures on the cards can show, and are half as large; config and adapter_config go along, with the body's name. Or a
whole model, which becomes int8 (weights/quantization.py), with its tokenizer.

From then on the model is a task's default (weights/embedded.py). Ship what reaches its aim (README.md), commit the
bytes once, and write the card: `python recipes/card.py NAME` measures and asks it, and puts that under cards/NAME.md.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from nanodistil.weights import quantization
from nanodistil.weights.embedded import EMBEDDED_NAME, HOME
from nanodistil.weights.files import CONFIG, TOKENIZER_EXTRAS, VOCABULARIES
from nanodistil.weights.safetensors_reader import SafetensorsFile
from nanodistil.weights.safetensors_writer import write_safetensors

FILE = "adapter_model.safetensors"


def ship_whole(run: Path, out: Path) -> None:
    quantization.write(run, out)
    for name in (CONFIG, *VOCABULARIES, *TOKENIZER_EXTRAS):
        if (run / name).is_file() and not (name == "tokenizer.json" and (run / "vocab.json").is_file()):
            shutil.copy(run / name, out)


def ship_adapter(run: Path, out: Path) -> None:
    file = SafetensorsFile(run / FILE)
    write_safetensors(
        out / FILE,
        {stored: file.array(stored, np.float32).astype(np.float16) for stored in file.entries},
        {"format": "pt"},
    )
    for config, own in (
        ("adapter_config.json", {"base_model_name_or_path": EMBEDDED_NAME}),
        ("config.json", {"dtype": "float16"}),
    ):
        said = json.loads((run / config).read_text(encoding="utf-8")) | own
        (out / config).write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(run: Path, name: str) -> None:
    out = HOME / name
    out.mkdir(exist_ok=True)
    (ship_adapter if (run / FILE).is_file() else ship_whole)(run, out)
    print(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
