"""Clients of others, unchanged, against a server in a process of its own: OpenAI's."""

import base64

import numpy as np
import pytest
from serving import live

from nanodistil import pipeline

pytestmark = pytest.mark.parity
TEXTS = ["A cat sat on the mat.", "Shares fell.", "The restaurant that Ann has in Paris is not so bad."]


@pytest.fixture(scope="module")
def server():
    with live("words=nanodistil-mini:feature-extraction", "--port", "0", NANODISTIL_API_KEY="secret") as found:
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
    assert [one.id for one in client.models.list()] == ["words"]


def test_errors_are_the_clients_own(client, server):
    import openai

    for error, call in (
        (openai.NotFoundError, lambda: client.embeddings.create(model="none", input="a")),
        (openai.UnprocessableEntityError, lambda: client.embeddings.create(model="words", input="a", dimensions=9999)),
        (openai.NotFoundError, lambda: client.completions.create(model="words", prompt="a")),
    ):
        with pytest.raises(error) as raised:
            call()
        assert raised.value.body["message"]
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong").models.list()
