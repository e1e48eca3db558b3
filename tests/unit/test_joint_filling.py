"""Joint fillings and whole words against their definitions: every filling there is, and a product taken by hand."""

import warnings
from itertools import product

import numpy as np
import pytest

from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertTokenizer, InputError, pipeline
from nanodistil.kernels.definitions.numpy_ops import vocabulary_softmax
from nanodistil.pipelines.joint_filling import fill_jointly

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "old", "york", "##er", "##s", "in", ".", "city"]
TEXT = "in [MASK] [MASK]."
MASK = WORDS.index("[MASK]")


@pytest.fixture(scope="module")
def fill(tmp_path_factory):
    vocab = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    vocab.write_text("\n".join(WORDS) + "\n")
    config = DistilBertConfig(
        vocab_size=len(WORDS), max_position_embeddings=16, n_layers=2, n_heads=2, dim=8, hidden_dim=8,
        initializer_range=0.8,
    )  # fmt: skip
    model = DistilBertForMaskedLM(config, backend="numpy", dtype="float64", seed=1)
    return pipeline("fill-mask", model=model, tokenizer=DistilBertTokenizer(vocab))


def p(fill, ids, at):
    """The definition: probabilities (V,) at one place, from the whole logits."""
    return vocabulary_softmax(fill.model([ids]).logits[0][[at]])[0]


def every_filling(fill, text, candidates):
    """score, tokens of all joint fillings, best first; one row at a time, from left to right."""
    ids = fill.tokenizer(text)["input_ids"]
    places = [i for i, number in enumerate(ids) if number == MASK]
    found = []
    for tokens in product(candidates, repeat=len(places)):
        row, score = list(ids), 1.0
        for place, token in zip(places, tokens, strict=True):
            score *= p(fill, row, place)[token]
            row[place] = token
        found.append((score, list(tokens)))
    return sorted(found, key=lambda one: -one[0])


@pytest.mark.parametrize("text", ["[MASK] city", TEXT, "[MASK] old [MASK] [MASK]"])
def test_enough_beams_find_the_best_of_all_fillings(fill, text):
    targets = ["new", "old", "york", "in", "."]
    candidates = [WORDS.index(word) for word in targets]
    best = every_filling(fill, text, candidates)
    answer = fill(text, joint=True, targets=targets, top_k=7, beams=len(best))
    assert [a["token"] for a in answer] == [tokens for _, tokens in best[: len(answer)]] and len(answer) == min(
        7, len(best)
    )
    assert [a["score"] for a in answer] == pytest.approx([score for score, _ in best[: len(answer)]], abs=1e-12)


def test_few_beams_still_give_exact_scores(fill):
    scores = {tuple(tokens): score for score, tokens in every_filling(fill, TEXT, range(len(WORDS)))}
    answer = fill(TEXT, joint=True, top_k=1, beams=2)
    assert answer[0]["score"] == pytest.approx(scores[tuple(answer[0]["token"])], abs=1e-12)
    complete = fill(TEXT, joint=True, top_k=13, beams=13)
    assert [a["score"] for a in complete] == pytest.approx(sorted(scores.values())[::-1][:13], abs=1e-12)


def test_the_form_of_joint_answers(fill):
    best, *others = fill(TEXT, joint=True, top_k=3)
    assert list(best) == ["score", "token", "token_str", "sequence"] and len(others) == 2
    assert best["token_str"] == [WORDS[number] for number in best["token"]]
    assert "[MASK]" not in best["sequence"] and "[CLS]" not in best["sequence"]
    (alone,) = fill("[MASK] city", joint=True, top_k=1)
    usual = fill("[MASK] city", top_k=1)[0]
    assert alone["token"] == [usual["token"]] and alone["score"] == pytest.approx(usual["score"])
    assert alone["sequence"] == usual["sequence"]
    assert fill(TEXT, joint=True, top_k=0) == []
    assert fill([TEXT, TEXT], joint=True) == [fill(TEXT, joint=True)] * 2 == list(fill(iter([TEXT] * 2), joint=True))


def test_a_beam_search_on_numbers_one_can_follow():
    """The first choice alone would take b (.6); together a a (.4 of .9) is better than b and anything (.6 of .5)."""
    first, second = np.array([0.4, 0.6]), {0: np.array([0.9, 0.1]), 1: np.array([0.5, 0.5])}

    def conditionals(asked):
        for i, (row, place) in enumerate(asked):
            yield i, first if place == 0 else second[int(row[0])]

    for beams, best, score in ((2, [0, 0], 0.36), (1, [1, 0], 0.30)):
        rows, scores = fill_jointly(np.array([9, 9]), [0, 1], np.arange(2), beams, conditionals)
        assert rows[0].tolist() == best and scores[0] == pytest.approx(score)


def test_whole_words_are_the_product_of_their_pieces(fill):
    targets = ["yorkers", "new", "olds", "newer", "yorker"]
    answer = fill("in [MASK] [MASK].", targets=targets, whole_words=True, top_k=9)
    assert len(answer) == 2
    for mask, fillings in enumerate(answer):
        expected = {}
        for word in targets:
            pieces = fill.tokenizer(word, add_special_tokens=False)["input_ids"]
            ids = fill.tokenizer("in [MASK] [MASK].")["input_ids"]
            at = 2 + mask
            row, score = [*ids[:at], *[MASK] * len(pieces), *ids[at + 1 :]], 1.0
            for i, piece in enumerate(pieces):
                score *= p(fill, row, at + i)[piece]
                row[at + i] = piece
            expected[word] = (score, pieces)
        assert [f["token_str"] for f in fillings] == sorted(targets, key=lambda word: -expected[word][0])
        for f in fillings:
            assert f["token"] == expected[f["token_str"]][1]
            assert f["score"] == pytest.approx(expected[f["token_str"]][0], rel=1e-9)


def test_the_form_of_whole_words(fill):
    fillings = fill("in [MASK] city.", targets=["yorkers", "new", "yorkers"], whole_words=True)
    assert {f["sequence"] for f in fillings} == {"in yorkers city.", "in new city."}
    assert fill("in [MASK] city.", targets="yorkers", whole_words=True, top_k=1)[0]["token_str"] == "yorkers"
    one = fill("in [MASK] city.", targets="new", whole_words=True)[0]
    assert one["score"] == pytest.approx(fill("in [MASK] city.", targets="new")[0]["score"], abs=1e-12)
    assert len(fill(["[MASK]", "[MASK] [MASK]"], targets="new", whole_words=True)[1]) == 2


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (TEXT, {"whole_words": True}, "goes with targets"),
        (TEXT, {"whole_words": True, "joint": True, "targets": "new"}, "not with joint"),
        (TEXT, {"whole_words": True, "targets": ["new", "strange"]}, "'strange' cannot be spelled"),
        (TEXT, {"whole_words": True, "targets": 3}, "targets"),
        (TEXT, {"joint": True, "beams": 0}, "beams"),
        (TEXT, {"joint": True, "beams": 1.5}, "beams"),
        (["[MASK]", "no mask"], {"joint": True}, "in input 2"),
        (["[MASK]", "in " * 13 + "[MASK]"], {"targets": "yorkers", "whole_words": True}, "input 2 has 16 tokens.*of 3"),
        (["[MASK]", "\ud800 [MASK]"], {}, "input 2: .*surrogate"),
    ],
)
def test_refusals(fill, text, options, message):
    with warnings.catch_warnings(), pytest.raises(InputError, match=message) as error:
        warnings.simplefilter("ignore")
        fill(text, **options)
    assert "\n" not in str(error.value)
