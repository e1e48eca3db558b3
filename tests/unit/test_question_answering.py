"""The question-answering pipeline: what it answers, the ways to ask, and everything it refuses. No trained model."""

from itertools import islice, product
from types import SimpleNamespace

import numpy as np
import pytest

from nanodistil import (
    CheckpointError,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertTokenizer,
    InputError,
    pipeline,
)
from nanodistil.pipelines.overlap import overlapping
from nanodistil.pipelines.question_answering import question_and_context
from nanodistil.pipelines.scores import softmax
from nanodistil.pipelines.spans import best_spans

ASK = "Who lives in Rome?"
CONTEXT = "Unaffable Bo lives in Rome, since Ann left for Zürich."
LONG = " ".join(f"Name{i} lives in Town{i}." for i in range(30))


@pytest.fixture(scope="module")
def qa():
    config = DistilBertConfig(
        max_position_embeddings=64, n_layers=1, n_heads=2, dim=8, hidden_dim=8, initializer_range=0.5
    )
    model = DistilBertForQuestionAnswering(config, backend="numpy", seed=5)
    return pipeline("question-answering", model=model, tokenizer=DistilBertTokenizer.from_pretrained("nanodistil-mini"))


def test_an_answer_has_the_four_fields_in_order(qa):
    answer = qa(question=ASK, context=CONTEXT)
    assert list(answer) == ["score", "start", "end", "answer"] and type(answer["score"]) is float
    assert answer["answer"] == CONTEXT[answer["start"] : answer["end"]] != ""


def test_the_scores_are_those_of_the_model(qa):
    """The definition, by hand: all spans of a row that is one window."""
    encoded = qa.tokenizer(ASK, CONTEXT, return_offsets_mapping=True)
    output = qa.model([encoded["input_ids"]])
    mine = [i for i, sequence in enumerate(encoded.sequence_ids(0)) if sequence == 1]
    p_start, p_end = (np.exp(x[0][[0, *mine]]) for x in (output.start_logits, output.end_logits))
    p_start, p_end = p_start / p_start.sum(), p_end / p_end.sum()
    spans = [
        (p_start[1 + i] * p_end[1 + j], mine[i], mine[j])
        for i, j in product(range(len(mine)), repeat=2)
        if i <= j < i + 15
    ]
    score, first, last = max(spans)
    answer = qa(question=ASK, context=CONTEXT, align_to_words=False)
    assert answer["score"] == pytest.approx(score, abs=1e-6)
    assert (answer["start"], answer["end"]) == (encoded["offset_mapping"][first][0], encoded["offset_mapping"][last][1])
    answers = qa(question=ASK, context=CONTEXT, top_k=500, handle_impossible_answer=True)
    (none,) = [a for a in answers if not a["answer"]]
    assert none == {"score": pytest.approx(p_start[0] * p_end[0], abs=1e-6), "start": 0, "end": 0, "answer": ""}


def test_top_k(qa):
    assert isinstance(qa(question=ASK, context=CONTEXT, top_k=1), dict)
    answers = qa(question=ASK, context=CONTEXT, top_k=7)
    assert len(answers) == 7 and answers == sorted(answers, key=lambda a: -a["score"])
    texts = [a["answer"].lower() for a in answers]
    assert len(set(texts)) == 7  # equal ones are one
    assert isinstance(qa(question=ASK, context="Bo", top_k=9), dict)  # there is no other


def test_the_old_name_of_top_k(qa):
    with pytest.warns(UserWarning, match="top_k"):
        assert qa(ASK, CONTEXT, topk=3) == qa(ASK, CONTEXT, top_k=3)


def test_equal_answers_are_added_up(qa):
    twice = qa(question=ASK, context="Bo bo", align_to_words=False, top_k=9)
    alone = next(a for a in twice if a["answer"].lower() == "bo")
    both = next(a for a in twice if a["answer"] == "Bo bo")
    encoded = qa.tokenizer(ASK, "Bo bo")
    output = qa.model([encoded["input_ids"]])
    places = [0, len(encoded["input_ids"]) - 3, len(encoded["input_ids"]) - 2]
    spans, _ = best_spans(output.start_logits[0][places], output.end_logits[0][places], 9, 15)
    scores = {(s.first, s.last): s.score for s in spans}
    assert both["score"] == pytest.approx(scores[0, 1]) and alone["score"] == pytest.approx(scores[0, 0] + scores[1, 1])


def test_whole_words(qa):
    encoded = qa.tokenizer("Unaffable", add_special_tokens=False, return_offsets_mapping=True)
    pieces = {"Unaffable"[a:b] for a, b in encoded["offset_mapping"]}
    assert len(pieces) > 1
    whole, parts = (
        {a["answer"] for a in qa(question=ASK, context=CONTEXT, top_k=300, align_to_words=align)}
        for align in (True, False)
    )
    assert "Unaffable" in whole and not whole & pieces and pieces < parts


def spans_of(qa, question, context, k, room):
    """The definition of what goes into the sums: the k best spans of every window as (characters, score), and nones."""
    asked, ids = qa.tokenizer([question, context], add_special_tokens=False)["input_ids"]
    offsets = qa.tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    found, nones = [], []
    for a, b in overlapping(len(ids), room, 5):
        row = [101, *asked, 102, *ids[a:b], 102]
        output = qa.model([row])
        places = [0, *range(len(asked) + 2, len(row) - 1)]
        spans, none = best_spans(output.start_logits[0][places], output.end_logits[0][places], k, 15)
        found += [(offsets[a + s.first][0], offsets[a + s.last][1], s.score) for s in spans]
        nones.append(none)
    return found, nones


def test_a_words_score_is_the_sum_over_its_pieces(qa):
    context = "unaffable unaffables"
    found, _ = spans_of(qa, ASK, context, 2 * 3 + 10, 99)
    sums = {}
    for start, end, score in found:
        text = context[0 if start < 9 else 10 : 9 if end <= 9 else 20]
        sums[text] = sums.get(text, 0.0) + score
    answers = qa(question=ASK, context=context, top_k=3)
    assert {a["answer"]: a["score"] for a in answers} == pytest.approx(sums, abs=1e-6)


def test_the_score_of_no_answer_is_the_least_of_all_windows(qa):
    asked = len(qa.tokenizer(ASK, add_special_tokens=False)["input_ids"])
    for context in (LONG, LONG[::-1]):
        _, nones = spans_of(qa, ASK, context, 1, 30 - asked - 3)
        options = {"max_seq_len": 30, "doc_stride": 5, "handle_impossible_answer": True, "top_k": 100_000}
        (none,) = [a for a in qa(question=ASK, context=context, **options) if not a["answer"]]
        assert none["score"] == pytest.approx(min(nones), abs=1e-7) and min(nones) < 0.9 * nones[-1]


def test_max_answer_len(qa):
    for answer in qa(question=ASK, context=CONTEXT, top_k=99, max_answer_len=1, align_to_words=False):
        assert " " not in answer["answer"]


def test_long_contexts_are_read_to_their_end(qa):
    everything = qa(question=ASK, context=LONG, top_k=100_000, align_to_words=False, max_answer_len=1)
    assert {a["answer"] for a in everything} >= {"Name", "lives", "29", "."}
    for options in ({"max_seq_len": 20, "doc_stride": 5}, {"doc_stride": 0}):
        assert qa(question=ASK, context=LONG, **options)["answer"] in LONG


def test_questions_are_cut_only_if_asked(qa):
    long = "who " * 40
    whole, cut = (qa(question=long, context="Bo lives.", top_k=3, **o) for o in ({}, {"max_question_len": 5}))
    assert whole != cut == qa(question="who " * 5, context="Bo lives.", top_k=3)
    with pytest.raises(InputError, match="input 2: a question of 70 tokens leaves 0 of max_seq_len=64"):
        qa(question=["a", "who " * 70], context=CONTEXT)
    with pytest.raises(InputError, match=r"the input: a question of 40 tokens leaves 21 .* doc_stride=32"):
        qa(question=long, context=LONG)


def test_the_many_ways_to_ask(qa):
    one = {"question": ASK, "context": CONTEXT}
    two = {"question": "Where?", "context": LONG}
    expected = qa(**one)
    squad = SimpleNamespace(question_text=ASK, context_text=CONTEXT)
    for same in (qa(one), qa(ASK, CONTEXT), qa([one]), qa(data=one), qa(X=[one]), qa(squad), qa([squad])):
        assert same == expected
    assert qa({**one, "id": 7, "answers": []}) == expected  # a line of SQuAD
    assert qa(question=[ASK], context=CONTEXT) == qa(question=[ASK], context=[CONTEXT]) == expected
    pair = [expected, qa(**two)]
    for same in (
        qa([one, two]),
        qa(one, two),
        qa(question=[ASK, "Where?"], context=[CONTEXT, LONG]),
        qa({"question": [ASK, "Where?"], "context": [CONTEXT, LONG]}),
        list(qa(item for item in (one, two))),
        list(qa.each([one, two])),
    ):
        assert [a["answer"] for a in same] == [a["answer"] for a in pair]
        assert [a["score"] for a in same] == pytest.approx([a["score"] for a in pair], abs=1e-6)
    assert len(qa(question=["a", "b", "c"], context=CONTEXT)) == 3 and qa([]) == []


def test_a_stream_is_read_as_it_is_answered(qa):
    read = []

    def endless():
        while True:
            read.append(1)
            yield {"question": ASK, "context": f"Number {len(read)}."}

    assert len(list(islice(qa(endless()), 3))) == 3 and len(read) < 10


def test_windows_are_as_long_as_the_tokenizer_says_now(qa):
    tokenizer = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    short = pipeline("question-answering", qa.model, tokenizer)
    tokenizer.model_max_length = 20
    wanted = qa(question=ASK, context=CONTEXT * 3, max_seq_len=20, top_k=9999, handle_impossible_answer=True)
    assert short(question=ASK, context=CONTEXT * 3, top_k=9999, handle_impossible_answer=True) == wanted
    assert "" in [answer["answer"] for answer in wanted]  # of all windows the least sure
    with pytest.raises(InputError, match="more than the 20 tokens"):
        short(question=ASK, context=CONTEXT, max_seq_len=21)


def test_a_context_without_tokens(qa):
    assert qa(question=ASK, context=" \u200b ") == {"score": 0.0, "start": 0, "end": 0, "answer": ""}
    assert qa(question=ASK, context=" ", handle_impossible_answer=True)["score"] == pytest.approx(1.0)
    assert qa(question="?", context="\u200bBo")["answer"] == "Bo"


def test_special_tokens_of_a_question_are_no_answers(qa):
    for answer in qa(question="[CLS] [CLS] who?", context="Bo in Rome", top_k=99, max_answer_len=99):
        assert answer["answer"] in "Bo in Rome" and answer["start"] < answer["end"]


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((), {}, "pass question"),
        ((), {"question": ASK}, "the input lacks a context"),
        ((), {"context": CONTEXT}, "the input lacks a question"),
        ((), {"question": "", "context": CONTEXT}, "the question of the input is empty"),
        ((), {"question": ASK, "context": 3}, "the context of the input is not a string but int"),
        ((), {"question": [ASK, ""], "context": CONTEXT}, "the question of input 2 is empty"),
        ((), {"question": [ASK], "context": [CONTEXT, LONG]}, "1 questions and 2 contexts"),
        ((), {"question": ASK, "context": [CONTEXT]}, "several contexts"),
        ((ASK,), {}, "a question needs its context"),
        ((3,), {}, "a question needs its context"),
        (([{"question": ASK}],), {}, "the input lacks a context"),
        ((["a", "b"],), {}, "input 1 should be a dict"),
        (({"question": ASK, "context": CONTEXT},), {"question": ASK, "context": CONTEXT}, "only one"),
        ((ASK, "b \ud800"), {}, "the input: .*surrogate"),
        ((ASK, CONTEXT), {"top_k": 0}, "top_k"),
        ((ASK, CONTEXT), {"top_k": 1.5}, "top_k"),
        ((ASK, CONTEXT), {"max_answer_len": 0}, "max_answer_len"),
        ((ASK, CONTEXT), {"max_seq_len": 65}, "max_seq_len=65 is more than the 64"),
        ((ASK, CONTEXT), {"max_seq_len": 2}, "max_seq_len"),
        ((ASK, CONTEXT), {"doc_stride": 62}, "doc_stride=62"),
        ((ASK, CONTEXT), {"doc_stride": -1}, "doc_stride"),
        ((ASK, CONTEXT), {"max_question_len": 0}, "max_question_len"),
    ],
)
def test_refusals(qa, args, options, message):
    with pytest.raises(InputError, match=message) as error:
        qa(*args, **options)
    assert "\n" not in str(error.value)


def test_answers_before_a_bad_one_are_given(qa):
    good = {"question": ASK, "context": CONTEXT}
    answers = qa.each([good, good, {"question": ASK}, good], first=5)
    assert len(list(islice(answers, 2))) == 2
    with pytest.raises(InputError, match="input 8 lacks a context"):
        next(answers)
    with pytest.raises(InputError, match="input 3 should be a dict"):
        question_and_context(3, "input 3")


def test_broken_weights_and_foreign_vocabularies(qa):
    broken = DistilBertForQuestionAnswering(qa.model.config, backend="numpy")
    broken.weights = broken.weights._replace(word_embeddings=np.full_like(broken.weights.word_embeddings, np.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        pipeline("question-answering", model=broken, tokenizer=qa.tokenizer)(ASK, CONTEXT)
    config = DistilBertConfig(vocab_size=99, dim=12, n_layers=1, hidden_dim=8)
    with pytest.raises(CheckpointError, match="30522 entries and the model 99"):
        model = DistilBertForQuestionAnswering(config, backend="numpy")
        pipeline("question-answering", model=model, tokenizer=qa.tokenizer)


def test_the_best_spans_are_those_of_all_spans():
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 7, 30):
        for longest in (1, 3, 100):
            start, end = rng.standard_normal((2, n + 1)).astype(np.float32)
            p_start, p_end = softmax(start), softmax(end)
            every = [(p_start[1 + i] * p_end[1 + j], i, j) for i in range(n) for j in range(i, min(n, i + longest))]
            spans, none = best_spans(start, end, 12, longest)
            assert [(s.score, s.first, s.last) for s in spans] == sorted(every, key=lambda s: -s[0])[:12]
            assert none == p_start[0] * p_end[0]
