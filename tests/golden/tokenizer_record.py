"""Regenerates tests/golden/tokenizer.json from transformers' fast tokenizer.

    python tests/golden/tokenizer_record.py        (needs the [parity] extra; a minute)

What is recorded, all with the vocabulary of weights/nanodistil-mini: calls, with everything a call can return; decoded
texts; and for the characters of each Unicode plane one SHA-256 over the ids and offsets of every code point in it.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VOCAB = HERE.parents[1] / "nanodistil" / "weights" / "nanodistil-mini" / "vocab.txt"
OUT = HERE / "tokenizer.json"

CALLS: list[tuple[Any, Any, dict[str, Any]]] = [
    ("Hello I'm a [MASK] model.", None, {}),
    ("Replace me by any text you'd like.", None, {}),
    ("Hello, my dog is cute", None, {}),
    ("A, naïve [MASK] AllenNLP sentence.", None, {}),
    ("one two", "three unaffable", {}),
    ("", None, {}),
    ("a", "", {}),
    (["a"], [""], {}),
    (["ΣΑΣ İstanbul ǅ", "e\u0301\u0323\u302ea ẛ̣ \u0344x", "x\0y\u200dz\xadw \ufffd"], None, {"padding": True}),
    (["한국어 漢字kana かな", "\U0002b820 \U0002b91f \u166d \u1734 \u061d"], None, {"padding": True}),
    ([("[MASK][MASK]", "[mask] [MASK"), ("a\u2028b\x85c\x0bd\x1ce", "$5.00 ~100% «go» ‘no’")], None, {"padding": True}),
    (["a" * 100, "a" * 101, "un" * 50], None, {}),
    (["one two three four five", "six"], None, {"padding": True, "truncation": True, "max_length": 5}),
    (["one two three", "six"], None, {"padding": "max_length", "max_length": 7}),
    ("one two three four", "five six seven eight", {"truncation": True, "max_length": 8}),
    ("one two", "five six seven eight", {"truncation": True, "max_length": 6}),
    ("one two three four", "five six", {"truncation": "only_first", "max_length": 6}),
    ("one two", "five six seven eight", {"truncation": "only_second", "max_length": 7}),
    ("one two", "five six seven eight", {"truncation": True, "max_length": 2}),
    ("one two", "three", {"add_special_tokens": False}),
]
DECODED = [
    [101, 7592, 1045, 1005, 1049, 1037, 2535, 2944, 1012, 102],
    [13749, 2098, 1060, 1012],
    [2079, 2025, 2123, 1005, 1056, 999, 1029, 1010, 103, 100, 0],
    [99999, 1055, 1005, 1055, 1005, 2310, 1005, 2128],
    [],
]
ALL = {
    "return_token_type_ids": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "verbose": False,
}


def digests(tokenizer: Callable[..., Any]) -> dict[str, str]:
    """Context and Unicode plane -> SHA-256 over ids and offsets of its code points, 1,024 a text."""
    out = {}
    for context in ("a{}b", "{}\u0323\u302e\u0301"):
        for plane in range(17):
            points = [chr(c) for c in range(plane << 16, (plane + 1) << 16) if not 0xD800 <= c < 0xE000]
            digest = hashlib.sha256()
            for start in range(0, len(points), 1024):
                text = " ".join(context.format(c) for c in points[start : start + 1024])
                result = tokenizer(text, return_offsets_mapping=True, verbose=False)
                digest.update(json.dumps([result["input_ids"], [list(o) for o in result["offset_mapping"]]]).encode())
            out[f"{context} {plane}"] = digest.hexdigest()
    return out


def recorded(tokenizer: Any) -> Iterator[dict[str, Any]]:
    for text, pair, arguments in CALLS:
        result = tokenizer(text, pair, **ALL, **arguments)
        rows = 1 if isinstance(text, str) else len(text)
        views = {
            name: [getattr(result, name)(i) for i in range(rows)] for name in ("tokens", "word_ids", "sequence_ids")
        }
        yield {"text": text, "pair": pair, "arguments": arguments, "result": dict(result), **views}


def main() -> None:
    import tokenizers
    import transformers

    tokenizer = transformers.DistilBertTokenizerFast(vocab_file=str(VOCAB))
    content = {
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "calls": list(recorded(tokenizer)),
        "decoded": [
            [ids, skip, clean, tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=clean)]
            for ids in DECODED
            for skip in (False, True)
            for clean in (False, True)
        ],
        "digests": digests(tokenizer),
    }
    OUT.write_text(json.dumps(content, ensure_ascii=False, indent=0, separators=(",", ":")) + "\n", encoding="utf-8")
    print(OUT, OUT.stat().st_size, "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
