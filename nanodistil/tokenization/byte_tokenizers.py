"""GPT2Tokenizer and RobertaTokenizer: byte-level BPE under transformers' names, which end in "Fast" too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.arguments import yes_or_no
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_kinds import GPT2, PLAIN, ROBERTA, WITH_BOS
from nanodistil.tokenization.conventions import ALONE, TWO
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.tokenization.pieces import PieceMaker
from nanodistil.tokenization.special_tokens import MORE, SPECIAL
from nanodistil.tokenization.template import Template
from nanodistil.weights.errors import InputError, excerpt


class ByteLevelTokenizer(Tokenizer):
    """What both have in common.

    vocab_file, merges_file: vocab.json, and merges.txt, which is beside it unless named. tokenizer_file: tokenizer.json
    (or what was read of it), which wins if given. add_prefix_space: whether a text begins like any word in it, which
    also texts given as words need. errors: "replace", and nothing else, as bytes that are no text are decoded to
    U+FFFD. The others are transformers'; those that change nothing are taken (construction.py).

    Raises CheckpointError for a file that is broken or of another kind, InputError for arguments of a wrong sort.
    """

    names: ClassVar[tuple[str, ...]] = SPECIAL  # the roles whose tokens, given as strings, are looked for normalized
    trim_offsets: bool

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        merges_file: str | Path | None = None,
        *,
        tokenizer_file: str | Path | Description | None = None,
        errors: str = "replace",
        add_prefix_space: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **others: Any,
    ) -> None:
        if errors != "replace":
            raise InputError(f"errors={excerpt(errors)}: ids are decoded with errors='replace'; leave it out")
        self.errors, self.merges_file = errors, merges_file
        self.add_prefix_space = yes_or_no("add_prefix_space", add_prefix_space)
        if tokenizer_file is None:  # then transformers makes an AddedToken of what is given as a string
            given = {role: others.get(role, self.kind.roles.get(role)) for role in self.names}
            others |= {role: AddedToken(token) for role, token in given.items() if isinstance(token, str) and token}
        super().__init__(
            vocab_file,
            tokenizer_file=tokenizer_file,
            clean_up_tokenization_spaces=bool(clean_up_tokenization_spaces),
            **others,
        )

    def _described(
        self, vocab_file: str | Path | None, tokenizer_file: str | Path | Description | None
    ) -> tuple[Description, PieceMaker]:
        """Whether spaces are added and left out is the class's, whatever tokenizer.json says."""
        if tokenizer_file is None and vocab_file is not None:
            special = {role: str(token) for role, token in self.roles.named() if role != MORE}
            merges = None if self.merges_file is None else Path(self.merges_file)
            description = self.kind.from_vocabulary(Path(vocab_file), special, merges=merges, framing=self._framing())
        else:
            description, _ = super()._described(None, tokenizer_file)
        assert isinstance(description.pieces, ByteBPE)
        own = description.pieces.with_settings(self.add_prefix_space, self._trims(description.pieces.trims))
        self.trim_offsets = own.trims is not None
        return description, own

    def _framing(self) -> Template:
        return self.kind.framing

    def _trims(self, of_file: bool | None) -> bool | None:
        return of_file

    @property
    def takes_words(self) -> bool:
        """Only if each of them gets the space that it lost."""
        return self.add_prefix_space or not self.conventions.roles


class GPT2Tokenizer(ByteLevelTokenizer):
    """GPT-2's (and DistilGPT2's) tokenizer: nothing goes around a text, and there is no pad token until one is set.

    add_bos_token: whether <|endoftext|> goes before a text, if there is no tokenizer.json, which says so itself.

    >>> import tempfile, pathlib, json
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> tokens = ["Ġ", "l", "o", "w", "e", "r", "er", "lo", "low", "<|endoftext|>"]
    >>> _ = (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    >>> _ = (folder / "merges.txt").write_text("#version: 0.2\\ne r\\nl o\\nlo w\\n")
    >>> tokenizer = GPT2Tokenizer(folder / "vocab.json")
    >>> tokenizer("low lower", return_offsets_mapping=True)
    {'input_ids': [8, 0, 8, 6], 'attention_mask': [1, 1, 1, 1], 'offset_mapping': [(0, 3), (3, 4), (4, 7), (7, 9)]}
    >>> tokenizer.decode([8, 0, 8, 6, 9])
    'low lower<|endoftext|>'
    """

    kind = GPT2
    tokenizer_class = GPT2.classes.own.name
    model_input_names: list[str] = list(TWO)  # noqa: RUF012  # transformers' name, set per instance
    names = ("bos_token", "eos_token", "unk_token", "pad_token")

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        merges_file: str | Path | None = None,
        *,
        add_bos_token: bool = False,
        trim_offsets: bool | None = None,  # tokenizer.json says so
        **others: Any,
    ) -> None:
        self.add_bos_token = yes_or_no("add_bos_token", add_bos_token)
        super().__init__(vocab_file, merges_file, **others)

    def _framing(self) -> Template:
        return WITH_BOS if self.add_bos_token else PLAIN

    def template_of_roles(self) -> Template:
        """Nothing goes around ready ids, as in transformers, also with add_bos_token."""
        return ALONE


class RobertaTokenizer(ByteLevelTokenizer):
    """RoBERTa's (and DistilRoBERTa's) tokenizer: <s> A </s>, or <s> A </s></s> B </s>.

    trim_offsets: whether offsets leave out the space before a word; None: as tokenizer.json says.

    >>> import tempfile, pathlib, json
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> tokens = ["<s>", "<pad>", "</s>", "<unk>", "Ġ", "l", "o", "w", "lo", "low", "Ġlow", "<mask>"]
    >>> _ = (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    >>> _ = (folder / "merges.txt").write_text("#version: 0.2\\nl o\\nlo w\\nĠ low\\n")
    >>> tokenizer = RobertaTokenizer(folder / "vocab.json")
    >>> tokenizer("low low <mask>", return_offsets_mapping=True)["offset_mapping"]
    [(0, 0), (0, 3), (4, 7), (8, 14), (0, 0)]
    >>> tokenizer("low", "low")["input_ids"]
    [0, 9, 2, 2, 9, 2]
    """

    kind = ROBERTA
    tokenizer_class = ROBERTA.classes.own.name
    model_input_names: list[str] = list(TWO)  # noqa: RUF012  # transformers' name, set per instance
    names = ("bos_token", "eos_token", "sep_token", "cls_token", "unk_token", "pad_token")

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        merges_file: str | Path | None = None,
        *,
        trim_offsets: bool | None = True,
        **others: Any,
    ) -> None:
        self._asked_to_trim = trim_offsets if trim_offsets is None else yes_or_no("trim_offsets", trim_offsets)
        mask = others.get("mask_token")
        if isinstance(mask, str) and mask:
            others["mask_token"] = AddedToken(mask, lstrip=True, normalized=False)
        super().__init__(vocab_file, merges_file, **others)

    def _trims(self, of_file: bool | None) -> bool | None:
        if self._asked_to_trim is None:
            return of_file
        return self.add_prefix_space if self._asked_to_trim else None
