"""Rows of several callers, each with settings of its own, share one batch: a caller's answer is what it is alone.

What a server needs: `prepare` for each, `results` for the rows of all, `finish` for each.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_pipelines import small

from nanodistil import pipeline
from nanodistil.kernels.runtime.target import INTERPRETED
from nanodistil.pipelines import TASKS

SHORT, LONG = "Bo lives in Rome.", "The restaurant that Ann has in Paris is not so bad as they say it is."
CONTEXT = {"question": "Who lives in Rome?", "context": LONG + " " + SHORT}
FOUNDED = {"question": "Where was it founded?", "context": "It was founded in Paris."}
CHOICES = {"prompt": SHORT, "choices": ["He is happy.", "Rome is far."]}
CALLERS = {  # task -> what callers ask: an input, and the options of the call
    "fill-mask": [
        ("Paris is the [MASK] of France.", {}),
        ("Paris is the [MASK] of France.", {"top_k": 2}),
        ("The [MASK] sat on the [MASK].", {"top_k": 3, "clean_up_tokenization_spaces": False}),
        ("A [MASK] film.", {"targets": ["good", "bad", "strange"]}),
        ("Paris is the [MASK] of France.", {"targets": ["city", "capital"], "top_k": 1}),
        ("A [MASK] film, a [MASK] book.", {"top_k": 500}),
        ("A [MASK] film.", {"top_k": 0}),
        ("A [MASK] [MASK] film.", {"joint": True, "beams": 4, "top_k": 2}),
        ("A [MASK] film.", {"targets": ["unaffable", "good"], "whole_words": True}),
        ("[MASK] " + " ".join(["so"] * 90), {"tokenizer_kwargs": {"truncation": True, "padding": "max_length"}}),
    ],
    "text-classification": [
        (SHORT, {}),
        (SHORT, {"top_k": None}),
        (SHORT, {"top_k": 2, "function_to_apply": "sigmoid"}),
        (LONG, {"function_to_apply": "none", "return_all_scores": True}),
        ({"text": SHORT, "text_pair": LONG}, {"top_k": 3, "truncation": True, "max_length": 9}),
    ],
    "token-classification": [
        (SHORT, {"ignore_labels": []}),
        (SHORT, {"ignore_labels": [], "aggregation_strategy": "simple", "word": "tokens"}),
        (LONG, {"ignore_labels": ["LABEL_0"], "aggregation_strategy": "max"}),
        (["Ann", "lives", "there"], {"ignore_labels": [], "is_split_into_words": True, "delimiter": "_"}),
        (LONG * 5, {"ignore_labels": [], "aggregation_strategy": "first", "stride": 9}),
        (LONG * 5, {"ignore_labels": [], "truncation": True}),
    ],
    "question-answering": [
        (CONTEXT, {}),
        (CONTEXT, {"top_k": 3, "doc_stride": 5, "max_seq_len": 20}),
        (CONTEXT, {"top_k": 3, "doc_stride": 9, "max_seq_len": 20, "align_to_words": False}),
        (FOUNDED, {"handle_impossible_answer": True, "max_answer_len": 1, "top_k": 9}),
        (FOUNDED, {"max_question_len": 2}),
    ],
    "zero-shot-classification": [
        (SHORT, {"candidate_labels": ["travel", "food"]}),
        (SHORT, {"candidate_labels": ["travel", "food"], "multi_label": True}),
        (LONG, {"candidate_labels": "food, a place, news", "hypothesis_template": "It is about {}."}),
        (LONG * 5, {"candidate_labels": ["food"]}),
    ],
    "multiple-choice": [
        (CHOICES, {}),
        (LONG, {"choices": ["It is good.", "It is bad.", "It is so-so, they say."]}),
        (LONG, {"choices": ["Good."], "tokenizer_kwargs": {"truncation": True, "max_length": 12}}),
    ],
    "feature-extraction": [
        (SHORT, {}),
        (SHORT, {"return_tensors": True}),
        (SHORT, {"pooling": "mean", "return_tensors": "np"}),
        (SHORT, {"pooling": "mean", "normalize": True}),
        (LONG, {"pooling": "cls"}),
        (SHORT, {"tokenize_kwargs": {"padding": "max_length", "max_length": 30}}),
        (LONG * 5, {"truncation": True, "pooling": "mean"}),
    ],
}


def plain(answer):
    """Arrays by their bytes, so that == means to the last bit."""
    if isinstance(answer, np.ndarray):
        return answer.shape, str(answer.dtype), answer.tobytes()
    return answer


@pytest.mark.parametrize("task", CALLERS)
@pytest.mark.filterwarnings("ignore:none of the labels", "ignore:return_all_scores is deprecated")
def test_callers_of_different_settings_share_a_batch(task, monkeypatch):
    pytest.importorskip("numba")  # NumPy's BLAS promises no bits
    labels = {"id2label": dict(enumerate(["LABEL_0", "B-PER", "entailment"]))} if "classification" in task else {}
    asked = CALLERS[task][:3] if INTERPRETED else CALLERS[task]  # 30,522 words in plain Python take their time
    pipe = pipeline(task, *small(TASKS[task][2], "numba", **labels))
    alone = [plain(next(pipe.each([one], **options))) for one, options in asked]
    batches, compute = [], pipe.compute

    def counted(inputs, wanted):
        batches.append(len(inputs["input_ids"]))
        return compute(inputs, wanted)

    monkeypatch.setattr(pipe, "compute", counted)
    for callers, expected in ((asked, alone), (asked[::-1], alone[::-1])):
        settings = [pipe.settings(**options) for _, options in callers]
        with ThreadPoolExecutor(2) as others:  # callers' threads
            prepared = list(others.map(pipe.prepare, [one for one, _ in callers], settings))
        rows = [row for ready in prepared for row in ready.rows]
        batches.clear()
        results = iter(pipe.results(rows))
        assert batches == [len(rows)]  # one batch for all
        answers = []
        for ready, chosen in zip(prepared, settings, strict=True):
            answers.append(plain(pipe.finish(ready, [next(results) for _ in ready.rows], chosen)))
        assert answers == expected
    assert len({repr(answer) for answer in alone}) > len(alone) / 2  # settings do matter
