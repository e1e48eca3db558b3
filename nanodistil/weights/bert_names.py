"""A BERT's names beside a DistilBERT's: the same arrays, called otherwise.

DistilBERT took BERT's layer over as it was, and renamed all of it. So a BERT needs no table of shapes of its own: the
one below says which module of a BERT is which of names.py, and from there on its arrays go under DistilBERT's names.
Only two things have no counterpart:

  - `embeddings.token_type_embeddings`, (Y, D): what is added to the tokens of the first text, and of the second;
  - `pooler.dense`: the same map on the first token as DistilBERT's `pre_classifier`, and called so here, but a part of
    the body, with tanh behind it where DistilBERT has ReLU.

The habits of files are those of names.py (`bert.` before the body, gamma and beta, `position_ids`), and two more:
`cls.seq_relationship`, which guessed whether the second text follows the first and which nobody uses, and
`cls.predictions.decoder.bias`, the second name of `cls.predictions.bias`. A body alone, as sentence-transformers keeps
one, may have no pooler.

It has the functions of names.py, so loading.py takes either.
"""

from typing import Any

from . import names

LAYER = {  # a BERT's module behind "encoder.layer.0." -> ours behind "transformer.layer.0."
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "intermediate.intermediate_act_fn": "ffn.activation",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
OTHERS = {
    "embeddings.word_embeddings": "embeddings.word_embeddings",
    "embeddings.position_embeddings": "embeddings.position_embeddings",
    "embeddings.token_type_embeddings": "embeddings.token_type_embeddings",
    "embeddings.LayerNorm": "embeddings.LayerNorm",
    "pooler.dense": "pre_classifier",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.transform_act_fn": "activation",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder": "vocab_projector",  # its weight
    "cls.predictions": "vocab_projector",  # its bias
    "classifier": "classifier",
    "qa_outputs": "qa_outputs",
}
NO_WEIGHTS = (
    "embeddings.position_ids", "embeddings.token_type_ids", "cls.predictions.decoder.bias",
    "cls.seq_relationship.weight", "cls.seq_relationship.bias",
)  # fmt: skip

PREFIX = "bert."
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
POOLER = "pre_classifier.weight"

is_head = names.is_head  # where the pooler counts as one


def expected(config: Any, head: names.Head = names.BARE) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of every array of a BERT.

    config: a BertConfig (nanodistil/family/bert_config.py). head: as for names.expected; the body alone is without its
    pooler, which is a head that is `bare`.
    """
    shapes = names.expected(config.as_distilbert(), head)
    return {**shapes, TOKEN_TYPES: (config.type_vocab_size, config.hidden_size)}


def canonical(name: str) -> str | None:
    """The table's name for what a BERT's file calls `name`; None for what is no weight of any use.

    What is unknown keeps its name behind `bert.`, so that it is none of ours.

    >>> canonical("bert.encoder.layer.3.attention.output.LayerNorm.gamma"), canonical("cls.predictions.bias")
    ('transformer.layer.3.sa_layer_norm.weight', 'vocab_projector.bias')
    """
    name = name.removeprefix(PREFIX)
    if name in NO_WEIGHTS:
        return None
    module, _, last = name.rpartition(".")
    ours = OTHERS.get(module)
    if module.startswith("encoder.layer."):
        number, _, inner = module.removeprefix("encoder.layer.").partition(".")
        ours = f"transformer.layer.{number}.{LAYER[inner]}" if inner in LAYER else None
    return names.canonical(f"{ours}.{last}") if ours else PREFIX + name


def set_aside(name: str, head: names.Head) -> bool:
    """Whether a model of this head leaves a canonical name of the file alone without a word.

    Every official BERT has a pooler and a masked-LM head, whatever one wants of it.
    """
    return is_head(name)


def filed(name: str, head: names.Head) -> str:
    """The inverse of `canonical`: a BERT's name for the array in a file of this head.

    >>> head = names.Bare(bare=False)
    >>> filed("transformer.layer.3.ffn.lin1.bias", head), filed("vocab_projector.bias", head)
    ('bert.encoder.layer.3.intermediate.dense.bias', 'cls.predictions.bias')
    """
    module, _, last = name.rpartition(".")
    if module.startswith("transformer.layer."):
        number, _, inner = module.removeprefix("transformer.layer.").partition(".")
        theirs = f"encoder.layer.{number}.{_theirs(LAYER, inner)}"
    elif name == "vocab_projector.bias":
        theirs = "cls.predictions"
    else:
        theirs = _theirs(OTHERS, module)
    of_body = theirs.startswith(("embeddings.", "encoder.", "pooler."))
    return f"{PREFIX if of_body and not head.bare else ''}{theirs}.{last}"


def _theirs(table: dict[str, str], module: str) -> str:
    return next(theirs for theirs, ours in table.items() if ours == module)
