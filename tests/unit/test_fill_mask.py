"""The fill-mask pipeline: its results, its arguments, and everything it refuses."""

from types import SimpleNamespace

import numpy as np
import pytest

from nanodistil import (
    CheckpointError,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertTokenizer,
    InputError,
    ModelNotFoundError,
    pipeline,
)
from nanodistil.pipelines.batching import batches
from nanodistil.pipelines.fill_mask import FillMaskPipeline
from nanodistil.pipelines.ranking import largest


@pytest.fixture(scope="module")
def fill():
    return pipeline("fill-mask", model="nanodistil-mini", backend="numpy")


def test_a_result_has_the_four_fields_in_order(fill):
    (best, *others) = fill("Hello I'm a [MASK] model.")
    assert list(best) == ["score", "token", "token_str", "sequence"]
    assert best["sequence"] == f"hello i'm a {best['token_str']} model."
    assert len(others) == 4 and best["score"] >= others[0]["score"]


def test_the_raw_form_of_sequences(fill):
    best = fill("Hello I'm a [MASK] model.", top_k=1, clean_up_tokenization_spaces=False)[0]
    assert best["sequence"] == f"hello i ' m a {best['token_str']} model."


def test_several_masks_are_filled_independently(fill):
    first, second = fill("The [MASK] sat on the [MASK].", top_k=2)
    assert all("[MASK]" in f["sequence"] and f["sequence"].startswith("[CLS]") for f in first + second)
    assert len(first) == len(second) == 2


def test_texts_and_lists_and_streams(fill):
    texts = ["Paris is the capital of [MASK].", "[MASK] is a colour.", "The [MASK] sat on the [MASK]."]
    alone = [fill(t) for t in texts]
    together = fill(texts)
    assert fill(texts[:1]) == alone[0]  # as upstream: a list of one gives what the text alone would
    streamed = list(fill(iter(texts)))
    assert len(together) == len(streamed) == 3
    for a, b, c in zip(alone, together, streamed, strict=True):
        for x, y, z in zip(np.ravel(a), np.ravel(b), np.ravel(c), strict=True):
            assert x["token"] == y["token"] == z["token"]
            assert x["score"] == pytest.approx(y["score"], abs=1e-6)
    assert fill([]) == []


def test_many_texts_keep_their_order(fill):
    texts = [f"{'very ' * (i * 7 % 40)}good number {i} is [MASK]." for i in range(60)]
    answers = fill(texts, top_k=1)
    assert all(f"number {i} is" in a[0]["sequence"] for i, a in enumerate(answers))


def test_targets(fill):
    answer = fill("Paris is the capital of [MASK].", targets=["france", "paris", "france"])
    assert {f["token_str"] for f in answer} == {"france", "paris"}  # each once
    whole = {f["token_str"]: f["score"] for f in fill("Paris is the capital of [MASK].", top_k=1000)}
    assert answer[0]["score"] == pytest.approx(whole[answer[0]["token_str"]])  # not renormalised
    assert fill("Paris is the capital of [MASK].", targets="france")[0]["token_str"] == "france"


def test_a_target_outside_the_vocabulary(fill):
    with pytest.warns(UserWarning, match="'una' stands for it"):
        answer = fill("He is [MASK].", targets=["unaffable"])
    assert answer[0]["token_str"] == "una"
    with pytest.warns(UserWarning, match="left out"), pytest.raises(InputError, match="no word"):
        fill("He is [MASK].", targets=[""])
    with pytest.raises(InputError, match="no word"):
        fill("He is [MASK].", targets=[])


def test_top_k(fill):
    assert fill("[MASK]", top_k=0) == []
    assert len(fill("[MASK]", top_k=30522)) == 30522
    for bad in (-1, 30523, 2.0, True, "2"):
        with pytest.raises(InputError, match="top_k"):
            fill("[MASK]", top_k=bad)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("no mask here", r"no \[MASK\] in the input"),
        ("", r"no \[MASK\]"),
        (["[MASK] ok", "none"], r"no \[MASK\] in input 2"),
        ("[MASK] " + "word " * 600, "tokens, more than the model's 512"),
        (None, "NoneType"),
        (3, "int"),
        ({"text": "[MASK]"}, "dict"),
        (["[MASK]", 3], "input 2 is not a string"),
        ("[MASK] \ud800", "surrogate"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_texts(fill, inputs, message):
    with pytest.raises(InputError, match=message):
        fill(inputs)


@pytest.mark.filterwarnings("ignore")
def test_long_texts_fit_when_truncation_is_asked_for(fill):
    assert len(fill("[MASK] " + "word " * 600, tokenizer_kwargs={"truncation": True, "max_length": 512})) == 5
    assert len(fill("[MASK] " + "word " * 509)) == 5  # 512 tokens, specials included


def test_bad_choices():
    with pytest.raises(InputError, match="unknown task"):
        pipeline("translation")
    with pytest.raises(ModelNotFoundError):
        pipeline("fill-mask", model="./no/such/folder")
    with pytest.raises(InputError, match="backend"):
        pipeline("fill-mask", model="nanodistil-mini", backend="torch")


def test_a_vocabulary_that_does_not_fit(fill):
    """A cased vocabulary beside an uncased model must not answer nonsense."""
    config = DistilBertConfig(vocab_size=28996, dim=12, n_layers=1, hidden_dim=8)

    class Model:
        pass

    other = Model()
    other.config = config
    with pytest.raises(CheckpointError, match="30522 entries and the model 28996"):
        FillMaskPipeline(other, fill.tokenizer)


def test_a_model_that_overflows_says_so(fill):
    model = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
    broken = model.weights._replace(word_embeddings=np.full_like(model.weights.word_embeddings, np.nan))
    model.weights = broken
    tokenizer = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    with pytest.raises(CheckpointError, match="not finite"):
        FillMaskPipeline(model, tokenizer)("[MASK]")


def test_padding_makes_no_difference(fill):
    """Asked for or not, in one text or in many."""
    text = "Paris is the [MASK] of France."
    plain = fill(text)
    for options in ({"padding": "max_length", "max_length": 64}, {"padding": True}):
        assert fill(text, tokenizer_kwargs=options) == plain
    with pytest.raises(InputError, match="tokenizer_kwargs"):
        fill(text, tokenizer_kwargs={"no_such": 1})
    for targets in (3, [3], ["A [MASK]."]):
        with pytest.raises(InputError, match="target"):
            fill(text, targets=targets)


def test_the_largest_id_counts_not_the_number_of_words(fill):
    """A vocabulary with a line twice has fewer words than rows, but ids beyond them."""

    class Doubled:
        mask_token_id = 4

        encoder = SimpleNamespace(names={0: "a", fill.model.config.vocab_size: "b"})

    with pytest.raises(CheckpointError, match="30523 entries"):
        FillMaskPipeline(fill.model, Doubled())


def test_options_reach_the_default_model(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.warns(UserWarning, match="nanodistil-mini, small and embedded, answers"):
        answer = pipeline("fill-mask", backend="numpy", local_files_only=True, cache_dir=tmp_path)("A [MASK].")
    assert len(answer) == 5 and not list(tmp_path.iterdir())


def test_batches_hold_every_text_once_within_the_budget():
    lengths = [5, 300, 7, 2000, 40, 5, 1, 512] * 20
    seen = []
    for batch in batches(lengths, budget=1000):
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= 1000
        seen += batch
    assert sorted(seen) == list(range(len(lengths)))


def test_largest_is_a_stable_sort():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(0, 9, 30).astype(np.float32)
        for k in (0, 1, 5, 30, 40):
            np.testing.assert_array_equal(largest(values, k), np.argsort(-values, kind="stable")[:k])
