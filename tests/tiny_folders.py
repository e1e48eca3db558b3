"""Folders of tiny random models with a vocabulary, as save_pretrained and a tokenizer leave them; without torch."""

from nanodistil.pipelines import TASKS

OF_ENCODERS = {task: home for task, home in TASKS.items() if task != "text-generation"}  # which a DistilBERT has

TEXT = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c good bad film the was what who in . , ? ! this example is ##s ##ed"
WORDS = TEXT.split()
TEXTS = [  # of these words
    "a good film",
    "the bad film .",
    "this was good ? a b",
    "who was bad",
    "a b c",
    "was this films",
    "the example",
]


def tiny_folder(folder, cls, seed=0, positions=32, dim=20, **config):
    """A model of class `cls` with random weights in `folder`, with its vocabulary. Returns the path as a string."""
    shape = {"n_layers": 2, "n_heads": 4, "dim": dim, "hidden_dim": 24, "max_position_embeddings": positions}
    config = cls.config_class(vocab_size=len(WORDS), **{"initializer_range": 0.5, **shape, **config})
    cls(config, backend="numpy", seed=seed).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return str(folder)
