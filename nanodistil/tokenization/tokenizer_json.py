"""tokenizer.json: a whole fast tokenizer in one file, of which each kind of tokenizer reads its own and nothing else.

The format can describe thousands of tokenizers. Each part is either what this package reproduces or refused by name:
a tokenizer that silently did something else would be worse than none. How texts are cut is the kind's to read (for
BERT's wordpiece_sections.py); what all have is read here:

  post_processor   the kind's template, [CLS] A [SEP] B [SEP] for BERT's, spelled out or by a name with cls and sep
  added_tokens     the ids are theirs, or the next free ones

`truncation` and `padding` lend only their direction: every call sets the rest anew, as in transformers.
"""

from pathlib import Path
from typing import Any

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.json_part import Part
from nanodistil.tokenization.kind import Kind
from nanodistil.tokenization.template import TEXTS, Slot, Template
from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.small_files import FOR_TOKENIZER, read_json


def read_tokenizer_json(path: Path, kind: Kind) -> Description:
    """The tokenizer a tokenizer.json describes. Raises CheckpointError naming the field that does not fit."""
    file = Part(read_json(path, FOR_TOKENIZER), str(path), kind.model)
    pieces, join = kind.read_sections(file)
    template = read_template(file.part("post_processor"), kind)

    added = []
    for number, item in enumerate(file.get("added_tokens", list, [])):
        entry = Part(item, f"{file.where}.added_tokens[{number}]", kind.model)
        for flag in ("single_word", "lstrip", "rstrip", "normalized", "special"):
            entry.get(flag, bool)
        if entry.get("id", int) < 0:
            raise CheckpointError(f"{entry.where}.id: is {excerpt(item['id'])}; ids begin at 0")
        added.append((entry.get("id", int), AddedToken.from_json(item, entry.where)))
    for token, number in template.put_in():
        if pieces.vocabulary.get(token, {t.content: i for i, t in added}.get(token)) != number:
            raise CheckpointError(
                f"{file.where}.post_processor: {excerpt(token)} has the id {number} only here; get it again"
            )
    return Description(
        source=str(path),
        pieces=pieces,
        template=template,
        join=join,
        added=tuple(added),
        padding_side=_side(file, "padding"),
        truncation_side=_side(file, "truncation"),
        padding_token=None if file.value.get("padding") is None else file.part("padding").get("pad_token", str),
    )


def read_template(part: Part, kind: Kind) -> Template:
    """The kind's template with the tokens and ids of the file. Raises CheckpointError for another template."""
    if kind.processing and part.value.get("type") == kind.processing:
        if not kind.framing.roles:
            return kind.framing
        pairs = [part.get(key, list) for key in ("cls", "sep")]
        if not all(len(p) == 2 and isinstance(p[0], str) and type(p[1]) is int for p in pairs):
            raise CheckpointError(f"{part.where}: cls and sep must each be a token and its id")
        cls, sep = ((p[0], p[1]) for p in pairs)
        return kind.framing.filled({"cls_token": cls, "sep_token": sep}.get)

    part.expect("TemplateProcessing")
    for framing in (kind.framing, *kind.also):
        tokens = _tokens_of_roles(part, framing)
        if tokens is not None:
            break
    else:
        raise CheckpointError(f"{part.where}: is not {kind.model}'s template {kind.framing}")
    filled: dict[str, tuple[str, int]] = {}
    for role, token in tokens.items():
        numbers = part.part("special_tokens").part(token).get("ids", list)
        if len(numbers) != 1 or type(numbers[0]) is not int:
            raise CheckpointError(f"{part.where}.special_tokens: {excerpt(token)} must stand for one id")
        filled[role] = token, numbers[0]
    return framing.filled(filled.get)


def _tokens_of_roles(part: Part, framing: Template) -> dict[str, str] | None:
    """Role -> token, if the file has the template `framing`, else None."""
    tokens: dict[str, str] = {}
    for key, slots in (("single", framing.single), ("pair", framing.pair)):
        found = []
        for item in part.get(key, list):
            step = Part(item, f"{part.where}.{key}", part.whose)
            for sort in ("SpecialToken", "Sequence"):
                if sort in step.value:
                    inner = step.part(sort)
                    found.append((sort, inner.get("id", str), inner.get("type_id", int)))
        wanted = [_as_step(slot, tokens, found[i][1] if i < len(found) else "") for i, slot in enumerate(slots)]
        if found != wanted:
            return None
    return tokens


def _as_step(slot: Slot, tokens: dict[str, str], name: str) -> tuple[str, str, int]:
    """The step of the file that a slot should be; a role that has no token yet gets `name`."""
    if slot.text is None:
        return "SpecialToken", tokens.setdefault(slot.token, name), slot.type_id
    return "Sequence", _name(slot), slot.type_id


def _name(slot: Slot) -> str:
    return next(name for name, text in TEXTS.items() if text == slot.text)


def write_template(template: Template) -> dict[str, Any]:
    """A filled template as a tokenizer.json has it."""

    def steps(slots: tuple[Slot, ...]) -> list[dict[str, Any]]:
        return [
            {"SpecialToken": {"id": slot.token, "type_id": slot.type_id}}
            if slot.text is None
            else {"Sequence": {"id": _name(slot), "type_id": slot.type_id}}
            for slot in slots
        ]

    return {
        "type": "TemplateProcessing",
        "single": steps(template.single),
        "pair": steps(template.pair),
        "special_tokens": {
            token: {"id": token, "ids": [number], "tokens": [token]} for token, number in template.put_in()
        },
    }


def _side(file: Part, key: str) -> str:
    if file.value.get(key) is None:
        return "right"
    part = file.part(key)
    side = part.get("direction", str, "Right").lower()
    if side not in ("left", "right"):
        raise CheckpointError(f"{part.where}.direction: is {excerpt(side)}, not 'Left' or 'Right'")
    if key == "padding" and part.get("pad_type_id", int, 0) != 0:
        raise CheckpointError(f"{part.where}.pad_type_id: must be 0")
    return side
