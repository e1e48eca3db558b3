"""`nanodistil distill`: a student learns from a teacher. The flags are upstream's train.py's, with dashes."""

from __future__ import annotations

import argparse
import shlex
from functools import partial

from nanodistil.cli import training

HELP = "train a small model to say what a large one says"
EXAMPLES = """examples:
  nanodistil binarize wiki.txt --out ./wiki
  nanodistil extract-student ./bert-base-uncased ./student
  nanodistil distill --data-file ./wiki --student-pretrained-weights ./student --teacher-name ./bert-base-uncased \\
      --alpha-ce 5 --alpha-mlm 2 --alpha-cos 1 --dump-path ./distilled
      the same with --resume goes on after Ctrl-C or a kill; mpirun -n 2 before it shares the work
  nanodistil distill --data-file ./wiki --student-config ./config.json --tokenizer-name ./student \\
      --alpha-ce 0 --dump-path ./pretrained
      without a teacher: masked words alone
  nanodistil binarize openwebtext.txt --out ./web --tokenizer ./gpt2
  nanodistil extract-student ./gpt2 ./student
  nanodistil distill --data-file ./web --student-pretrained-weights ./student --teacher-name ./gpt2 \\
      --alpha-ce 5 --alpha-clm 2 --alpha-cos 1 --dump-path ./distilled
      a GPT-2 learns the next word
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags that are not given are not in the namespace: their defaults stand in training/distill.py."""
    option = partial(training.option, parser)
    option("--dump-path", "the folder of the run and of the student it makes", required=True, metavar="DIR")
    option("--data-file", "the texts, a folder that nanodistil binarize made", required=True, metavar="DIR")
    option("--student-pretrained-weights", "the student to begin from: folder or hub id", metavar="M")
    option("--student-config", "a config.json instead: a student with fresh weights", metavar="FILE")
    families = ["bert", "distilbert", "gpt2", "roberta"]
    option("--student-type", "as its config says, or it is an error", choices=families)
    option("--teacher-name", "the teacher, with its language modelling head: folder or hub id", metavar="M")
    option("--teacher-type", "if its config does not say, as old ones do not", choices=families)
    option("--tokenizer-name", "the tokenizer, where neither student nor teacher has it with them", metavar="M")
    option("--temperature", "of both softmaxes of the soft targets (default 2.0)", float)
    terms = {
        "ce": "soft targets",
        "mlm": "masked words",
        "clm": "next words, of a GPT-2 in place of masked ones",
        "mse": "logits' squared error",
        "cos": "hidden states' cosine",
    }
    for term, what in terms.items():
        option(f"--alpha-{term}", f"share of the {what} (default {0.5 if term in ('ce', 'mlm', 'clm') else 0})", float)
    option("--mlm", "upstream's: the student learns masked words, as any but a GPT-2 does", bool)
    option("--restrict-ce-to-mask", "soft targets, and squared error, at masked positions only", bool)
    option("--mlm-mask-prop", "share of the tokens that are chosen (default 0.15)", float)
    option("--word-mask", "share of those that become [MASK] (default 0.8)", float)
    option("--word-keep", "share that stays (default 0.1)", float)
    option("--word-rand", "share that becomes a random word (default 0.1)", float)
    option("--mlm-smoothing", "how much rather rare words are chosen; 0: all alike (default 0.7)", float)
    option("--token-counts", "of nanodistil token-counts (default: counted now)", metavar="FILE")
    option("--freeze-pos-embs", "leave the position embeddings as they are", bool)
    option("--n-epoch", "how often all texts are seen (default 3)", int)
    option("--max-steps", "optimiser steps, instead of --n-epoch", int)
    option("--batch-size", "texts in a micro-batch (default 5)", int)
    option("--max-length", "tokens in a text, longer ones are cut in pieces (default: the student's positions)", int)
    option("--no-group-by-size", "do not put texts of like length in a batch", bool, dest="group_by_size",
           action="store_false")  # fmt: skip
    option("--warmup-prop", "share of the steps with a rising learning rate (default 0.05)", float)
    training.add_step_arguments(option, 50, "5e-4", "1e-6", 5, ("order, masks and dropout", 56))
    option("--log-interval", "steps between two lines of the log (default 500)", int)
    option("--checkpoint-interval", "steps between two checkpoints (default 4000)", int)
    option("--checkpoint-minutes", "and minutes (default 15)", float)
    option("--save-epochs", "also keep the student after each epoch, in model_epoch_0 and so on", bool)
    training.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, with a line on the terminal; then say where the student is."""
    training.threads(getattr(args, "threads", None))
    from nanodistil.training.distill import Options, distill

    options = training.settings_of(args, Options)

    def end(_: object) -> str:
        print(options.dump_path)
        model = shlex.quote(str(options.dump_path))
        return f"nanodistil finetune classification --model {model} --train FILE --out RUN"

    return training.train(args, partial(distill, options), end)
