"""What a folder of sentence-transformers does with its model's hidden states, read to be told.

    modules.json             [{"path": "", "type": "...models.Transformer"}, {"path": "1_Pooling", "type": ...}, ...]
    1_Pooling/config.json    {"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false, ...}

Mean of the tokens and nothing behind it is what `pooling="mean"` gives. Anything else (another pooling, a Dense layer,
a Normalize) makes other vectors than the model's own, and who loads the model alone is told. What makes them is
nanodistil/sentences/.
"""

import re
from pathlib import Path
from typing import Any

from .errors import CheckpointError, excerpt
from .small_files import FOR_SETTINGS, parsed, read_json, read_text

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
OF_MODEL = (  # beside the model, by the version that wrote it
    "sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json",
)  # fmt: skip
NOTHING = ("Transformer", "Dropout")  # modules that change no vector
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,100}")
_WORDS = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "mean_sqrt_len_tokens": "mean_sqrt_len"}


def behind(folder: Path) -> list[str]:
    """The folders of what stands behind the model, as far as modules.json names any that can be; else none."""
    try:
        modules = parsed(read_text(folder / MODULES, FOR_SETTINGS), FOR_SETTINGS)
        paths = [str(module["path"]) for module in modules[:20]]
    except (CheckpointError, ValueError, TypeError, KeyError):
        return []
    return [path for path in paths if _PLAIN.fullmatch(path) and ".." not in path]


def told(folder: Path) -> str:
    """What its vectors are, if they are not plain means; "" if they are, and for any other folder."""
    if not (folder / MODULES).is_file():
        return ""
    try:
        steps = _steps(folder)
    except (CheckpointError, ValueError, TypeError, KeyError):
        return (
            "is of sentence-transformers, and its modules.json cannot be read: its vectors may be made in another way"
        )
    if steps in (["pooling mean"], []):
        return ""
    return (
        f"is of sentence-transformers, whose vectors come by {', '.join(steps)}; nanodistil.SentenceEncoder makes "
        f"those, and here they are pooled and normalized as `pooling` and `normalize` say"
    )


def _steps(folder: Path) -> list[str]:
    modules = parsed(read_text(folder / MODULES, FOR_SETTINGS), FOR_SETTINGS)
    if not isinstance(modules, list):
        raise ValueError("no list")
    steps = []
    for module in modules[:20]:
        kind = str(module["type"]).rpartition(".")[2]
        if kind == "Pooling":
            path = str(module["path"])
            config = read_json(folder / path / "config.json") if _PLAIN.fullmatch(path) and ".." not in path else {}
            steps.append(f"pooling {_pooling(config)}")
        elif kind not in NOTHING:
            steps.append(kind if _PLAIN.fullmatch(kind) else excerpt(kind))
    return steps


def _pooling(config: dict[str, Any]) -> str:
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key, on in config.items() if key.startswith(prefix) and on is True]
    if isinstance(mode := config.get("pooling_mode"), str):  # newer ones have one word
        modes.append(mode)
    words = [_WORDS.get(mode, mode) for mode in modes]
    return "+".join(word if _PLAIN.fullmatch(word) else excerpt(word) for word in words[:5]) or "of an unknown kind"
