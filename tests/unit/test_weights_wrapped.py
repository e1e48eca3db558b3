"""wrappers.py, foreign_names.py, and torch_file.py's training checkpoints: what others call and wrap a model in."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from weight_files import TINY, as_filed, file_bytes, tiny_arrays
from weight_formats import raw_storages, strides, tensor, text, torch_bin, torch_stream, torch_zip

from nanodistil.family.bert import NAMES
from nanodistil.heads import HEADS as TABLE
from nanodistil.weights import loading
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.h5_file import MOST as MOST_GROUPS
from nanodistil.weights.h5_file import H5File
from nanodistil.weights.msgpack_file import MsgpackFile

ARRAYS = tiny_arrays()
FILED = as_filed(ARRAYS)
ONE = np.ones(1, np.float32)


def same(loaded, arrays=ARRAYS):
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded.tensors[name], array, err_msg=name)
    assert not loaded.initialised


def load(folder, arrays, form=file_bytes, head="masked_lm", **how):
    (folder / ("model.safetensors" if form is file_bytes else "pytorch_model.bin")).write_bytes(form(arrays, **how))
    return loading.load(folder, TINY, TABLE[head])


def refused(folder, arrays, form=file_bytes):
    with pytest.raises(CheckpointError) as error:
        load(folder, arrays, form)
    assert "\n" not in str(error.value)
    return str(error.value)


PREFIXES = ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "model.net.module.", "_forward_module."]
PREFIXES += ["_fsdp_wrapped_module.", "student.", "l1.x."]


@pytest.mark.parametrize("form", [file_bytes, torch_bin, torch_stream])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_behind_a_prefix(tmp_path, prefix, form):
    with pytest.warns(UserWarning, match=f"note: .*stand behind '{prefix}', which was left off") as warned:
        same(load(tmp_path, {prefix + name: array for name, array in FILED.items()}, form))
    assert len(warned) == 1


def test_a_body_behind_a_prefix(tmp_path):
    body = tiny_arrays("base")
    for prefix in ("module.", "backbone."):
        with pytest.warns(UserWarning, match="left off"):
            same(load(tmp_path, {prefix + name: array for name, array in body.items()}, head="base"), body)


def test_words_in_the_middle(tmp_path):
    """A layer that is checkpointed, a body that is compiled."""
    middle = {name.replace("layer.0.", "layer.0._checkpoint_wrapped_module."): a for name, a in FILED.items()}
    middle = {name.replace("distilbert.", "distilbert._orig_mod."): a for name, a in middle.items()}
    with pytest.warns(UserWarning, match="behind 'distilbert._orig_mod.'"):
        same(load(tmp_path, middle))
    middle = {name.replace("layer.0.", "layer.0._fsdp_wrapped_module."): a for name, a in FILED.items()}
    with pytest.warns(UserWarning, match='behind "a wrapper\'s words"'):
        same(load(tmp_path, middle))


def test_what_stands_beside_it(tmp_path):
    """Of no use, and named; a head of the same name that is outside is not ours."""
    config = SimpleNamespace(**vars(TINY), num_labels=3, initializer_range=0.5)
    arrays = {f"l1.{n}": a for n, a in tiny_arrays("base").items()} | {"classifier.bias": np.full(3, 7, np.float32)}
    (tmp_path / "model.safetensors").write_bytes(file_bytes(arrays | {"loss.weight": ONE}))
    with pytest.warns(UserWarning) as warned:
        loaded = loading.load(tmp_path, config, TABLE["token_classification"])
    said = " ".join(str(w.message) for w in warned)
    assert "no use for: classifier.bias, loss.weight" in said and "newly initialised" in said
    assert not (loaded.tensors["classifier.bias"] == 7).any()


def test_two_models(tmp_path):
    both = {f"{who}.{n}": a for who in ("student", "teacher") for n, a in FILED.items()}
    assert "holds 2 models, behind 'student.' and 'teacher.'" in refused(tmp_path, both)
    with pytest.warns(UserWarning, match="no use for: ema"):  # one that stands by itself is the model
        same(load(tmp_path, FILED | {f"ema.{n}": a for n, a in FILED.items()}))
    bert = {f"teacher.{NAMES.filed(n, TABLE['masked_lm'])}": a for n, a in ARRAYS.items()}
    with pytest.warns(UserWarning, match=r"behind 'student.'|no use for: teacher"):  # the other is a BERT
        same(load(tmp_path, {f"student.{n}": a for n, a in FILED.items()} | bert))


def test_many_would_be_models_end_soon(tmp_path):
    words = "embeddings.word_embeddings.weight"
    assert "missing" in refused(tmp_path, {f"{i}.{words}": np.zeros(0, np.float32) for i in range(9000)})


def test_lora_beside_its_weights(tmp_path):
    name = "base_model.model.distilbert.transformer.layer.0.attention.q_lin.lora_A.default.weight"
    assert "merge_and_unload" in refused(tmp_path, FILED | {name: ONE})


# Training checkpoints


def state(arrays, first=0):
    """Instructions that leave a state dict on the stack."""
    names = {"float32": "Float", "int64": "Long"}
    items = [
        text(name) + tensor(names[a.dtype.name], str(first + i), a.size, 0, a.shape, strides(a.shape))
        for i, (name, a) in enumerate(arrays.items())
    ]
    return b"}(" + b"".join(items) + b"u"


HPARAMS = b"cmy_project.settings\nHparams\n)\x81}(" + text("lr") + b"G" + bytes(8) + b"ub"
BESIDE = {
    "epoch": b"K\x03",
    "optimizer_states": b"](}(" + text("state") + b"}(K\0}(" + text("step") + tensor("Float", "0", 44, 0, (1,), (1,))
    + b"uK\1}u" + text("param_groups") + b"]ue",
    "hyper_parameters": HPARAMS,
    "callbacks": b"}(" + text("ModelCheckpoint") + b"ccollections\ndefaultdict\ncbuiltins\nlist\n\x85R" + text("a")
    + b"]s" + text("best") + b"cpathlib\nPosixPath\n(" + text("/x") + b"tRu",
    "args": b"cargparse\nNamespace\n)R}(" + text("a") + b"K\1ub",
    "numpy": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n" + text("f8") + b"\x89\x88\x87Rc_codecs\nencode\n"
    + text("x") + text("latin1") + b"\x86RtR",
    "list subclass": b"cx\nList\n)\x81(K\1K\2e",
}  # fmt: skip


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module", "anything"])
def test_training_checkpoints(tmp_path, key):
    """What stands beside the state dict is made of classes nobody knows, and skipped."""
    beside = b"".join(text(name) + value for name, value in BESIDE.items())
    arrays = {f"model.{name}": array for name, array in FILED.items()}
    pickle = b"\x80\x02}(" + beside + text(key) + state(arrays) + b"u."
    (tmp_path / "pytorch_model.bin").write_bytes(torch_zip(pickle, raw_storages(arrays)))
    with pytest.warns(UserWarning) as warned:
        same(loading.load(tmp_path, TINY, TABLE["masked_lm"]))
    said = [str(w.message) for w in warned]
    assert len(said) == 2 and "behind 'model.'" in said[0] and f"those in its '{key}'" in said[1]


def test_a_training_checkpoint_of_the_old_format(tmp_path):
    pickle = b"\x80\x02}(" + text("x") + HPARAMS + text("state_dict") + state(FILED) + b"u."
    (tmp_path / "pytorch_model.bin").write_bytes(torch_stream(FILED, pickle))
    with pytest.warns(UserWarning, match="those in its 'state_dict'"):
        same(loading.load(tmp_path, TINY, TABLE["masked_lm"]))


def raw(tmp_path, pickle, arrays=FILED):
    (tmp_path / "pytorch_model.bin").write_bytes(torch_zip(pickle, raw_storages(arrays)))
    with pytest.raises(CheckpointError) as error:
        loading.load(tmp_path, TINY, TABLE["masked_lm"])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_checkpoints_that_are_ambiguous_or_not_only_data(tmp_path):
    two = b"\x80\x02}(" + text("model") + state(FILED) + text("ema") + state(FILED) + b"u."
    assert "holds 2 models, in 'model' and 'ema'" in raw(tmp_path, two)
    whole = b"\x80\x02cmy.models\nClassifier\n)\x81}(" + text("_modules") + state(FILED) + b"ub."
    said = raw(tmp_path, whole)
    assert "names my.models.Classifier" in said and "of a whole pickled model, save model.state_dict() instead" in said
    assert "whole pickled model" in raw(tmp_path, b"\x80\x02}(" + text("model") + whole[2:-1] + b"u.")
    for strange in (HPARAMS, b"cos\nsystem\n" + text("true") + b"\x85R"):  # within the state dict nothing is skipped
        inside = state(FILED)[:-1] + text("x") + strange + b"u"
        said = raw(tmp_path, b"\x80\x02}(" + text("state_dict") + inside + b"u.")
        assert "which no weights file needs; refused" in said
    numbered = state(FILED)[:-1] + b"K\1N" + b"u"
    assert "has a int as the name of an array" in raw(tmp_path, b"\x80\x02}(" + text("model") + numbered + b"u.")
    assert "has a int as the name of an array" in raw(tmp_path, b"\x80\x02" + numbered + b".")


def test_dicts_that_hold_themselves(tmp_path):
    pickle = b"\x80\x02}q\0(" + text("a") + b"h\0" + text("b") + b"}q\1(" + text("c") + b"h\0" + b"u"
    assert "missing" in raw(tmp_path, pickle + b"u.")


# TensorFlow's and Flax's names in safetensors


def as_tensorflow(arrays):
    found = {}
    for name, array in arrays.items():
        *parts, last = name.replace(".layer.", ".layer#").split(".")
        norm = parts[-1].lower().endswith("norm")
        last = {"bias": "beta" if norm else "bias", "weight": "gamma" if norm else "kernel"}[last]
        last = {"word_embeddings": "weight", "position_embeddings": "embeddings"}.get(parts[-1], last)
        array = np.ascontiguousarray(array.T) if last == "kernel" else array
        found["/".join([*parts, last]).replace("#", "_._") + ":0"] = array
    return found


def as_flax(arrays):
    found = {}
    for name, array in arrays.items():
        module, _, last = name.rpartition(".")
        if last == "weight":
            last = "scale" if module.lower().endswith("norm") else "embedding" if "embeddings" in module else "kernel"
        found[f"{module}.{last}"] = np.ascontiguousarray(array.T) if last == "kernel" else array
    return found


SQUARE = SimpleNamespace(**{**vars(TINY), "hidden_dim": TINY.dim})  # so that no shape tells what is turned


@pytest.mark.parametrize(("rule", "form"), [(as_tensorflow, "tf"), (as_flax, "flax"), (dict, "mlx"), (dict, "tf")])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("config", [TINY, SQUARE])
def test_written_by_other_frameworks(tmp_path, rule, form, told, config):
    arrays = tiny_arrays(config=config)
    raw = file_bytes(rule(as_filed(arrays)), {"format": form} if told else None)
    (tmp_path / "model.safetensors").write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = loading.load(tmp_path, config, TABLE["masked_lm"])
    same(loaded, arrays)
    assert all(array.flags.c_contiguous for array in loaded.tensors.values())


def test_shards_of_tensorflow(tmp_path):
    """Their index lists arrays under the model's name, which the shards leave off."""
    arrays = as_tensorflow(FILED)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for i, file in enumerate(files):
        (tmp_path / file).write_bytes(file_bytes(dict(list(arrays.items())[i::2]), {"format": "tf"}))
    index = {f"tf_distil_bert_for_masked_lm/{name}": files[i % 2] for i, name in enumerate(arrays)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    same(loading.load(tmp_path, TINY, TABLE["masked_lm"]))


def test_two_arrays_that_come_to_one_name(tmp_path):
    arrays = as_flax(FILED)
    twice = {"vocab_transform.weight": arrays["vocab_transform.kernel"]}
    assert "two of its arrays have one name" in refused(tmp_path, arrays | twice)


def test_quantised_by_others(tmp_path):
    config = SimpleNamespace(**vars(TINY), extra={"quantization": {"bits": 4}})
    arrays = FILED | {"distilbert.transformer.layer.0.ffn.lin1.weight": np.ones((6, 1), np.int64)}
    (tmp_path / "model.safetensors").write_bytes(file_bytes(arrays, {"format": "mlx"}))
    with pytest.raises(CheckpointError, match=r"its weights are quantised \(config.json: quantization\)"):
        loading.load(tmp_path, config, TABLE["masked_lm"])


# Bounds


def test_long_names_of_nested_groups_take_no_memory(tmp_path):
    """414 kB of HDF5 made 955 MB of names: each array's is that of all groups above it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file
        for _ in range(12):
            group = group.create_group("x" * 60)
        for i in range(50):
            group.create_dataset(str(i), data=np.zeros(1, np.float32))
    with pytest.raises(CheckpointError, match="has more in it, or deeper, than any model"):
        H5File(tmp_path / "x.h5")
    assert MOST_GROUPS <= 10_000


def test_long_keys_of_nested_maps_take_no_memory(tmp_path):
    msgpack = pytest.importorskip("msgpack")
    leaf = msgpack.ExtType(1, msgpack.packb(((1,), "float32", bytes(4)), use_bin_type=True))
    tree = {str(i): leaf for i in range(50)}
    for i in range(12):
        tree = {chr(0x1F600 + i) * 49: tree}
    (tmp_path / "x").write_bytes(msgpack.packb(tree))
    MsgpackFile(tmp_path / "x")
    for i in range(2):
        tree = {chr(0x1F600 + i) * 49: tree}
    (tmp_path / "x").write_bytes(msgpack.packb(tree))
    with pytest.raises(CheckpointError, match="has more in it, or deeper, than any model"):
        MsgpackFile(tmp_path / "x")


def test_safetensors_of_more_than_any_model(tmp_path):
    """A header of 4 MB took 90 MB, and each of a hundred shards might have one."""
    path = tmp_path / "model.safetensors"
    rows = {"many dimensions": '{"a":{"dtype":"F32","shape":[' + "0," * 9 + '0],"data_offsets":[0,0]}}'}
    rows["much metadata"] = json.dumps({"__metadata__": {str(i): "" for i in range(2000)}})
    for row in rows.values():
        path.write_bytes(len(row).to_bytes(8, "little") + row.encode())
        with pytest.raises(CheckpointError, match="than any model"):
            loading.load(tmp_path, TINY)
    long = json.dumps({"__metadata__": {"x": "x" * (1 << 20)}}).encode()
    path.write_bytes(len(long).to_bytes(8, "little") + long)
    with pytest.raises(CheckpointError, match="header is longer than"):
        loading.load(tmp_path, TINY)


def test_more_shards_than_any_model(tmp_path):
    for i in range(600):
        (tmp_path / f"{i}.safetensors").write_bytes(file_bytes({str(i): ONE}))
    index = {"weight_map": {str(i): f"{i}.safetensors" for i in range(600)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="names more shards"):
        loading.load(tmp_path, TINY)
    for i in range(6):
        (tmp_path / f"{i}.safetensors").write_bytes(file_bytes({f"{i}.{k}": ONE[:0] for k in range(5000)}))
    index = {"weight_map": {f"{i}.0": f"{i}.safetensors" for i in range(6)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="they hold more arrays"):
        loading.load(tmp_path, TINY)


STAND_INS = {
    "git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "is a web page": b"\n<!DOCTYPE html><html><body>404</body></html>" + b" " * 100,
}


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"])
@pytest.mark.parametrize("says", STAND_INS)
def test_stand_ins(tmp_path, name, says):
    (tmp_path / name).write_bytes(STAND_INS[says])
    with pytest.raises(CheckpointError, match=says):
        loading.load(tmp_path, TINY)


def test_files_under_the_name_of_another_form(tmp_path):
    for raw in (torch_bin(FILED), torch_stream(FILED)):
        (tmp_path / "model.safetensors").write_bytes(raw)
        with pytest.raises(CheckpointError, match=r"is what torch.save writes: name it pytorch_model.bin"):
            loading.load(tmp_path, TINY)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(file_bytes(FILED))
    with pytest.raises(CheckpointError, match=r"is safetensors: name it model.safetensors"):
        loading.load(tmp_path, TINY)
