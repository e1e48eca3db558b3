"""hub.py and cache.py without a network: names, folders, and a cache with anything in it."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanodistil.cli import models as models_verb
from nanodistil.family import FAMILIES
from nanodistil.weights import hub
from nanodistil.weights.cache import cache_folder
from nanodistil.weights.errors import CheckpointError, InputError, MissingExtraError, ModelNotFoundError
from nanodistil.weights.files import checksum

COMMIT, OTHER = "a" * 40, "b" * 40
WHOLE = {"config.json": '{"model_type": "distilbert"}', "vocab.txt": "[PAD]", "model.safetensors": "x"}


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """A cache of its own, and the hub forbidden."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def cached(tmp_path, model_id="org/model", files=WHOLE, commit=COMMIT, ref="main"):
    """A model in the cache's layout, links into blobs/ and all."""
    home = tmp_path / "hf/hub" / ("models--" + model_id.replace("/", "--"))
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir(exist_ok=True)
    for name, text in files.items():
        blob = home / "blobs" / f"{commit[0]}-{name}"
        blob.write_text(text)
        (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    if ref:
        (home / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (home / "refs" / ref).write_text(commit)
    return snapshot


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("HF_HOME")
    assert cache_folder() == Path("/home/someone/.cache/huggingface/hub")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/huggingface/hub")
    monkeypatch.setenv("HF_HOME", "~/hf")
    assert cache_folder() == Path("/home/someone/hf/hub")
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", "/old")
    assert cache_folder() == Path("/old")
    monkeypatch.setenv("HF_HUB_CACHE", "$HOME/new")
    assert cache_folder() == Path("/home/someone/new")
    assert cache_folder(tmp_path) == tmp_path


def test_embedded_model_has_everything():
    assert hub.resolve("nanodistil-mini", need="all") == hub.EMBEDDED
    assert sum(file.stat().st_size for file in hub.EMBEDDED.iterdir()) <= 25_000_000


def test_a_folder(tmp_path, monkeypatch):
    folder = tmp_path / "org" / "model"
    folder.mkdir(parents=True)
    for name, text in WHOLE.items():
        (folder / name).write_text(text)
    assert hub.resolve(folder) == hub.resolve(str(folder)) == folder
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("org/model", need="all") == Path("org/model")  # a folder comes before the hub
    (folder / "vocab.txt").unlink()
    assert hub.resolve("./org/model", need="model")
    with pytest.raises(ModelNotFoundError, match=r"lacks vocab.txt or tokenizer.json"):
        hub.resolve("org/model", need="all")
    with pytest.raises(ModelNotFoundError, match="give the folder"):
        hub.resolve(folder / "config.json")


NO_PATHS = ["./nothing", "/nothing/here", "a/b/c", "..", "../x", "a\\b", "C:\\x", "~nobody/x", "x\0y", "", ".", "org/"]
NO_IDS = ["org/.git", "a--b", "x.git", "-x", "a..b", "org/na me", "org/näme", "x" * 97, "org/name\n", Path("org/name")]


@pytest.mark.parametrize("name", NO_PATHS + NO_IDS)
def test_names_that_are_no_model(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError) as error:
        hub.resolve(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("revision", ["../x", "/x", "a//b", "x\n", "a b", "..", "refs/../../x", "C:x", "\\\\h\\x"])
def test_revisions_that_are_none(revision):
    with pytest.raises(ModelNotFoundError, match="cannot be a revision"):
        hub.resolve("org/model", revision=revision)


def test_from_the_cache(tmp_path):
    snapshot = cached(tmp_path)
    for need in ("config", "tokenizer", "model", "all"):
        assert hub.resolve("org/model", need=need) == snapshot
    assert hub.resolve("org/model", revision=COMMIT) == snapshot
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE"):
        hub.resolve("org/model", revision="v2")
    with pytest.raises(ModelNotFoundError, match="local_files_only"):
        hub.resolve("org/other", local_files_only=True)
    with pytest.raises(InputError):
        hub.resolve("org/model", need="everything")


def test_revisions_with_slashes(tmp_path):
    assert cached(tmp_path, ref="refs/pr/1") == hub.resolve("org/model", revision="refs/pr/1")


def test_old_and_new_name_of_the_official_model(tmp_path):
    snapshot = cached(tmp_path, "distilbert-base-uncased")
    assert hub.resolve("distilbert/distilbert-base-uncased") == snapshot
    assert hub.resolve_default() == (snapshot, None)
    snapshot = cached(tmp_path, "distilbert/distilbert-base-cased")
    assert hub.resolve("distilbert-base-cased") == snapshot


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_half_a_model_is_none(tmp_path, lost):
    snapshot = cached(tmp_path)
    (snapshot / lost).resolve().unlink()  # a dangling link remains
    with pytest.raises(ModelNotFoundError):
        hub.resolve("org/model")


def test_sharded(tmp_path):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {"config.json": "{}", "model.safetensors.index.json": json.dumps(index), "model-1.safetensors": "x"}
    cached(tmp_path, files=files)
    with pytest.raises(ModelNotFoundError):
        hub.resolve("org/model")
    whole = cached(tmp_path, files=files | {"model-2.safetensors": "x"}, commit=OTHER)
    assert hub.resolve("org/model") == whole


@pytest.mark.parametrize("ref", ["", "no hash", "../../../etc", "a" * 39, "A" * 40, "\xff" * 40, "a" * 100_000, OTHER])
def test_garbage_in_a_ref(tmp_path, ref):
    (cached(tmp_path).parents[1] / "refs/main").write_text(ref, encoding="latin-1")
    with pytest.raises(ModelNotFoundError):
        hub.resolve("org/model")
    assert len(hub.cached_models()) == len(hub.NAMES) + 1


def test_weird_things_in_the_cache(tmp_path):
    snapshot = cached(tmp_path)
    place = tmp_path / "hf/hub"
    (place / "models--empty").mkdir()
    (place / "models--a--b--..--c").mkdir()
    (place / "models--file").write_text("not a folder")
    (place / "models--dangling").symlink_to(place / "nowhere")
    (place / "models--loop").symlink_to(place / "models--loop")
    refs = snapshot.parents[1] / "refs"
    (refs / "folder").mkdir()
    (refs / "dangling").symlink_to(refs / "nowhere")
    (snapshot.parent / "not-a-commit").mkdir()
    cached(tmp_path, "org/deep", {"config.json": "[" * 100_000, "vocab.txt": "", "model.safetensors": ""})
    for kind in (*FAMILIES, "t5"):
        cached(tmp_path, f"org/{kind}", WHOLE | {"config.json": json.dumps({"model_type": kind})})
    cached(tmp_path, "org/index", {"config.json": "{}", "vocab.txt": "", "model.safetensors.index.json": "nonsense"})
    found = {model.id: model for model in hub.cached_models()}
    assert found["org/model"].lacks == "" and found["org/model"].folder == str(snapshot)
    assert found["org/model"].revisions == {"main": COMMIT}
    assert found["org/deep"].lacks == "has a broken config.json"
    assert not any(found[f"org/{kind}"].lacks for kind in FAMILIES)
    assert found["org/t5"].lacks == "is a 't5', which nanodistil has not"
    assert found["org/index"].lacks == "has a broken index of shards"
    assert found["empty"].lacks == "has no files"
    for name in ("empty", "dangling", "loop", "file", "org/index"):
        with pytest.raises(ModelNotFoundError):
            hub.resolve(name)


def test_models_verb(tmp_path, capsys):
    cached(tmp_path, ref=None)
    parser = argparse.ArgumentParser()
    models_verb.add_arguments(parser)
    assert models_verb.run(parser.parse_args([])) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("nanodistil-mini") and "ready" in out[0] and "(aaaaaaaa)" in out[-1]
    assert models_verb.run(parser.parse_args(["--json"])) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == [*hub.NAMES, "org/model"]
    assert not any(row["lacks"] for row in rows)
    assert rows[-1]["size"] >= sum(len(text) for text in WHOLE.values())


def test_without_the_extra(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "nanodistil\[hub\]"'):
        hub.resolve("org/model")
    folder, note = hub.resolve_default()
    assert folder == hub.EMBEDDED and note.endswith('to get it: pip install "nanodistil[hub]"')
    with pytest.raises(MissingExtraError, match="no model was named") as error:
        hub.resolve_usual("org/model")
    assert str(error.value).endswith('get it: pip install "nanodistil[hub]"')


def test_offline_by_choice(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv(name, "yes")
        folder, note = hub.resolve_default()
        assert folder == hub.EMBEDDED and note.endswith(f"to get it: nanodistil download {hub.OFFICIAL}")
        assert len(note) < 180 and "\n" not in note
        with pytest.raises(ModelNotFoundError, match="no model was named") as error:
            hub.resolve_usual("org/model")
        assert str(error.value).endswith("get it: nanodistil download org/model") and "folder" not in str(error.value)


def test_broken_index_in_a_folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="weight_map"):
        hub.resolve(tmp_path)


def test_nothing_heavy_is_imported():
    code = "import sys, nanodistil.weights.hub as h; h.cached_models(); print(*sys.modules)"
    root = Path(__file__).resolve().parents[2]
    env = {"PYTHONPATH": str(root), "HOME": str(root), "PATH": ""}
    loaded = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "safetensors", "huggingface_hub", "requests", "httpx", "nanodistil.weights.download"} & set(
        loaded.split()
    )


def test_a_checksum_is_of_config_and_all_weights(tmp_path):
    index = {"weight_map": {"x": "a-1.safetensors", "y": "a-2.safetensors"}}
    files = {"config.json": "{}", "model.safetensors.index.json": json.dumps(index)}
    files |= {"a-1.safetensors": "1", "a-2.safetensors": "2", "vocab.txt": "v"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    first = checksum(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text + " ")
        assert (checksum(tmp_path) != first) is (name != "vocab.txt")
        (tmp_path / name).write_text(text)
    assert checksum(tmp_path) == first


def test_a_working_folder_that_may_not_be_read_has_nothing_to_do_with_an_id(monkeypatch):
    """As when a container's work folder is root's and it runs as another user."""

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", forbidden)
    assert hub._local("nanodistil-mini") is not None and hub._local("org/model") is None
    with pytest.raises(ModelNotFoundError, match=r"^./root/x.: Permission denied$"):
        hub._local("/root/x")


def test_a_download_without_a_home(monkeypatch):
    """~ stays as it is if nobody says what it means, and is no folder to make."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(ModelNotFoundError, match=r"no home folder.*set HF_HOME"):
        hub.resolve("org/model", cache_dir="~no-such-user/hub")
    assert not Path("~no-such-user").exists()
