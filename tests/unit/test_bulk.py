"""Predictor: every task's answers as columns, small in pickles, loaded once a process, one call at a time."""

import os
import pickle
import subprocess
import sys
import threading
from functools import cache

import numpy as np
import pytest
from small_pipelines import small

from nanodistil import InputError, ModelNotFoundError, NanoDistilError, Predictor, pipeline
from nanodistil.bulk import loaded, predictor
from nanodistil.weights import errors

NLI = {"id2label": {0: "contradiction", 1: "entailment"}}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A folder with a small random model of a class, and these: the model and its tokenizer."""

    @cache
    def made(head, nli=False):
        folder = tmp_path_factory.mktemp(head)
        model, tokenizer = small(head, **(NLI if nli else {}))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder), (model, tokenizer)

    return made


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """A process that has loaded nothing."""
    process = loaded.Process()
    monkeypatch.setattr(predictor, "process", process)
    return process


TEXTS = ["A cat.", "My tax is due.", "A cat."]
CHOICES = [["a", "b"], ["c", "d"], ["e", "f"]]
COLUMNS = {"text": TEXTS, "id": [7, 8, 9]}
PAIRS = {**COLUMNS, "text_pair": [None, "b", "c"]}
ASKED = {"question": ["Who?"] * 3, "context": ["Bo in Rome.", "Al.", "Cy and Di sat."]}


@pytest.mark.parametrize(
    ("task", "head", "columns", "settings", "names"),
    [
        ("text-classification", "SequenceClassification", COLUMNS, {}, ["label", "score"]),
        ("text-classification", "SequenceClassification", PAIRS, {}, ["label", "score"]),
        ("text-classification", "SequenceClassification", COLUMNS, {"top_k": None}, ["result"]),
        ("token-classification", "TokenClassification", COLUMNS, {"aggregation_strategy": "simple"}, ["result"]),
        ("fill-mask", "MaskedLM", {"text": ["a [MASK]", "[MASK] b"]}, {"top_k": 2}, ["result"]),
        ("question-answering", "QuestionAnswering", ASKED, {}, ["score", "start", "end", "answer"]),
        ("question-answering", "QuestionAnswering", ASKED, {"top_k": 2}, ["result"]),
        ("zero-shot-classification", "NLI", COLUMNS, {"candidate_labels": "x, y"}, ["sequence", "labels", "scores"]),
        ("multiple-choice", "MultipleChoice", {"prompt": TEXTS, "choices": CHOICES}, {}, ["result"]),
        ("multiple-choice", "MultipleChoice", {"prompt": TEXTS}, {"choices": ["a", "b"]}, ["result"]),
    ],
)  # fmt: skip
def test_answers_are_those_of_the_pipeline(folder_of, task, head, columns, settings, names):
    nli = head == "NLI"
    folder, made = folder_of("DistilBertFor" + ("SequenceClassification" if nli else head), nli)
    predict = pickle.loads(pickle.dumps(Predictor(folder, task, backend="numpy", **settings)))
    found = predict(columns)
    assert list(found) == [*columns, *names]
    rows = len(next(iter(columns.values())))
    fields = [name for name in columns if name != "id"]
    inputs = [{name: columns[name][i] for name in fields if columns[name][i] is not None} for i in range(rows)]
    given = inputs if len(fields) > 1 else [one[fields[0]] for one in inputs]
    wanted = list(pipeline(task, *made, **settings).each(given))
    if names == ["result"]:
        assert found["result"].tolist() == [one if isinstance(one, list) else [one] for one in wanted]
    else:
        assert [
            dict(zip(names, row, strict=True)) for row in zip(*(found[n].tolist() for n in names), strict=True)
        ] == wanted
    none = predict({name: [] for name in columns})
    assert list(none) == list(found) and all(len(none[name]) == 0 for name in names)
    assert all(none[name].dtype == found[name].dtype for name in names)


def test_vectors(folder_of):
    folder, made = folder_of("DistilBertModel")
    extract = pipeline("feature-extraction", *made)
    for settings in ({}, {"pooling": "cls"}, {"normalize": True}):
        predict = Predictor(folder, "feature-extraction", backend="numpy", **settings)
        wanted = extract(TEXTS, return_tensors=True, **{"pooling": "mean", **settings})
        np.testing.assert_array_equal(predict(COLUMNS)["vector"], np.stack(wanted))
        none = predict({"text": []})["vector"]
        assert (none.shape, none.dtype) == ((0, 16), np.float32)


def test_a_frame_gives_a_frame(folder_of):
    pandas = pytest.importorskip("pandas")
    predict = Predictor(
        folder_of("DistilBertModel")[0], "feature-extraction", columns={"text": "review"}, backend="numpy"
    )
    frame = predict(pandas.DataFrame({"review": TEXTS}, index=[5, 6, 7]))
    assert list(frame) == ["review", "vector"] and list(frame.index) == [5, 6, 7]
    np.testing.assert_array_equal(np.stack(frame["vector"]), predict({"review": np.array(TEXTS)})["vector"])


def test_it_is_small_and_loads_once(folder_of, process, monkeypatch, tmp_path):
    folder, count = folder_of("DistilBertModel")[0], []
    monkeypatch.setattr(predictor, "pipeline", lambda *a, **k: count.append(a) or pipeline(*a, **k))
    monkeypatch.chdir(os.path.dirname(folder))
    predict = Predictor(os.path.basename(folder), "feature-extraction", backend="numpy")
    assert len(pickle.dumps(predict)) < 1000 and not count
    monkeypatch.chdir(tmp_path)  # an engine's processes run elsewhere
    for _ in range(3):
        pickle.loads(pickle.dumps(predict))(COLUMNS)
    assert len(count) == 1
    for k in range(loaded.KEPT + 1):
        Predictor(folder, "feature-extraction", backend="numpy", pooling="cls", normalize=k % 2 == 0, revision=str(k))(
            COLUMNS
        )
    assert len(process.models) == loaded.KEPT


def test_calls_take_turns(folder_of, monkeypatch):
    predict = Predictor(folder_of("DistilBertModel")[0], "feature-extraction", backend="numpy")
    wanted, inside, most, answers = predict(COLUMNS)["vector"], [], [], []
    plain = Predictor._answered

    def watched(self, pipe, inputs):
        inside.append(1)
        most.append(len(inside))
        try:
            return plain(self, pipe, inputs)
        finally:
            inside.pop()

    monkeypatch.setattr(Predictor, "_answered", watched)
    threads = [threading.Thread(target=lambda: answers.append(predict(COLUMNS)["vector"])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6 and max(most) == 1
    assert all((answer == wanted).all() for answer in answers)


FORKED = """
import os, sys, threading
from nanodistil import Predictor
from nanodistil.bulk.loaded import process
predict = Predictor(sys.argv[1], "feature-extraction", backend="numpy")
wanted = predict({"text": ["a"]})["vector"]
held, done = threading.Event(), threading.Event()
def hold():
    with process.turn:
        held.set()
        done.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if not child:
    os._exit(0 if (predict({"text": ["a"]})["vector"] == wanted).all() else 1)
done.set()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_in_the_middle_of_a_call(folder_of):
    subprocess.run([sys.executable, "-c", FORKED, folder_of("DistilBertModel")[0]], check=True, timeout=60)


def test_threads_are_those_of_the_environment(monkeypatch):
    for name in ("NANODISTIL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray and Spark set it
    assert loaded.granted() == 1
    monkeypatch.setenv("NANODISTIL_NUM_THREADS", "3")
    assert loaded.granted() == 3


@pytest.mark.parametrize(
    ("made", "columns", "message"),
    [
        (("m", "fill-masks", {}), None, "unknown task 'fill-masks'.*did you mean fill-mask"),
        (("m", "fill-mask", {"topk": 3}), None, "'topk' is no option.*did you mean top_k"),
        (("m", "fill-mask", {"columns": {"txt": "review"}}), None, "'txt' is no field of .* there are text"),
        (("m", "fill-mask", {"threads": 0}), None, "threads must be a whole number of at least 1, not 0"),
        (("m", "fill-mask", {"targets": threading.Lock()}), None, "settings must be such as can be sent"),
        ((7, "fill-mask", {}), None, "model must be a folder or a hub id"),
        (("m", "fill-mask", {}), ["a"], "columns are needed, a dict of lists or arrays, not list"),
        (("m", "fill-mask", {}), {"t": ["a"]}, "there is no column 'text' \\(there are 't'\\)"),
        (("m", "question-answering", {}), {"question": ["a"], "context": []}, "as many .* 'question' 1, 'context' 0"),
        (("mini", "feature-extraction", {}), {"text": ["a", None]}, "input 2 is not a string but NoneType"),
        (("mini", "feature-extraction", {}), {"text": ["a"], "vector": [1]}, "there is a column 'vector' already"),
        (("mini", "feature-extraction", {"threads": 2}), {"text": ["a"]}, "threads is for the numba backend"),
    ],
)  # fmt: skip
def test_what_cannot_be(folder_of, made, columns, message):
    model, task, settings = made
    with pytest.raises(InputError, match=message):
        Predictor(folder_of("DistilBertModel")[0] if model == "mini" else model, task, backend="numpy", **settings)(
            columns
        )


def test_a_model_that_is_not_there():
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        Predictor("./no-such-model", "feature-extraction")({"text": ["a"]})


def test_errors_survive_the_way_to_another_process():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NanoDistilError)]
    assert len(kinds) == 7
    for kind in kinds:
        error = pickle.loads(pickle.dumps(kind("one line,\nand no more")))
        assert (type(error), str(error)) == (kind, "one line, and no more")
