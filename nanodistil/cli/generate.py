"""`nanodistil generate "Today I"`: how does this text go on?

One text is written on the terminal word by word. Ctrl-C then ends the text and not the command: what is there so far is
the answer, on the terminal as in JSON, with the exit code 130; a second one ends the command.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.cli.interrupts import CODE
from nanodistil.cli.parsing import number, share, whole
from nanodistil.reading.records import Record
from nanodistil.weights.errors import InputError

HELP = "write texts on: greedily, by sampling, or with beams"
EXAMPLES = """examples:
  nanodistil generate "Today I"
  nanodistil generate --greedy --max-new-tokens 20 "A sequence: 1, 2, 3"
  nanodistil generate --n 3 --seed 7 --top-p 0.9 --jsonl - < prompts.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text to write on"})
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--greedy", action="store_true", help="the likeliest token (default: what the model says, or draw)"
    )
    way.add_argument("--sample", action="store_true", help="draw tokens, also with --beams")
    parser.add_argument("--beams", type=whole(1), metavar="N", help="search with N texts side by side")
    parser.add_argument("--n", type=whole(1), default=1, metavar="N", help="how many answers a text (default 1)")
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of draws: a text then always has the same answers")
    parser.add_argument(
        "--max-new-tokens", type=whole(1), metavar="N", help="tokens at most (default: as the model says, else 256)"
    )
    parser.add_argument("--min-new-tokens", type=whole(1), metavar="N", help="tokens at least")
    parser.add_argument("--temperature", type=number, metavar="X", help="below 1 the likely is likelier (default 0.7)")
    parser.add_argument("--top-k", type=whole(0), metavar="K", help="draw among the K best tokens (default 50; 0: all)")
    parser.add_argument("--top-p", type=share, metavar="P", help="draw among the best with this probability together")
    parser.add_argument("--min-p", type=share, metavar="P", help="draw among those with this share of the best one's")
    parser.add_argument("--typical-p", type=share, metavar="P", help="draw among the most typical tokens")
    parser.add_argument("--repetition-penalty", type=number, metavar="X", help="above 1 tokens are less likely again")
    parser.add_argument("--no-repeat-ngram-size", type=whole(1), metavar="N", help="no run of N tokens twice")
    parser.add_argument("--stop", action="append", metavar="TEXT", help="end at this text; repeatable")
    parser.add_argument("--new-text", action="store_true", help="without the prompt")
    parser.add_argument(
        "--explain", action="store_true", help="of one text: what every processor did to the scores, token by token"
    )
    results.add_arguments(parser)
    loading.add_arguments(parser, default="distilbert/distilgpt2")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import answer, asking

    options = options_of(args)
    if args.explain:
        return _explained(args, options)
    alone = len(args.inputs) == 1 and args.inputs[0] != "-" and args.input is None
    shown = alone and args.n == 1 and args.beams is None and not (args.json or args.jsonl or args.output)
    with results.Results(args, table) as out:
        pipe = loading.load("text-generation", args)
        if not alone:
            answer(args, records.chunks(args, ["text"]), asking(pipe, options), out)
            return 0
        with ending() as ended:
            options["stopping_criteria"] = [ended]
            if shown:
                stream(pipe, args.inputs[0], options, args.new_text)
            else:
                answer(args, records.chunks(args, ["text"]), asking(pipe, options), out)
    return CODE if ended.asked else 0


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """Of the pipeline's call."""
    named = {
        "max_new_tokens": args.max_new_tokens, "min_new_tokens": args.min_new_tokens, "temperature": args.temperature,
        "top_k": args.top_k, "top_p": args.top_p, "min_p": args.min_p, "typical_p": args.typical_p,
        "repetition_penalty": args.repetition_penalty, "no_repeat_ngram_size": args.no_repeat_ngram_size,
        "seed": args.seed, "stop_strings": args.stop, "num_beams": args.beams,
    }  # fmt: skip
    options = {name: value for name, value in named.items() if value is not None}
    if args.greedy or args.sample or args.beams is not None:
        options["do_sample"] = args.sample
    return {**options, "num_return_sequences": args.n, "return_full_text": not args.new_text}


def _explained(args: argparse.Namespace, options: dict[str, Any]) -> int:
    """One text, and how each of its tokens was chosen."""
    import json
    import shutil

    if len(args.inputs) != 1 or args.inputs[0] == "-" or args.input is not None or args.output or args.jsonl:
        raise InputError("--explain takes one text, and prints it or --json")
    pipe = loading.load("text-generation", args)
    from nanodistil.lessons.choosing import choose

    found = choose(pipe, args.inputs[0], **options)
    width = shutil.get_terminal_size((100, 24)).columns
    print(json.dumps(found.as_dict(), indent=1) if args.json else found.told(width))
    return 0


class Ending:
    """A criterion by which every text ends that is being written, once Ctrl-C was pressed."""

    asked = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> bool:
        """See StoppingCriteria."""
        return self.asked

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """Raises KeyboardInterrupt the second time."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def ending() -> Iterator[Ending]:
    """Have Ctrl-C end texts. It stays ignored where it was."""
    ended = Ending()
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield ended
        return
    signal.signal(signal.SIGINT, ended.interrupted)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGINT, before)


def stream(pipe: Any, text: str, options: dict[str, Any], new_text: bool) -> None:
    """Write one text on standard output as it comes."""
    from nanodistil.generation.streaming import TextStreamer

    shown = TextStreamer(pipe.tokenizer, skip_prompt=new_text, skip_special_tokens=True)
    pipe(text, streamer=shown, **options)


def table(record: Record, answer: Any) -> str:
    """A text's answers, readable."""
    return "\n".join(one["generated_text"] for one in answer)
