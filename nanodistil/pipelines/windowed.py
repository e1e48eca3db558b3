"""What the pipelines share that read a long text in windows, each between [CLS] and [SEP] (overlap.py lays them)."""

from __future__ import annotations

from nanodistil.pipelines.base import Model, Pipeline, Settings
from nanodistil.pipelines.pairing import longest_row


class WindowedPipeline(Pipeline[Model, Settings]):
    def made(self) -> None:
        self.cls, self.sep = self.tokenizer("")["input_ids"]

    @property
    def limit(self) -> int:
        """The most tokens of a row, as model and tokenizer are now: both may be changed after the pipeline is made."""
        return longest_row(self.model, self.tokenizer)

    @property
    def from_right(self) -> bool:
        """Whether a text that is too long begins, for the tokenizer, at its end."""
        return bool(self.tokenizer.truncation_side == "left")
