"""Clients of others, unchanged, against a server in a process of its own: OpenAI's."""

import base64

import numpy as np
import pytest
from serving import live
from tiny_gpt2s import tiny_gpt2

from nanodistil import pipeline

pytestmark = pytest.mark.parity
TEXTS = ["A cat sat on the mat.", "Shares fell.", "The restaurant that Ann has in Paris is not so bad."]


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2") / "w", positions=64)


@pytest.fixture(scope="module")
def server(writer):
    models = ["words=nanodistil-mini:feature-extraction", f"w={writer}"]
    with live(*models, "--port", "0", NANODISTIL_API_KEY="secret") as found:
        yield found


@pytest.fixture(scope="module")
def expected():
    embed = pipeline("feature-extraction", model="nanodistil-mini")
    return embed(TEXTS, pooling="mean", normalize=True)


@pytest.fixture
def client(server):
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)


def test_embeddings_in_both_encodings(client, expected):
    for options in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        found = client.embeddings.create(model="words", input=TEXTS, **options)
        for one, vector in zip(found.data, expected, strict=True):
            got = one.embedding
            if isinstance(got, str):  # asked for as base64, it is left so
                got = np.frombuffer(base64.b64decode(got), "<f4").tolist()
            np.testing.assert_array_equal(np.float32(got), np.float32(vector))
    assert found.usage.prompt_tokens == found.usage.total_tokens > 20
    few = client.embeddings.create(model="words", input=TEXTS[0], dimensions=8).data[0].embedding
    np.testing.assert_allclose(np.linalg.norm(few), 1, rtol=1e-6)
    assert [one.id for one in client.models.list()] == ["words", "w"]


def test_completions_whole_and_streamed(client, writer):
    write = pipeline("text-generation", model=writer)
    options = {"do_sample": True, "top_k": 0, "temperature": 0.9, "seed": 4, "max_new_tokens": 12}
    options |= {"return_full_text": False, "clean_up_tokenization_spaces": False}
    expected = [one["generated_text"] for text in TEXTS for one in write(text, num_return_sequences=2, **options)]
    asked = {"model": "w", "prompt": TEXTS, "n": 2, "temperature": 0.9, "seed": 4, "max_tokens": 12, "logprobs": 1}
    whole = client.completions.create(**asked)
    assert [one.text for one in whole.choices] == expected
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 50
    found, scores = [""] * 6, [[] for _ in range(6)]
    for chunk in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            found[choice.index] += choice.text
            scores[choice.index] += choice.logprobs.token_logprobs
    assert found == expected and chunk.usage == whole.usage
    assert scores == [one.logprobs.token_logprobs for one in whole.choices]


def test_errors_are_the_clients_own(client, server):
    import openai

    for error, call in (
        (openai.NotFoundError, lambda: client.embeddings.create(model="none", input="a")),
        (openai.UnprocessableEntityError, lambda: client.embeddings.create(model="words", input="a", dimensions=9999)),
        (openai.NotFoundError, lambda: client.chat.completions.create(model="w", messages=[])),
        (openai.APIStatusError, lambda: client.completions.create(model="words", prompt="a")),
        (openai.UnprocessableEntityError, lambda: client.completions.create(model="w", prompt="a", stream=True, n=99)),
    ):
        with pytest.raises(error) as raised:
            call()
        assert raised.value.body["message"]
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong").models.list()
