"""Texts that a server writes, without a socket: bit for bit what generate() gives alone, whole and piece by piece."""

import asyncio
import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from asgi import asking
from tiny_gpt2s import tiny_gpt2

from nanodistil.serve.continuing import Looking
from nanodistil.serve.door import Door
from nanodistil.serve.limits import Limits
from nanodistil.serve.served import loaded, spec
from nanodistil.serve.site import Site
from nanodistil.serve.telling import Telling

pytest.importorskip("numba")  # NumPy's BLAS promises no bits
if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
    pytest.skip("a server on kernels as plain Python takes minutes", allow_module_level=True)
LIMITS = Limits(batch_tokens=256, tokens=4096, inputs=64, seconds=600)
PROMPTS = ["A film", "Bo lives in", "so", "The end of it"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return loaded(spec(f"w={tiny_gpt2(tmp_path_factory.mktemp('gpt2'), positions=48)}"), backend="numba")


async def probed(site):
    while not site.ready:
        await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def server(served):
    site = Site({"w": served}, LIMITS)
    with asking(Door(site)) as asker:
        asker.run(probed(site))
        asker.site = site
        yield asker
    assert (site.load.requests, site.load.bytes, site.load.tokens) == (0, 0, 0)


def generated(served, prompt, **options):
    """What generate() says alone: new ids of each answer."""
    ids = served.tokenizer(prompt)["input_ids"]
    found = served.model.generate([ids], pad_token_id=served.tokenizer.eos_token_id, **options)
    ends = served.tokenizer.eos_token_id
    rows = [row[len(ids) :].tolist() for row in found]
    return [row[: row.index(ends) + 1] if ends in row else row for row in rows]


def text_of(served, ids):
    return served.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def completed(server, status=200, **body):
    answer = server.post("/v1/completions", {"model": "w", **body})
    assert answer.status == status, answer.body
    return answer.json()


def streamed(server, path="/v1/completions", **body):
    """The events, and whether the last was [DONE]."""
    answer = server.post(path, {**({"model": "w"} if path == "/v1/completions" else {}), "stream": True, **body})
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream"), answer.body
    events = [one.removeprefix("data: ") for one in answer.body.decode().split("\n\n") if one]
    done = events[-1] == "[DONE]"
    return [json.loads(one) for one in (events[:-1] if done else events)], done


def test_completions_are_what_generate_gives_alone(server, served):
    for asked, options in (
        ({"temperature": 0}, {"do_sample": False}),
        ({"seed": 7}, {"do_sample": True, "top_k": 0, "seed": 7}),
        (
            {"seed": 8, "temperature": 0.7, "top_p": 0.9, "n": 3, "logit_bias": {"40": 5}},
            {
                "do_sample": True, "top_k": 0, "seed": 8, "temperature": 0.7, "top_p": 0.9, "num_return_sequences": 3,
                "sequence_bias": {(40,): 5.0},
            },
        ),
    ):  # fmt: skip
        expected = [row for text in PROMPTS for row in generated(served, text, max_new_tokens=9, **options)]
        found = completed(server, prompt=PROMPTS, max_tokens=9, **asked)
        assert [one["text"] for one in found["choices"]] == [text_of(served, row) for row in expected]
        assert [one["index"] for one in found["choices"]] == list(range(len(expected)))
        ended = [row[-1] == served.tokenizer.eos_token_id for row in expected]
        assert [one["finish_reason"] for one in found["choices"]] == ["stop" if one else "length" for one in ended]
        read = sum(len(served.tokenizer(text)["input_ids"]) for text in PROMPTS)
        written = sum(map(len, expected))
        assert found["usage"] == {
            "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
        }  # fmt: skip


def test_a_stream_says_the_same_piece_by_piece(server):
    asked = {"prompt": PROMPTS, "max_tokens": 12, "seed": 3, "n": 2, "logprobs": 2}
    whole = completed(server, **asked)
    events, done = streamed(server, **asked, stream_options={"include_usage": True})
    assert done and len(events) > 20
    assert events[-1]["choices"] == [] and events[-1]["usage"] == whole["usage"]
    for one in whole["choices"]:
        mine = [event["choices"][0] for event in events[:-1] if event["choices"][0]["index"] == one["index"]]
        assert "".join(piece["text"] for piece in mine) == one["text"]
        assert [piece["finish_reason"] for piece in mine] == [None] * (len(mine) - 1) + [one["finish_reason"]]
        for name, values in one["logprobs"].items():
            assert [value for piece in mine for value in piece["logprobs"][name]] == values


def test_stops_end_an_answer_before_them(server, served):
    (row,) = generated(served, "so", max_new_tokens=12, do_sample=True, top_k=0, seed=5)
    text = text_of(served, row)
    stop = text[4:6]
    cut = text[: text.index(stop)]
    asked = {"prompt": "so", "max_tokens": 12, "seed": 5, "stop": [stop, "\x00never"]}
    (found,) = completed(server, **asked)["choices"]
    assert (found["text"], found["finish_reason"]) == (cut, "stop")
    events, _ = streamed(server, **asked)
    assert "".join(event["choices"][0]["text"] for event in events) == cut


def test_logprobs_are_the_models_and_echo_scores_the_prompt(server, served):
    text = "The end of it"
    (found,) = completed(server, prompt=text, max_tokens=0, echo=True, logprobs=3)["choices"]
    ids = np.array([served.tokenizer(text)["input_ids"]])
    assert found["text"] == text and "".join(found["logprobs"]["tokens"]) == text
    own = served.model.log_probabilities(ids)[0, 1:]
    np.testing.assert_allclose(np.float32(found["logprobs"]["token_logprobs"][1:]), own, rtol=1e-6)
    assert found["logprobs"]["top_logprobs"][0] is None
    for score, best in zip(found["logprobs"]["token_logprobs"][1:], found["logprobs"]["top_logprobs"][1:], strict=True):
        assert len(best) <= 3 and max(best.values()) >= score and list(best.values()) == sorted(best.values())[::-1]
    (more,) = completed(server, prompt=text, max_tokens=6, temperature=0, echo=True, logprobs=0)["choices"]
    (row,) = generated(served, text, max_new_tokens=6, do_sample=False)
    assert more["text"] == text + text_of(served, row)
    whole = np.concatenate([ids[0], row])[None]
    expected = served.model.log_probabilities(whole)[0, 1:]
    np.testing.assert_allclose(np.float32(more["logprobs"]["token_logprobs"][1:]), expected, rtol=1e-6)
    assert more["logprobs"]["text_offset"][: ids.shape[1]] == found["logprobs"]["text_offset"]


def test_the_inference_api_writes(server, served):
    prompt, options = "Bo lives in", {"max_new_tokens": 10, "seed": 11, "temperature": 0.8, "top_p": 0.95}
    (row,) = generated(served, prompt, **options, do_sample=True, top_k=0)
    text = text_of(served, row)
    (found,) = server.post("/models/w", {"inputs": prompt, "parameters": {**options, "details": True}}).json()
    assert found["generated_text"] == text
    details = found["details"]
    assert [one["id"] for one in details["tokens"]] == row and details["seed"] == 11
    assert "".join(one["text"] for one in details["tokens"]) == text
    events, done = streamed(server, "/models/w", inputs=prompt, parameters={**options, "return_full_text": True})
    assert not done and "".join(one["token"]["text"] for one in events) == text
    assert [one["token"]["logprob"] for one in events] == [one["logprob"] for one in details["tokens"]]
    assert events[-1]["generated_text"] == prompt + text and events[-1]["details"]["generated_tokens"] == len(row)
    both = server.post("/", {"inputs": PROMPTS[:2], "parameters": {"max_new_tokens": 4}}).json()
    greedy = [generated(served, one, max_new_tokens=4, do_sample=False)[0] for one in PROMPTS[:2]]
    assert [one[0]["generated_text"] for one in both] == [text_of(served, one) for one in greedy]
    ended = server.post("/", {"inputs": prompt, "parameters": {**options, "stop": [text[3]], "details": True}}).json()
    assert ended[0]["details"]["finish_reason"] == "stop_sequence"


def test_requests_at_once_get_what_each_gets_alone(server):
    bodies = [
        {"model": "w", "prompt": PROMPTS[i % 4], "max_tokens": 3 + i % 9, "seed": i, "n": 1 + i % 3} for i in range(24)
    ]
    alone = [server.post("/v1/completions", body).json()["choices"] for body in bodies]

    async def go():
        return await asyncio.gather(*(server.ask("POST", "/v1/completions", body) for body in bodies))

    assert [one.json()["choices"] for one in server.run(go())] == alone
    shown = server.get("/metrics").body.decode()
    assert "nanodistil_written_texts 0.0" in shown and 'nanodistil_step_texts_bucket{le="1.0"}' in shown


def test_a_client_that_goes_away_frees_its_place(server):
    async def go():
        gone = asyncio.Event()
        body = {"model": "w", "prompt": "so", "max_tokens": 40, "n": 32, "seed": 1, "logit_bias": {"0": -100}}
        leaving = asyncio.ensure_future(server.ask("POST", "/v1/completions", {**body, "stream": True}, gone=gone))
        while not server.site.engine.written:
            await asyncio.sleep(0)
        waits = asyncio.ensure_future(server.ask("POST", "/v1/completions", {**body, "n": 1, "max_tokens": 2}))
        gone.set()
        await leaving
        return (await waits).status, server.site.engine.written

    assert server.run(go()) == (200, 0)
    assert "nanodistil_cancelled_requests_total 1.0" in server.get("/metrics").body.decode()


def test_an_error_of_one_text_is_of_no_other(server, served, monkeypatch):
    feed, bad = type(served.model.decoding()).feed, served.tokenizer("so")["input_ids"][0]

    def failing(self, who, ids, every=False):
        if any(bad in one for one in ids if len(one) > 0):
            raise MemoryError
        return feed(self, who, ids, every)

    expected = completed(server, prompt="A film", max_tokens=5, temperature=0)["choices"]
    monkeypatch.setattr(type(served.model.decoding()), "feed", failing)

    async def go():
        bodies = [{"model": "w", "prompt": text, "max_tokens": 5, "temperature": 0} for text in ("A film", "so")]
        return await asyncio.gather(*(server.ask("POST", "/v1/completions", body) for body in bodies))

    good, failed = server.run(go())
    assert (good.status, failed.status) == (200, 424) and good.json()["choices"] == expected
    assert failed.json()["error"]["code"] is None and not server.site.engine.written


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"n": 33}, 422, "n"),
        ({"n": 2, "temperature": 0}, 422, "n"),
        ({"temperature": 3}, 422, "temperature"),
        ({"top_p": True}, 422, "top_p"),
        ({"stop": [""]}, 422, "stop"),
        ({"stop": "a" * 101}, 422, "stop"),
        ({"max_tokens": 0}, 422, "max_tokens"),
        ({"max_tokens": 48}, 413, None),
        ({"prompt": [5, 6]}, 422, "prompt"),
        ({"presence_penalty": 0.5}, 422, "presence_penalty"),
        ({"best_of": 2}, 422, "best_of"),
        ({"logit_bias": {"a": 1}}, 422, "logit_bias"),
        ({"logit_bias": {"99999": 1}}, 422, "logit_bias"),
        ({"logprobs": 21}, 422, "logprobs"),
        ({"seed": 2**70}, 422, "seed"),
        ({"stream_options": {"include_usag": True}}, 422, "include_usag"),
        ({"model": "none"}, 404, "model"),
        ({"prompt": ["so"] * 60, "n": 2, "max_tokens": 40}, 413, None),
    ],
)
def test_refused(server, body, status, param):
    assert completed(server, status, **{"prompt": "so", **body})["error"]["param"] == param


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": 5}, "`inputs` must be"),
        ({"inputs": ["so"], "stream": True}, "for one input"),
        ({"inputs": "so", "parameters": {"grammar": {}}}, "`grammar`: is not done here"),
        ({"inputs": "so", "parameters": {"temperature": 0.0}}, "`temperature` must be"),
        ({"inputs": "so", "parameters": {"stop": "so"}}, "`stop` must be"),
        ({"inputs": "so", "parameters": {"max_tokens": 3}}, "max_new_tokens"),
        ({"inputs": "so", "truncate": True}, "is of no use"),
    ],
)
def test_refused_by_the_inference_api(server, body, words):
    answer = server.post("/models/w", body)
    assert answer.status == 422 and words in answer.json()["error"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_queue_that_stands_refuses_prompts_too(server, monkeypatch, stream):
    monkeypatch.setattr(server.site.engine, "refuses", lambda *_: True)
    assert completed(server, 429, prompt="so", stream=stream)["error"]["code"] == "overloaded"


def test_a_stream_that_stands_still_is_given_up(served, monkeypatch):
    feed, site = type(served.model.decoding()).feed, Site({"w": served}, LIMITS)
    calls, gate = [], threading.Event()

    def stands_still(self, who, ids, every=False):
        calls.append(1)
        if len(calls) == 2:
            site.asking.limits = replace(LIMITS, seconds=0.05)  # of what is waited for next
        if len(calls) > 2:
            assert gate.wait(300)
        return feed(self, who, ids, every)

    with asking(Door(site)) as asker:
        asker.run(probed(site))
        monkeypatch.setattr(type(served.model.decoding()), "feed", stands_still)
        events, done = streamed(asker, prompt="so", max_tokens=20, logit_bias={"0": -100})
        gate.set()
    assert not done and "within 0.05 seconds" in events[-1]["error"]["message"]


def test_pieces_of_any_bytes_are_the_text_of_all(served):
    random = np.random.default_rng(0)
    for stops in ([], ["ab"]):
        for _ in range(200):
            ids = random.integers(0, len(served.tokenizer), 12).tolist()
            telling = Telling(served.tokenizer, stops)
            whole = text_of(served, ids)
            if any(stop in whole for stop in stops):
                whole = whole[: whole.index(stops[0])]
            assert "".join([*map(telling.add, ids), telling.end()]) == whole


def test_looking_finds_the_best_first():
    seen = Looking(2)(np.array([0.0, 2.0, 2.0, 1.0]), 3)
    assert seen.ids == [1, 2] and seen.scores[0] == seen.scores[1] > seen.score
