"""What the official GPT-2 and DistilGPT2 write, as transformers' documentation and tests have it; where they lie."""

import pytest

from nanodistil import AutoModelForCausalLM, AutoTokenizer
from nanodistil.weights.errors import NanoDistilError

NAMES = {"distilgpt2": "distilbert/distilgpt2", "gpt2": "openai-community/gpt2"}
TEXTS = [
    ("distilgpt2", "I'm not going to", " be able to do that. I'm going to be able to do that", {}),
    (
        "distilgpt2",
        "I'm not going to",
        " be able to do that. I'll just have to go out and play",
        {"repetition_penalty": 1.1},
    ),
    ("distilgpt2", "Today I", "'m not sure if I'm going to be able to do it.", {}),
    (
        "distilgpt2",
        "Today I",
        "'m not sure if I can get a better understanding of the nature of this issue",
        {"no_repeat_ngram_size": 2},
    ),
    ("distilgpt2", "A sequence: 1, 2, 3", ", 4, 5, 6, 7, 8", {"max_new_tokens": 10}),
]


def official(name):
    try:
        source = {"local_files_only": True}
        return (
            AutoModelForCausalLM.from_pretrained(NAMES[name], **source),
            AutoTokenizer.from_pretrained(NAMES[name], **source),
        )
    except NanoDistilError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "prompt", "wanted", "settings"), TEXTS)
def test_texts(name, prompt, wanted, settings):
    model, tokenizer = official(name)
    ids = tokenizer([prompt]).input_ids
    settings = {"do_sample": False, "max_new_tokens": 20, **settings}
    text = tokenizer.decode(model.generate(ids, **settings)[0, len(ids[0]) :])
    assert text.startswith(wanted)


def test_ids():
    model, _ = official("gpt2")
    wanted = [
        464,
        3290,
        373,
        1043,
        287,
        257,
        2214,
        1474,
        262,
        16246,
        286,
        2688,
        290,
        2688,
        27262,
        13,
        198,
        198,
        464,
        3290,
    ]
    assert model.generate([[464, 3290]], do_sample=False, max_length=20)[0].tolist() == wanted


def test_a_padded_batch():
    model, tokenizer = official("gpt2")
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    batch = tokenizer(["Hello, my dog is a little", "Today, I"], padding=True)
    found = model.generate(batch.input_ids, attention_mask=batch.attention_mask, do_sample=False, max_new_tokens=15)
    text = tokenizer.decode(found[0], skip_special_tokens=True)
    assert text.startswith("Hello, my dog is a little bit of a mess. I'm not sure if he's going")
