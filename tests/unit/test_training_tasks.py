"""Tasks to fine-tune on and to evaluate: what files may look like, what is learned of them, and that it is learned."""

import bz2
import json
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny_folders import tiny_folder

from nanodistil import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertTokenizer,
    InputError,
    losses,
    pipeline,
)
from nanodistil.cli import main
from nanodistil.training import metrics, squad
from nanodistil.training.answer_distillation import AnswerDistillation, said
from nanodistil.training.binarize import binarize
from nanodistil.training.evaluate import evaluate, task_of
from nanodistil.training.finetune import Options, finetune
from nanodistil.training.part import load_model
from nanodistil.training.tasks import Evaluation
from nanodistil.training.trainee import Trainee

SURE = {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0, "seq_classif_dropout": 0.0}
SENTENCES = [("a good film", "yes"), ("the bad film .", "no"), ("this was good ?", "yes"), ("who was bad", "no")]
CONTEXT = "the film was good . a bad example was in the film , this is b"
QUESTIONS = [("who was good ?", "film"), ("what was bad ?", "a bad example"), ("what is b ?", "this")]


@pytest.fixture
def file(tmp_path):
    def file(name, text):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else "".join(json.dumps(row) + "\n" for row in text), "utf-8")
        return str(path)

    return file


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return DistilBertTokenizer.from_pretrained(tiny_folder(tmp_path_factory.mktemp("words"), DistilBertForMaskedLM))


def squad_json(questions=QUESTIONS, context=CONTEXT):
    qas = [
        {"id": str(i), "question": q, "answers": [{"text": a, "answer_start": context.index(a)}] if a else []}
        for i, (q, a) in enumerate(questions)
    ]
    return json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]})


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


# ------------------------------------------------------------------------------------------------------------ reading


def test_the_columns_of_glue_are_known(file):
    task = task_of("classification")
    layouts = {
        "sentence\tlabel\na\t1\n": ("a", None, "1"),
        "index\tsentence1\tsentence2\tlabel\n7\ta\tb\tnot_entailment\n": ("a", "b", "not_entailment"),
        "index\tquestion\tsentence\tlabel\n7\ta\tb\tentailment\n": ("a", "b", "entailment"),
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\ta\tb\t0\n": ("a", "b", "0"),
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t8\t9\ta\tb\n": ("a", "b", "1"),
        "index\tsentence1\tsentence2\tscore\n0\ta\tb\t5.000\n": ("a", "b", "5.000"),
        "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\ta\tb\tx\tneutral\n1\tc\td\tx\t-\n": ("a", "b", "neutral"),
    }
    for text, expected in layouts.items():
        (one,) = task.read(file("x.tsv", text))
        assert one[1:] == expected
    (one,) = task.read(file("x.csv", 'text,label\n"a, b",no\n'))
    assert one == ("line 2 of " + one.place[10:], "a, b", None, "no")
    assert task.read(file("x.jsonl", [{"text": "a", "label": 1}]))[0].label == 1
    cola = task_of("classification", task_name="cola")
    assert cola.read(file("x.tsv", "gj04\t1\t\tour friends\n"))[0][1:] == ("our friends", None, "1")
    assert cola.read(file("x.tsv", "our friends\t1\n"))[0][1:] == ("our friends", None, "1")
    columns = task_of("classification", columns=("sentence=body", "label=2"), no_header=False)
    assert columns.read(file("x.tsv", "body\tkind\na\tb\n"))[0][1:] == ("a", None, "b")
    refused(lambda: task.read(file("x.tsv", "a b\t1\nc\t0\n")), "--column", "--no-header", "'a b'")
    refused(lambda: task.read(file("x.txt", "a\n")), "--format")
    refused(lambda: task.read(file("x.tsv", "")), "empty")
    refused(lambda: task.read(file("x.tsv", "sentence\tlabel\n")), "no examples")
    refused(lambda: task.read(file("x.tsv", "sentence\tlabel\na\n")), "line 2", "columns")
    refused(lambda: task.read(file("x.jsonl", [{"text": 3, "label": 1}])), "line 1", "text")
    refused(lambda: task_of("classification", columns=("body",)).read(file("x.tsv", "sentence\tlabel\n")), "--column")


def test_the_kind_of_problem_is_told_from_the_labels(file):
    task, config = task_of("classification"), DistilBertConfig()

    def made(*labels, task=task):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return task.config(task.read(file("x.jsonl", [{"text": "a", "label": label} for label in labels])), config)

    single = {"problem_type": "single_label_classification"}
    assert made("no", "yes", "no") == {**single, "id2label": {0: "no", 1: "yes"}}
    assert made(1, 0) == {**single, "id2label": {0: "LABEL_0", 1: "LABEL_1"}}
    assert made(5, 10, 1) == {**single, "id2label": {0: "1", 1: "5", 2: "10"}}
    assert made(1.5, 2) == {"problem_type": "regression", "id2label": {0: "LABEL_0"}}
    assert made(True, False) == {**single, "id2label": {0: "False", 1: "True"}}
    several = {"problem_type": "multi_label_classification"}
    assert made(["x"], [], ["y", "x"]) == {**several, "id2label": {0: "x", 1: "y"}}
    sst2 = task_of("classification", task_name="sst2")
    assert made(1, 0, task=sst2) == {**single, "id2label": {0: "negative", 1: "positive"}}
    stsb = task_of("classification", task_name="stsb")
    assert made("3", "5", task=stsb)["problem_type"] == "regression"
    mine = task_of("classification", labels=("B", "A"))
    assert made("A", "B", task=mine)["id2label"] == {0: "B", 1: "A"}
    refused(lambda: made("A", "C", task=mine), "'C'")
    for odd in ({"x": 1}, " ", [["x"]], [None]):
        refused(lambda odd=odd: made("A", odd), "line 2", "a label is needed")
    refused(lambda: made("A", ["x"]), "line 2", "not a list")
    refused(lambda: made(["x"], task=sst2), "line 1", "not a list")
    refused(lambda: task.read(file("x.tsv", "text\tlabel\na\t\n")), "line 2", "a label is needed")
    trained = DistilBertConfig(id2label={0: "yes", 1: "no"})  # a model's own order stays
    assert (
        task.config(task.read(file("x.tsv", "text\tlabel\na\tno\nb\tyes\n")), trained)["id2label"] == trained.id2label
    )


def test_labels_are_found_by_name_or_number(file, tokenizer):
    task = task_of("classification")
    config = DistilBertConfig(id2label={0: "no", 1: "yes"}, problem_type="single_label_classification")
    rows = task.rows(
        task.read(file("x.jsonl", [{"text": "a", "label": x} for x in ("yes", 0, "1")])), tokenizer, config
    )
    assert [row.label for row in rows] == [1, 0, 1]
    refused(
        lambda: task.rows(task.read(file("x.tsv", "text\tlabel\na\tmaybe\n")), tokenizer, config), "line 2", "maybe"
    )
    regression = DistilBertConfig(id2label={0: "x"}, problem_type="regression")
    for label in ("b", "nan", "-inf"):
        data = file("x.tsv", f"text\tlabel\na\t0.5\na\t{label}\n")
        refused(lambda data=data: task.rows(task.read(data), tokenizer, regression), "line 3", label, "number")
    several = DistilBertConfig(id2label={0: "x", 1: "y"}, problem_type="multi_label_classification")
    (row,) = task.rows(task.read(file("x.jsonl", [{"text": "a", "label": ["y"]}])), tokenizer, several)
    assert row.label.tolist() == [0, 1]
    refused(lambda: task.rows(task.read(file("x.tsv", "text\tlabel\na\ty\n")), tokenizer, several), "list of labels")


def test_names_that_are_numbers_are_names(file, tokenizer):
    """1 is not class number 1 where the classes are called 0 and 7, in learning and in measuring."""
    data = file("x.tsv", "text\tlabel\na\t0\nb\t1\n")
    for names in (("0", "7"), ("7", "0"), ("-1", "0"), ("2.0", "7")):
        task = task_of("classification", labels=names)
        refused(lambda task=task: task.config(task.read(data), DistilBertConfig()), "is not among", "by name alone")
    named = DistilBertConfig(id2label={0: "0", 1: "7"}, problem_type="single_label_classification")
    for labels in ((), ("0", "7")):
        task = task_of("classification", labels=labels)
        refused(lambda task=task: task.rows(task.read(data), tokenizer, named), "line 3", "'1'", "0, 7")
    task = task_of("token-classification", labels=("0", "7"))
    words = file("x.conll", "a 0\nb 1\n")
    refused(lambda: task.config(task.read(words), DistilBertConfig()), "'1'", "by name alone")
    refused(lambda: task.rows(task.read(words), tokenizer, named), "'1'")
    for names in (("a", "a"), ("a", ""), ("a",)):
        for name in ("classification", "token-classification"):
            refused(lambda names=names, name=name: task_of(name, labels=names), "label")


def test_numbers_number_the_names_that_are_given(file, tokenizer):
    """Whatever the order in which a model has them: GLUE's numbers and the classes of a model from the hub."""
    hub = DistilBertConfig(id2label={0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"})
    task = task_of("classification", task_name="mnli")
    data = task.read(file("x.tsv", "sentence1\tsentence2\tlabel\na\tb\t0\na\tb\tneutral\na\tb\t2\n"))
    assert [row.label for row in task.rows(data, tokenizer, hub)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("classification", "text\tlabel\na\tx\nb\tx\n", "text\tlabel\na\tx\nb\ty\n"),
        ("token-classification", "a O\n\nb O\n", "a O\n\nb B-X\n"),
    ],
)
def test_one_class_alone_cannot_be_learned(file, name, one, two):
    task, named = task_of(name), task_of(name, labels=("x", "O", "y"))
    refused(lambda: task.config(task.read(file("x.tsv", one)), DistilBertConfig()), "nothing to tell apart", "--labels")
    assert len(task.config(task.read(file("y.tsv", two)), DistilBertConfig())["id2label"]) == 2
    with pytest.warns(UserWarning, match="all examples have the label '[xO]', of 3"):
        assert len(named.config(named.read(file("z.tsv", one)), DistilBertConfig())["id2label"]) == 3


def test_one_answer_for_all_is_said(file):
    lists = task_of("classification")
    examples = lists.read(file("x.jsonl", [{"text": "a", "label": ["x"]}, {"text": "b", "label": []}]))
    with pytest.warns(UserWarning, match="multi_label"):
        assert lists.config(examples, DistilBertConfig())["id2label"] == {0: "x"}  # there, or not there
    numbers = lists.read(file("y.jsonl", [{"text": "a", "label": 0.5}] * 2))
    with pytest.warns(UserWarning, match=r"all examples have the number 0\.5"):
        lists.config(numbers, DistilBertConfig())
    choices = task_of("multiple-choice")
    same = choices.read(file("z.jsonl", [{"prompt": "a", "choices": ["b", "c"], "label": 1}] * 2))
    with pytest.warns(UserWarning, match="choice 1 is the right one"):
        choices.config(same, DistilBertConfig())
    alone = choices.read(file("w.jsonl", [{"prompt": "a", "choices": ["b"], "label": 0}]))
    refused(lambda: choices.config(alone, DistilBertConfig()), "nothing to choose")


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_a_row_of_other_length_is_refused(file, name):
    """One comma without quotes would make half a text, or another label."""
    mark = "," if name == "x.csv" else "\t"
    for row in (["b", " and more", "yes"], ["b"], ["b", "yes", ""]):
        rows = [["text", "label"], ["a", "no"], row]
        data = file(name, "".join(mark.join(cells) + "\n" for cells in rows))
        refused(lambda data=data: task_of("classification").read(data), "line 3", f"has {len(row)} cells", "header 2")
    choices = file(name, mark.join(["sent1", "sent2", "ending0", "ending1", "label"]) + f"\na{mark}b{mark}c{mark}1\n")
    refused(lambda: task_of("multiple-choice").read(choices), "line 2", "has 4 cells")


def test_tables_in_json_files(file):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    task = task_of("classification")
    wanted = [one[1:] for one in task.read(file("x.jsonl", rows))]
    columns = {name: [row[name] for row in rows] for name in ("text", "label")}
    for content in (json.dumps(rows), json.dumps(rows, indent=1), json.dumps(columns)):
        assert [one[1:] for one in task.read(file("x.json", content))] == wanted
    refused(lambda: task.read(file("x.json", '{"a": 1, "b": [2]}')), "no columns that are known", "'a', 'b'")
    choices = [{"prompt": "a", "choices": ["b", "c"], "label": 1}]
    assert task_of("multiple-choice").read(file("y.json", json.dumps(choices)))[0].label == 1
    words = [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}]
    assert task_of("token-classification").read(file("z.json", json.dumps(words)))[0].tags == ["O", "B-X"]
    for name, content in (
        ("w.json", '["a", "b"]'),
        ("w.csv", "text,id\na,1\nb,2\n"),
        ("w.jsonl", '"a"\n{"text": "b"}'),
    ):
        assert task_of("masked-lm").read(file(name, content)) == ["a", "b"]
    refused(lambda: task_of("masked-lm").read(file("v.csv", "body\na\n")), "no column 'text'", "'body'")


SPACES = ["\u00a0", "\u3000", "\u2009", "\u2028", "\u2029", "\u0085", "\f", "\v", "\x1c", "\u200b"]


@pytest.mark.parametrize("mark", ["\t", " "])
def test_a_word_may_be_a_space_of_another_kind(file, mark):
    lines = [f"{word}{mark}B-X" for word in [*SPACES, "a\u00a0b", "#", "-DOCSTART-x"]]
    (one,) = task_of("token-classification").read(file("x.conll", "\n".join(lines) + "\n"))
    assert one.words == [*SPACES, "a\u00a0b", "#", "-DOCSTART-x"] and set(one.tags) == {"B-X"}


def test_what_ends_a_sentence(file):
    task = task_of("token-classification")
    for blank in ("", "\t", " ", "\t \t", "\r", "\t\r"):
        assert [one.words for one in task.read(file("x.conll", f"a\tO\n{blank}\nb\tX\n"))] == [["a"], ["b"]]
    (one,) = task.read(file("x.conll", "in spite of\tx\tO\t\n \tx\tO\n"))
    assert (one.words, one.tags) == (["in spite of", " "], ["O", "O"])
    refused(lambda: task.read(file("x.conll", "a\tO\nb\tc\tO\n")), "line 2", "has 3 columns", "have 2")


UNIVERSAL = """# sent_id = 1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\t_
5.1\tvisto\tver\tVERB\t_\t_\t_\t_\t_\t_

# sent_id = 2
1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_
"""


def test_conll_u(file):
    first, second = task_of("token-classification").read(file("x.conllu", UNIVERSAL))
    assert first.words == ["Vamos", "nos", "a", "el", "mar"] and first.tags == ["VERB", "PRON", "ADP", "DET", "NOUN"]
    assert second.words == ["#"] and second.tags == ["SYM"] and second.place.startswith("line 13 ")


def test_every_word_of_the_file_has_a_label_in_the_predictions(file, tmp_path):
    """Also those of which nothing is left, and those behind the longest length."""
    labels = {0: "O", 1: "B-X"}
    for name, id2label in (("o", labels), ("u", {0: "NOUN", 1: "VERB"})):
        folder = tiny_folder(tmp_path / name, DistilBertForTokenClassification, id2label=id2label)
        tag = id2label[1]
        words = ["good", "\u200b", "\u00a0", "film", "\u00ad"], ["\u2028"], ["a"] * 40
        data = file("x.conll", "\n\n".join("\n".join(f"{word}\t{tag}" for word in one) for one in words) + "\n")
        out = tmp_path / f"out-{name}"
        argv = ["evaluate", "token-classification", "--model", folder, "--data", data, "--max-seq-length", "16"]
        assert main([*argv, "--backend", "numpy", "--out", str(out)]) == 0
        found = json.loads((out / "predictions.json").read_text())
        nothing = "O" if name == "o" else "_"
        assert [len(one) for one in found] == [5, 1, 40]
        assert found[1] == [nothing] and found[2][14:] == [nothing] * 26
        assert [found[0][i] for i in (1, 2, 4)] == [nothing] * 3 and set(found[0]) <= {nothing, *id2label.values()}


def test_texts_are_cut_with_a_word_about_it(file, tokenizer):
    task = task_of("classification", max_seq_length=4)
    examples = task.read(file("x.tsv", "text\tlabel\na b c good\t0\na\t1\n"))
    with pytest.warns(UserWarning, match="1 of 2 texts are cut to 4 tokens"):
        rows = task.rows(examples, tokenizer, DistilBertConfig())
    assert [len(row.row.ids) for row in rows] == [4, 3]
    pairs = task.read(file("y.tsv", "sentence1\tsentence2\tlabel\na\tb\t0\na\t\t1\n"))
    with pytest.warns(UserWarning, match="cut"):
        rows = task.rows(pairs, tokenizer, DistilBertConfig())
    assert tokenizer.convert_ids_to_tokens(rows[1].row.ids.tolist()) == ["[CLS]", "a", "[SEP]", "[SEP]"]


def test_words_are_labelled_at_their_first_piece(file, tokenizer):
    task = task_of("token-classification")
    examples = task.read(file("x.conll", "-DOCSTART- O\n\nen:films X B-A\nen:the X O\n \nen:bad\tX\tO\n"))
    assert [one[1:] for one in examples] == [(["films", "the"], ["B-A", "O"]), (["bad"], ["O"])]
    assert examples[1].place.startswith("line 6")
    config = DistilBertConfig(**task.config(examples, DistilBertConfig()))
    assert config.id2label == {0: "B-A", 1: "O"}
    rows = task.rows(examples, tokenizer, config)
    batch = task.batch(rows)
    assert batch["labels"].tolist() == [[-100, 0, -100, 1, -100], [-100, 1, -100, -100, -100]]  # film ##s the
    assert batch["attention_mask"].sum(1).tolist() == [5, 3]
    with pytest.warns(UserWarning, match="2 of 3 words are left out: behind 4 tokens"):
        cut = task_of("token-classification", max_seq_length=4)
        nothing = file("y.jsonl", [{"tokens": ["films", "the"], "tags": [0, 1]}, {"tokens": ["\u200b"], "tags": [1]}])
        (row,) = cut.rows(cut.read(nothing), tokenizer, config)  # of the other nothing is learned
    assert row.labels.tolist() == [-100, 0, -100, -100]
    refused(lambda: task.read(file("x.conll", "a O\nb\n")), "line 2", "tag")
    refused(lambda: task.read(file("x.conll", "\n")), "no sentences")
    refused(lambda: task.read(file("x.jsonl", [{"tokens": ["a"], "tags": []}])), "1 tokens and 0 tags")
    refused(lambda: task.read(file("x.jsonl", [{"tokens": "a"}])), "line 1", '"tags"')
    for odd in (None, "", ["O"], 0.5):
        refused(lambda odd=odd: task.read(file("x.jsonl", [{"tokens": ["a"], "tags": [odd]}])), "line 1", "a tag")
    packed = file("x.jsonl.bz2", "")
    with bz2.open(packed, "wt") as out:
        out.write('{"tokens": ["a"], "tags": ["O"]}\n')
    assert task.read(packed)[0].words == ["a"]
    refused(lambda: task.rows(task.read(file("x.conll", "a C\n")), tokenizer, config), "'C'", "B-A, O")


def test_answers_become_places_in_windows(file, tokenizer):
    task = task_of("question-answering", max_seq_length=12, doc_stride=4, max_query_length=3)
    examples = task.read(file("x.json", squad_json()))
    rows = task.rows(examples, tokenizer, DistilBertConfig())
    texts = [tokenizer.convert_ids_to_tokens(row.row.ids.tolist()) for row in rows]
    assert texts[0] == ["[CLS]", "who", "was", "good", "[SEP]", "the", "film", "was", "good", ".", "a", "[SEP]"]
    assert texts[1] == [
        "[CLS]",
        "who",
        "was",
        "good",
        "[SEP]",
        ".",
        "a",
        "bad",
        "example",
        "was",
        "in",
        "[SEP]",
    ]  # 4 on, not 4 in common
    assert len(rows) == 3 * 4
    spans = [" ".join(text[row.start : row.end + 1]) for row, text in zip(rows, texts, strict=True)]
    assert spans == ["film", *["[CLS]"] * 3, "[CLS]", "a bad example", *["[CLS]"] * 4, "this", "this"]
    batch = task.batch(rows[:2])
    assert batch["start_positions"].tolist() == [6, 0] and batch["end_positions"].tolist() == [6, 0]
    lost = json.loads(squad_json())
    lost["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 3
    with pytest.warns(UserWarning, match="1 of 3 questions are left out"):
        assert len(task.rows(task.read(file("x.json", json.dumps(lost))), tokenizer, DistilBertConfig())) == 8
    none = file("x.json", squad_json([("who ?", None)]))
    refused(lambda: task.read(none), "--version-2-with-negative")
    (row, *_) = (two := task_of("question-answering", version_2_with_negative=True)).rows(
        two.read(none), tokenizer, DistilBertConfig()
    )
    assert (row.start, row.end) == (0, 0)
    refused(lambda: task.read(file("x.json", "{")), "JSON")
    refused(lambda: task.read(file("x.json", '{"data": [{}]}')), "SQuAD")
    cut = task.rows(task.read(file("x.json", squad_json([("what ?", "bad example")]))), tokenizer, DistilBertConfig())
    assert (cut[0].start, cut[0].end) == (0, 0) and len(cut[0].window.widest) == 7  # its last token is the 8th
    touching = task.read(file("x.json", squad_json([("what ?", "b")], "a-b-c")))  # one character, between two others
    assert [(row.start, row.end) for row in task.rows(touching, tokenizer, DistilBertConfig())] == [(6, 6)]
    narrow = task_of("question-answering", max_seq_length=8, doc_stride=4)
    refused(lambda: narrow.rows(examples, tokenizer, DistilBertConfig()), "doc_stride", "max_query_length")


def test_choices_are_pairs(file, tokenizer):
    task = task_of("multiple-choice")
    (one,) = task.read(file("x.csv", "sent1,sent2,ending0,ending1,label\nthe film,was,good,bad,1\n"))
    assert one == ("the film", ["was good", "was bad"], 1)
    examples = task.read(file("x.jsonl", [{"prompt": "a", "choices": ["b", "c good"], "label": 0}]))
    batch = task.batch(task.rows(examples, tokenizer, DistilBertConfig()))
    assert batch["input_ids"].shape == (1, 2, 6) and batch["labels"].tolist() == [0]
    assert batch["attention_mask"].sum(2).tolist() == [[5, 6]]
    refused(lambda: task.read(file("x.jsonl", [{"prompt": "a", "choices": ["b"], "label": 1}])), "line 1", "label")
    rows = [{"prompt": "a", "choices": ["b"] * n, "label": 0} for n in (2, 3)]
    refused(lambda: task.read(file("x.jsonl", rows)), "line 2", "3 choices")
    refused(lambda: task.read(file("x.jsonl", [{"prompt": "a", "choices": "b", "label": 0}])), "list of choices")
    names = [f"ending{n}" for n in range(11)]
    (one,) = task.read(file("y.csv", f"sent1,sent2,{','.join(names)},label\na,b,{','.join(names)},10\n"))
    assert one.choices == [f"b {name}" for name in names]  # ending10 is the last one
    refused(lambda: task.read(file("y.csv", "sentence,label\na,0\n")), "'prompt'", "ending0")
    refused(lambda: task.read(file("y.csv", "sent1,ending0,label\na,b,0\n")), "'sent2'", "ending0")


def test_lines_lose_nothing_to_the_longest_row(file, tokenizer):
    task = task_of("masked-lm", max_seq_length=5, mlm_probability=0.3)
    examples = task.read(file("x.txt", "a b c good bad\n\nthe film\n"))
    rows = task.rows(examples, tokenizer, DistilBertConfig(vocab_size=len(tokenizer)))
    assert [len(row) for row in rows] == [5, 4, 4]
    batch = task.batch(rows, 7)
    labelled = batch["labels"] != -100
    assert labelled.sum() == 4 and not (labelled & ~batch["attention_mask"]).any()  # 3.9, rounded up
    ids = np.where(labelled, batch["labels"], batch["input_ids"])
    assert np.array_equal(ids[batch["attention_mask"]], np.concatenate(rows))
    assert not np.isin(batch["labels"][labelled], tokenizer.all_special_ids).any()
    again = task.batch(rows, 7)
    assert np.array_equal(again["labels"], batch["labels"])
    assert any(not np.array_equal(task.batch(rows, key)["labels"], batch["labels"]) for key in (8, 9))
    refused(lambda: task.read(file("x.txt", "\n \n")), "no text")
    unknown = task.read(file("x.txt", "zz\na zz zz zz b\n[MASK]\n"))
    rows = task.rows(unknown, tokenizer, DistilBertConfig(vocab_size=len(tokenizer)))
    assert [tokenizer.decode(row) for row in rows] == ["[CLS] a [UNK] [UNK] [SEP]", "[CLS] [UNK] b [SEP]"]
    refused(lambda: task.rows(unknown[:1], tokenizer, DistilBertConfig()), "can be hidden")


@pytest.mark.filterwarnings("ignore:note")
def test_a_binarized_folder_is_data_too(tokenizer, tmp_path):
    task = task_of("masked-lm", max_seq_length=16)
    binarize(["a b c good bad film " * 5, "the film was good . " * 3], tmp_path / "data", tokenizer)
    sequences = task.read(tmp_path / "data")
    rows = task.rows(sequences, tokenizer, DistilBertConfig(vocab_size=len(tokenizer)))
    assert [len(rows[i]) for i in range(len(rows))] == [15, 16, 15]  # of 32 and 17 tokens; what is left is too short
    assert task.batch([rows[0], rows[1]])["input_ids"].shape == (2, 16)
    other = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    refused(lambda: task.rows(sequences, other, DistilBertConfig()), "another tokenizer")


# ------------------------------------------------------------------------------------------------------------ metrics


def test_figures_by_hand():
    said_, truth = np.array([1, 1, 0, 1]), np.array([1, 0, 0, 1])
    assert metrics.glue("qnli", said_, truth) == {"acc": 0.75}
    found = metrics.glue("mrpc", said_, truth)
    assert found["f1"] == pytest.approx(0.8) and found["acc_and_f1"] == pytest.approx(0.775)
    assert metrics.glue("cola", said_, truth)["mcc"] == pytest.approx(1 / np.sqrt(3))
    found = metrics.glue("stsb", np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.0, 2.0]))
    assert found["spearmanr"] == pytest.approx(1) and found["pearson"] == pytest.approx(0.9819805)
    assert found["corr"] == pytest.approx((1 + 0.9819805) / 2) and found["mse"] == pytest.approx(2)
    found = metrics.entities([["B-A", "I-A", "O"], ["B-B"]], [["B-A", "O", "O"], ["B-B"]])
    assert found["f1"] == pytest.approx(0.5) and found["B"]["f1"] == 1 and found["A"]["number"] == 1
    assert np.isnan(metrics.regression(np.array([1.0]), np.array([2.0]))["corr"])
    with pytest.warns(UserWarning, match="'NOUN' mark no entities"):
        assert metrics.entities([["NOUN", "O"]], [["NOUN", "VERB"]])["acc"] == 0.5
    assert metrics.entities([["O"]], [["O"]])["f1"] == 0
    several = metrics.several_classes(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]))
    assert several == {"acc": 0.5, "f1_micro": pytest.approx(0.8), "f1_macro": pytest.approx(5 / 6)}


def test_two_questions_of_one_id_cannot_be_told_apart(file, tokenizer):
    twice = squad_json().replace('"id": "1"', '"id": "0"')
    task = task_of("question-answering")
    model = DistilBertForQuestionAnswering(DistilBertConfig(vocab_size=len(tokenizer)), backend="numpy")
    refused(lambda: task.evaluate(model, tokenizer, task.read(file("x.json", twice))), "two questions have the id '0'")


def test_squad_by_hand():
    assert squad.normalized("An apple, a day.") == "apple day"
    assert squad.exact("The Cat", "cat!") == 1 and squad.f1("", "") == 1 and squad.f1("", "x") == 0
    truths = {"1": ["the cat"], "2": [], "3": ["a dog", "dog house"]}
    texts = {"1": "cat", "2": "bird", "3": "dog"}
    assert squad.metrics(truths, texts, {"1": 3.0, "2": -1.0, "3": 4.0}, 0.0)["best_exact"] == pytest.approx(200 / 3)
    found = squad.metrics(truths, texts, {"1": -3.0, "2": 2.0, "3": 1.0}, 0.0)
    assert found["exact"] == pytest.approx(200 / 3) and found["HasAns_exact"] == 50 and found["NoAns_exact"] == 100
    assert found["best_exact"] == 100 and found["best_exact_thresh"] == 1.0  # 3 answered, 2 not
    assert squad.metrics(truths, texts)["exact"] == pytest.approx(200 / 3)


def test_of_two_windows_the_one_that_shows_more_counts():
    masks = [mask.astype(int).tolist() for mask in squad.widest([(0, 6), (4, 9), (8, 9)])]
    assert masks == [[1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1], [0]]  # 4: 1 and 0 around it; 5: 0 and 1


def test_the_best_answer_is_in_the_window_that_shows_most_of_it():
    context, offsets = "a b c d", [(0, 1), (2, 3), (4, 5), (6, 7)]
    windows = [squad.Window(2, first, mask) for first, mask in zip((0, 1), squad.widest([(0, 3), (1, 4)]), strict=True)]
    start, end = np.full((2, 5), -9.0), np.full((2, 5), -9.0)
    start[0, 3], end[0, 4] = 5, 4  # b c, in the first window
    start[1, 2], end[1, 4] = 9, 9  # b d in the second, which shows less before b
    both = list(zip(start, end, strict=True))
    found = squad.answered(context, offsets, [False] * 4, windows, both, n_best=5, longest=30)
    assert found.best == "b c" and found.nbest[0].score == 9 and sum(found.probabilities) == pytest.approx(1)
    assert squad.answered(context, offsets, [False] * 4, windows, both, n_best=5, longest=1).best != "b c"
    start[1, 0] = end[1, 0] = 4.4
    start[0, 0] = end[0, 0] = 6
    found = squad.answered(context, offsets, [False] * 4, windows, both, may_be_none=True)
    assert found.null_odds == pytest.approx(8.8 - 9) and [c.text for c in found.nbest[:2]] == ["b c", ""]
    inside = squad.answered("x a-bc, d", [(0, 1), (2, 3), (3, 4), (4, 5), (5, 6)], [False, False, False, False, True],
                            [squad.Window(0, 0, np.ones(5, bool))], [(np.arange(5.0), np.arange(5.0))])  # fmt: skip
    assert inside.best == "a-bc,"
    nothing = squad.answered("", [], [], [squad.Window(2, 0, np.ones(0, bool))], [(np.zeros(3), np.zeros(3))])
    assert nothing.best == "" and nothing.nbest[0].text == ""


def test_masked_words_are_measured_one_by_one(file, tmp_path):
    folder = tiny_folder(tmp_path / "m", DistilBertForMaskedLM)
    lines = file("x.txt", "a b c good bad film the was\n" * 20 + "who is in this ?\nthe film was good .\n")
    task = task_of("masked-lm", max_seq_length=16, mlm_probability=0.4, seed=1)
    found = evaluate(task, folder, lines, backend="numpy", dtype="float64").metrics
    model = DistilBertForMaskedLM.from_pretrained(folder, backend="numpy", dtype="float64")
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    total, right, among, sixth, n = 0.0, 0, 0, 0, 0
    for i, text in enumerate(task.read(lines)):
        ids = np.array(tokenizer(text)["input_ids"])
        masked, at = task._hidden(i, ids, tokenizer)
        assert (masked[at] == tokenizer.mask_token_id).all() and (np.delete(masked, at) == np.delete(ids, at)).all()
        assert len(at) == round(0.4 * (len(ids) - 2))
        logits = model(masked[None]).logits[0]
        total += float(losses.cross_entropy(logits[at], ids[at])) * len(at)
        order = np.argsort(-logits[at], axis=1)
        right, among = right + (order[:, 0] == ids[at]).sum(), among + (order[:, :5] == ids[at][:, None]).sum()
        n, sixth = n + len(at), sixth + (order[:, 5] == ids[at]).sum()
    assert found["hidden"] == n and found["loss"] == pytest.approx(total / n, rel=1e-12)
    assert 0 < right < among < n and sixth
    assert (found["top1"], found["top5"]) == (pytest.approx(right / n), pytest.approx(among / n))
    two = task_of("masked-lm", max_seq_length=16, limit=2)
    assert evaluate(two, folder, lines, backend="numpy").metrics["passages"] == 2


# ----------------------------------------------------------------------------------------------------------- learning


NER = "the\tO\nfilm\tB-A\ns\tI-A\n\nwho\tO\nin\tB-A\n\na\tO\nb\tB-B\n"
SWAG = [{"prompt": "the film", "choices": ["was good", "was bad"], "label": 0},
        {"prompt": "this example", "choices": ["was good", "was bad"], "label": 1}]  # fmt: skip
TSV = "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in SENTENCES)
STEPS = {"masked-lm": 80}  # every choice of words has to come by; else 30
PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
LEARNED = {  # task: file, text, class to begin from, settings, metric and what it has to reach
    "classification": ("x.tsv", TSV, DistilBertForMaskedLM, {}, "acc", 1.0),
    "token-classification": ("x.conll", NER, DistilBertForMaskedLM, {}, "f1", 1.0),
    "question-answering": ("x.json", squad_json(), DistilBertForMaskedLM, {"max_seq_length": 32}, "f1", 100.0),
    "multiple-choice": ("x.jsonl", SWAG, DistilBertForMaskedLM, {}, "acc", 1.0),
    "masked-lm": ("x.txt", "the film was good .\n" * 3, DistilBertForMaskedLM, {"mlm_probability": 0.3}, "top1", 1.0),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_few_examples_are_learned_by_heart(name, backend, file, tmp_path):
    data, text, cls, settings, metric, goal = LEARNED[name]
    settings = {"max_seq_length": 16, **settings}
    slow = backend == "cupy" or (backend == "numba" and PLAIN)  # kernels emulated, or in plain Python
    steps = 1 if slow else STEPS.get(name, 30)
    model = tiny_folder(tmp_path / "m", cls, **SURE)
    options = Options(
        model=model, train=file(data, text), dev=file(data, text), out=str(tmp_path / "run"), batch_size=4,
        max_steps=steps, learning_rate=1e-2, backend=backend,
    )  # fmt: skip
    found = finetune(name, settings, options)
    goal = goal if steps > 1 else found[metric]
    assert found[metric] == goal
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1]["step"] == steps and lines[-1]["dev_" + metric] == goal
    again = evaluate(task_of(name, **settings), tmp_path / "run", options.dev, backend=backend).metrics  # the folder
    assert again[metric] == goal


OTHERWISE = {  # task: what to change in its file, for another word and for another label
    "classification": [("good", "bad"), ("\tyes\n", "\tno\n")],
    "token-classification": [("film", "good"), ("in\tB-A", "in\tB-B")],
    "question-answering": [("who was", "who is"), ('_start": 4}', f'_start": {CONTEXT.rindex("film")}}}')],
    "multiple-choice": [("the film", "a film"), ('"label": 1', '"label": 0')],
    "masked-lm": [("good", "bad")],
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_run_does_not_go_on_with_other_examples(name, file, tmp_path):
    data, text, cls, settings, _, _ = LEARNED[name]
    path = Path(file(data, text))
    model, before = tiny_folder(tmp_path / "m", cls, **SURE), path.read_text("utf-8")
    options = Options(model=model, train=str(path), out=str(tmp_path / "run"), max_steps=1, backend="numpy")
    settings = {"max_seq_length": 16, **settings}
    finetune(name, settings, options)
    for old, new in OTHERWISE[name]:
        path.write_text(before.replace(old, new, 1), "utf-8")
        assert path.read_text("utf-8") != before
        refused(lambda: finetune(name, settings, options, resume=True), "the run began with data =")
    path.write_text(before, "utf-8")
    finetune(name, settings, options, resume=True)


def test_numbers_and_several_labels_are_learned_by_heart(file, tmp_path):
    model = tiny_folder(tmp_path / "m", DistilBertForMaskedLM, **SURE)
    rows = [{"text": text, "label": [0.5, -1.0, 1.25, 2.0][i]} for i, (text, _) in enumerate(SENTENCES)]
    lists = [{"text": text, "label": [["x"], [], ["x", "y"], ["y"]][i]} for i, (text, _) in enumerate(SENTENCES)]
    for out, data, metric, kind in (
        ("r", rows, "corr", "regression"),
        ("s", lists, "acc", "multi_label_classification"),
    ):
        path = file(out + ".jsonl", data)
        options = Options(
            model=model, train=path, dev=path, out=str(tmp_path / out), batch_size=4, max_steps=40,
            learning_rate=1e-2, backend="numpy", load_best_model_at_end=True,
        )  # fmt: skip
        with pytest.warns(UserWarning, match="note: as the labels are, this is a " + kind):
            assert finetune("classification", {"max_seq_length": 16}, options)[metric] > 0.95
        assert DistilBertConfig.from_pretrained(tmp_path / out).problem_type == kind


def test_a_label_is_given_from_one_half_on(file, tmp_path):
    labels = {"id2label": {0: "x", 1: "y", 2: "z"}, "problem_type": "multi_label_classification"}
    folder = tiny_folder(tmp_path / "m", DistilBertForSequenceClassification, **labels)
    data = file("x.jsonl", [{"text": text, "label": ["x"]} for text, _ in SENTENCES])
    found = evaluate(task_of("classification", max_seq_length=16), folder, data, backend="numpy").files["predictions"]
    scores = pipeline("text-classification", folder, backend="numpy", top_k=None)([text for text, _ in SENTENCES])
    assert found == [sorted(one["label"] for one in several if one["score"] > 0.5) for several in scores]
    assert any(0.5 < one["score"] < 0.73 for several in scores for one in several)


def test_the_result_is_a_pipeline_with_the_names_of_the_labels(file, tmp_path, capsys):
    model, data = tiny_folder(tmp_path / "m", DistilBertForMaskedLM), file("x.tsv", TSV)
    common = ["--model", model, "--train", data, "--dev", data, "--backend", "numpy", "--max-seq-length", "16"]
    run = ["finetune", "classification", *common, "--learning-rate", "1e-2", "--max-steps", "25", "--batch-size", "2"]
    assert main([*run, "--out", str(tmp_path / "a"), "--load-best-model-at-end"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "acc       1.0000" and out.endswith(str(tmp_path / "a") + "\n")
    said_ = pipeline("text-classification", str(tmp_path / "a"), backend="numpy")([text for text, _ in SENTENCES])
    assert [one["label"] for one in said_] == [label for _, label in SENTENCES]
    args = ["--model", str(tmp_path / "a"), "--data", data, "--backend", "numpy", "--max-seq-length", "16"]
    assert main(["evaluate", "classification", *args, "--json", "--out", str(tmp_path / "said")]) == 0
    assert json.loads(capsys.readouterr().out)["acc"] == 1
    assert json.loads((tmp_path / "said" / "predictions.json").read_text()) == [label for _, label in SENTENCES]
    # a run that was stopped goes on to the same weights
    kept = (tmp_path / "a" / "model.safetensors").read_bytes()
    assert main([*run, "--out", str(tmp_path / "b"), "--save-steps", "10", "--load-best-model-at-end"]) == 0
    for path in (tmp_path / "b" / "checkpoints").glob("*25*"):
        path.unlink()
    (tmp_path / "b" / "model.safetensors").unlink()
    assert main([*run, "--out", str(tmp_path / "b"), "--load-best-model-at-end", "--resume"]) == 0
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == kept
    capsys.readouterr()
    assert main([*run, "--out", str(tmp_path / "b")]) == 2 and "--resume" in capsys.readouterr().err
    assert main(["evaluate", "question-answering", *args[:4], "--backend", "numpy"]) == 2
    assert main(["evaluate", "classification", "--model", model, *args[2:]]) == 2
    assert "fine-tune it first" in capsys.readouterr().err


def test_a_new_head_follows_the_seed(file, tmp_path):
    task, data = task_of("classification"), file("x.tsv", TSV)
    given = {"model": tiny_folder(tmp_path / "m", DistilBertForMaskedLM), "train": data, "out": "o", "backend": "numpy"}
    one, same, other = (load_model(task, Options(**given, seed=s), task.read(data)).state_dict() for s in (1, 1, 2))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert {name for name in one if not np.array_equal(one[name], other[name])} == {
        "classifier.weight", "pre_classifier.weight",
    }  # fmt: skip


def test_options_are_refused_by_the_name_of_their_flag(file):
    given = {"model": "m", "train": "t", "out": "o"}
    for name, value, flag in (
        ("batch_size", 0, "--batch-size"), ("learning_rate", float("nan"), "--learning-rate"),
        ("num_train_epochs", 0, "--num-train-epochs"), ("load_best_model_at_end", True, "--dev"),
    ):  # fmt: skip
        refused(lambda name=name, value=value: Options(**given, **{name: value}), flag)
    refused(lambda: task_of("summarization"), "classification")
    refused(lambda: finetune("classification", {}, Options(**given, teacher="x")), "--teacher")
    given["train"] = file("train.tsv", "sentence\tlabel\na\t0\n")
    refused(lambda: finetune("classification", {}, Options(**given, backend="numba", dtype="int8")), "in int8 cannot")


def test_the_gradient_of_distilled_answers_is_the_slope_of_their_loss(tmp_path):
    shape = {"vocab_size": 20, "max_position_embeddings": 9, "n_layers": 1, "n_heads": 2, "dim": 8, "hidden_dim": 12}
    config = DistilBertConfig(**shape, initializer_range=0.5)
    student, teacher = (
        DistilBertForQuestionAnswering(config, backend="numpy", dtype="float64", seed=seed) for seed in (0, 1)
    )
    rng = np.random.default_rng(0)
    mask = np.arange(7) < np.array([7, 4])[:, None]
    batch = {
        "input_ids": rng.integers(1, 20, (2, 7)), "attention_mask": mask,
        "start_positions": np.array([2, 1]), "end_positions": np.array([3, 9]),
    }  # fmt: skip
    loss, trainee = AnswerDistillation(0.3, 0.6, 2.0), Trainee(student)
    total, soft, hard = loss.of_batch(trainee, teacher, batch, 3)
    assert total == pytest.approx(0.3 * soft + 0.6 * hard)
    assert hard == pytest.approx(float(student(**batch).loss))
    S, T = said(student, batch["input_ids"], mask, 3), said(teacher, batch["input_ids"], mask, 3)

    def log_p(x):
        return x / 2 - np.log(np.exp(x / 2).sum(1, keepdims=True))

    kl = [(np.exp(log_p(t)) * (log_p(t) - log_p(s))).sum() / 2 for s, t in zip(S, T, strict=True)]
    assert soft == pytest.approx(4 * sum(kl) / 2, rel=1e-12)
    g, step = trainee.flat_gradients.copy(), 1e-6
    direction = rng.standard_normal(g.shape)
    ends = []
    for sign in (1, -1):
        trainee.flat += sign * step * direction
        trainee.refresh()
        ends.append(loss.of_batch(trainee, teacher, batch, 3)[0])
        trainee.flat -= sign * step * direction
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(g @ direction, rel=1e-6)


def test_every_head_of_a_task_is_a_class_of_its_own():
    heads = {task_of(name).HEAD for name in LEARNED}
    made = (DistilBertForMaskedLM, DistilBertForMultipleChoice, DistilBertForQuestionAnswering,
            DistilBertForSequenceClassification, DistilBertForTokenClassification)  # fmt: skip
    assert {f"DistilBert{ending}" for ending in heads} == {cls.__name__ for cls in made}


def test_a_figure_that_is_no_number_is_null(monkeypatch, capsys, tmp_path):
    """As the correlation with answers that are all the same is: JSON has no NaN."""
    found = Evaluation({"corr": math.nan, "PER": {"f1": 0.5}}, {"predictions": [math.inf, 1.0]})
    monkeypatch.setattr("nanodistil.training.evaluate.evaluate", lambda *_, **__: found)
    args = ["evaluate", "classification", "--model", "x", "--data", "y", "--json", "--out"]
    assert main([*args, str(tmp_path / "said")]) == 0
    assert json.loads(capsys.readouterr().out) == {"corr": None, "PER": {"f1": 0.5}}
    assert json.loads((tmp_path / "said" / "predictions.json").read_text()) == [None, 1.0]
    assert main([*args, ""]) == 2 and "--out is empty" in capsys.readouterr().err
