"""Each verb on a tiny model: it prints what its pipeline returns; a run that ended early goes on where it ended."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
from tiny_folders import tiny_folder

from nanodistil import pipeline
from nanodistil.cli import VERBS, main
from nanodistil.family import class_of
from nanodistil.pipelines import TASKS

TEXTS = ["good film", "", "the film was bad .", "who was in this ?", "a b c"] * 8
TASK = {  # of each verb that answers
    "fill-mask": "fill-mask",
    "classify": "text-classification",
    "ner": "token-classification",
    "answer": "question-answering",
    "zero-shot": "zero-shot-classification",
    "choose": "multiple-choice",
    "embed": "feature-extraction",
}
LABELS = {
    "classify": ["no", "yes", "so"],
    "ner": ["O", "B-X", "I-X"],
    "zero-shot": ["contradiction", "entailment"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for verb, task in TASK.items():
        labels = {"id2label": dict(enumerate(LABELS[verb]))} if verb in LABELS else {}
        made[verb] = tiny_folder(tmp_path_factory.mktemp(verb), class_of("distilbert", TASKS[task][2]), **labels)
    return made


@pytest.fixture
def call(capsys, folders):
    def call(verb, *argv):
        code = main([verb, "--model", folders[verb], "--backend", "numpy", *map(str, argv)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def pipe(folders):
    return lambda verb: pipeline(TASK[verb], model=folders[verb], backend="numpy")


@pytest.fixture
def file(tmp_path):
    def file(name, *rows):
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    return file


def parsed(out):
    """The results of JSON lines."""
    return [one.get("result", one) for one in map(json.loads, out.splitlines())]


def document(out):
    """The results of a JSON document."""
    return [one["result"] for one in json.loads(out)]


def close(found, expected):
    """Equal but for the last digits of scores: the numpy backend's depend on what is computed together."""
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(close(found[k], expected[k]) for k in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)


def test_classify(call, pipe, file, tmp_path):
    code, out, err = call("classify", "good film", "bad film")
    assert (code, err) == (0, "") and out.startswith("good film\n  ") and out.splitlines()[3].split()[1] in "no yes so"
    texts = file("x.txt", *TEXTS)
    _, out, _ = call("classify", "--input", texts, "--jsonl")
    assert close(parsed(out), pipe("classify")(TEXTS))
    _, out, _ = call("classify", "--input", texts, "--json", "--top-k", "all", "--function-to-apply", "sigmoid")
    assert close(document(out), pipe("classify")(TEXTS, top_k=None, function_to_apply="sigmoid"))
    rows = file("x.csv", "id,title,body", "1,good,film", "2,bad,the film")
    pairs = [{"text": "good", "text_pair": "film"}, {"text": "bad", "text_pair": "the film"}]
    _, out, _ = call("classify", "--input", rows, "--column", "title", "--column", "text_pair=body", "--jsonl")
    assert close(parsed(out), pipe("classify")(pairs))
    _, out, _ = call("classify", "good", "bad", "--text-pair", "film", "--jsonl", "--top-k", "2")
    assert close(parsed(out), pipe("classify")([{"text": t, "text_pair": "film"} for t in ("good", "bad")], top_k=2))
    _, out, _ = call("classify", "a " * 50, "--truncate", "--jsonl")
    assert close(parsed(out), [pipe("classify")(["a " * 50], truncation=True, max_length=32)[0]])


def test_ner(call, pipe, file):
    code, out, err = call("ner", "the film was good", "--ignore-labels", "none")
    assert (code, err) == (0, "") and [line.split()[-1] for line in out.splitlines()[1:]] == [
        "the",
        "film",
        "was",
        "good",
    ]
    texts = file("x.txt", *TEXTS)
    _, out, _ = call("ner", "--input", texts, "--jsonl")
    assert close(parsed(out), pipe("ner")(TEXTS))
    long = "good film the film was bad . " * 10
    _, out, _ = call("ner", long, "--aggregation-strategy", "simple", "--stride", "4", "--raw", "--json")
    assert close(document(out), [pipe("ner")(long, aggregation_strategy="simple", stride=4, word="tokens")])
    _, out, _ = call("ner", long, "--truncate", "--json")
    assert close(document(out), [pipe("ner")(long, truncation=True)])
    words = file("x.jsonl", {"text": ["good", "film"]}, {"text": "the film"})
    _, out, _ = call("ner", "--input", words, "--words", "--jsonl")
    assert close(parsed(out), pipe("ner")([["good", "film"], ["the", "film"]], is_split_into_words=True))


def test_answer(call, pipe, file):
    question, context = "what was good ?", "the film was good . " * 9
    code, out, err = call("answer", question, "--context", "the film was good .")
    assert (code, err) == (0, "") and out.startswith(question + "\n  ") and len(out.splitlines()) == 2
    _, out, _ = call("answer", "--question", question, "--context", context, "--json")
    assert close(document(out), [pipe("answer")(question=question, context=context)])
    _, again, _ = call("answer", "--question", question, context, "--json")
    assert close(document(again), document(out))
    options = ["--max-seq-len", "20", "--doc-stride", "4", "--max-answer-len", "3", "--no-align", "--impossible"]
    rows = [{"question": question, "context": context, "id": 1}, {"question": "who ?", "context": "a b c"}]
    _, out, _ = call("answer", "--input", file("x.jsonl", *rows), *options, "--top-k", "3", "--jsonl")
    options = {"max_seq_len": 20, "doc_stride": 4, "max_answer_len": 3, "align_to_words": False}
    expected = pipe("answer").each(rows, **options, handle_impossible_answer=True, top_k=3)
    assert close(parsed(out), [one if isinstance(one, list) else [one] for one in expected])
    table = file("x.csv", "title,q,body", "a,who ?,a b c")
    _, out, _ = call("answer", "--input", table, "--column", "question=q", "--column", "context=body", "--jsonl")
    assert close(parsed(out), [pipe("answer")(rows[1])])
    _, out, _ = call("answer", "--input", file("x.txt", "a b", "c"), "--question", "who ?", "--jsonl")
    assert close(parsed(out), [pipe("answer")(question="who ?", context=c) for c in ("a b", "c")])
    code, _, err = call("answer", "who ?")
    assert code == 2 and "give its context" in err


def test_zero_shot(call, pipe, file):
    code, out, err = call("zero-shot", "--labels", "good", "bad", "--", "the film was good")
    assert (code, err) == (0, "") and sorted(line.split()[1] for line in out.splitlines()[1:]) == ["bad", "good"]
    texts = [text for text in TEXTS if text]
    _, out, _ = call("zero-shot", "--input", file("x.txt", *texts), "--labels", "good", "bad", "--jsonl")
    assert close(parsed(out), pipe("zero-shot")(texts, ["good", "bad"]))
    options = ["--template", "what {} is this ?", "--multi-label"]
    _, out, _ = call("zero-shot", *options, "--json", "--labels", "a", "b", "--", "c")
    assert close(
        document(out), [pipe("zero-shot")("c", "a,b", hypothesis_template="what {} is this ?", multi_label=True)]
    )


def test_choose(call, pipe, file):
    code, out, err = call("choose", "who was in ?", "--choices", "a", "b c")
    assert (code, err) == (0, "") and out.startswith("who was in ?\n") and len(out.splitlines()) == 3
    rows = [{"prompt": "who ?", "choices": ["a", "b"]}, {"prompt": "what ?", "choices": ["the film", "a", "b"]}]
    _, out, _ = call("choose", "--input", file("x.jsonl", *rows), "--jsonl")
    assert close(parsed(out), pipe("choose")(rows))
    table = file("x.tsv", "prompt\tend1\tend2", "who ?\ta\tb")
    _, out, _ = call("choose", "--input", table, "--column", "choices=end1", "--column", "choices=end2", "--jsonl")
    assert close(parsed(out), pipe("choose")(rows[:1]))
    code, _, err = call("choose", "who ?")
    assert code == 2 and "give its choices" in err


def test_embed(call, pipe, file, tmp_path):
    code, out, err = call("embed", "good film")
    assert (code, err) == (0, "") and "(20 numbers)" in out
    texts = file("x.txt", *TEXTS)
    expected = np.array(list(pipe("embed").each(TEXTS, pooling="cls", normalize=True)))
    _, out, _ = call("embed", "--input", texts, "--pooling", "cls", "--normalize", "--jsonl")
    np.testing.assert_allclose(parsed(out), expected, atol=1e-5)
    call("embed", "--input", texts, "--pooling", "cls", "--normalize", "--output", tmp_path / "x.npy")
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected, atol=1e-5)
    call("embed", "--input", texts, "--dtype", "float64", "--output", tmp_path / "y.npy")
    assert np.load(tmp_path / "y.npy").dtype == np.float64
    _, out, _ = call("embed", "a b", "--pooling", "none", "--jsonl")
    assert np.shape(parsed(out)[0]) == (1, 4, 20)
    for wrong in (["--pooling", "none"], ["--jsonl"], ["--skip-errors"]):
        code, _, err = call("embed", "a", "--output", tmp_path / "z.npy", *wrong)
        assert code == 2 and err.count("\n") == 1


def test_fill_mask(call, pipe, file):
    texts = [f"{text} [MASK]" for text in TEXTS]
    _, out, _ = call("fill-mask", "--input", file("x.jsonl", *({"t": t} for t in texts)), "--column", "t", "--jsonl")
    assert close(parsed(out), pipe("fill-mask")(texts))
    _, out, _ = call("fill-mask", "a [MASK] [MASK] .", "--joint", "--beams", "3", "--top-k", "2", "--json")
    assert close(document(out), [pipe("fill-mask")("a [MASK] [MASK] .", joint=True, beams=3, top_k=2)])
    _, out, err = call("fill-mask", "a [MASK] [MASK] .", "--joint", "--top-k", "2", "--truth")
    assert len(out.splitlines()) == 3 and "largest difference of 2 scores" in err
    whole = ["--whole-words", "--targets", "films", "bad"]
    _, out, _ = call("fill-mask", "a [MASK] .", *whole, "--json")
    assert close(document(out), [pipe("fill-mask")("a [MASK] .", whole_words=True, targets=["films", "bad"])])
    _, out, _ = call("fill-mask", "a [MASK] .", *whole)
    assert " films " in out and len(out.splitlines()) == 3
    code, out, err = call("fill-mask", "a " * 20 + "[MASK] " + "b " * 20, "--truncate", "--top-k", "1", "--json")
    assert (code, err) == (0, "") and len(document(out)[0]) == 1


@pytest.mark.parametrize("verb", TASK)
def test_every_verb_shows_an_example_and_names_a_bad_line(call, file, capsys, verb):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert f"examples:\n  nanodistil {verb} " in capsys.readouterr().out
    columns = {"answer": ["question", "context"], "choose": ["prompt", "choices"]}.get(verb, ["text"])
    good = {name: ["a"] if name == "choices" else "a [MASK]" for name in columns}
    bad = dict.fromkeys(columns, 3)
    path = file("x.jsonl", good, good, bad, good)
    options = ["--labels", "a"] if verb == "zero-shot" else []
    code, out, err = call(verb, "--input", path, "--jsonl", *options)
    assert code == 2 and len(out.splitlines()) == 2
    assert err.startswith(f"nanodistil: line 3 of {path}: ") and err.count("\n") == 1
    code, out, err = call(verb, "--input", path, "--jsonl", "--skip-errors", *options)
    assert code == 0 and ["error" in one for one in parsed(out)] == [False, False, True, False]


def test_without_a_model(capsys, monkeypatch, tmp_path):
    """One line, where there is no default, or it cannot be had, and none is in the package."""
    monkeypatch.setattr("nanodistil.pipelines.INSIDE", {})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for argv, message in (
        (["ner", "a"], "no default model for token-classification"),
        (["classify", "a"], "distilbert-base-uncased-finetuned-sst-2-english"),
        (["answer", "a", "--context", "b"], "distilbert-base-cased-distilled-squad"),
    ):
        assert main([*argv, "--backend", "numpy"]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("verb", ["classify", "embed"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_goes_on(folders, file, tmp_path, verb, how):
    """A signal while it waits for more; then the same command reads the whole file."""
    texts = [" ".join(TEXTS[i % 5 : i % 7]) for i in range(400)]
    source = file("x.txt", *texts)
    out = tmp_path / ("x.npy" if verb == "embed" else "x.jsonl")
    grows = tmp_path / f"{out.name}.partial"
    command = [sys.executable, "-m", "nanodistil", verb, "--model", folders[verb], "--backend", "numpy"]
    command += ["--output", str(out), "--resume"]
    with subprocess.Popen([*command, "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdin.write("".join(text + "\n" for text in texts[:300]))
        process.stdin.flush()
        enough = 300 * 20 if verb == "classify" else 8000
        until = time.monotonic() + 60
        while not (grows.exists() and grows.stat().st_size >= enough) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in err and (how == signal.SIGKILL or "--resume goes on" in err)
    assert grows.stat().st_size >= enough
    assert main([*command[3:], "--input", str(source)]) == 0
    whole = tmp_path / f"whole.{'npy' if verb == 'embed' else 'jsonl'}"
    assert main([*command[3:-3], "--output", str(whole), "--input", str(source)]) == 0
    if verb == "embed":
        assert np.load(out).shape == (400, 20)
        np.testing.assert_allclose(np.load(out), np.load(whole), atol=1e-5)
    else:
        assert close(parsed(out.read_text()), parsed(whole.read_text()))


MEASURE = """
import resource, sys
from nanodistil.cli import main
for lines in sys.argv[1:3]:
    for verb, out in (("classify", lines + ".jsonl"), ("embed", lines + ".npy")):
        assert main([verb, "--model", sys.argv[3 if verb == "classify" else 4], "--input", lines, "--output", out]) == 0
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.sweep
def test_memory_does_not_grow_with_the_input(folders, file):
    """100,000 lines through classify and embed take the memory of 20,000 (when all there is to load is loaded)."""
    texts = TEXTS * 2500
    few, many = file("few", *texts[:20_000]), file("many", *texts)
    command = [sys.executable, "-c", MEASURE, str(few), str(many), folders["classify"], folders["embed"]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=dict(os.environ))
    assert result.returncode == 0, result.stderr
    first, then = map(int, result.stdout.split())  # KiB
    assert then - first < 2048, (first, then)
    assert (
        len(many.with_name("many.jsonl").read_bytes().splitlines())
        == len(np.load(f"{many}.npy", mmap_mode="r"))
        == 100_000
    )


def test_every_verb_that_answers_is_here():
    assert {*TASK, "tokenize", "generate", "score"} == {
        verb for verb, home in VERBS.items() if hasattr(import_module(home), "records")
    }


def test_tokenize_answers_as_the_others(capsys, file, folders, tmp_path):
    """Records in, a row each out; its table is for people."""
    model = ["--model", folders["fill-mask"]]
    rows = file("x.csv", "id,body,more", "7,good film,the", "8,,a b")
    columns = ["--column", "body", "--column", "text_pair=more", "--input", str(rows)]
    assert main(["tokenize", *model, *columns, "--jsonl"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["id"] == "7" and first["result"]["tokens"] == ["[CLS]", "good", "film", "[SEP]", "the", "[SEP]"]
    assert second["index"] == 1 and second["result"]["tokens"] == ["[CLS]", "[SEP]", "a", "b", "[SEP]"]
    assert main(["tokenize", *model, *columns, "--output", str(tmp_path / "x.csv.gz")]) == 0
    assert main(["tokenize", *model, "a", "b", "--explain"]) == 0
    assert capsys.readouterr().out.count("piece") == 2
    bad = file("y.jsonl", {"text": 3})
    assert main(["tokenize", *model, "--input", str(bad)]) == 2
    assert capsys.readouterr().err == f"nanodistil: line 1 of {bad}: input 1 is not a string but int\n"


@pytest.mark.parametrize("verb", [*TASK, "tokenize"])
def test_every_verb_writes_every_form_with_what_came_in(call, file, capsys, folders, tmp_path, verb):
    """The number of the input, its text and whatever else it had, in each form that its name can say."""
    columns = {"answer": ["question", "context"], "choose": ["prompt", "choices"]}.get(verb, ["text"])
    rows = [{name: ["a", "b"] if name == "choices" else f"a b [MASK] {i}" for name in columns} for i in range(3)]
    source = file("in.json", json.dumps([{"id": f"n{i}", **row} for i, row in enumerate(rows)]))
    options = ["--labels", "a", "b"] if verb == "zero-shot" else []
    argv = [verb, "--model", folders[verb if verb in TASK else "classify"], "--input", str(source), *options]
    names = ["x.jsonl", "x.json", "x.csv", "x.tsv", "x.csv.gz", "x.txt"]
    for name in [*names, "x.parquet"] if find_spec("pyarrow") else names:
        assert main([*argv, "--output", str(tmp_path / name)]) == 0, name
    for lines in (parse_lines(tmp_path / "x.jsonl"), json.loads((tmp_path / "x.json").read_text())):
        assert [(one["index"], one["id"], one[columns[0]]) for one in lines] == [
            (i, f"n{i}", row[columns[0]]) for i, row in enumerate(rows)
        ]
        assert all("result" in one for one in lines)
    for name, mark in (("x.csv", ","), ("x.tsv", "\t")):
        with (tmp_path / name).open(newline="") as table:
            found = list(csv.DictReader(table, delimiter=mark))
        assert [one["id"] for one in found] == ["n0", "n1", "n2"] and found[2]["index"] == "2", name
    assert main([*argv, "--output", str(tmp_path / "x.npz")]) == (0 if verb == "embed" else 2)
    for name in ("y", "y.xls", "x.csv"):
        assert main([*argv, "--output", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"nanodistil: {tmp_path / name}")


def parse_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
