"""searching.py, index.py and the verb `search`: the nearest texts, exactly, and vectors that are computed once."""

import json

import numpy as np
import pytest
from tiny_folders import TEXTS, tiny_folder

from nanodistil import SentenceEncoder
from nanodistil.cli import main
from nanodistil.family.distilbert import DistilBertModel
from nanodistil.sentences import index, searching
from nanodistil.sentences.index import vectors_of
from nanodistil.sentences.searching import Vectors, compact, searched, semantic_search
from nanodistil.sentences.similarity import similarities
from nanodistil.weights.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("search"), DistilBertModel)


@pytest.fixture
def encoder(folder):
    return SentenceEncoder.from_pretrained(folder, backend="numpy")


def brute(queries, corpus, k, similarity):
    """By float64 and a sort, equal ones in their order."""
    scores = similarities(queries.astype(np.float64), corpus.astype(np.float64), similarity)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, 1)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int8"])
@pytest.mark.parametrize("chunk", [7, 16384])
def test_a_search_finds_what_float64_finds(monkeypatch, similarity, kind, chunk):
    """Many vectors lie nearer to each other than float32 can tell."""
    monkeypatch.setattr(searching, "CHUNK", chunk)
    monkeypatch.setattr(searching, "QUERIES", 2)
    rng = np.random.default_rng(chunk)
    few = rng.standard_normal((5, 33)) * 10.0 ** rng.integers(-2, 3, (5, 1))
    corpus = np.repeat(few, 40, axis=0) * (1 + 1e-7 * rng.standard_normal((200, 33)))
    corpus[11] = 0
    queries = rng.standard_normal((5, 33)).astype(np.float32)
    vectors = compact(corpus) if kind == "int8" else Vectors(corpus.astype(kind))
    exact = vectors.exact(np.arange(200))
    for k in (1, 6, 500):
        ids, scores = brute(queries, exact, k, similarity)
        for hits, wanted, score in zip(searched(queries, vectors, k, similarity), ids, scores, strict=True):
            np.testing.assert_allclose(hits.scores, score, rtol=1e-11, atol=1e-11)
            gaps = np.abs(np.diff(score)) > 1e-12 * np.abs(score).max()
            sure = np.concatenate([[True], gaps]) & np.concatenate([gaps, [k >= 200]])
            assert (hits.ids == wanted)[sure].all() and len(set(hits.ids.tolist())) == min(k, 200)


def test_equal_ones_stand_in_their_order_whatever_the_chunk(monkeypatch):
    corpus, query = np.ones((50, 8), np.float32), np.ones((1, 8), np.float32)
    for chunk in (1, 3, 64):
        monkeypatch.setattr(searching, "CHUNK", chunk)
        found = semantic_search(query, corpus, top_k=4)[0]
        assert [one["corpus_id"] for one in found] == [0, 1, 2, 3]


def test_very_long_and_very_short_vectors():
    rng = np.random.default_rng(3)
    for power in (30, -30):
        corpus = (rng.standard_normal((60, 9)) * 10.0**power).astype(np.float32)
        queries = rng.standard_normal((3, 9)).astype(np.float32)
        for similarity in ("dot", "euclidean"):
            ids, _ = brute(queries, corpus, 5, similarity)
            assert [hits.ids.tolist() for hits in searched(queries, Vectors(corpus), 5, similarity)] == ids.tolist()


def test_what_cannot_be_searched():
    a = np.ones((2, 4))
    for wrong in ((a, a[:, :3]), (a, a * np.nan), (a * np.nan, a), (a, a, 0), (a, a, 1, "manhattan"), (a, a, 1, "x")):
        with pytest.raises(InputError):
            semantic_search(*wrong)
    assert semantic_search(a, np.zeros((0, 4))) == [[], []] and semantic_search(np.zeros((0, 4)), a) == []


def test_bytes_are_near(encoder):
    vectors = encoder.encode(TEXTS)
    found = compact(vectors)
    assert found.numbers.dtype == np.int8
    assert np.abs(found.exact(np.arange(len(TEXTS))) - vectors).max() <= found.scales.max() / 2 * 1.001


@pytest.mark.parametrize("int8", [False, True])
def test_an_index_computes_a_text_once(tmp_path, encoder, monkeypatch, int8):
    file, asked = tmp_path / "x.index", []
    encode = encoder.encode_document
    monkeypatch.setattr(encoder, "encode_document", lambda texts: asked.append(texts) or encode(texts))
    first = vectors_of([*TEXTS, TEXTS[0]], encoder, file, int8)
    assert asked == [index.PROBE, TEXTS]
    again = vectors_of([*TEXTS, TEXTS[0]], encoder, file, int8)
    assert asked == [index.PROBE, TEXTS, index.PROBE] and (again.numbers == first.numbers).all()
    other = vectors_of(["good film", *TEXTS[::-1]], encoder, file, int8)
    assert asked[3:] == [index.PROBE, ["good film"]] and (other.numbers[1:] == first.numbers[:7][::-1]).all()
    plain = vectors_of(["good film", *TEXTS[::-1]], encoder, None, int8)
    assert (plain.exact(np.arange(8)) == other.exact(np.arange(8))).all()
    with pytest.raises(InputError, match="say the same, or name another file"):
        vectors_of(TEXTS, encoder, file, not int8)


def test_an_index_of_another_model_or_none_is_refused(tmp_path, encoder):
    file = tmp_path / "x.index"
    vectors_of(TEXTS, encoder, file)
    whole = file.read_bytes()
    for seed, dim in ((1, 20), (0, 24)):
        other = tiny_folder(tmp_path / f"{seed}", DistilBertModel, seed=seed, dim=dim)
        with pytest.raises(InputError, match="is the index of another model"):
            vectors_of(TEXTS, SentenceEncoder.from_pretrained(other, backend="numpy"), file)
    assert file.read_bytes() == whole
    for content in (
        b"",
        b"no index",
        whole[:100],
        whole[:-5],
        whole.replace(b"nanodistil index 1", b"something else 123"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError) as refused:
            vectors_of(TEXTS, encoder, file)
        assert "\n" not in str(refused.value)
        assert file.read_bytes() == content


def test_the_verb(tmp_path, folder, capsys, encoder):
    docs = tmp_path / "docs.txt"
    docs.write_text("\n".join(TEXTS) + "\n")
    options = ["--model", folder, "--backend", "numpy", "--top-k", "2"]
    assert main(["search", str(docs), "the film", "a b", *options]) == 0
    out = capsys.readouterr().out.splitlines()
    wanted = semantic_search(encoder.encode(["the film", "a b"]), encoder.encode(TEXTS), top_k=2)
    assert out[0] == "the film" and out[3] == "a b" and len(out) == 6
    assert TEXTS[wanted[0][0]["corpus_id"]] in out[1] and f"line {wanted[1][1]['corpus_id'] + 1} of" in out[5]
    table = tmp_path / "docs.jsonl"
    table.write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS))
    more = ["--column", "body", "--index", str(tmp_path / "x.index"), "--jsonl", "--similarity", "dot", "--int8"]
    for _ in range(2):
        assert main(["search", str(table), "the film", *options, *more]) == 0
        (line,) = map(json.loads, capsys.readouterr().out.splitlines())
        assert line["query"] == "the film" and [*line["result"][0]] == ["corpus_id", "score", "text", "place"]
    table.write_text('{"body": 3}\n')
    (tmp_path / "none.txt").write_text("")
    for argv in ([table, "a", *more], [docs], [tmp_path / "none.txt", "a"], [tmp_path / "gone", "a"]):
        assert main(["search", *map(str, argv), *options]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "Traceback" not in err
