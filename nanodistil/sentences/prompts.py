"""What a model wants to stand before a text: "query: ", "passage: ", as its folder says, or as a call does.

    prompt given             that one, whatever else is said
    prompt_name given        the one of that name
    neither                  the one of default_prompt_name, if the folder says it; else none

"query" and "document" are always there, and empty if nothing else is said of them.
"""

from __future__ import annotations

import warnings
from typing import Any

from nanodistil.weights.errors import CheckpointError, InputError, excerpt


class Prompts:
    """A model's prompts by name, and which is used if none is named.

    settings: of config_sentence_transformers.json. prompts, default: what the user says, which comes before it.
    Raises CheckpointError for settings that are no prompts, InputError for the user's.

    >>> chosen = Prompts({"prompts": {"query": "query: "}, "default_prompt_name": "query"})
    >>> chosen.of(None, None), chosen.of("", None), chosen.of(None, "document")
    ('query: ', '', '')
    """

    def __init__(
        self, settings: dict[str, Any], prompts: dict[str, str] | None = None, default: str | None = None
    ) -> None:
        said = settings.get("prompts")
        _check(said, CheckpointError, "config_sentence_transformers.json: prompts")
        _check(prompts, InputError, "prompts")
        self.by_name: dict[str, str] = {"query": "", "document": "", **(said or {}), **(prompts or {})}
        self.default = settings.get("default_prompt_name") if default is None else default
        if self.default is not None and self.default not in self.by_name:
            kind = CheckpointError if default is None else InputError
            raise kind(f"default_prompt_name {excerpt(self.default)} is none of {', '.join(self.by_name)}")

    def of(self, prompt: str | None, name: str | None) -> str:
        """The prompt of a call. Raises InputError for a name that is not there."""
        if prompt is not None:
            if name is not None:
                warnings.warn("prompt and prompt_name are both given: prompt counts", stacklevel=3)
            return prompt
        name = self.default if name is None else name
        if name is None:
            return ""
        if name not in self.by_name:
            raise InputError(f"prompt_name {excerpt(name)} is none of this model's: {', '.join(self.by_name)}")
        return self.by_name[name]


def _check(prompts: Any, kind: type[CheckpointError] | type[InputError], where: str) -> None:
    words = prompts is None or (
        isinstance(prompts, dict) and all(isinstance(one, str) for pair in prompts.items() for one in pair)
    )
    if not words:
        raise kind(f"{where} must map names to texts, not {excerpt(prompts)}")
