"""A GPT-2 is fine-tuned and measured on every task that its heads are for, by the command line."""

import json

import numpy as np
import pytest
from tiny_gpt2s import tiny_gpt2

from nanodistil import AutoTokenizer, DataCollatorForLanguageModeling, GPT2LMHeadModel, pipeline
from nanodistil.cli import main
from nanodistil.family.gpt2 import GPT2Config, GPT2ForSequenceClassification, GPT2ForTokenClassification, GPT2Model
from nanodistil.serve.served import loaded, spec
from nanodistil.training.tasks.causal_lm import CausalLM
from nanodistil.weights.errors import InputError

WORDS = ["the film", "a film", "in the film", "who was the"]
QUESTION = {"id": "1", "question": "what was it", "answers": [{"text": "film", "answer_start": 4}]}
FILES = {
    "classification": ("x.tsv", "sentence\tlabel\n" + "".join(f"{w}\t{'the' in w}\n" for w in WORDS * 4)),
    "token-classification": (
        "x.conll",
        "\n\n".join("\n".join(f"{word} {'B-X' if word == 'film' else 'O'}" for word in w.split()) for w in WORDS * 4),
    ),
    "question-answering": (
        "x.json",
        json.dumps({"data": [{"paragraphs": [{"context": "the film was", "qas": [QUESTION]}]}] * 8}),
    ),
    "causal-lm": ("x.txt", "the film was a film\n" * 40),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2") / "m", layers=2)


@pytest.mark.parametrize("task", FILES)
def test_it_learns(model, tmp_path, task):
    name, content = FILES[task]
    (tmp_path / name).write_text(content)
    words = [model, str(tmp_path / name), "32" if task == "causal-lm" else "24", str(tmp_path / "run")]
    names = ["--model", "--train", "--max-seq-length", "--out"]
    flags = [one for pair in zip(names, words, strict=True) for one in pair]
    flags += ["--backend", "numpy", "--learning-rate", "1e-2", "--num-train-epochs", "8", "--logging-steps", "1"]
    assert main(["finetune", task, *flags, *(["--doc-stride", "4"] if task == "question-answering" else [])]) == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    assert AutoTokenizer.from_pretrained(tmp_path / "run").add_prefix_space == (task == "token-classification")
    if task == "classification":
        classify = pipeline("text-classification", tmp_path / "run", backend="numpy")
        assert [one["label"] for one in classify(WORDS)] == [str("the" in word) for word in WORDS]


def test_blocks_of_a_file_lose_nothing(model, tmp_path):
    (tmp_path / "x.txt").write_text("the film\n\nwas a film\n" * 5)
    task, tokenizer = CausalLM(max_seq_length=16), AutoTokenizer.from_pretrained(model)
    rows = task.rows(task.read(tmp_path / "x.txt"), tokenizer, GPT2Config())
    assert tokenizer.decode(np.concatenate(rows)) == "the film\n\nwas a film\n" * 5
    assert {len(row) for row in rows[:-1]} == {16}
    loaded = GPT2LMHeadModel.from_pretrained(model, backend="numpy", dtype="float64")
    found = task.evaluate(loaded, tokenizer, task.read(tmp_path / "x.txt")).metrics
    losses = [float(loaded([row], labels=[row]).loss) * (len(row) - 1) for row in rows]
    assert found["tokens"] == sum(map(len, rows)) - len(rows) and found["blocks"] == len(rows)
    assert found["loss"] == pytest.approx(sum(losses) / found["tokens"], rel=1e-12)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]), rel=1e-12)
    one = CausalLM(16, limit=1).evaluate(loaded, tokenizer, task.read(tmp_path / "x.txt")).metrics
    assert one["blocks"] == 1
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(InputError, match="the texts are too short: there is no token behind another"):
        task.evaluate(loaded, tokenizer, ["a"])


def test_batches_without_a_padding_token_are_told_by_the_mask(model):
    config = GPT2Config(vocab_size=70, n_positions=8, n_embd=12, n_layer=1, n_head=2, initializer_range=0.5)
    classifier = GPT2ForSequenceClassification(config, backend="numpy", dtype="float64")
    both = classifier([[5, 6, 7], [8, 9, 0]], attention_mask=[[1, 1, 1], [1, 1, 0]]).logits
    alone = [classifier([row]).logits[0] for row in ([5, 6, 7], [8, 9])]
    np.testing.assert_allclose(both, alone, rtol=0, atol=1e-14)
    with pytest.raises(InputError, match="pass attention_mask, or one text at a time"):
        classifier([[5, 6, 7], [8, 9, 0]])


def test_a_collator_hides_nothing(model):
    tokenizer = AutoTokenizer.from_pretrained(model, pad_token="<|endoftext|>")
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False)([tokenizer(text) for text in ("the film", "a")])
    real = batch["attention_mask"] == 1
    assert not real.all() and (batch["labels"] == np.where(real, batch["input_ids"], -100)).all()


def test_it_is_served_as_what_it_is_asked_for(model):
    for name in (model, f"{model}:text-generation"):
        assert loaded(spec(name), backend="numpy").task == "text-generation"
    assert loaded(spec(f"{model}:feature-extraction"), backend="numpy").task == "feature-extraction"


def test_what_it_cannot_do_is_refused(model, tmp_path, capsys):
    (tmp_path / "x.txt").write_text("the film\n")
    data = ["--data", str(tmp_path / "x.txt")]
    for command, message in (
        (["evaluate", "masked-lm", "--model", model, *data], "there is no GPT2ForMaskedLM here, only DistilBert"),
        (["evaluate", "causal-lm", "--model", "nanodistil-mini", *data], "only GPT2LMHeadModel"),
        (["evaluate", "causal-lm", "--model", model, *data], "--max-seq-length 1024: must be from 4 to the model's 32"),
        (["fill-mask", "a", "--model", model], "there is no GPT2ForMaskedLM here"),
    ):
        assert main(command) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match="feature-extraction needs a folder, a hub id or"):
        pipeline("feature-extraction", GPT2LMHeadModel.from_pretrained(model, backend="numpy"), model)
    vectors = pipeline("feature-extraction", GPT2Model.from_pretrained(model, backend="numpy"), model)
    assert np.shape(vectors("the film")) == (1, 3, 20)
    tokens = pipeline("ner", tiny_gpt2(tmp_path / "t", GPT2ForTokenClassification), backend="numpy")
    assert tokens("") == [] and tokens(["the film", ""])[1] == []
