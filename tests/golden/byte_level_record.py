"""Regenerates tests/golden/byte_level.json from transformers' fast tokenizers of GPT-2 and RoBERTa.

    python tests/golden/byte_level_record.py        (needs the [parity] extra; seconds)

What is recorded: two small vocabularies with their merges, as the reference finds them; calls, with everything
a call can return; decoded texts; and one SHA-256 over ids and offsets of every 2003rd code point in context.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "byte_level.json"
LINES = ["Hello world, it's 2 o'clock; don't you think?", "naïve café in 漢字 and かな", "the théâtre  of 1234 things"]
SPECIALS = {"gpt2": ["<|endoftext|>"], "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "gpt2": [{"pad_token": "<|endoftext|>"}, {"pad_token": "<|endoftext|>", "add_prefix_space": True}],
    "roberta": [{}, {"add_prefix_space": True}, {"trim_offsets": False}],
}
OPTIONS["gpt2"].append({"add_bos_token": True, "pad_token": "<|endoftext|>"})
WORDS = {"is_split_into_words": True}
CALLS: list[tuple[Any, Any, dict[str, Any]]] = [
    ("Hello world", None, {}),
    (" Hello   world's \n theatre \t", "it's", {}),
    ("the <mask> of  <mask><s>x</s> <|endoftext|>  y", None, {}),
    ("", None, {}),
    ("a", "", {}),
    (["a", "the théâtre", " "], ["", "漢字 かな", "x"], {"padding": True}),
    (["\u3000é 'S 's 'll", "a\u00a0b\u2028c\x1cd\x85", "👍🏽 👩\u200d👩 e\u0301"], None, {"padding": True}),
    (["one two three four five", "six"], None, {"padding": True, "truncation": True, "max_length": 5}),
    (
        "one two <mask> four",
        None,
        {"truncation": True, "max_length": 6, "stride": 1, "return_overflowing_tokens": True},
    ),
    ("one two", "five six", {"truncation": True, "max_length": 9, "return_overflowing_tokens": True}),
    ("one two", "five six", {"truncation": True, "max_length": 9, "add_special_tokens": False}),
    ("one", "five six seven", {"truncation": "only_second", "max_length": 10}),
    (["Hello", " world", "", "'s", "é"], None, WORDS),
    ([["the", "x"], ["漢字"]], None, {**WORDS, "padding": True, "padding_side": "left"}),
    ("x" * 300, None, {}),
    ("ab12$$\n\n\n  c" * 4, None, {}),
]
ALL = {
    "return_token_type_ids": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "verbose": False,
}


def calls_of(options: dict[str, Any]) -> list[tuple[Any, Any, dict[str, Any]]]:
    return [call for call in CALLS if options.get("add_prefix_space") or not call[2].get("is_split_into_words")]


def decoded() -> list[list[int]]:
    """Rows of ids, most of which are no UTF-8."""
    return [[(7 * i * i + 31 * k) % 330 for i in range(k)] for k in range(40)]


def digest(tokenizer: Callable[..., Any]) -> str:
    characters = [chr(c) for c in range(0, 0x110000, 2003) if not 0xD800 <= c < 0xE000]
    parts = [f"a{c}1{c}.{c} {c}  {c}'s" for c in characters]
    batch = tokenizer(["".join(parts[i : i + 500]) for i in range(0, len(parts), 500)], return_offsets_mapping=True)
    found = [batch["input_ids"], [[list(span) for span in row] for row in batch["offset_mapping"]]]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def answers(tokenizer: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What is recorded of one tokenizer, as JSON says it."""
    made = []
    for text, pair, arguments in calls_of(options):
        batch = tokenizer(text, pair, **ALL, **arguments)
        rows = range(len(batch.encodings))
        made.append({**batch, "tokens": [batch.tokens(i) for i in rows], "word_ids": [batch.word_ids(i) for i in rows]})
    texts = [tokenizer.decode(ids, skip_special_tokens=bool(k % 2)) for k, ids in enumerate(decoded())]
    found: dict[str, Any] = json.loads(
        json.dumps({"options": options, "calls": made, "decoded": texts, "digest": digest(tokenizer)})
    )
    return found


def main() -> None:
    import tokenizers
    import transformers

    out: dict[str, Any] = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    classes = {"gpt2": transformers.GPT2TokenizerFast, "roberta": transformers.RobertaTokenizerFast}
    for name, cls in classes.items():
        small = tokenizers.ByteLevelBPETokenizer()
        small.train_from_iterator(LINES * 3, vocab_size=330, min_frequency=2, special_tokens=SPECIALS[name])
        with tempfile.TemporaryDirectory() as folder:
            files = small.save_model(folder)
            merges = Path(files[1]).read_text(encoding="utf-8").split("\n")[1:-1]
            tokens = sorted(small.get_vocab(), key=small.get_vocab().__getitem__)
            made = [answers(cls(*files, **options), options) for options in OPTIONS[name]]
            out[name] = {"tokens": tokens, "merges": merges, "answers": made}
    OUT.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(OUT.stat().st_size, "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
