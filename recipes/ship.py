"""From the folder of a run to a model inside the package: `python recipes/ship.py RUN NAME [RANK]`.

RUN holds a LoRA, as `nanodistil finetune --lora-r` leaves it. Its arrays are rounded to float16, which costs less than
the figures on the cards can show, and are half as large; config and adapter_config go along, with the body's name.

Or it holds all the weights of what began as the body. With a RANK the difference to the body becomes a LoRA of it: the
nearest matrix of that rank to each difference (the largest of its singular values, Eckart and Young 1936), and what is
small whole: biases, norms, the head. To learn all weights and to keep so much is better than to learn so much, and the
rank can be chosen afterwards (log.md). Without a RANK the whole model becomes int8 (weights/quantization.py), with its
tokenizer.

From then on the model is a task's default (weights/embedded.py). Ship what reaches its aim (README.md), commit the
bytes once, and write the card: `python recipes/card.py NAME` measures and asks it, and puts that under cards/NAME.md.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

import nanodistil
from nanodistil.weights import quantization
from nanodistil.weights.embedded import EMBEDDED_NAME, HOME
from nanodistil.weights.files import ADAPTER_CONFIG, CONFIG, GENERATION_CONFIG, TOKENIZER_EXTRAS, VOCABULARIES, WEIGHTS
from nanodistil.weights.safetensors_reader import SafetensorsFile
from nanodistil.weights.safetensors_writer import write_safetensors

FILE, PREFIX = "adapter_model.safetensors", "base_model.model."
MAPS = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]
TABLES = ["word_embeddings", "position_embeddings"]  # at half the rank: they are long, and few rows have moved
SOME = 60  # tokens that a small model is asked for if nobody says how many: it loses the thread soon
NORMS = ["LayerNorm", "sa_layer_norm", "output_layer_norm"]


def ship_whole(run: Path, out: Path) -> None:
    quantization.write(run, out)
    for name in (CONFIG, *VOCABULARIES, *TOKENIZER_EXTRAS):
        if (run / name).is_file() and not (name == "tokenizer.json" and (run / "vocab.json").is_file()):
            shutil.copy(run / name, out)
    if (run / GENERATION_CONFIG).is_file():  # its end of text is in there
        said = json.loads((run / GENERATION_CONFIG).read_text(encoding="utf-8"))
        write_json(out / GENERATION_CONFIG, said | {"max_new_tokens": SOME})


def ship_difference(run: Path, out: Path, rank: int) -> None:
    body = nanodistil.DistilBertModel.from_pretrained(EMBEDDED_NAME).state_dict()
    learned = SafetensorsFile(run / WEIGHTS)
    arrays, kept, of = {}, 0.0, 0.0
    for stored in learned.entries:
        new, old = learned.array(stored, np.float32), body.get(stored.removeprefix("distilbert."))
        name = PREFIX + stored
        if old is None or new.ndim == 1:
            arrays[name] = new
            continue
        table = "embeddings" in stored
        r = rank // 2 if table else rank
        left, sizes, right = np.linalg.svd(new - old, full_matrices=False)  # (O, R), (R,), (R, I)
        kept, of = kept + float((sizes[:r] ** 2).sum()), of + float((sizes**2).sum())
        root = np.sqrt(sizes[:r])
        b, a = left[:, :r] * root, root[:, None] * right[:r]
        if table:  # turned, and under a name of its own
            arrays[name.replace("weight", "lora_embedding_A")] = b.T
            arrays[name.replace("weight", "lora_embedding_B")] = a.T
        else:
            arrays[name.replace("weight", "lora_A.weight")] = a
            arrays[name.replace("weight", "lora_B.weight")] = b
    print(f"rank {rank} keeps {kept / of:.0%} of the squared difference")
    rounded = {name: np.ascontiguousarray(one, np.float16) for name, one in arrays.items()}
    write_safetensors(out / FILE, rounded, {"format": "pt"})
    head = sorted({name.split(".")[2] for name in arrays} - {"distilbert"})
    adapter = {
        "peft_type": "LORA", "r": rank, "lora_alpha": rank, "bias": "all", "inference_mode": True,
        "target_modules": [*MAPS, *TABLES],
        "rank_pattern": dict.fromkeys(TABLES, rank // 2), "alpha_pattern": dict.fromkeys(TABLES, rank // 2),
        "modules_to_save": [*NORMS, *head], "base_model_name_or_path": EMBEDDED_NAME,
    }  # fmt: skip
    write_configs(run, out, adapter)


def write_configs(run: Path, out: Path, adapter: dict[str, object]) -> None:
    config = json.loads((run / CONFIG).read_text(encoding="utf-8")) | {"dtype": "float16"}
    write_json(out / ADAPTER_CONFIG, adapter)
    write_json(out / CONFIG, config)


def write_json(file: Path, said: dict[str, object]) -> None:
    file.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def ship_adapter(run: Path, out: Path) -> None:
    file = SafetensorsFile(run / FILE)
    write_safetensors(
        out / FILE,
        {stored: file.array(stored, np.float32).astype(np.float16) for stored in file.entries},
        {"format": "pt"},
    )
    adapter = json.loads((run / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    write_configs(run, out, adapter | {"base_model_name_or_path": EMBEDDED_NAME})


def main(run: Path, name: str, rank: int | None) -> None:
    out = HOME / name
    out.mkdir(exist_ok=True)
    if rank:
        ship_difference(run, out, rank)
    else:
        (ship_adapter if (run / FILE).is_file() else ship_whole)(run, out)
    print(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
