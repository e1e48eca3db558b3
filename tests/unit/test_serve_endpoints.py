"""Every endpoint, without a socket: its answers are the pipelines', to the last bit; what is refused, and how."""

import asyncio
import base64
import io
import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from asgi import asking
from small_pipelines import small

from nanodistil import CrossEncoder, SparseEncoder, pipeline
from nanodistil.serve.description import described
from nanodistil.serve.door import Door
from nanodistil.serve.journal import Journal
from nanodistil.serve.limits import Limits
from nanodistil.serve.listening import application
from nanodistil.serve.routes import BY_NAME, TABLE
from nanodistil.serve.served import RANKING, SPARSE, Served
from nanodistil.serve.site import Site

pytest.importorskip("numba")  # NumPy's BLAS promises no bits
if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
    pytest.skip("a server on kernels as plain Python takes minutes", allow_module_level=True)
BACKEND = "numba"
TEXTS = ["Bo lives in Rome.", "A film.", "The restaurant that Ann has in Paris is not so bad as they say it is."]
LABELS = {"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}}
HEADS = {  # name -> task, class, config
    "fill": ("fill-mask", "DistilBertForMaskedLM", {}),
    "embed": ("feature-extraction", "DistilBertModel", {}),
    "nli": ("text-classification", "DistilBertForSequenceClassification", LABELS),
    "rank": ("text-classification", "DistilBertForSequenceClassification", {"id2label": {0: "fits"}}),
    "ner": ("token-classification", "DistilBertForTokenClassification", {"id2label": {0: "O", 1: "B-PER"}}),
    "qa": ("question-answering", "DistilBertForQuestionAnswering", {}),
    "choice": ("multiple-choice", "DistilBertForMultipleChoice", {}),
    "sparse": (SPARSE, "DistilBertForMaskedLM", {}),
}
LIMITS = Limits(batch_tokens=256, tokens=1024, inputs=64, seconds=600)  # kernels may have to be compiled first


@pytest.fixture(scope="module")
def models():
    made = {}
    for seed, (name, (task, cls, config)) in enumerate(HEADS.items()):
        pair = small(cls, BACKEND, seed, **config)
        pipes = {task: SparseEncoder(*pair).pipe if task == SPARSE else pipeline(task, *pair)}
        if name == "rank":
            pipes[RANKING] = CrossEncoder(*pair, activation_fn="Tanh").pipe
        if name == "nli":
            pipes["zero-shot-classification"] = pipeline("zero-shot-classification", *pair)
        made[name] = Served(name, task, pipes, "mean")
    return made


def made(models, limits=LIMITS, **options):
    return Site(models, limits, **options)


@pytest.fixture(scope="module")
def server(models):
    site = made(models)
    with asking(Door(site)) as asker:
        asker.site = site
        asker.run(probed(site))
        yield asker


async def probed(site):
    while not site.ready:
        await asyncio.sleep(0.001)


def called(asker, path, body, status=200, **more):
    answer = asker.post(path, body, **more)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def alone(models, name, task, one, **options):
    return next(models[name].pipes[task].each([one], **options))


def test_nothing_is_left_to_be_compiled_once_it_is_ready(server, models):
    """The scan of a tokenizer, loaded after much text, would otherwise stop everybody in the middle of work."""
    assert server.site.ready
    for served in models.values():
        assert all(pipe.tokenizer.encoder.seen is None for pipe in served.pipes.values())


# Answers


def test_embed(server, models):
    options = {"pooling": "mean", "normalize": True}
    expected = [alone(models, "embed", "feature-extraction", text, **options) for text in TEXTS]
    assert called(server, "/embed", {"inputs": TEXTS}) == expected
    assert called(server, "/embed", {"inputs": TEXTS[0], "truncation_direction": "Right"}) == expected[:1]
    raw = alone(models, "embed", "feature-extraction", TEXTS[0], pooling="mean")
    assert called(server, "/embed?model=embed", {"inputs": TEXTS[0], "normalize": False}) == [raw]
    (few,) = called(server, "/embed", {"inputs": TEXTS[0], "dimensions": 5})
    np.testing.assert_allclose(few, np.array(raw[:5]) / np.linalg.norm(raw[:5]), rtol=1e-6)


def test_embed_all(server, models):
    expected = [alone(models, "embed", "feature-extraction", text)[0] for text in TEXTS]
    assert called(server, "/embed_all", {"inputs": TEXTS}) == expected


def test_a_text_that_is_too_long_is_refused_or_cut(server, models):
    long = "so " * 99
    assert "more than the model's 64" in called(server, "/embed", {"inputs": long}, 413)["error"]
    cut = alone(models, "embed", "feature-extraction", long, truncation=True, pooling="mean", normalize=True)
    assert called(server, "/embed", {"inputs": long, "truncate": True}) == [cut]


def test_similarity(server, models):
    vectors = [np.array(alone(models, "embed", "feature-extraction", text, pooling="mean")) for text in TEXTS]
    cosines = [v @ vectors[0] / np.linalg.norm(v) / np.linalg.norm(vectors[0]) for v in vectors[1:]]
    body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}}
    np.testing.assert_allclose(called(server, "/similarity", body), cosines, rtol=1e-12)
    assert called(server, "/models/embed", body) == called(server, "/similarity", body)


def test_predict(server, models):
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    expected = [alone(models, "nli", "text-classification", one, top_k=None) for one in (TEXTS[0], pair)]
    assert called(server, "/predict", {"inputs": TEXTS[0]}) == expected[0]
    assert called(server, "/predict", {"inputs": TEXTS[:2]}) == expected[1]
    assert called(server, "/predict", {"inputs": [[TEXTS[0]], TEXTS[:2]]}) == expected
    raw = alone(models, "nli", "text-classification", TEXTS[0], top_k=None, function_to_apply="none")
    assert called(server, "/predict", {"inputs": TEXTS[0], "raw_scores": True}) == raw


def test_rerank(server, models):
    found = called(server, "/rerank", {"query": "who?", "texts": TEXTS, "return_text": True})
    scores = [float(alone(models, "rank", RANKING, ("who?", text))) for text in TEXTS]
    order = sorted(range(3), key=lambda i: -scores[i])
    assert found == [{"index": i, "score": scores[i], "text": TEXTS[i]} for i in order]
    raw = called(server, "/rerank", {"query": "who?", "texts": TEXTS, "raw_scores": True})
    assert [one["index"] for one in raw] == order and set(raw[0]) == {"index", "score"}
    np.testing.assert_allclose(np.tanh([one["score"] for one in raw]), [one["score"] for one in found], rtol=1e-6)
    assert "cannot rank" in called(server, "/rerank?model=nli", {"query": "a", "texts": ["b"]}, 424)["error"]
    assert "more than the model's 64" in called(server, "/rerank", {"query": "so " * 99, "texts": ["b"]}, 413)["error"]
    called(server, "/rerank", {"query": "so " * 99, "texts": ["b"], "truncate": True})


def test_embed_sparse(server, models):
    found = called(server, "/embed_sparse", {"inputs": TEXTS})
    for text, words in zip(TEXTS, found, strict=True):
        vector = alone(models, "sparse", SPARSE, text)
        pairs = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
        assert words == [{"index": i, "value": x} for i, x in pairs] != []
    assert "more than the model's 64" in called(server, "/embed_sparse", {"inputs": "so " * 99}, 413)["error"]
    called(server, "/embed_sparse", {"inputs": "so " * 99, "truncate": True})


def test_tokenize_and_decode(server):
    (tokens,) = called(server, "/tokenize", {"inputs": "Hello wörld"})
    assert tokens[1:3] == [
        {"id": 7592, "text": "hello", "special": False, "start": 0, "stop": 5},
        {"id": 2088, "text": "world", "special": False, "start": 6, "stop": 11},
    ]
    assert tokens[0] == {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None}
    assert len(called(server, "/tokenize", {"inputs": ["a", "b c"], "add_special_tokens": False})[1]) == 2
    assert called(server, "/decode", {"ids": [101, 7592, 2088, 102]}) == ["hello world"]
    assert called(server, "/decode", {"ids": [[101, 7592], [2088]], "skip_special_tokens": False})[0] == "[CLS] hello"
    for wrong in ([10**9], [-1], [True], [[7592], 3], ["a"], [1.5], "a", []):
        assert called(server, "/decode", {"ids": wrong}, 422)["error_type"] == "Validation"


def test_openai_embeddings(server, models):
    options = {"pooling": "mean", "normalize": True}
    expected = [alone(models, "embed", "feature-extraction", text, **options) for text in TEXTS]
    body = {"model": "embed", "input": TEXTS, "user": "somebody"}
    found = called(server, "/v1/embeddings", body)
    assert [(one["index"], one["embedding"]) for one in found["data"]] == list(enumerate(expected))
    tokens = sum(len(row) for row in models["embed"].tokenizer(TEXTS)["input_ids"])
    assert found["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    packed = called(server, "/v1/embeddings", {**body, "encoding_format": "base64"})["data"]
    for one, vector in zip(packed, expected, strict=True):
        assert np.frombuffer(base64.b64decode(one["embedding"]), "<f4").tolist() == vector
    few = called(server, "/v1/embeddings", {**body, "input": TEXTS[0], "dimensions": 3})["data"][0]["embedding"]
    np.testing.assert_allclose(few, np.array(expected[0][:3]) / np.linalg.norm(expected[0][:3]), rtol=1e-6)


def test_openai_models(server):
    listed = server.get("/v1/models").json()
    assert [one["id"] for one in listed["data"]] == list(HEADS)
    assert server.get("/v1/models/qa").json() == listed["data"][5]
    assert server.get("/v1/models/none").status == 404


def test_who_does_not_write_says_so(server):
    assert called(server, "/v1/completions", {"model": "fill", "prompt": "a"}, 424)["error"]["code"] == "not_supported"
    chat = called(server, "/v1/chat/completions", {"model": "fill"}, 404)
    assert chat["error"]["code"] == "model_not_found"


def test_the_inference_api(server, models):
    context = {"question": "Who lives in Rome?", "context": " ".join(TEXTS)}
    choices = {"prompt": TEXTS[0], "choices": ["Rome is far.", "He eats."]}
    for name, task, one, options, extra in (
        ("fill", "fill-mask", "A [MASK] film.", {"top_k": 2}, {}),
        ("fill", "fill-mask", "A [MASK] film.", {"targets": ["good", "bad"]}, {}),
        ("fill", "fill-mask", "A [MASK] [MASK] film.", {"joint": True, "beams": 3, "top_k": 2}, {}),
        ("ner", "token-classification", TEXTS[0], {"ignore_labels": []}, {"aggregation_strategy": "simple"}),
        ("ner", "token-classification", TEXTS[0], {"ignore_labels": [], "aggregation_strategy": "none"}, {}),
        ("qa", "question-answering", context, {"top_k": 3, "doc_stride": 5, "max_seq_len": 20}, {}),
        ("choice", "multiple-choice", choices, {}, {}),
    ):
        expected = alone(models, name, task, one, **extra, **options)
        assert called(server, f"/models/{name}", {"inputs": one, "parameters": options}) == expected, (name, options)
        batch = called(server, f"/pipeline/{task}/{name}", {"inputs": [one, one], "parameters": options})
        assert batch == [expected, expected]


def test_the_inference_api_gives_all_classes(server, models):
    every = alone(models, "nli", "text-classification", TEXTS[0], top_k=None)
    assert called(server, "/models/nli", {"inputs": TEXTS[0]}) == [every]
    best = called(server, "/models/nli", {"inputs": TEXTS[:1], "parameters": {"top_k": 1}})
    assert best == [every[:1]]


def test_zero_shot_has_the_form_that_the_client_reads(server, models):
    body = {"inputs": TEXTS[0], "parameters": {"candidate_labels": ["travel", "food"]}}
    expected = alone(models, "nli", "zero-shot-classification", TEXTS[0], candidate_labels=["travel", "food"])
    former = {"user-agent": "unknown/None; hf_hub/0.36.2; python/3.11"}
    assert called(server, "/models/nli", body, headers=former) == expected
    pairs = zip(expected["labels"], expected["scores"], strict=True)
    rows = [{"label": label, "score": score} for label, score in pairs]
    assert called(server, "/models/nli", body) == rows
    assert called(server, "/models/nli/pipeline/zero-shot-classification", body) == rows


def test_vectors_of_the_inference_api(server, models):
    raw = alone(models, "embed", "feature-extraction", TEXTS[0], pooling="mean")
    unit = alone(models, "embed", "feature-extraction", TEXTS[0], pooling="mean", normalize=True)
    path = "/models/embed/pipeline/feature-extraction"
    assert called(server, path, {"inputs": TEXTS[0]}) == [raw]
    assert called(server, path, {"inputs": TEXTS[:1], "normalize": True, "truncate": True}) == [unit]
    every = called(server, path, {"inputs": TEXTS[0], "parameters": {"pooling": "none"}})
    assert every == [alone(models, "embed", "feature-extraction", TEXTS[0])]


def test_the_root_is_for_the_first_model(server, models):
    expected = alone(models, "fill", "fill-mask", "A [MASK] film.")
    assert called(server, "/", {"inputs": "A [MASK] film."}) == expected
    assert called(server, "/?model=ner", {"inputs": TEXTS[0]}) == called(server, "/models/ner", {"inputs": TEXTS[0]})


def test_callers_at_once_get_what_they_would_get_alone(server, models):
    wanted = [
        ("/embed", {"inputs": TEXTS}),
        ("/models/fill", {"inputs": "A [MASK] film."}),
        ("/predict", {"inputs": TEXTS[2]}),
        ("/embed", {"inputs": TEXTS[1]}),
        ("/models/qa", {"inputs": {"question": "Who?", "context": TEXTS[0]}}),
        ("/predict", {"inputs": [[text] for text in TEXTS]}),
    ]
    alone = [called(server, path, body) for path, body in wanted]

    async def at_once():
        return await asyncio.gather(*(server.ask("POST", path, body) for path, body in wanted * 4))

    assert [answer.json() for answer in server.run(at_once())] == alone * 4


def test_info_health_and_readiness(server):
    info = server.get("/info?model=nli").json()
    assert info["model_type"]["classifier"]["id2label"]["2"] == "entailment"
    assert info["tasks"] == ["text-classification", "zero-shot-classification"]
    assert (info["max_input_length"], info["max_batch_tokens"]) == (64, 256)
    assert server.get("/info").json()["models"] == list(HEADS)
    assert server.get("/models/rank/info").json()["model_type"].keys() == {"reranker"}
    assert server.get("/models/embed/info").json()["model_type"] == {"embedding": {"pooling": "mean"}}
    for path in ("/health", "/ping", "/ready", "/models/qa/health"):
        assert server.get(path).status == 200
    assert server.get("/models/none/health").status == 404


def test_metrics(server):
    called(server, "/embed", {"inputs": TEXTS})
    shown = server.get("/metrics").body.decode()
    values = dict(line.rsplit(" ", 1) for line in shown.splitlines() if line[0] != "#")
    assert float(values['nanodistil_requests_total{route="/embed",status="200"}']) >= 1
    assert float(values["nanodistil_tokens_total"]) > 20
    assert float(values["nanodistil_batch_fill_count"]) == float(values["nanodistil_batch_rows_count"]) >= 1
    for stage in ("read", "prepare", "queue", "compute", "finish", "all"):
        assert float(values[f'nanodistil_request_seconds_count{{stage="{stage}"}}']) >= 1
    assert values["nanodistil_held_tokens"] == values["nanodistil_held_bytes"] == "0.0"


def test_the_page_loads_nothing_from_elsewhere(server):
    for path in ("/", "/docs"):
        page = server.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert b"http://" not in page.body and b"https://" not in page.body and b" src=" not in page.body


def test_a_page_of_a_models_inside(server):
    page = server.get("/page?model=ner&text=%3Cb%3EAnn%20in%20Rome")
    assert page.status == 200 and page.headers["content-security-policy"] == "sandbox allow-scripts"
    assert b'"text": "\\u003cb\\u003eAnn in Rome"' in page.body and b"<b>" not in page.body
    for query, status in (("", 422), ("?model=fill&text=a", 422), ("?model=qa&text=a", 424), ("?model=x&text=a", 404)):
        assert server.get(f"/page{query}").status == status
    assert server.get("/page?model=ner&text=" + "a%20" * 70).status == 413


def test_the_description_has_every_path_and_no_other(server):
    paths = server.get("/openapi.json").json()["paths"]
    plain = {path.partition("{")[0] for path in paths}
    pages = {"/docs", "/openapi.json", "/ping"}
    assert plain == (set(TABLE) | set(BY_NAME)) - pages
    for path, methods in paths.items():
        there = TABLE.get(path) or BY_NAME[path.partition("{")[0]]
        assert {method.upper() for method in methods} <= set(there)
    assert described(LIMITS, [], True)["security"] == [{"key": []}]


# Refusals

BOMB = {"candidate_labels": "a", "hypothesis_template": "{:>999999999}"}
REFUSED = [
    ("/embed", {}, 422, "`inputs` is needed"),
    ("/embed", {"inputs": []}, 422, "must not be empty"),
    ("/embed", {"inputs": None}, 422, "`inputs` is needed"),
    ("/embed", {"inputs": [1, 2]}, 422, "token ids are not taken"),
    ("/embed", {"inputs": [[1, 2]]}, 422, "token ids are not taken"),
    ("/embed", {"inputs": ["a", None]}, 422, "a string or a list of strings"),
    ("/embed", {"input": "a"}, 422, "did you mean inputs?"),
    ("/embed", {"inputs": "a", "normalize": "yes"}, 422, "true or false"),
    ("/embed", {"inputs": "a", "dimensions": 17}, 422, "from 1 to 16"),
    ("/embed", {"inputs": "a", "dimensions": True}, 422, "from 1 to 16"),
    ("/embed", {"inputs": "a", "prompt_name": "query"}, 422, "knows no prompts"),
    ("/embed", {"inputs": "a", "truncate": True, "truncation_direction": "Left"}, 422, "at their end only"),
    ("/embed", {"inputs": ["a"] * 65}, 413, "at most 64"),
    ("/embed", {"inputs": ["so " * 40] * 64}, 413, "at most 1024 are taken"),
    ("/embed", {"inputs": "a" * 500_001}, 413, "500001 characters"),
    ("/embed?model=fill", {"inputs": "a"}, 424, "it was made for fill-mask"),
    ("/embed?model=none", {"inputs": "a"}, 404, "there is no model 'none'"),
    ("/embed_sparse?model=fill", {"inputs": "a"}, 424, "cannot make sparse"),
    ("/predict", {"inputs": ["a", "b", "c"]}, 422, "a batch"),
    ("/predict", {"inputs": [["a", "b", "c"]]}, 422, "a batch"),
    ("/predict", {"inputs": []}, 422, "must not be empty"),
    ("/predict", {"inputs": {"a": "b"}}, 422, "a batch"),
    ("/rerank", {"query": 1, "texts": ["a"]}, 422, "`query` must be a string"),
    ("/similarity", {"inputs": "a"}, 422, "must be an object"),
    ("/models/none", {"inputs": "a"}, 404, "there is no model"),
    ("/models/fill", {"inputs": "no mask"}, 422, "no [MASK]"),
    ("/models/fill", {"inputs": "[MASK]", "parameters": {"tpo_k": 1}}, 422, "did you mean top_k?"),
    ("/models/fill", {"inputs": "[MASK]", "parameters": {"top_k": 1001}}, 422, "1000 at most"),
    ("/models/fill", {"inputs": ["[MASK] " * 9] * 2, "parameters": {"top_k": 999}}, 413, "fillings are asked for"),
    ("/models/fill", {"inputs": "[MASK]", "parameters": []}, 422, "must be an object"),
    ("/models/fill", {"inputs": "[MASK]", "normalize": True}, 422, "in `parameters`"),
    ("/models/fill", {"inputs": [["[MASK]"]]}, 422, "a string, an object"),
    ("/models/fill/pipeline/translation", {"inputs": "a"}, 404, "there is no task"),
    ("/models/fill/pipeline/ner", {"inputs": "a"}, 424, "cannot do token-classification"),
    ("/models/ner", {"inputs": "a", "parameters": {"stride": 300}}, 422, "half of their length"),
    ("/models/ner", {"inputs": "a", "parameters": {"tokenizer_kwargs": {}}}, 422, "no parameter"),
    ("/models/qa", {"inputs": "a"}, 422, "question and context"),
    ("/models/qa", {"inputs": {"question": 3, "context": "a"}}, 422, "holds strings"),
    ("/models/nli/pipeline/zero-shot-classification", {"inputs": "a"}, 422, "`candidate_labels` are needed"),
    ("/models/nli", {"inputs": "a", "parameters": BOMB}, 422, "no other braces"),
    ("/models/nli", {"inputs": ["a"] * 9, "parameters": {"candidate_labels": ["b"] * 9}}, 413, "64 pairs"),
    ("/models/nli", {"inputs": "a", "options": {}, "more": 1}, 422, "no field"),
    ("/none", {}, 404, "no such path"),
    ("/info", {}, 405, "takes GET"),
]  # fmt: skip


@pytest.mark.parametrize("path, body, status, words", REFUSED, ids=lambda x: str(x)[:40])
def test_refused(server, path, body, status, words):
    found = called(server, path, body, status)
    assert words in found["error"] and "\n" not in found["error"], found
    assert found["error_type"]
    load = server.site.load
    assert (load.requests, load.bytes, load.tokens) == (0, 0, 0)


@pytest.mark.parametrize(
    "body, status, param",
    [
        ({"model": "embed"}, 422, "input"),
        ({"input": "a"}, 422, "model"),
        ({"model": "none", "input": "a"}, 404, "model"),
        ({"model": "embed", "input": "a", "dimensions": 0}, 422, "dimensions"),
        ({"model": "embed", "input": "a", "encoding_format": "int8"}, 422, "encoding_format"),
        ({"model": "embed", "input": [[1, 2]]}, 422, "input"),
        ({"model": "embed", "input": "so " * 99}, 413, None),
    ],
)
def test_openai_is_refused_in_its_own_form(server, body, status, param):
    error = called(server, "/v1/embeddings", body, status)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


BODIES = [
    (b"", 400),
    (b"{", 400),
    (b'{"inputs": NaN}', 400),
    (b'{"inputs": ' + b"9" * 5000 + b"}", 400),
    (b'{"inputs": "\xff"}', 400),
    (b'"a"', 422),
    (b"[]", 422),
    (b"null", 422),
    (b'{"inputs": "\\ud800"}', 422),
    (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422),
    (b'{"inputs": ' + b"[" * 50 + b"]" * 50 + b"}", 422),
]


@pytest.mark.parametrize("body, status", BODIES, ids=range(len(BODIES)))
def test_bodies_that_are_no_json_object(server, body, status):
    answer = server.post("/embed", body=body)
    assert answer.status == status and answer.json()["error_type"] == "Validation"


def test_bodies_that_are_too_large_or_packed_or_late(models):
    site = made(models, replace(LIMITS, body=1000, bodies=1500, body_seconds=0.01))
    with asking(Door(site)) as asker:
        assert asker.post("/embed", headers={"content-length": "1001"}).status == 413
        assert asker.post("/embed", parts=[b"x" * 600, b"x" * 600]).status == 413
        assert asker.post("/embed", headers={"content-encoding": "gzip"}).status == 415
        assert asker.post("/embed", parts=[b'{"inputs"']).status == 408

        async def two():
            return await asyncio.gather(*(asker.ask("POST", "/embed", parts=[b"x" * 900]) for _ in range(2)))

        assert sorted(one.status for one in asker.run(two())) == [408, 429]
        assert (site.load.requests, site.load.bytes) == (0, 0)


def test_a_key(models):
    with asking(Door(made(models, api_key="secret"))) as asker:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "secret"},
            {"authorization": "Bearer é"},
        ):
            answer = asker.post("/embed", {"inputs": "a"}, headers=headers)
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert asker.post("/embed", {"inputs": "a"}, headers={"authorization": "Bearer secret"}).status == 200
        assert asker.post("/v1/embeddings", {}).json()["error"]["type"] == "authentication_error"
        assert asker.post("/", {"inputs": "a"}).status == 401  # the page there is open, the model is not
        assert asker.get("/metrics").status == 401 and asker.get("/info").status == 401
        assert [asker.get(path).status for path in ("/", "/health", "/openapi.json")] == [200, 200, 200]


def test_pages_of_others_may_ask_if_they_are_named(models):
    site = made(models)
    with asking(application(site, ["https://a.example"])) as asker:
        for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
            answer = asker.get("/health", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed
        before = {"origin": "https://a.example", "access-control-request-method": "POST"}
        assert asker.run(asker.ask("OPTIONS", "/embed", headers=before)).status == 200


def test_ids_of_requests(server):
    assert server.get("/info", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made = server.get("/info", headers={"x-request-id": "not\nmine"}).headers["x-request-id"]
    assert len(made) == 32


# Under load: the engine is held up, so that what waits is known


class Held:
    """Holds up a pipeline's `together` until it is let go."""

    def __init__(self, monkeypatch, pipe):
        self.begun, self.gate, together = threading.Event(), threading.Event(), pipe.together

        def held(rows):
            self.begun.set()
            assert self.gate.wait(300)
            return together(rows)

        monkeypatch.setattr(pipe, "together", held)

    async def reached(self):
        while not self.begun.is_set():
            await asyncio.sleep(0.001)


@pytest.fixture
def busy(models, monkeypatch):
    """A server, probed, whose embeddings are held up."""
    site = made({"embed": models["embed"]}, replace(LIMITS, requests=3, tokens=256))
    with asking(Door(site)) as asker:
        asker.run(probed(site))
        assert asker.get("/ready").status == 200
        asker.site = site
        asker.held = Held(monkeypatch, models["embed"].pipes["feature-extraction"])
        yield asker
        asker.held.gate.set()
    assert not site.ready
    assert (site.load.requests, site.load.bytes, site.load.tokens) == (0, 0, 0)


def test_too_many_requests_are_refused_at_once(busy):
    async def go():
        waiting = [asyncio.ensure_future(busy.ask("POST", "/embed", {"inputs": "a"})) for _ in range(3)]
        await busy.held.reached()
        refused = await busy.ask("POST", "/embed", {"inputs": "a"})
        openai = await busy.ask("POST", "/v1/embeddings", {"model": "embed", "input": "a"})
        alive = await busy.ask("GET", "/health")
        busy.held.gate.set()
        return refused, openai, alive, await asyncio.gather(*waiting)

    refused, openai, alive, waiting = busy.run(go())
    assert refused.status == 429 and refused.json()["error_type"] == "Overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert openai.status == 429 and openai.json()["error"]["type"] == "rate_limit_error"
    assert alive.status == 200
    assert [one.status for one in waiting] == [200] * 3


def test_too_many_tokens_are_refused_before_they_are_queued(busy):
    async def go():
        waiting = [asyncio.ensure_future(busy.ask("POST", "/embed", {"inputs": ["so " * 58] * 2}))]
        await busy.held.reached()
        waiting.append(asyncio.ensure_future(busy.ask("POST", "/embed", {"inputs": ["so " * 58] * 2})))
        while len(busy.site.engine.queue) < 2:
            await asyncio.sleep(0.001)
        refused = await busy.ask("POST", "/embed", {"inputs": "so " * 30})
        small = asyncio.ensure_future(busy.ask("POST", "/embed", {"inputs": "so"}))
        while len(busy.site.engine.queue) < 3:
            await asyncio.sleep(0.001)
        busy.held.gate.set()
        return refused, await asyncio.gather(*waiting, small)

    refused, waiting = busy.run(go())
    assert refused.status == 429 and "the queue is full" in refused.json()["error"]
    assert [one.status for one in waiting] == [200] * 3


def test_a_client_that_goes_away_leaves_the_queue(busy):
    async def go():
        gone = asyncio.Event()
        first = asyncio.ensure_future(busy.ask("POST", "/embed", {"inputs": "first"}))
        await busy.held.reached()
        leaves = asyncio.ensure_future(busy.ask("POST", "/embed", {"inputs": ["a", "b"]}, gone=gone))
        while len(busy.site.engine.queue) < 2:
            await asyncio.sleep(0.001)
        gone.set()
        nothing = await leaves
        waiting = len(busy.site.engine.queue)
        busy.held.gate.set()
        return nothing, waiting, (await first).status

    assert busy.run(go()) == (None, 0, 200)
    assert "nanodistil_cancelled_requests_total 1.0" in busy.get("/metrics").body.decode()


def test_an_answer_that_takes_too_long_is_given_up(models, monkeypatch):
    site = made({"embed": models["embed"]}, replace(LIMITS, seconds=0.05))
    with asking(Door(site)) as asker:
        held = Held(monkeypatch, models["embed"].pipes["feature-extraction"])
        answer = asker.post("/embed", {"inputs": "a"})
        held.gate.set()
    assert answer.status == 429 and "within 0.05 seconds" in answer.json()["error"]


def test_a_model_that_fails_is_a_424_and_others_are_answered(busy, models, monkeypatch):
    pipe, compute = models["embed"].pipes["feature-extraction"], models["embed"].pipes["feature-extraction"].compute
    monkeypatch.setattr(
        pipe, "compute", lambda given, rest: 1 / 0 if 2919 in given["input_ids"] else compute(given, rest)
    )
    busy.held.gate.set()

    async def go():
        bodies = [{"inputs": "good"}, {"inputs": "bad"}, {"inputs": ["good", "so"]}]
        return await asyncio.gather(*(busy.ask("POST", "/embed", body) for body in bodies))

    good, bad, more = busy.run(go())
    assert (good.status, bad.status, more.status) == (200, 424, 200)
    assert bad.json() == {"error": "the model failed (ZeroDivisionError)", "error_type": "Backend"}


def test_a_bug_is_a_500_that_quotes_nothing(models, monkeypatch):
    out = io.StringIO()
    site = made({"embed": models["embed"]}, journal=Journal(out))

    def wrong(*_, **__):
        raise KeyError("SECRET TEXT")

    monkeypatch.setattr(models["embed"].pipes["feature-extraction"], "prepare", wrong)
    with asking(Door(site)) as asker:
        answer = asker.post("/embed", {"inputs": "SECRET TEXT"})
    assert answer.status == 500 and answer.json()["error_type"] == "Internal"
    assert b"SECRET" not in answer.body and "SECRET" not in out.getvalue().partition("probe failed")[0]
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {"event": "bug", "error": "KeyError"}.items() <= next(e for e in events if e["event"] == "bug").items()


def test_the_journal_has_no_text(models):
    out = io.StringIO()
    with asking(Door(made({"embed": models["embed"]}, journal=Journal(out)))) as asker:
        asker.post("/embed", {"inputs": ["SECRET one", "SECRET"]})
        asker.post("/embed", {"inputs": "SECRET " * 99})
        asker.post("/models/SECRET", {"inputs": "SECRET", "parameters": {"SECRET": 1}})
        asker.get("/SECRET")
        asker.get("/health")
    written = out.getvalue()
    assert "SECRET" not in written
    events = [json.loads(line) for line in written.splitlines()]
    requests = [one for one in events if one["event"] == "request"]
    assert [(one["route"], one["status"]) for one in requests] == [
        ("/embed", 200), ("/embed", 413), ("/models/NAME", 404), ("none", 404),
    ]  # fmt: skip
    assert requests[0]["inputs"] == 2 and requests[0]["tokens"] > 4 and requests[0]["ms"]["compute"] > 0


def test_a_model_that_does_not_pass_its_probe_is_not_ready(models, monkeypatch):
    pipe = models["embed"].pipes["feature-extraction"]
    together, calls = pipe.together, []

    def drifting(rows):
        calls.append(rows)
        return [x + len(calls) for x in together(rows)]

    monkeypatch.setattr(pipe, "together", drifting)
    out = io.StringIO()
    site = made({"embed": models["embed"]}, journal=Journal(out))
    with asking(Door(site)) as asker:

        async def told():
            while "probe failed" not in out.getvalue():
                await asyncio.sleep(0.001)

        asker.run(told())
        assert asker.get("/ready").status == 503 and asker.get("/health").status == 200
    assert "otherwise among others than alone" in out.getvalue()
