"""Perplexity by word: `python recipes/per_word.py MODEL FILE...`, which vocabularies of any size can be compared by.

The probability of a file, spread over its words, as they stand between spaces, and its line ends, one each: the count
that figures for WikiText-2 go by. Each line is scored by itself, between two `<|endoftext|>`, which is how `nanodistil
binarize` shows lines to a model that learns: what stands for a line's end is the second. Empty lines count for
nothing. The texts are taken as they are, `<unk>` and ` @-@ ` included.
"""

import math
import sys

import nanodistil
from nanodistil.pipelines.scoring import ScoringPipeline
from nanodistil.reading.forms import texts_in
from nanodistil.reading.lines import lines_of


def main(model: str, files: list[str]) -> None:
    write = nanodistil.pipeline("text-generation", model)
    end = write.tokenizer.eos_token
    score = ScoringPipeline(write.model, write.tokenizer)
    for file in files:
        with lines_of(file) as lines:
            texts = [text for text in texts_in(lines, file) if text.strip()]
        found = score([f"{end}{text.strip()}{end}" for text in texts])
        total, tokens = sum(one["log_prob"] for one in found), sum(one["tokens"] for one in found)
        words = sum(len(text.split()) + 1 for text in texts)
        by_word, by_token = math.exp(-total / words), math.exp(-total / tokens)
        print(f"{by_word:.0f} a word ({words:,} words), {by_token:.1f} a token ({tokens:,} tokens)")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
