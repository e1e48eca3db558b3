"""Text as it comes: streamers, to which generate() gives the prompt, each new token, and the end.

Half a word is held back until what follows shows that it is whole, and so are half a character's bytes. Names and
arguments are transformers'.
"""

from __future__ import annotations

from queue import Queue
from typing import Any, Self

import numpy as np

from nanodistil.backend import Ints
from nanodistil.weights.errors import InputError

CJK = (  # first and last code points of ideographs, which stand for themselves: no space will show that one is whole
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class BaseStreamer:
    """What generate() calls; base of a user's own."""

    def put(self, value: Ints) -> None:
        """First the prompts (S, T), then new tokens (S,); several at once where they were guessed ahead."""
        raise NotImplementedError

    def end(self) -> None:
        """No more comes."""
        raise NotImplementedError


class TextStreamer(BaseStreamer):
    """Prints the text of one sequence as it comes. skip_prompt: not the prompt's. others: of the tokenizer's decode.

    >>> from nanodistil import AutoTokenizer
    >>> streamer = TextStreamer(AutoTokenizer.from_pretrained("nanodistil-mini"))
    >>> streamer.put(np.array([[2023, 2003]]))  # this is
    this
    >>> streamer.put(np.array([2009])); streamer.end()  # it
    is it
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer, self.skip_prompt, self.decode_kwargs = tokenizer, skip_prompt, decode_kwargs
        self.token_cache: list[int] = []  # since the last line
        self.print_len = 0  # characters of their text that are out
        self.next_tokens_are_prompt = True

    def put(self, value: Ints) -> None:
        """See BaseStreamer. Raises InputError for several sequences."""
        value = np.asarray(value)
        if value.ndim > 1 and len(value) > 1:
            raise InputError("TextStreamer only supports batch size 1")
        prompt, self.next_tokens_are_prompt = self.next_tokens_are_prompt, False
        if prompt and self.skip_prompt:
            return
        self.token_cache.extend(value.reshape(-1).tolist())
        text = self.tokenizer.decode(self.token_cache, **self.decode_kwargs)
        if text.endswith("\n") or (text and any(first <= ord(text[-1]) <= last for first, last in CJK)):
            whole = text
        else:
            whole = text[: text.rfind(" ") + 1]
        out = whole[self.print_len :]
        self.print_len += len(out)
        if text.endswith("\n"):
            self.token_cache, self.print_len = [], 0
        self.on_finalized_text(out)

    def end(self) -> None:
        """See BaseStreamer."""
        text = self.tokenizer.decode(self.token_cache, **self.decode_kwargs) if self.token_cache else ""
        out = text[self.print_len :]
        self.token_cache, self.print_len, self.next_tokens_are_prompt = [], 0, True
        self.on_finalized_text(out, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Text that is whole; with stream_end no more comes."""
        print(text, flush=True, end="\n" if stream_end else "")


class TextIteratorStreamer(TextStreamer):
    """Gives the text to whoever iterates over it, in another thread than generate()'s.

    timeout: seconds to wait for the next piece, then queue.Empty.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: Queue[str | None] = Queue()
        self.stop_signal = None
        self.timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """See TextStreamer."""
        self.text_queue.put(text, timeout=self.timeout)
        if stream_end:
            self.text_queue.put(self.stop_signal, timeout=self.timeout)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        value = self.text_queue.get(timeout=self.timeout)
        if value is None:
            raise StopIteration
        return value
