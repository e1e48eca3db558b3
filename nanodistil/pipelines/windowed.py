"""What the pipelines share that read a long text in windows, each framed as a text by itself (overlap.py lays them)."""

from __future__ import annotations

from nanodistil.pipelines.base import Model, Pipeline, Settings
from nanodistil.pipelines.pairing import longest_row
from nanodistil.tokenization.template import Template


class WindowedPipeline(Pipeline[Model, Settings]):
    @property
    def template(self) -> Template:
        """What goes around a text, and around and between two, as the tokenizer is now."""
        return self.tokenizer.encoder.template

    @property
    def limit(self) -> int:
        """The most tokens of a row, as model and tokenizer are now: both may be changed after the pipeline is made."""
        return longest_row(self.model, self.tokenizer)

    @property
    def from_right(self) -> bool:
        """Whether a text that is too long begins, for the tokenizer, at its end."""
        return bool(self.tokenizer.truncation_side == "left")
