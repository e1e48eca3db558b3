"""A server in a process of its own: real sockets, real clients, signals, and those who mean no good."""

import asyncio
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from serving import live
from tiny_folders import tiny_folder
from tiny_gpt2s import tiny_gpt2

from nanodistil import (
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
    pipeline,
)
from nanodistil.cli import main
from nanodistil.cli.serve import KEY
from nanodistil.serve.pressing import Press, Target
from nanodistil.serve.pressing import levels as pressed_levels
from nanodistil.weights.errors import InputError

pytestmark = pytest.mark.sweep
BACKEND = "numba" if find_spec("numba") else "numpy"
NLI = {0: "contradiction", 1: "neutral", 2: "entailment"}
HEADS = {
    "fill": (DistilBertForMaskedLM, {}),
    "embed": (DistilBertModel, {}),
    "nli": (DistilBertForSequenceClassification, {"id2label": NLI}),
    "ner": (DistilBertForTokenClassification, {"id2label": {0: "X", 1: "B-PER"}}),
    "qa": (DistilBertForQuestionAnswering, {}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for seed, (name, (cls, config)) in enumerate(HEADS.items()):
        folder = tmp_path_factory.mktemp("models") / name
        folder.mkdir()
        made[name] = tiny_folder(folder, cls, seed, **config)
    made["write"] = tiny_gpt2(tmp_path_factory.mktemp("models") / "write", positions=400)
    return made


@pytest.fixture(scope="module")
def server(folders):
    with live(*folders.values(), "--port", "0", "--backend", BACKEND) as found:
        yield found


def test_the_inference_client_of_the_hub(server, folders):
    """Unchanged, task by task, by the model's address."""
    from huggingface_hub import InferenceClient

    def client(name):
        return InferenceClient(model=f"{server.url}/models/{name}", provider="hf-inference")

    def pipe(name, task):
        return pipeline(task, model=folders[name], backend=BACKEND)

    text, mask = "who was in this film ?", "a [MASK] film"
    fills = [(one.score, one.token, one.token_str, one.sequence) for one in client("fill").fill_mask(mask, top_k=2)]
    expected = pipe("fill", "fill-mask")(mask, top_k=2)
    assert fills == [(one["score"], one["token"], one["token_str"], one["sequence"]) for one in expected]

    classes = [(one.label, one.score) for one in client("nli").text_classification(text)]
    expected = pipe("nli", "text-classification")(text, top_k=None)
    assert classes == [(one["label"], one["score"]) for one in expected]

    entities = [(one.entity_group, one.score, one.word) for one in client("ner").token_classification(text)]
    expected = pipe("ner", "token-classification")(text, aggregation_strategy="simple")
    assert entities == [(one["entity_group"], one["score"], one["word"]) for one in expected] != []

    answer = client("qa").question_answering(question="who ?", context=text)
    expected = pipe("qa", "question-answering")(question="who ?", context=text)
    assert (answer.answer, answer.score, answer.start, answer.end) == (
        expected["answer"], expected["score"], expected["start"], expected["end"],
    )  # fmt: skip

    sorted_into = client("nli").zero_shot_classification(text, ["good", "bad"])
    expected = pipe("nli", "zero-shot-classification")(text, ["good", "bad"])
    assert [(one.label, one.score) for one in sorted_into] == list(
        zip(expected["labels"], expected["scores"], strict=True)
    )

    embed = pipe("embed", "feature-extraction")
    vectors = client("embed").feature_extraction(text, normalize=True)
    np.testing.assert_array_equal(vectors, [embed(text, pooling="mean", normalize=True)])
    cosines = client("embed").sentence_similarity(text, ["good film", "a b c"])
    units = [embed(one, pooling="mean", normalize=True, return_tensors=True) for one in (text, "good film", "a b c")]
    np.testing.assert_allclose(cosines, [units[0] @ unit for unit in units[1:]], rtol=1e-5)

    options = {"max_new_tokens": 9, "temperature": 0.8, "top_k": 40, "seed": 3}
    shown = {"return_full_text": False, "clean_up_tokenization_spaces": False}
    (expected,) = pipe("write", "text-generation")(text, do_sample=True, **options, **shown)
    write = client("write")  # by a name: hub 2.4 closes the streams of a client that nobody holds
    assert write.text_generation(text, **options) == expected["generated_text"]
    assert "".join(write.text_generation(text, **options, stream=True)) == expected["generated_text"]
    *_, last = write.text_generation(text, **options, stream=True, details=True)
    whole = write.text_generation(text, **options, details=True)
    assert last.generated_text == whole.generated_text == expected["generated_text"]
    assert last.details.generated_tokens == whole.details.generated_tokens == len(whole.details.tokens)

    if hasattr(client("qa"), "get_endpoint_info"):  # before 1.0
        assert client("qa").get_endpoint_info()["task"] == "question-answering"
        assert client("qa").health_check()


def test_many_clients_at_once_get_what_each_would_get_alone(server, folders):
    words = ["a", "b", "c", "good", "bad", "film", "the", "was", "what", "who", "in", ".", ",", "?", "!", "this"]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, random.integers(1, 28))) for _ in range(80)]
    embed = pipeline("feature-extraction", model=folders["embed"], backend=BACKEND)
    classify = pipeline("text-classification", model=folders["nli"], backend=BACKEND)

    def ask(i):
        few = texts[i : i + 1 + i % 7]
        vectors = server.post("/embed", {"inputs": few})
        return few, vectors, server.post("/predict", {"inputs": texts[i]})

    before = len(server.events)  # what other tests asked for
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(ask, range(len(texts))))
    for few, vectors, classes in answers:
        assert vectors == [embed(text, pooling="mean", normalize=True) for text in few]
        assert classes == classify(few[0], top_k=None)
    assert max(event["inputs"] for event in server.events[before:] if event["event"] == "request") == 7


def test_those_who_mean_no_good(server):
    """Half a head, half a body, a body of 100 MB, no HTTP at all, connections that say nothing: others are served."""
    silent = [server.connect() for _ in range(200)]
    half = server.connect()
    half.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Le")
    body = server.connect()
    body.sendall(b'POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{"inputs": ')
    large = server.connect()
    large.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    assert large.recv(1000).startswith(b"HTTP/1.1 413")
    chunked = server.connect()
    chunked.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        for _ in range(100):
            chunked.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        answered = chunked.recv(1000)
    except OSError:  # closed while we were sending: refused all the same
        answered = b"HTTP/1.1 413"
    assert answered.startswith(b"HTTP/1.1 413")
    nonsense = server.connect()
    nonsense.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert nonsense.recv(1000).startswith(b"HTTP/1.1 400")
    closed = server.connect()
    closed.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
    closed.shutdown(socket.SHUT_WR)
    assert server.post("/embed", {"inputs": "good film"})
    for connection in (*silent, half, body, large, chunked, nonsense, closed):
        connection.close()
    shown = server.ask("GET", "/info")
    assert shown[0] == 200


def metrics(server):
    with server.connect() as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return connection.makefile("rb").read().decode()


def held(server):
    """How many requests the server is at."""
    return float(re.search(r"^nanodistil_held_requests (\S+)", metrics(server), re.M)[1])


def test_sigterm_answers_what_was_begun_and_ends_with_0(folders):
    with live(f"embed={folders['embed']}", "--port", "0", "--backend", BACKEND, "--max-batch-tokens", "8") as server:
        texts = ["a b c good bad film"] * 1500
        answers = []

        def ask():
            answers.append(server.ask("POST", "/embed", {"inputs": texts, "truncate": True}))

        # 256 tokens are queued at most, so 413; ask for as much as is taken
        texts = texts[:30]
        asking = [threading.Thread(target=ask) for _ in range(8)]
        for one in asking:
            one.start()
        while held(server) + sum(event["event"] == "request" for event in list(server.events)) < 8:
            time.sleep(0.001)  # one that is on its way to the server when it ends has not begun, and is cut off
        assert server.end(signal.SIGTERM) == 0
        for one in asking:
            one.join(60)
        assert len(answers) == 8 and {status for status, *_ in answers} <= {200, 429}
        with pytest.raises(OSError):
            server.connect()


def test_a_unix_socket_a_key_and_a_batch_of_another_size(folders, tmp_path):
    path = str(tmp_path / "s")
    argv = [f"embed={folders['embed']}", "--uds", path, "--backend", BACKEND, "--max-batch-tokens", "16"]
    embed = pipeline("feature-extraction", model=folders["embed"], backend=BACKEND)
    for _ in range(2):  # the second time a socket lies there that nobody listens to
        with live(*argv, **{KEY: "secret"}) as server:
            for key, status in (("wrong", b"401"), ("secret", b"200")):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(path)
                    content = json.dumps({"inputs": ["a b c", "good film"]}).encode()
                    head = f"POST /embed HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
                    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
                    answer = connection.makefile("rb").read()
                assert answer.split(b" ", 2)[1] == status
            vectors = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert vectors == [embed(t, pooling="mean", normalize=True) for t in ("a b c", "good film")]
            server.process.kill()
            server.process.wait()


def test_tls(folders, tmp_path):
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl")
    files = ["--certificate", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem")]
    with live(f"embed={folders['embed']}", "--port", "0", "--backend", BACKEND, *files) as server:
        context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        with context.wrap_socket(server.connect(), server_hostname="localhost") as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_a_port_that_is_taken(server, folders):
    argv = ["python", "-m", "nanodistil", "serve", folders["embed"], "--port", str(server.port), "--no-journal"]
    done = subprocess.run([sys.executable, *argv[1:]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "cannot listen" in done.stderr


def test_a_stream_whose_reader_has_gone_ends(server):
    """Two pieces are read, and of 300 tokens most are never written."""
    ask = {"model": "write", "prompt": "a", "max_tokens": 300, "logit_bias": {"0": -100}, "stream": True}
    content = json.dumps(ask).encode()
    for _ in range(3):
        connection = server.connect()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n")
        connection.sendall(f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        assert connection.recv(4000).startswith(b"HTTP/1.1 200")
        connection.close()
    nothing_is_held(server)


def test_cancelled_requests_over_a_socket_leave_the_queue(server):
    async def go():
        content = json.dumps({"inputs": ["a b c good bad film the was"] * 200}).encode()
        request = f"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request)
            await writer.drain()
            writer.close()

    asyncio.run(go())
    assert server.post("/embed", {"inputs": "good film"})
    nothing_is_held(server)


def nothing_is_held(server):
    """Soon."""
    for _ in range(1000):
        values = metrics(server)
        if all(f"nanodistil_{name} 0.0" in values for name in ("held_tokens", "queue_rows", "written_texts")):
            break
        time.sleep(0.01)
    else:
        raise AssertionError("something is held for clients that have gone")


def test_bench_presses_a_server_and_checks_its_answers(server, capsys):
    pytest.importorskip("aiohttp")
    assert main(["bench", "--serve", server.url, "--seconds", "0.3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["capacity"] > 0 and [one["times"] for one in found["levels"]] == [0.5, 0.8, 1, 2]
    for one in found["levels"]:
        assert (one["others"], one["bits"], one["wrong"]) == (0, 0, 0)
    assert sum(one["latencies"] for one in found["levels"]) > 0
    target = Target(f"{server.url}/v1")
    _, levels = asyncio.run(pressed_levels(target, 0.1, ["good film", "a b c"]))
    assert target.model == "embed" and all(one.others == one.wrong == 0 for one in levels)
    capsys.readouterr()
    assert main(["bench", "--serve", "http://127.0.0.1:9", "--seconds", "0.3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(InputError, match="is a server listening there"):
        asyncio.run(pressed_levels(Target(f"{server.url}/none/v1"), 0.1, ["a"]))


def test_answers_are_judged_by_their_vectors():
    pytest.importorskip("aiohttp")
    press = Press(Target("http://a"), None, ["a", "b"])
    press.alone = [b"[[1.0, 2.0]]", b"[[2.0, -1.0]]"]
    found = (b"[[1.0, 2.0]]", b"[[1,2]]", b"[[1.00001, 2]]", b"[[2.0, -1.0]]", b"[[1.0]]", b"", b"{}", b"[[[1.0]]]")
    expected = ["same", "same", "bits", *["wrong"] * 5]
    assert [press.judged(0, one) for one in found] == expected
