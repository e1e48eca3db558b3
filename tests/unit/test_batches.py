"""What is as good as a list of texts is answered as one by every pipeline; an iterator is read as it comes."""

import warnings
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from tiny_folders import OF_ENCODERS, tiny_folder

from nanodistil import InputError, heads, pipeline
from nanodistil.family import class_of
from nanodistil.pipelines import TASKS

LABELS = {"zero-shot-classification": {"id2label": {0: "contradiction", 1: "entailment"}}}
OPTIONS = {
    "zero-shot-classification": {"candidate_labels": ["good", "bad"]},
    "multiple-choice": {"choices": ["a", "b"]},
    "feature-extraction": {"pooling": "mean"},
}
TEXTS = ["good [MASK]", "the film was [MASK] .", "a [MASK] c"]
QUESTIONS = [{"question": "who ?", "context": text} for text in TEXTS]


@pytest.fixture(scope="module", params=OF_ENCODERS)
def asked(request, tmp_path_factory):
    """A pipeline, its inputs, and its options."""
    task = request.param
    cls = class_of("distilbert", TASKS[task][2])
    folder = tiny_folder(tmp_path_factory.mktemp("model"), cls, **LABELS.get(task, {}))
    inputs = QUESTIONS if task == "question-answering" else TEXTS
    return pipeline(task, folder, backend="numpy"), inputs, OPTIONS.get(task, {})


def same(found, wanted):
    """Equal but for the last digits, which on the numpy backend depend on what is computed together."""
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return type(found) is list and len(found) == len(wanted) and all(map(same, found, wanted))
    return found == (pytest.approx(wanted, abs=1e-5) if isinstance(wanted, float) else wanted)


class OnDisk(Sequence):
    """As a column of `datasets` is: read when it is asked for."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number]


def columns(inputs):
    """The inputs in every form that has a length."""
    yield tuple(inputs)
    yield deque(inputs)
    yield dict(enumerate(inputs)).values()
    yield OnDisk(inputs)
    yield np.array(inputs, object)
    if isinstance(inputs[0], str):
        yield np.array(inputs)
    try:
        import pandas as pd
        import pyarrow as pa
    except ImportError:
        return
    yield pd.Series(inputs, index=range(5, 5 + len(inputs)))
    yield pa.array(inputs)
    yield pa.chunked_array([inputs[:1], inputs[1:]])


def test_a_column_is_answered_as_a_list(asked):
    pipe, inputs, options = asked
    wanted = pipe(inputs, **options)
    assert type(wanted) is list
    for several in columns(inputs):
        assert same(pipe(several, **options), wanted), type(several)
        assert same(pipe(several[:0] if isinstance(several, tuple | np.ndarray) else [], **options), [])


def test_columns_of_datasets(asked):
    datasets = pytest.importorskip("datasets", exc_type=ImportError)
    pipe, inputs, options = asked
    if isinstance(inputs[0], dict):
        assert same(pipe(datasets.Dataset.from_list(inputs), **options), pipe(inputs, **options))
    else:
        data = datasets.Dataset.from_dict({"text": inputs, "label": [0, 1, 0]})
        assert same(pipe(data["text"], **options), pipe(inputs, **options))


def test_an_iterator_is_read_as_it_comes(asked):
    pipe, inputs, options = asked
    read = []

    def stream():
        for number in range(100):
            read.append(number)
            yield inputs[number % 3]

    answers = pipe(stream(), **options)
    assert not isinstance(answers, list) and read == []
    next(answers)
    assert len(read) < 5
    assert len(list(answers)) == 99


def test_what_is_no_batch_is_refused(asked):
    pipe, _, options = asked
    wrong = [{"a", "b"}, frozenset(), b"a", bytearray(b"a"), 3, None, np.array("a"), np.array([["a", "b"]])]
    try:
        import pandas as pd

        wrong.append(pd.DataFrame({"text": ["a"], "id": [1]}))
    except ImportError:
        pass
    for one in wrong:
        with pytest.raises(InputError) as error:
            pipe(one, **options)
        assert "\n" not in str(error.value)


def test_words_and_labels_in_columns(tmp_path):
    ner = pipeline("ner", tiny_folder(tmp_path / "n", heads.DistilBertForTokenClassification), backend="numpy")
    split = {"is_split_into_words": True, "ignore_labels": []}
    wanted = ner([["good", "film"], ["a"]], **split)
    assert same(ner((("good", "film"), np.array(["a"])), **split), wanted)
    for words in (("good", "film"), np.array(["good", "film"])):
        assert same(ner(words, **split), ner(["good", "film"], **split))
    qa = pipeline(
        "question-answering", tiny_folder(tmp_path / "q", heads.DistilBertForQuestionAnswering), backend="numpy"
    )
    several = {"question": np.array(["who ?", "what ?"]), "context": "the film was good ."}
    assert same(qa(**several), qa(question=["who ?", "what ?"], context=several["context"]))


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "\u00ad\u0300"])
def test_a_text_without_a_word_is_answered_with_a_word_about_it(asked, text):
    """As transformers answers it, from [CLS] and [SEP]; where there must be something, it is an error."""
    pipe, inputs, options = asked
    if isinstance(inputs[0], dict):
        with pytest.raises(InputError, match=r"is empty|has no words"):
            pipe(question=text, context="a")
        if text:  # where nothing is said, nothing answers
            assert pipe(question="a", context=text)["answer"] == ""
        return
    task = type(pipe).__name__
    if task == "TokenClassificationPipeline":
        assert pipe(text) == []
    elif task == "FillMaskPipeline" or (task == "ZeroShotClassificationPipeline" and not text):
        with pytest.raises(InputError):
            pipe(text, **options)
    elif task == "MultipleChoicePipeline":
        assert len(pipe(text, **options)) == 2  # the choices are there
        with pytest.warns(UserWarning, match="without a word"):
            pipe(text, choices=[text, text])
    else:
        with pytest.warns(UserWarning, match="without a word"):
            pipe(text, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pipe("good film", **options)
