"""Texts to token ids, once and for all: lines in, a folder of shards out (shards.py says what it looks like).

Each line is a text and becomes one sequence, [CLS] text [SEP], <s> text </s> or, for a GPT-2, <|endoftext|> text
<|endoftext|>, as upstream's scripts/binarized_data.py makes them (without the spaces that it puts beside such tokens,
and that tokenizers took away again at the time). The texts stream through the compiled tokenizer a megabyte at a time,
so that a corpus of any size takes the same memory. What happens to a text, as upstream does it:

- A special token written out in the text is that token: a line "a [MASK] b" holds id 103. (Masking never chooses it,
  but the model sees it. Set split_special_tokens in tokenizer_config.json for texts that talk about such tokens.)
- A long text stays whole; it is cut when it is read (sequences.py), to whatever length a model has.

And what differs:

- The order is kept. Upstream shuffles here, unseeded, so that no run can be made again; we shuffle in training,
  seeded, an epoch at a time (sampler.py).
- A text without a token (an empty line, white space) is left out and counted. Upstream writes [CLS] [SEP] for it and
  drops that later.
- A run that ended early goes on: unfinished.json says how many lines the whole shards came from, and has a checksum
  of them. A resumed run reads these lines again without tokenizing them (10 times as fast), refuses if they are
  others by now, and goes on behind; it ends with the same bytes in every file as a run that was never stopped.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training.shards import INDEX, UNFINISHED, Index, read_index, write_index, write_shard
from nanodistil.weights.errors import InputError, excerpt

BATCH = 1 << 20  # characters tokenized at once: enough for every thread, and 16 MB for the scan's results
SHARD = 1 << 24  # tokens after which a shard is closed: 32 MB, and some seconds of work that an end can cost


def binarize(
    texts: Iterable[str],
    folder: str | Path,
    tokenizer: Tokenizer,
    *,
    name: str = "",
    resume: bool = False,
    watch: Callable[[int], None] | None = None,
) -> Index:
    """Write the sequences of all texts into `folder`, which is made; its index.

    name: the tokenizer's, for the index. resume: go on in a folder that an earlier run has begun with the same texts;
    if there is none, begin. watch: called now and then with the number of tokens that were added.

    Raises InputError for a folder that is finished, begun (without `resume`) or somebody else's, for texts or a
    tokenizer that are not those of the earlier run, for a text that is no string or holds a lone surrogate, and if
    there is no text or the folder cannot be written.

    >>> import tempfile
    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> from nanodistil.training.shards import read_shard
    >>> folder = Path(tempfile.mkdtemp()) / "data"
    >>> index = binarize(["Hello world!", " ", "Hi"], folder, DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    >>> index.sequences, index.empty, [array.tolist() for array in read_shard(folder, index, 0)]
    (2, 1, [[101, 7592, 2088, 999, 102, 101, 7632, 102], [0, 5, 8]])
    """
    folder = Path(folder)
    index = _begun(folder, _new_index(tokenizer, name), resume)
    source = iter(texts)
    _pass_over(source, index)
    ids: list[NDArray[np.generic]] = []
    lengths: list[NDArray[np.int64]] = []
    for batch in _batches(source):
        for text in batch:
            index.checksum = _checksum(text, index.checksum)
        pairs = [(text, None) for text in batch]
        flat, sizes = tokenizer.encoder.rows(pairs, frame=False, split_special=tokenizer.split_special_tokens).flat()
        full = sizes[sizes > 0]  # (S,)
        index.lines += len(sizes)
        index.empty += len(sizes) - len(full)
        ids.append(_framed(flat, full, index))
        lengths.append(full + 2)
        if watch is not None:
            watch(len(ids[-1]))
        if sum(map(len, ids)) >= SHARD:
            _close_shard(folder, index, ids, lengths)
    if any(map(len, ids)):
        _close_shard(folder, index, ids, lengths)
    if not index.shards:
        raise InputError(f"there is no text in {index.lines} lines")
    write_index(folder, index)
    (folder / UNFINISHED).unlink(missing_ok=True)
    return index


def fingerprint(tokenizer: Tokenizer) -> str:
    """What tells two tokenizers apart whose ids mean different things: SHA-256 of vocabulary and normalization."""
    added = tokenizer.encoder.added.tokens
    what = [
        sorted(tokenizer.get_vocab().items(), key=lambda item: item[::-1]),
        tokenizer.encoder.pieces.identity(),
        [(i, t.content, t.single_word, t.lstrip, t.rstrip, t.normalized, t.special) for i, t in sorted(added.items())],
        [*tokenizer.encoder.template.put_in(), tokenizer.split_special_tokens],
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _framed(flat: NDArray[Any], sizes: NDArray[np.int64], index: Index) -> NDArray[Any]:
    """(n,) ids of S texts, one after the other, with a token before each and one behind: -> (n + 2 S,)."""
    out = np.empty(len(flat) + 2 * len(sizes), index.dtype)
    ends = np.cumsum(sizes + 2)
    out[ends - sizes - 2], out[ends - 1] = index.cls_id, index.sep_id
    out[np.arange(len(flat)) + np.repeat(2 * np.arange(len(sizes)) + 1, sizes)] = flat
    return out


def _frame(tokenizer: Tokenizer, name: str) -> tuple[int, int]:
    """The tokens before and behind a text. Raises InputError if there are none, or more."""
    frame = tokenizer.encoder.template.frame()
    if frame is not None and frame.before and frame.after:
        return frame.before[1], frame.after[1]
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id  # a GPT-2 puts them in for nobody else
    if frame is None or first is None or last is None:
        raise InputError(
            f"{name or type(tokenizer).__name__}: has no one token to stand before a text and one behind it, as [CLS] "
            "and [SEP] do: sequences are not made without"
        )
    return first, last


def _new_index(tokenizer: Tokenizer, name: str) -> Index:
    pieces = tokenizer.encoder.pieces
    first, last = _frame(tokenizer, name)
    return Index(
        tokenizer=name,
        vocabulary=fingerprint(tokenizer),
        vocab_size=1 + max(tokenizer.get_vocab().values()),
        cls_id=first,
        sep_id=last,
        unk_id=pieces.vocabulary.get(pieces.unknown, tokenizer.unk_token_id),
        mask_id=tokenizer.mask_token_id,
        special_ids=sorted(set(tokenizer.all_special_ids)),
    )


def _begun(folder: Path, new: Index, resume: bool) -> Index:
    """The index to go on from: a new one in a new folder, or that of the earlier run. Raises InputError."""
    try:
        if (folder / INDEX).exists():
            raise InputError(f"{folder} holds a finished data set; name another folder, or remove it first")
        begun = (folder / UNFINISHED).exists()
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, and InputError is one
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder} cannot be made: {getattr(error, 'strerror', None) or error}") from None
    if not begun and others:
        raise InputError(f"{folder} is not empty (it has {min(others)}); name a new folder")
    old = read_index(folder, UNFINISHED) if begun else new
    if old.shards and not resume:
        raise InputError(f"{folder} holds the beginning of a data set; go on with resume=True (--resume) or remove it")
    if old.shards and old.vocabulary != new.vocabulary:
        raise InputError(f"{folder} was begun with another tokenizer ({old.tokenizer}); resume with that one")
    for pattern in (".ids-*", ".starts-*", f".{INDEX}.*", f".{UNFINISHED}.*"):
        for stray in folder.glob(pattern):  # of a run that was killed while it wrote
            stray.unlink()
    if not old.shards:
        write_index(folder, new, UNFINISHED)
    return old if old.shards else new


def _pass_over(source: Iterator[str], index: Index) -> None:
    """Read the lines that the whole shards came from. Raises InputError if they are not the same."""
    lines = checksum = 0
    for text in islice(source, index.lines):
        checksum = _checksum(text, checksum)
        lines += 1
    if (lines, checksum) != (index.lines, index.checksum):
        raise InputError(
            f"the first {index.lines} lines are not those that this data set was begun with; "
            "resume with the same texts in the same order, or begin again in a new folder"
        )


def _checksum(text: str, before: int) -> int:
    try:
        return zlib.crc32(text.encode() + b"\n", before)
    except AttributeError:
        raise InputError(f"a text must be a string, not {type(text).__name__} {excerpt(text)}") from None
    except UnicodeEncodeError as error:
        raise InputError(f"the text holds a lone surrogate at {error.start}; read it with errors='replace'") from None


def _batches(source: Iterator[str]) -> Iterator[list[str]]:
    """The texts in groups of BATCH characters or a little more."""
    batch: list[str] = []
    size = 0
    for text in source:
        batch.append(text)
        size += len(text) + 1
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _close_shard(folder: Path, index: Index, ids: list[NDArray[np.generic]], lengths: list[NDArray[np.int64]]) -> None:
    """Write what was gathered, then that it is there; and forget it."""
    sizes = np.concatenate(lengths)  # (S,)
    write_shard(folder, len(index.shards), np.concatenate(ids), sizes)
    index.shards.append([len(sizes), int(sizes.sum())])
    write_index(folder, index, UNFINISHED)
    ids.clear()
    lengths.clear()
