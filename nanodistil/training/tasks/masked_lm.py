"""Masked words: to adapt a model to texts of a kind, and to measure what it knows of them.

Learning. Texts are the lines of a file, cut into pieces of max_seq_length, each with its [CLS] and [SEP], so nothing is
lost; or the sequences of a folder that `nanodistil binarize` made (sequences.py). Of the tokens of each batch 15 % are
chosen, all alike (masking.py without smoothing), and hidden behind [MASK], left or replaced, 80/10/10.

Measuring. Of each passage, a line, the first max_seq_length tokens; of these, [CLS] and [SEP] aside, 15 % are replaced
by [MASK], all of them, and compared with what the model expects there: the mean of -log p of the right word (loss) and
how often it is first and among the first five (top-1, top-5). That is the measure of nanodistil-mini's card: easier to
name than to compare, since figures under the 80/10/10 of training are higher, a fifth of the words being in sight.
Empty lines do not count. If not all passages are measured, they are drawn at random; the draw is a function of the
seed, and each passage's masks of the seed and its place in the file. A few hundred passages are a small sample:
nanodistil-mini's top-1 on 300 of wiki.valid is 0.394, 0.397, 0.386 and 0.380 with the seeds 42, 1, 2 and 3. Its card
has 0.378, of passages and masks that nobody wrote down. Compare two models with one seed, and on more passages.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nanodistil.backend import Ints
from nanodistil.config import Config
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.losses import IGNORED
from nanodistil.pipelines.batching import ON_CPU, batches, padded
from nanodistil.pipelines.pairing import words_of
from nanodistil.reading.forms import texts_in
from nanodistil.reading.lines import lines_of
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training import metrics
from nanodistil.training.binarize import fingerprint
from nanodistil.training.masking import Masking
from nanodistil.training.sequences import Sequences
from nanodistil.training.tasks import Evaluation
from nanodistil.weights.errors import InputError

NO_COUNTS = 0.0  # smoothing: every token is chosen alike
TOP = 5


@dataclass
class MaskedLM:
    """Settings: mlm_probability, the share of tokens that is chosen; whole_words: all pieces of a word together, in
    learning; limit, how many passages are measured (None: all); seed, of the masks of measuring."""

    max_seq_length: int = 128
    mlm_probability: float = 0.15
    whole_words: bool = False
    limit: int | None = None
    seed: int = 42
    _masking: Masking | None = field(default=None, init=False, repr=False)  # made with the rows, for batches

    HEAD: ClassVar[str] = "ForMaskedLM"

    def best(self, config: Config) -> tuple[str, bool]:
        return "loss", False

    def read(self, file: str | Path) -> Any:
        """The texts of a file that are not empty (reading/forms.py), or the sequences of a folder."""
        if Path(file).is_dir():
            return Sequences(file, self.max_seq_length)
        with lines_of(str(file)) as lines:
            texts = [text for text in texts_in(lines, str(file)) if text.strip()]
        if not texts:
            raise InputError(f"{file} has no text")
        return texts

    def config(self, examples: Any, config: Config) -> dict[str, Any]:
        return {}

    def rows(self, examples: Any, tokenizer: Tokenizer, config: Config) -> Any:
        _check(tokenizer, examples)
        self._masking = self._rule(tokenizer, config)
        if isinstance(examples, Sequences):
            warnings.warn(f"note: {examples}", stacklevel=2)
            return examples
        cls, sep = tokenizer("")["input_ids"]
        size, special = self.max_seq_length - 2, set(tokenizer.all_special_ids)
        rows = []
        for ids in tokenizer(list(examples), add_special_tokens=False, verbose=False)["input_ids"]:
            pieces = (ids[at : at + size] for at in range(0, len(ids), size))
            # Of [UNK] alone nothing can be hidden, and a batch in which nothing is has no loss.
            rows += [np.array([cls, *piece, sep], np.int64) for piece in pieces if not special.issuperset(piece)]
        if not rows:
            raise InputError("the texts have no tokens that can be hidden")
        return rows

    def _rule(self, tokenizer: Tokenizer, config: Config) -> Masking:
        """Which tokens are hidden in learning."""
        return Masking(
            np.ones(config.vocab_size, np.int64),
            special_ids=tokenizer.all_special_ids,
            mask_id=tokenizer.mask_token_id,
            mlm_mask_prop=self.mlm_probability,
            mlm_smoothing=NO_COUNTS,
            words=words_of(config, tokenizer),
            continuing=continuing(tokenizer) if self.whole_words else None,
        )

    def length(self, row: Ints) -> int:
        return len(row)

    def batch(self, rows: Sequence[Ints], key: int = 0) -> dict[str, Any]:
        ids, real = padded(list(rows))
        assert self._masking is not None  # the rows come from `rows`
        masked = self._masking(ids[real], key)
        labels = np.full(ids.shape, IGNORED)
        ids[real], labels[real] = masked.ids, masked.labels
        return {"input_ids": ids, "attention_mask": real, "labels": labels}

    def evaluate(self, model: ForMaskedLM, tokenizer: Tokenizer, examples: Any) -> Evaluation:
        _check(tokenizer, examples)
        chosen = np.arange(len(examples))
        if self.limit is not None and self.limit < len(examples):
            chosen = np.sort(np.random.default_rng(self.seed).permutation(len(examples))[: self.limit])
        rows = [examples[i] for i in chosen.tolist()]
        if not isinstance(examples, Sequences):
            encoded = tokenizer(rows, truncation=True, max_length=self.max_seq_length, verbose=False)
            rows = [np.array(ids, np.int64) for ids in encoded["input_ids"]]
        found = [self._hidden(i, ids, tokenizer) for i, ids in zip(chosen.tolist(), rows, strict=True)]
        losses, ranks = [], []
        words = words_of(model.config, tokenizer)
        no_word = np.zeros(0, np.int64) if words is None else np.delete(np.arange(model.config.vocab_size), words)
        for batch in batches([len(ids) for ids in rows], ON_CPU.tokens):  # it is (M, V) that takes memory
            ids, real = padded([found[i][0] for i in batch])
            places = np.array([(b, t) for b, i in enumerate(batch) for t in found[i][1]]).reshape(-1, 2)
            truth = np.concatenate([rows[i][found[i][1]] for i in batch])  # (M,)
            if len(places):
                logits = model(ids, real, positions=places, return_dict=True).logits.astype(np.float64)  # (M, V)
                rivals = logits.copy() if len(no_word) else logits
                rivals[:, no_word] = -np.inf
                ranks.append(metrics.ranks(rivals, truth))
                logits -= logits.max(1, keepdims=True)
                losses.append(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(truth)), truth])
        if not losses:
            raise InputError("the passages are too short: no token was hidden")
        rank, loss = np.concatenate(ranks), np.concatenate(losses)
        figures = {
            "loss": float(loss.mean()),
            "top1": float((rank < 1).mean()),
            "top5": float((rank < TOP).mean()),
            "hidden": len(rank),
            "passages": len(rows),
        }
        return Evaluation(figures, {})

    def _hidden(self, number: int, ids: Ints, tokenizer: Tokenizer) -> tuple[Ints, Ints]:
        """A passage with tokens hidden, (T,), and which they are, (m,)."""
        eligible = np.flatnonzero(~np.isin(ids, tokenizer.all_special_ids))
        m = round(self.mlm_probability * len(eligible))
        at = np.sort(np.random.default_rng((self.seed, number)).permutation(eligible)[:m])
        masked = ids.copy()
        masked[at] = tokenizer.mask_token_id
        return masked, at


def _check(tokenizer: Tokenizer, examples: Any) -> None:
    """Raises InputError for a tokenizer that cannot hide a word, or is not the one that a folder was made with."""
    if tokenizer.mask_token_id is None:
        raise InputError("the tokenizer has no [MASK], so nothing can be hidden")
    if isinstance(examples, Sequences) and examples.index.vocabulary != fingerprint(tokenizer):
        raise InputError("the data was binarized with another tokenizer than the model's; binarize it anew")


def continuing(tokenizer: Tokenizer) -> Ints:
    """The ids that go on with a word. Raises InputError for a tokenizer that does not mark them.

    >>> from nanodistil import DistilBertTokenizer
    >>> tokenizer = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    >>> tokenizer.convert_ids_to_tokens(continuing(tokenizer)[:3].tolist())
    ['##s', '##a', '##e']
    """
    found = [number for number, name in tokenizer.encoder.names.items() if name.startswith("##") and name != "##"]
    if not found:
        raise InputError("--whole-words needs a WordPiece tokenizer, which marks the inner pieces of a word with ##")
    return np.array(sorted(found), np.int64)
