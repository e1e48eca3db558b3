"""The text-generation pipeline and `nanodistil generate`: each text as it would be alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_gpt2s import tiny_gpt2

from nanodistil import InputError, pipeline
from nanodistil.cli import main
from nanodistil.generation.streaming import TextStreamer
from nanodistil.pipelines.text_generation import TextGenerationPipeline
from nanodistil.weights.errors import TooLongError

TEXTS = ["The film", "a", "", "The wool, the film.", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2"), positions=48)


@pytest.fixture(scope="module")
def pipe(folder):
    return pipeline("text-generation", model=folder, backend="numpy")


WAYS = [
    {"seed": 3, "max_new_tokens": 9},
    {"do_sample": False, "max_new_tokens": 9, "repetition_penalty": 1.3},
    {"num_beams": 3, "do_sample": False, "num_return_sequences": 2, "max_new_tokens": 7},
    {"seed": 3, "num_return_sequences": 3, "max_length": 30, "max_new_tokens": 8, "return_full_text": False},
]


@pytest.mark.filterwarnings("ignore:`max_new_tokens`")
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_text_is_continued_as_it_would_be_alone(pipe, way):
    together = pipe(TEXTS, **way)
    assert together == [pipe(text, **way) for text in TEXTS] == list(pipe(iter(TEXTS), **way))
    assert all(len(one) == way.get("num_return_sequences", 1) for one in together)
    beginning = "" if way.get("return_full_text") is False else TEXTS[0]
    assert together[0][0]["generated_text"].startswith(beginning)


def test_it_is_what_generate_gives(pipe):
    ids = pipe.tokenizer(TEXTS[3]).input_ids
    settings = {"do_sample": True, "temperature": 0.7, "max_new_tokens": 9, "seed": 4}
    wanted = pipe.model.generate([ids], **settings)[0].tolist()
    assert pipe(TEXTS[3], max_new_tokens=9, seed=4, return_tensors=True) == [{"generated_token_ids": wanted}]
    assisted = pipe(TEXTS[3], max_new_tokens=9, seed=4, return_tensors=True, assistant_model=pipe.model)
    assert assisted == [{"generated_token_ids": wanted}]


def test_defaults(pipe, folder, tmp_path):
    assert (pipe.generation_config.max_new_tokens, pipe.generation_config.temperature) == (256, 0.7)
    assert (
        len(pipe("a", return_tensors=True, eos_token_id=None)[0]["generated_token_ids"]) == 49
    )  # all there is room for
    task = {"text-generation": {"do_sample": False, "prefix": "The "}}
    other = Path(tiny_gpt2(tmp_path, task_specific_params=task))
    said = json.loads((other / "generation_config.json").read_text())
    (other / "generation_config.json").write_text(json.dumps({**said, "max_length": 9}))
    greedy = pipeline("text-generation", model=other, backend="numpy")
    assert greedy.generation_config.max_new_tokens is None and greedy.generation_config.do_sample is False
    prefix = len(greedy.tokenizer("The ").input_ids)
    found = greedy("film", return_tensors=True)[0]["generated_token_ids"]
    assert len(found) == 9 + prefix and greedy("film")[0]["generated_text"].startswith("film")


def test_stops_and_holes(pipe):
    text = pipe("The film", seed=1, max_new_tokens=30, eos_token_id=None, return_full_text=False)[0]["generated_text"]
    stop = text[3:5]
    cut = pipe("The film", seed=1, max_new_tokens=30, eos_token_id=None, return_full_text=False, stop_strings=[stop])
    assert stop in cut[0]["generated_text"] and text.startswith(cut[0]["generated_text"]) and len(text) > len(cut)
    long = "The film " * 20
    with pytest.raises(TooLongError, match="the input: a prompt has"):
        pipe(long)
    found = pipe(long, handle_long_generation="hole", max_new_tokens=8, return_tensors=True)
    assert len(found[0]["generated_token_ids"]) == 48


WRONG = [
    ({"top_kk": 3}, "did you mean top_k"),
    ({"return_full_text": True, "return_tensors": True}, "give one of them"),
    ({"return_dict_in_generate": True}, "for scores call generate"),
    ({"handle_long_generation": "cut"}, "expected None or 'hole'"),
    ({"temperature": -1.0, "do_sample": True}, "strictly positive"),
    ({"penalty_alpha": 0.5, "do_sample": False}, "moved it out"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_cannot_be(pipe, options, said):
    with pytest.raises(InputError, match=said):
        pipe("a", **options)


def test_chats_and_streams_of_several(pipe):
    with pytest.raises(InputError, match="chats are not continued"):
        pipe([[{"role": "user", "content": "hello"}]])
    with pytest.raises(InputError, match="a streamer is for one text"):
        pipe(["a", "b"], streamer=TextStreamer(pipe.tokenizer), max_new_tokens=2)
    assert isinstance(pipe, TextGenerationPipeline)


def run(capsys, *words):
    code = main(["generate", "--backend", "numpy", *map(str, words)])
    return code, capsys.readouterr()


def test_the_verb_streams_one_text(capsys, folder, pipe):
    text = pipe("The film", seed=5, max_new_tokens=9, do_sample=True)[0]["generated_text"]
    code, shown = run(capsys, "--model", folder, "--seed", 5, "--max-new-tokens", 9, "The film")
    assert code == 0 and shown.out.rstrip("\n") == text.rstrip("\n")
    code, shown = run(capsys, "--model", folder, "--greedy", "--new-text", "--max-new-tokens", 3, "The film")
    assert code == 0 and not shown.out.startswith("The film")


def test_the_verb_answers_many(capsys, folder, pipe):
    options = ["--model", folder, "--seed", 5, "--n", 2, "--sample", "--max-new-tokens", 4, "--jsonl"]
    code, shown = run(capsys, *options, "The film", "a")
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert code == 0 and [line["text"] for line in lines] == ["The film", "a"]
    assert [line["result"] for line in lines] == pipe(
        ["The film", "a"], seed=5, num_return_sequences=2, max_new_tokens=4
    )
    code, shown = run(capsys, "--model", folder, "--beams", 2, "--max-new-tokens", 4, "The film", "a")
    assert code == 0 and len(shown.out.splitlines()) >= 2
    code, shown = run(capsys, "--model", folder, "--temperature", "-1", "--sample", "a")
    assert code == 2 and "strictly positive" in shown.err


ENDLESS = """
import sys, time
from nanodistil.cli import generate, main
from nanodistil.heads.causal_lm import ForCausalLM
plain = ForCausalLM.decoding
def slow(self, use_cache=True):
    made = plain(self, use_cache)
    feed = made.feed
    def fed(*given, **others):
        print("fed", file=sys.stderr, flush=True)
        time.sleep(0.05)
        return feed(*given, **others)
    made.feed = fed
    return made
ForCausalLM.decoding = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to another process")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_keeps_the_text(folder, tmp_path):
    words = ["generate", "--backend", "numpy", "--model", str(folder), "--max-new-tokens", "40", "--json", "The film"]
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    command = [sys.executable, script, *words, "--min-new-tokens", "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    text = json.loads(out)[0]["result"][0]["generated_text"]
    assert process.returncode == 130 and text.startswith("The film")
    assert len("The film") < len(text) < 48 * 8
