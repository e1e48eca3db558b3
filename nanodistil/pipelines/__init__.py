"""Text in, answers out: one file a task, and `pipeline` to choose among them by transformers' names."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import DTypeLike

from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.heads import DistilBertForMaskedLM
    from nanodistil.pipelines.fill_mask import FillMaskPipeline
    from nanodistil.tokenization import DistilBertTokenizer


def pipeline(
    task: str,
    model: str | Path | DistilBertForMaskedLM | None = None,
    tokenizer: str | Path | DistilBertTokenizer | None = None,
    *,
    backend: str | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> FillMaskPipeline:
    """The pipeline for `task`, "fill-mask", with a model and a tokenizer by folder, hub id or instance.

    model: None means the official distilbert/distilbert-base-uncased, or the embedded nanodistil-mini (with a warning)
    where the official one can neither be found nor fetched. tokenizer: None means the model's own.
    Raises InputError for an unknown task or unusable arguments, ModelNotFoundError, CheckpointError.

    >>> fill = pipeline("fill-mask", model="nanodistil-mini", backend="numpy")
    >>> [r["token_str"] for r in fill("Hello I'm a [MASK] model.", top_k=2)]
    ['new', 'good']
    """
    from nanodistil.heads import DistilBertForMaskedLM
    from nanodistil.pipelines.fill_mask import FillMaskPipeline
    from nanodistil.tokenization import DistilBertTokenizer

    if task != "fill-mask":
        raise InputError(f"unknown task {task!r}: choose one of fill-mask")
    source: dict[str, Any] = {
        "revision": revision,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
        "token": token,
    }
    if model is None:
        from nanodistil.weights.hub import resolve_default

        model, note = resolve_default(**source)
        if note:
            warnings.warn(note, stacklevel=2)
    if isinstance(model, str | Path):
        if tokenizer is None:
            tokenizer = model
        model = DistilBertForMaskedLM.from_pretrained(model, backend=backend, dtype=dtype, threads=threads, **source)
    elif backend is not None or dtype is not None or threads is not None:
        raise InputError("backend, dtype and threads belong to the loading of a model; this one is loaded already")
    if tokenizer is None:
        raise InputError("a model instance needs its tokenizer too: pass tokenizer=...")
    if isinstance(tokenizer, str | Path):
        tokenizer = DistilBertTokenizer.from_pretrained(tokenizer, **source)
    return FillMaskPipeline(model, tokenizer)
