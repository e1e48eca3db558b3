"""feature-extraction as a folder of sentence-transformers says, `pooling="own"`, for who asks by a pipeline's options.

A server asks every model of a task alike. To it such a folder is a pipeline like the others, whose vectors have one way
more to come about: the folder's prompt before the text, and its steps behind the model. A text that is longer than
max_seq_length is refused unless truncation is asked for, as by every pipeline.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nanodistil.backend import Array
from nanodistil.pipelines.base import Prepared
from nanodistil.pipelines.feature_extraction import FeatureExtractionPipeline, Settings
from nanodistil.pipelines.feature_extraction import Pooling as Asked
from nanodistil.pipelines.inputs import a_text
from nanodistil.pipelines.tokens import row_of, said_if_nothing
from nanodistil.sentences.encoder import SentenceEncoder
from nanodistil.sentences.encoding import not_longer
from nanodistil.sentences.steps import of_length_one, through

OWN = "own"


class FolderPipeline(FeatureExtractionPipeline):
    """Vectors as an encoder's folder says, or as any feature-extraction pools."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        super().__init__(encoder.model, encoder.tokenizer)
        self.encoder = encoder
        self.own = encoder.pipe.settings(**encoder.usual())

    def settings(
        self,
        truncation: bool | str | None = None,
        tokenize_kwargs: dict[str, Any] | None = None,
        return_tensors: bool | str | None = False,
        pooling: str = OWN,
        normalize: bool = False,
    ) -> Settings:
        """As the pipeline's; pooling may be "own" too."""
        plain = "mean" if pooling == OWN else pooling
        found = super().settings(truncation, tokenize_kwargs, return_tensors, plain, normalize)
        return found._replace(wanted=Asked(OWN, normalize)) if pooling == OWN else found

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        if settings.wanted.kind != OWN:
            return super().prepare(one, settings, name)
        lower = self.encoder.pipe.lower or str
        text = lower(self.own.prompt + a_text(one, name))
        row = said_if_nothing(row_of(self.model, self.tokenizer, (text,), name, settings.options), self.tokenizer)
        not_longer(row, self.encoder.max_seq_length, name)
        return Prepared([replace(row, wanted=settings.wanted)])

    def vector(self, x: Array, wanted: Asked) -> Array:
        if wanted.kind != OWN:
            return super().vector(x, wanted)
        made = through(x.astype(np.float64), self.encoder.steps, self.own.wanted.prompt).sentence
        assert made is not None
        made = made[: self.own.width]
        return (of_length_one(made) if wanted.normalize else made).astype(x.dtype)
