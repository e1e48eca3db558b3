"""A student to begin with: some of its teacher's layers, unchanged (Sanh et al. 2019, section 3).

DistilBERT starts from every other layer of BERT, with BERT's words and positions around them; of all that the paper's
ablation leaves out, this start is missed most. Here is upstream's scripts/extract_distilbert.py, with these decisions:

which layers       Upstream writes 0, 2, 4, 7, 9, 11 of 12. That is half the layers, spread evenly from the first to
                   the last and rounded, and so are ours of any depth (`spread`); or those one names.
vocab_transform    Upstream copies the masked-LM head's inner map only when told to, with --vocab_transform, and then
                   trains a random one below the teacher's own projection. Here it is copied unless told not to.
token types        A DistilBERT has none. Upstream drops the teacher's, and with them a vector that the teacher adds to
                   each token of a single text; `fold_token_types` adds the one of type 0 to every position instead.
                   With all layers, the student then computes what its teacher does, to the last bit.
pooler             Is dropped, as upstream: the masked-LM head does not use it.
a RoBERTa, a GPT-2 Has one of its kind for a student, as upstream: with its words, positions and epsilon.
sinusoids          Upstream trains with `sinusoidal_pos_embds`, which freezes the teacher's positions. Here the config
                   says that positions are learned, as they were; freezing is an option of the distillation.

A teacher that is a body without a masked-LM head gives a student without one. It does not train anything: distill.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from nanodistil.backend import Array
from nanodistil.config import Config, DistilBertConfig
from nanodistil.family import class_of, family_of
from nanodistil.head import BASE, Head
from nanodistil.heads import speaking
from nanodistil.heads.causal_lm import CAUSAL_LM
from nanodistil.heads.masked_lm import MASKED_LM
from nanodistil.weights import names
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.files import CONFIG, WEIGHT_FILES
from nanodistil.weights.initial import POSITIONS, fresh
from nanodistil.weights.layout import TOKEN_TYPES
from nanodistil.weights.loading import load, sources
from nanodistil.weights.small_files import FOR_CONFIG, read_json

Tensors = dict[str, Array]
TRANSFORM = ("vocab_transform", "vocab_layer_norm", "activation")  # the head, without its projection


STUDENTS = {
    "bert": "distilbert",
    "distilbert": "distilbert",
    "roberta": "roberta",
    "gpt2": "gpt2",
}  # a teacher's family -> theirs


class Teacher(NamedTuple):
    """A model of one of these families."""

    config: Config
    tensors: Tensors  # under the names of weights/names.py
    token_types: Array | None  # (Y, D); a DistilBERT has none
    head: Head  # masked_lm or causal_lm, or none


def read_teacher(folder: Path, dtype: str = "float32") -> Teacher:
    """A folder's model, all weights in `dtype`. Raises CheckpointError for one of another family, or a broken one."""
    values = read_json(folder / CONFIG, FOR_CONFIG)
    kind = family_of(values, folder)
    if kind not in STUDENTS:
        raise CheckpointError(
            f"{folder}: is a {excerpt(kind)}; the teacher of a student is one of {', '.join(STUDENTS)}"
        )
    config: Config = class_of(kind, "Config").from_dict(values)
    if STUDENTS[kind] == "distilbert" and config.layer_norm_eps != DistilBertConfig().layer_norm_eps:
        raise CheckpointError(f"{folder}: has a layer_norm_eps of {config.layer_norm_eps}, a DistilBERT always 1e-12")
    if config.causal:
        head = CAUSAL_LM  # whose arrays are the words once more, in whatever file
    else:
        head = MASKED_LM if "vocab_projector.bias" in sources(folder, config.names) else BASE
    tensors = load(folder, config, head, dtype, table=config.names, draw=False).tensors
    return Teacher(config, tensors, tensors.pop(TOKEN_TYPES, None), head)


def spread(n_layers: int) -> list[int]:
    """Half of so many layers (rounded up), evenly from the first to the last: upstream's choice, for any depth.

    >>> spread(12), spread(6), spread(1)
    ([0, 2, 4, 7, 9, 11], [0, 3, 5], [0])
    """
    steps = (n_layers + 1) // 2 - 1
    return [(2 * i * (n_layers - 1) + steps) // (2 * steps) for i in range(steps + 1)] if steps else [0]


def extract(
    teacher: Teacher,
    layers: Sequence[int] | None = None,
    *,
    vocab_transform: bool = True,
    fold_token_types: bool = False,
    seed: int = 0,
) -> tuple[Config, Tensors]:
    """The student's config and tensors; arrays that it shares with the teacher are the teacher's own.

    layers: of the teacher, ascending (None: `spread`). vocab_transform: False for a fresh one, drawn from seed.
    Raises InputError for layers that the teacher does not have, or token types where there are none.
    """
    L = teacher.config.n_layers
    layers = spread(L) if layers is None else list(layers)
    beyond = [layer for layer in layers if layer not in range(L)]
    if beyond:
        raise InputError(f"the teacher has no layer {beyond[0]}; its layers are 0 to {L - 1}")
    if not layers or layers != sorted(set(layers)):
        raise InputError(
            f"layers must be named in ascending order, each once, not {excerpt(','.join(map(str, layers)))}"
        )
    family = STUDENTS[teacher.config.model_type]
    if fold_token_types and teacher.token_types is None:
        raise InputError(f"the teacher is a {teacher.config.model_type} and has no token types to fold")
    if fold_token_types and family != "distilbert":
        raise InputError(f"a {family} keeps the token types of its teacher: there is nothing to fold")

    if not vocab_transform and teacher.config.causal:
        raise InputError(f"a {family} has no vocab_transform to be drawn at random")

    pruned = {new: teacher.config.pruned_heads.get(old, []) for new, old in enumerate(layers)}
    made = class_of(family, "Config")
    own = fields(made if isinstance(teacher.config, made) else Config)  # a BERT's are not all a DistilBERT's
    said = {f.name: getattr(teacher.config, f.name) for f in own}
    if not isinstance(teacher.config, made):
        said["extra"] = {}  # what only its family knows
    said |= {"n_layers": len(layers), "pruned_heads": {layer: heads for layer, heads in pruned.items() if heads}}
    if family == "distilbert":
        said["sinusoidal_pos_embds"] = False
    config: Config = made(**said)
    shapes = names.expected(config, teacher.head)
    tensors = {} if family == "distilbert" or teacher.token_types is None else {TOKEN_TYPES: teacher.token_types}
    for name in shapes:
        if name.startswith("transformer.layer."):
            number, _, inner = name.removeprefix("transformer.layer.").partition(".")
            tensors[name] = teacher.tensors[f"transformer.layer.{layers[int(number)]}.{inner}"]
        elif name != TOKEN_TYPES:
            tensors[name] = teacher.tensors[name]
    if fold_token_types and teacher.token_types is not None:
        tensors[POSITIONS] = teacher.token_types[0] + tensors[POSITIONS]  # (P, D), added as layout.places does
    if not vocab_transform:
        anew = {name: shape for name, shape in shapes.items() if name.startswith(TRANSFORM)}
        tensors |= fresh(anew, config, tensors[POSITIONS].dtype, seed)
    return config, tensors


def write_student(folder: Path, teacher: Path, config: Config, tensors: Tensors) -> bool:
    """Write the student's model, and its teacher's tokenizer if it has one, which is returned.

    A new folder becomes a model with its last file, config.json; an old model is not written over, since half of it
    would be the old one's after a crash. Raises InputError where the folder holds one already, or cannot be written.
    """
    from nanodistil.auto import AutoTokenizer
    from nanodistil.weights.files import VOCABULARIES

    there = [name for name in (CONFIG, *WEIGHT_FILES) if (folder / name).exists()]
    if there:
        raise InputError(f"{folder}: already holds a model ({there[0]}); choose another folder, or remove it first")
    has_tokenizer = any((teacher / name).is_file() for name in VOCABULARIES)
    if has_tokenizer:
        tokenizer = AutoTokenizer.from_pretrained(teacher)
        tokenizer.model_input_names = ["input_ids", "attention_mask"]  # no student is given token types
        tokenizer.save_pretrained(folder)
    has_head = config.causal or "vocab_projector.bias" in tensors
    made = class_of(config.model_type, speaking(config.model_type) if has_head else "Model")
    model = made(config, tensors, backend="numpy", dtype=tensors[POSITIONS].dtype)
    model.save_pretrained(folder)
    return has_tokenizer
