"""download.py against a hub on loopback: what comes, what is refused, and what a killed process leaves behind."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("huggingface_hub")

from hub_server import COMMIT, HubServer

from nanodistil.weights import hub
from nanodistil.weights.download import unreachable
from nanodistil.weights.errors import CheckpointError, ModelNotFoundError

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = os.urandom(300_000)
FILES = {
    "config.json": b'{"model_type": "distilbert"}',
    "vocab.txt": b"[PAD]\n",
    "tokenizer_config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"never fetched",
    "tf_model.h5": b"never fetched",
}


@pytest.fixture
def server(monkeypatch, tmp_path):
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # it may have been imported under another environment
    with HubServer({"org/model": dict(FILES)}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield server


def cache(tmp_path):
    return tmp_path / "hf/hub"


def blobs(tmp_path):
    """Everything below the cache that is a file with contents, locks aside."""
    files = [path for path in cache(tmp_path).rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if path.suffix != ".lock"]


def test_only_what_is_needed(server, tmp_path):
    folder = hub.resolve("org/model", need="all")
    assert folder == cache(tmp_path) / "models--org--model/snapshots" / COMMIT
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"
    ]  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "model.safetensors").resolve().name == hashlib.sha256(WEIGHTS).hexdigest()
    assert (cache(tmp_path) / "models--org--model/refs/main").read_text() == COMMIT
    assert not any((cache(tmp_path) / ".nanodistil-incoming").glob("models--*/"))
    assert [model.id for model in hub.cached_models() if not model.lacks] == [*hub.NAMES, "org/model"]
    asked = len(server.log)
    assert hub.resolve("org/model", need="all") == folder
    assert len(server.log) == asked  # from the cache now
    assert hub.download("org/model") == folder
    assert all(method == "HEAD" for method, _, _ in server.log[asked:])  # asked, nothing new, nothing moved


def test_default_is_downloaded(server):
    server.models[hub.OFFICIAL] = server.models["org/model"]
    folder, note = hub.resolve_default()
    assert note is None and (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_part_then_the_rest(server):
    assert sorted(p.name for p in hub.resolve("org/model", need="config").iterdir()) == ["config.json"]
    hub.resolve("org/model", need="tokenizer")
    assert "model.safetensors" not in server.fetched()
    hub.resolve("org/model", need="model")
    assert server.fetched().count("config.json") == 1


def test_huggingface_hub_finds_it_too(server, tmp_path):
    from huggingface_hub import try_to_load_from_cache

    folder = hub.resolve("org/model")
    assert Path(try_to_load_from_cache("org/model", "config.json", cache_dir=cache(tmp_path))) == folder / "config.json"


@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/1", COMMIT])
def test_revisions(server, tmp_path, revision):
    assert hub.resolve("org/model", revision=revision).name == COMMIT
    assert hub.resolve("org/model", revision=revision, local_files_only=True)


def test_a_new_commit(server):
    old = hub.resolve("org/model")
    server.commit = "f" * 40
    server.models["org/model"]["config.json"] = b'{"model_type": "distilbert", "new": 1}'
    assert hub.resolve("org/model") == old
    new = hub.download("org/model")
    assert new.name == "f" * 40 and hub.resolve("org/model") == new
    assert server.fetched().count("model.safetensors") == 1  # the same blob


def test_shards(server):
    files = server.models["org/model"]
    del files["model.safetensors"]
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}
    files |= {"model.safetensors.index.json": json.dumps(index).encode()}
    files |= {"model-1.safetensors": b"1", "model-2.safetensors": b"2"}
    assert len(list(hub.resolve("org/model").glob("model-*"))) == 2


OTHERS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack")  # in order of preference


def test_other_formats(server, monkeypatch):
    files = server.models["org/model"]
    del files["model.safetensors"]
    files |= {name: name.encode() for name in OTHERS}
    for name in OTHERS:
        server.commit = hashlib.sha1(name.encode()).hexdigest()  # another model, for the cache
        folder = hub.download("org/model")
        assert [file.name for file in folder.iterdir() if file.name in OTHERS] == [name]
        assert hub.resolve("org/model", revision=server.commit, local_files_only=True) == folder
        del files[name]


def test_torch_shards(server):
    files = server.models["org/model"]
    for name in ("model.safetensors", *OTHERS[:2]):
        del files[name]
    index = {"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}
    files |= {"pytorch_model.bin.index.json": json.dumps(index).encode()}
    files |= {"pytorch_model-1.bin": b"1", "pytorch_model-2.bin": b"2"}
    assert len(list(hub.resolve("org/model").glob("pytorch_model-*"))) == 2


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "C:x.safetensors", "\\\\h\\x.safetensors", "x"])
def test_malicious_shard_names(server, tmp_path, name):
    files = server.models["org/model"]
    del files["model.safetensors"]
    files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": name}}).encode()
    with pytest.raises(CheckpointError, match="plain name"):
        hub.resolve("org/model")
    assert not (cache(tmp_path) / "models--org--model/refs/main").exists()


@pytest.mark.parametrize(("file", "fault"), [("model.safetensors", "wrong hash"), ("vocab.txt", "wrong hash")])
def test_wrong_hash(server, tmp_path, file, fault):
    server.faults[file] = fault
    with pytest.raises(CheckpointError, match=f"{file}: the hash of what came is .* refused and deleted"):
        hub.resolve("org/model", need="all")
    wrong = FILES[file]
    assert not any(path.read_bytes() == wrong for path in blobs(tmp_path))
    server.models[hub.OFFICIAL] = server.models["org/model"]
    with pytest.raises(CheckpointError, match="hash"):  # not passed over in favour of the embedded model
        hub.resolve_default()
    server.faults.clear()
    assert (hub.resolve("org/model", need="all") / file).read_bytes() == wrong


def test_a_flipped_bit_on_the_way(server, tmp_path):
    server.faults["cdn"] = "flip"
    with pytest.raises(CheckpointError, match="hash"):
        hub.resolve("org/model")
    assert max(path.stat().st_size for path in blobs(tmp_path)) < 1000


FAULTS = [
    ("*", "401", "knows no model org/model"),
    ("*", "403", "gated"),
    ("*", "500", "500"),
    ("*", "loop", "redirects in a loop"),
    ("*", "evil etag", "no hub does that"),
    ("*", "evil commit", "no hub does that"),
    ("model.safetensors", "500", "500"),
    ("cdn", "truncate", "failed"),
]


@pytest.mark.parametrize(("file", "fault", "says"), FAULTS)
def test_faults(server, tmp_path, file, fault, says, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library waits between its own retries
    server.faults[file] = fault
    with pytest.raises((ModelNotFoundError, CheckpointError), match=says) as error:
        hub.resolve("org/model")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert not (cache(tmp_path) / "models--org--model/refs/main").exists()
    assert all(path.name != hashlib.sha256(WEIGHTS).hexdigest() for path in blobs(tmp_path))
    server.faults.clear()
    assert hub.resolve("org/model", need="all")


def test_not_there(server):
    with pytest.raises(ModelNotFoundError, match="knows no model org/none"):
        hub.resolve("org/none")
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        hub.resolve("org/model", revision="v9")
    for name in ("model.safetensors", "pytorch_model.bin", "tf_model.h5"):
        del server.models["org/model"][name]
    with pytest.raises(ModelNotFoundError, match=r"has no weights: none of model.safetensors, .*, flax_model.msgpack"):
        hub.resolve("org/model")
    del server.models["org/model"]["vocab.txt"]
    with pytest.raises(ModelNotFoundError, match=r"neither vocab.txt nor tokenizer.json"):
        hub.resolve("org/model", need="tokenizer")


def test_full_disk(server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nanodistil.weights.download.os.replace", full)
    with pytest.raises(ModelNotFoundError, match="disk is full"):
        hub.resolve("org/model")


def test_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "hf").write_text("a file where a folder should be")
    with pytest.raises(ModelNotFoundError, match="failed"):
        hub.resolve("org/model")


# Offline


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def black_hole():
    """Accepts, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        yield f"http://127.0.0.1:{hole.getsockname()[1]}"


def default_within_3_seconds(monkeypatch, endpoint):
    """The reason why it is not the official model, of which the note for people tells the cure alone."""
    reasons = []
    monkeypatch.setattr(hub, "getting", lambda _, error: reasons.append(str(error)))
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    start = time.monotonic()
    folder, note = hub.resolve_default()
    assert time.monotonic() - start < 3
    assert folder == hub.EMBEDDED and "is not on this machine" in note and "out of reach" in reasons[0]
    return reasons[0]


def test_offline_closed_port(server, monkeypatch):
    assert "refused" in default_within_3_seconds(monkeypatch, f"http://127.0.0.1:{closed_port()}")


@pytest.mark.sweep
def test_offline_black_hole(server, monkeypatch, black_hole):
    default_within_3_seconds(monkeypatch, black_hole)


def test_offline_no_such_name(server, monkeypatch):
    default_within_3_seconds(monkeypatch, "https://hub.invalid")


@pytest.mark.sweep
def test_offline_lookup_that_hangs(server, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: threading.Event().wait(30))
    assert "no answer in 3 s" in default_within_3_seconds(monkeypatch, "https://huggingface.co")


def test_offline_slow_loris(server, monkeypatch):
    server.faults["*"] = "slow headers"
    assert "no answer" in default_within_3_seconds(monkeypatch, server.url)


def test_proxies_are_asked(server, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    assert "refused" in unreachable("http://hub.invalid/x")
    monkeypatch.setenv("http_proxy", server.url)  # answers 404 for anything, which is an answer
    assert unreachable("http://hub.invalid/x") == ""


# In a process of its own


def start(tmp_path, server, *arguments, stderr=subprocess.PIPE):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_ENDPOINT": server.url}
    env |= {name: value for name, value in os.environ.items() if name == "HF_HUB_DISABLE_PROGRESS_BARS"}
    env |= {"HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}
    verb = "import sys,argparse; from nanodistil.cli import download as v; p=argparse.ArgumentParser()"
    command = f"{verb}; v.add_arguments(p); sys.exit(v.run(p.parse_args(sys.argv[1:])))"
    return subprocess.Popen(
        [sys.executable, "-c", command, *arguments], env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
    )


def test_killed_then_again(server, tmp_path):
    server.faults["cdn"] = "trickle"
    process = start(tmp_path, server, "org/model")
    assert server.served.wait(30)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    place = cache(tmp_path) / "models--org--model"
    assert not (place / "blobs" / hashlib.sha256(WEIGHTS).hexdigest()).exists()
    assert not (place / "snapshots" / COMMIT / "model.safetensors").exists()
    with pytest.raises(ModelNotFoundError):
        hub.resolve("org/model", local_files_only=True)
    server.faults.clear()
    out, err = start(tmp_path, server, "org/model").communicate(timeout=60)
    folder = Path(out.strip())
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS, err
    assert not any((cache(tmp_path) / ".nanodistil-incoming").glob("models--*/"))


def test_two_at_once(server, tmp_path):
    both = [start(tmp_path, server, "org/model") for _ in range(2)]
    outs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    assert outs[0][0] == outs[1][0]
    assert server.fetched().count("model.safetensors") == 1  # the second one waited


def test_download_verb_offline(server, tmp_path, capsys, monkeypatch):
    import argparse

    from nanodistil.cli import download as verb

    folder = hub.download("org/model")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    assert verb.run(argparse.Namespace(id="org/model", revision=None)) == 0
    out = capsys.readouterr()
    assert out.out.strip() == str(folder) and "not asked whether it is the newest" in out.err
    with pytest.raises(ModelNotFoundError, match="out of reach"):
        verb.run(argparse.Namespace(id="org/other", revision=None))


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_shown_on_a_terminal(server, tmp_path, quiet, monkeypatch):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    if quiet:
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    process = start(tmp_path, server, "org/model", stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while more := os.read(ours, 65536):
            seen += more
    except OSError:  # Linux's way of saying that the other side is closed
        pass
    os.close(ours)
    assert process.communicate(timeout=60)[0].strip().endswith(COMMIT)
    assert (b"100%" in seen) is not quiet, seen


def test_no_progress_in_a_pipe(server, tmp_path):
    out, err = start(tmp_path, server, "org/model").communicate(timeout=60)
    assert out.strip().endswith(COMMIT) and "%" not in err


@pytest.mark.sweep
def test_killed_at_any_moment(server, tmp_path):
    """The file in the cache is absent, or right; and whatever the kill left behind, the next download succeeds."""
    random = Random(0)
    target = cache(tmp_path) / "models--org--model/snapshots" / COMMIT / "model.safetensors"
    finished = 0
    for _ in range(40):
        server.faults["cdn"] = random.choice(["trickle", "none"])
        process = start(tmp_path, server, "org/model")
        time.sleep(random.uniform(0.1, 1.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if target.exists():
            assert target.read_bytes() == WEIGHTS
            finished += 1
            shutil.rmtree(target.parents[2])
    server.faults.clear()
    assert 0 < finished < 40
    assert (hub.resolve("org/model") / "model.safetensors").read_bytes() == WEIGHTS


def test_an_adapter_and_its_base(server):
    """An adapter has no config: it is fetched with what it has, and then its base."""
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "org/model"}
    server.models["org/lora"] = {
        "adapter_config.json": json.dumps(adapter).encode(),
        "adapter_model.safetensors": b"weights",
        "optimizer.pt": b"of no use",
    }
    home = hub.resolve_model("org/lora")
    assert sorted(file.name for file in home.folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert home.base == hub.resolve("org/model", local_files_only=True) and home.config == home.base / "config.json"
    assert hub.resolve_model("org/lora", local_files_only=True) == home
    assert (hub.resolve("org/lora", need="tokenizer") / "vocab.txt").is_file()
    server.models["org/empty"] = {"adapter_config.json": json.dumps(adapter).encode()}
    with pytest.raises(ModelNotFoundError, match=r"is an adapter.* none of adapter_model.safetensors"):
        hub.resolve_model("org/empty")
    server.models["org/nothing"] = {"README.md": b""}
    with pytest.raises(ModelNotFoundError, match="lacks a file a model needs"):
        hub.resolve_model("org/nothing")


def test_what_stands_behind_a_model_comes_with_it(server):
    modules = [{"path": path, "type": "x"} for path in ("", "1_Pooling", "2_Dense", "3_Normalize", "../config", "a/b")]
    server.models["org/model"] |= {
        "modules.json": json.dumps(modules).encode(),
        "sentence_bert_config.json": b"{}",
        "1_Pooling/config.json": b"{}",
        "2_Dense/config.json": b"{}",
        "2_Dense/pytorch_model.bin": b"a few bytes",
        "a/b/config.json": b"{}",
    }
    folder = hub.resolve("org/model", need="model")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    behind = {"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin"}
    assert found == {"config.json", "model.safetensors", "modules.json", "sentence_bert_config.json"} | behind
