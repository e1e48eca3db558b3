"""The models inside this package, so that tasks are answered without a network.

    nanodistil-mini         a DistilBERT's body with its masked-LM head: 25 MB
    nanodistil-mini-TASK    what a task adds to it: a LoRA and, if it has one, a head; 1 to 8 MB each
    nanodistil-mini-causal  a GPT-2 of its own, which writes on: 7 MB

Each is a folder here, with its card (README.md). A task's is what PEFT's save_pretrained writes, and is read as any
such folder is (adapter.py): words, tokenizer and lower layers are those of the body beside it. recipes/ has how one is
made, from the data to its bytes. What is not here is not offered: a task has a folder when its model is good enough.
"""

from pathlib import Path

HOME = Path(__file__).parent
EMBEDDED_NAME = "nanodistil-mini"
EMBEDDED = HOME / EMBEDDED_NAME
PLACES = {  # task of a pipeline -> which answers if no other can be had
    "fill-mask": EMBEDDED_NAME,
    "text-classification": "nanodistil-mini-sentiment",
    "token-classification": "nanodistil-mini-entities",
    "feature-extraction": "nanodistil-mini-sentences",
    "question-answering": "nanodistil-mini-answers",
    "zero-shot-classification": "nanodistil-mini-sentences",
    "text-generation": "nanodistil-mini-causal",
}
INSIDE = {task: name for task, name in PLACES.items() if (HOME / name).is_dir()}
INSIDE.setdefault("feature-extraction", EMBEDDED_NAME)
NAMES = tuple(dict.fromkeys(INSIDE.values()))
