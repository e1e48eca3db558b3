"""`page`: a text and a model, and what there is to see of them."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from nanodistil.page.drawing import drawn
from nanodistil.page.findings import findings
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.waiting import Told, silent
from nanodistil.weights.errors import InputError

DEFAULT = "nanodistil-mini"
HEIGHT = 900  # of the frame in a notebook


class Page:
    """What was found in a text; a notebook shows it."""

    def __init__(self, found: dict[str, Any], layers: list[Any]) -> None:
        self.found = found  # findings.py says what; compact.unpacked gives an array back
        self.layers = layers  # of attention

    def html(self) -> str:
        """The page, one file."""
        return drawn(self.found, self.layers)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises InputError if it cannot be written."""
        from nanodistil.weights.saving import written

        if not str(path):
            raise InputError("the name of the file is empty")
        text = self.html()
        written(Path(path), lambda fresh: fresh.write_text(text, encoding="utf-8"))

    def _repr_html_(self) -> str:
        """In a frame of its own, so that the notebook's styles and scripts and the page's do not meet."""
        inside = html.escape(self.html(), quote=True)
        return (
            f'<iframe title="nanodistil page" sandbox="allow-scripts" '
            f'style="width: 100%; height: {HEIGHT}px; border: 0" srcdoc="{inside}"></iframe>'
        )


def page(
    text: str,
    model: str | Path | Pretrained = DEFAULT,
    tokenizer: Tokenizer | None = None,
    *,
    told: Told = silent,
    **loading: Any,
) -> Page:
    """Look at a text through a model: a folder, a hub id, or an instance with its tokenizer.

    The model may be one that fills masks, sorts texts or tokens, or writes (GPT-2), of any family. told: called with
    what is being computed and the share of that which is done: 100 tokens take seconds, and 500 minutes. loading:
    backend, dtype, threads, revision, ... of from_pretrained. Raises InputError for other models, for a text without
    [MASK] or longer than the model, and without gradients (int8); ModelNotFoundError, CheckpointError.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertTokenizer
    >>> tiny = DistilBertConfig(n_layers=2, n_heads=2, dim=8, hidden_dim=16)
    >>> model = DistilBertForMaskedLM(tiny, backend="numpy")  # page("A [MASK] model.") asks the embedded one
    >>> made = page("A [MASK] model.", model, DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    >>> made.found["tokens"][made.found["targets"][0]["token"]], made.html()[:15]
    ('[MASK]', '<!DOCTYPE html>')
    """
    if isinstance(model, Pretrained):
        if tokenizer is None:
            raise InputError("a model instance needs its tokenizer too: pass tokenizer=...")
        if loading:
            raise InputError(f"{next(iter(loading))} belongs to the loading of a model; this one is loaded already")
        name = model.config.extra.get("_name_or_path") or type(model).__name__
        return Page(*findings(model, tokenizer, text, name, told))
    from nanodistil.auto import AutoTokenizer
    from nanodistil.exporting import class_in
    from nanodistil.weights.hub import resolve_model

    where = {key: loading[key] for key in ("revision", "cache_dir", "local_files_only", "token") if key in loading}
    loaded = class_in(resolve_model(model, **where)).from_pretrained(model, **loading)
    tokenizer = tokenizer or AutoTokenizer.from_pretrained(model, **where)
    return Page(*findings(loaded, tokenizer, text, str(model), told))
