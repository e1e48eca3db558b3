"""loading.py and safetensors_reader.py: every type, every habit of naming, and every way a file can be wrong."""

import json
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from weight_files import TINY, as_filed, bf16, file_bytes, header_of, tiny_arrays

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights import loading, quantization
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.loading import finite
from nanodistil.weights.names import expected
from nanodistil.weights.safetensors_reader import SafetensorsFile

WORDS = "embeddings.word_embeddings.weight"
FILED_WORDS = "distilbert." + WORDS


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning is a failure, unless the test expects it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def load(*args, **how):
    return loading.load(*args, **how).tensors


def put(folder, arrays, **how):
    (folder / "model.safetensors").write_bytes(file_bytes(arrays, **how))
    return folder


def same(loaded, arrays):
    assert list(loaded) == list(arrays)
    for name in arrays:
        np.testing.assert_array_equal(loaded[name], arrays[name], err_msg=name)
    return True


# What is in the file


@pytest.mark.parametrize("head", ["base", "masked_lm"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_transformers_writes_it(tmp_path, head, dtype):
    arrays = tiny_arrays(head)
    loaded = load(put(tmp_path, as_filed(arrays, head), metadata={"format": "pt"}), TINY, TABLE[head], dtype)
    assert same(loaded, arrays) and {a.dtype for a in loaded.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("stored", "exact"), [(np.float16, np.float16), (np.float32, np.float32), (np.float64, np.float32)]
)
def test_float_types(tmp_path, stored, exact):
    arrays = tiny_arrays()
    kept = {name: array.astype(stored) for name, array in arrays.items()}
    folder = put(tmp_path, kept)
    assert same(
        load(folder, TINY, TABLE["masked_lm"]), {name: array.astype(np.float32) for name, array in kept.items()}
    )
    assert same(load(folder, TINY, TABLE["masked_lm"], np.float64), {n: a.astype(exact) for n, a in kept.items()})


def test_bfloat16(tmp_path):
    values = np.array([[1.0, -2.5, 3.3895314e38, 1e-40]], np.float32)  # a large one, and a subnormal
    (tmp_path / "x").write_bytes(file_bytes({"w": bf16(values)}))
    cut = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(SafetensorsFile(tmp_path / "x").array("w", dtype), cut.astype(dtype))
    arrays = tiny_arrays()
    assert load(put(tmp_path, {name: bf16(array) for name, array in arrays.items()}), TINY, TABLE["masked_lm"])


def test_float64_is_rounded_to_nearest(tmp_path):
    value = 1 + 2.0**-24 + 2.0**-40  # just above halfway between two float32
    (tmp_path / "x").write_bytes(file_bytes({"w": np.array([value])}))
    assert SafetensorsFile(tmp_path / "x").array("w")[0] == np.float32(1 + 2.0**-23)


def test_float32_is_a_view_of_the_file(tmp_path):
    loaded = load(put(tmp_path, tiny_arrays()), TINY, TABLE["masked_lm"])
    for array in loaded.values():
        assert not array.flags.owndata and not array.flags.writeable and array.flags.aligned
        assert array.flags.c_contiguous


def test_data_that_lies_unaligned(tmp_path):
    arrays = tiny_arrays()
    loaded = load(put(tmp_path, arrays, align=1), TINY, TABLE["masked_lm"])
    assert same(loaded, arrays) and all(array.flags.aligned for array in loaded.values())


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_scalars_and_empty_arrays(tmp_path, shape):
    (tmp_path / "x").write_bytes(file_bytes({"w": np.ones(shape, np.float32)}))
    assert SafetensorsFile(tmp_path / "x").array("w").shape == shape


# What files call it


def test_base_file_into_masked_lm_and_back(tmp_path):
    arrays = tiny_arrays()
    assert same(load(put(tmp_path, arrays), TINY, TABLE["masked_lm"]), arrays)  # the prefix is missing
    base = {name: array for name, array in arrays.items() if not name.startswith("vocab_")}
    assert same(load(put(tmp_path, as_filed(arrays)), TINY, TABLE["base"]), base)  # the head is left aside


def test_gamma_and_beta(tmp_path):
    arrays = tiny_arrays()
    old = {}
    for name, array in as_filed(arrays).items():
        module, _, last = name.rpartition(".")
        if "norm" in module.lower():
            last = {"weight": "gamma", "bias": "beta"}[last]
        old[f"{module}.{last}"] = array
    assert sum(name.endswith(".gamma") for name in old) == 6
    assert same(load(put(tmp_path, old), TINY, TABLE["masked_lm"]), arrays)


@pytest.mark.parametrize("name", ["distilbert.embeddings.position_ids", "embeddings.position_ids"])
def test_position_ids_are_ignored(tmp_path, name):
    arrays = tiny_arrays()
    assert same(load(put(tmp_path, as_filed(arrays) | {name: np.arange(5)[None]}), TINY, TABLE["masked_lm"]), arrays)


def test_tied_projection_is_ignored_even_if_it_differs(tmp_path):
    arrays = tiny_arrays()
    for projection in (arrays[WORDS], arrays[WORDS] + 1, np.zeros((2, 2), np.float32)):
        folder = put(tmp_path, as_filed(arrays) | {"vocab_projector.weight": projection})
        assert same(load(folder, TINY, TABLE["masked_lm"]), arrays)


def test_untied_projection_is_a_weight(tmp_path):
    config = SimpleNamespace(**{**vars(TINY), "tie_word_embeddings": False})
    arrays = tiny_arrays(config=config)
    assert "vocab_projector.weight" in arrays
    assert same(load(put(tmp_path, as_filed(arrays)), config, TABLE["masked_lm"]), arrays)
    with pytest.warns(UserWarning, match=r"newly initialised.*: vocab_projector.weight;"):
        assert load(put(tmp_path, as_filed(tiny_arrays())), config, TABLE["masked_lm"])["vocab_projector.weight"].any()


def test_heads_of_other_tasks(tmp_path):
    arrays = tiny_arrays("base")
    others = ("pre_classifier.weight", "classifier.bias", "qa_outputs.weight", "vocab_transform.weight")
    more = {name: np.ones(3, np.float32) for name in others}
    assert same(load(put(tmp_path, as_filed(arrays) | more), TINY, TABLE["base"]), arrays)


def test_unexpected_names_are_warned_about(tmp_path):
    arrays = tiny_arrays()
    more = {"classifier.weight": np.ones(3, np.float32), "pooler.bias": np.ones(3, np.float32)}
    folder = put(tmp_path, as_filed(arrays) | more)
    with pytest.warns(UserWarning, match="no use for: classifier.weight, pooler.bias"):
        assert same(load(folder, TINY, TABLE["masked_lm"]), arrays)


# What is made anew

CLASSIFIER = SimpleNamespace(**vars(TINY), num_labels=3, initializer_range=0.5)
HEADS = ["masked_lm", "sequence_classification", "token_classification", "question_answering", "multiple_choice"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_head_the_checkpoint_lacks(tmp_path, head, dtype):
    body = tiny_arrays("base")
    lacks = [name for name in expected(CLASSIFIER, TABLE[head]) if name not in body]
    said = rf"newly initialised, as not in the checkpoint: {', '.join(lacks)}; train the model before you trust it"
    with pytest.warns(UserWarning, match=said) as warned:
        loaded = loading.load(put(tmp_path, body), CLASSIFIER, TABLE[head], dtype)
    assert len(warned) == 1
    assert loaded.initialised == lacks and loaded.dropped == []
    assert list(loaded.tensors) == list(expected(CLASSIFIER, TABLE[head]))
    for name, array in loaded.tensors.items():
        assert array.shape == expected(CLASSIFIER, TABLE[head])[name] and array.dtype == dtype
        if name in body:
            np.testing.assert_array_equal(array, body[name])
    with pytest.warns(UserWarning):
        again = load(tmp_path, CLASSIFIER, TABLE[head], dtype)
    assert same(again, loaded.tensors)  # the same at every start


def test_a_head_in_part(tmp_path):
    arrays = tiny_arrays()
    del arrays["vocab_transform.bias"], arrays["vocab_layer_norm.weight"]
    with pytest.warns(UserWarning, match=r"checkpoint: vocab_transform.bias, vocab_layer_norm.weight;"):
        loaded = load(put(tmp_path, arrays), TINY, TABLE["masked_lm"])
    assert same(loaded, tiny_arrays() | {"vocab_transform.bias": np.zeros(4), "vocab_layer_norm.weight": np.ones(4)})


def test_from_one_task_to_another(tmp_path):
    with pytest.warns(UserWarning) as warned:
        loaded = loading.load(put(tmp_path, as_filed(tiny_arrays())), CLASSIFIER, TABLE["token_classification"])
    assert loaded.initialised == ["classifier.weight", "classifier.bias"]
    assert loaded.dropped == [name for name in tiny_arrays() if name.startswith("vocab_")]
    assert [("no use for: vocab_transform.weight" in str(w.message)) for w in warned] == [True, False]
    loaded = loading.load(tmp_path, TINY, TABLE["base"])  # silently
    assert loaded.initialised == [] and len(loaded.dropped) == 5


def test_a_head_of_another_size(tmp_path):
    more = SimpleNamespace(**{**vars(CLASSIFIER), "num_labels": 7})
    folder = put(tmp_path, tiny_arrays("sequence_classification", CLASSIFIER))
    message = refused(folder, more, "sequence_classification")
    assert "misfit: classifier.weight is (3, 4), the config says (7, 4), classifier.bias is (3,)" in message
    assert "ignore_mismatched_sizes=True" in message
    said = r"not in the checkpoint in this shape \(classifier.weight is \(3, 4\).*: classifier.weight, classifier.bias;"
    with pytest.warns(UserWarning, match=said):
        loaded = loading.load(folder, more, TABLE["sequence_classification"], ignore_mismatched_sizes=True)
    assert loaded.initialised == ["classifier.weight", "classifier.bias"]
    assert loaded.tensors["classifier.weight"].shape == (7, 4)


def test_a_body_of_another_size(tmp_path):
    """As from_pretrained(folder, vocab_size=..., ignore_mismatched_sizes=True): only where it is asked for."""
    folder = put(tmp_path, tiny_arrays("sequence_classification", CLASSIFIER))
    fewer = SimpleNamespace(**{**vars(CLASSIFIER), "vocab_size": 5})
    message = refused(folder, fewer, "sequence_classification")
    assert "misfit: embeddings.word_embeddings.weight is" in message
    assert "ignore_mismatched_sizes" not in message  # nobody is talked into a body without its words
    with pytest.warns(UserWarning, match=r"in this shape.*: distilbert.embeddings.word_embeddings.weight; train"):
        loaded = loading.load(folder, fewer, TABLE["sequence_classification"], ignore_mismatched_sizes=True)
    assert loaded.tensors["embeddings.word_embeddings.weight"].shape == (5, 4)
    assert loaded.initialised == ["distilbert.embeddings.word_embeddings.weight"]
    same({**loaded.tensors, WORDS: None}, {**tiny_arrays("sequence_classification", CLASSIFIER), WORDS: None})
    deeper = SimpleNamespace(**{**vars(CLASSIFIER), "n_layers": CLASSIFIER.n_layers + 1})
    with pytest.raises(CheckpointError, match="missing"):  # not of another size: not there
        loading.load(folder, deeper, TABLE["sequence_classification"], ignore_mismatched_sizes=True)


def test_sinusoidal_positions_need_no_file(tmp_path):
    config = SimpleNamespace(**vars(TINY), sinusoidal_pos_embds=True)
    arrays = tiny_arrays("base")
    stored = arrays.pop("embeddings.position_embeddings.weight")
    loaded = loading.load(put(tmp_path, arrays), config)
    table = loaded.tensors["embeddings.position_embeddings.weight"]
    assert loaded.initialised == [] and table[0].tolist() == [0, 1, 0, 1] and table[1, 0] == np.float32(np.sin(1))
    arrays["embeddings.position_embeddings.weight"] = stored
    np.testing.assert_array_equal(load(put(tmp_path, arrays), config)["embeddings.position_embeddings.weight"], stored)
    del arrays["embeddings.position_embeddings.weight"]
    assert "missing: embeddings.position_embeddings.weight (5, 4)" in refused(put(tmp_path, arrays))


# What is wrong with it


def refused(folder, config=TINY, head="masked_lm", dtype=np.float32):
    with pytest.raises(CheckpointError) as error:
        load(folder, config, TABLE[head], dtype)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_all_faults_are_named_at_once(tmp_path):
    arrays = as_filed(tiny_arrays())
    del arrays["distilbert.transformer.layer.1.ffn.lin2.bias"], arrays["vocab_transform.bias"]
    arrays[FILED_WORDS] = np.ones((11, 5), np.float32)
    arrays["distilbert.embeddings.LayerNorm.bias"] = np.ones(4, np.int64)
    arrays["classifier.weight"] = np.ones(3, np.float32)
    message = refused(put(tmp_path, arrays))
    assert "missing: transformer.layer.1.ffn.lin2.bias (4,);" in message  # the head's could be drawn, a body's not
    assert f"misfit: {FILED_WORDS} is (11, 5), the config says (11, 4), distilbert.embeddings.LayerNorm.bias" in message
    assert "LayerNorm.bias is I64, weights are F64, F32, F16, BF16" in message
    assert "unexpected: classifier.weight" in message


def test_too_few_layers_for_the_config(tmp_path):
    config = SimpleNamespace(**{**vars(TINY), "n_layers": 3})
    message = refused(put(tmp_path, as_filed(tiny_arrays())), config)
    assert message.count("transformer.layer.2.") == 16


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("stored", [np.float16, np.float32, np.float64])
def test_not_finite(tmp_path, bad, stored):
    arrays = {name: array.astype(stored) for name, array in as_filed(tiny_arrays()).items()}
    arrays["distilbert.transformer.layer.1.ffn.lin1.weight"][3, 2] = bad
    message = refused(put(tmp_path, arrays))
    assert "distilbert.transformer.layer.1.ffn.lin1.weight (6, 4) has numbers that are NaN or infinite" in message


def test_beyond_float32(tmp_path):
    arrays = {name: array.astype(np.float64) for name, array in as_filed(tiny_arrays()).items()}
    arrays[FILED_WORDS][0, 0] = 1e300
    assert load(put(tmp_path, arrays), TINY, TABLE["masked_lm"], np.float64)
    assert "infinite in" in refused(tmp_path)


def test_finite():
    assert finite(np.full(10_000, 3e38, np.float32)) and finite(np.zeros(0, np.float32))
    assert not finite(np.array([np.inf, -np.inf, 1.0]))
    assert not finite(np.array([np.nan], np.float32))


def test_one_array_under_two_names(tmp_path):
    arrays = as_filed(tiny_arrays())
    message = refused(put(tmp_path, arrays | {WORDS: arrays[FILED_WORDS]}))
    assert f"{WORDS} and {FILED_WORDS} are the same array twice" in message


@pytest.mark.parametrize("content", [b"", b"1234567", bytes(8), b"\xff" * 64, (2).to_bytes(8, "little") + b"{}"])
def test_no_safetensors_at_all(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert str(tmp_path) in refused(tmp_path)


def test_nothing_there(tmp_path):
    assert "has no weights: model.safetensors" in refused(tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    assert "has no weights" in refused(tmp_path)


def test_names_that_would_spoil_the_message(tmp_path):
    message = refused(put(tmp_path, {"two\nlines": np.ones(1, np.float32), "x" * 100_000: np.ones(1, np.float32)}))
    assert r"'two\nlines'" in message and len(message) < 5000


def test_a_name_twice_in_the_header(tmp_path):
    header, data = header_of({"a": np.ones(1, np.float32)})
    text = (json.dumps(header)[:-1] + "," + json.dumps(header)[1:]).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    refused(tmp_path)


@pytest.mark.skipif(os.getuid() == 0 if hasattr(os, "getuid") else True, reason="root may read everything")
def test_not_readable(tmp_path):
    (put(tmp_path, as_filed(tiny_arrays())) / "model.safetensors").chmod(0)
    refused(tmp_path)


# Shards


def shard(
    folder, arrays, weight_map=None, files=("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
):
    names = list(arrays)
    halves = [names[::2], names[1::2]]
    for file, half in zip(files, halves, strict=True):
        (folder / file).write_bytes(file_bytes({name: arrays[name] for name in half}))
    weight_map = weight_map or {name: file for file, half in zip(files, halves, strict=True) for name in half}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder, weight_map


def test_shards(tmp_path):
    arrays = tiny_arrays()
    folder, _ = shard(tmp_path, as_filed(arrays))
    assert same(load(folder, TINY, TABLE["masked_lm"]), arrays)


def test_a_shard_is_missing(tmp_path):
    folder, _ = shard(tmp_path, as_filed(tiny_arrays()))
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "the shard model-00002-of-00002.safetensors is not there" in refused(folder)


def test_the_index_lies(tmp_path):
    arrays = as_filed(tiny_arrays())
    _, weight_map = shard(tmp_path, arrays)
    first, second = list(arrays)[:2]
    swapped = weight_map | {first: weight_map[second]}
    assert f"not in the shard it names: {first} ({weight_map[second]})" in refused(shard(tmp_path, arrays, swapped)[0])
    forgotten = {name: file for name, file in weight_map.items() if name != first}
    assert same(load(shard(tmp_path, arrays, forgotten)[0], TINY, TABLE["masked_lm"]), tiny_arrays())  # the files count
    invented = weight_map | {"nothing": weight_map[first]}
    assert "not in the shard it names: nothing" in refused(shard(tmp_path, arrays, invented)[0])


def test_a_tensor_in_both_shards(tmp_path):
    arrays = as_filed(tiny_arrays())
    folder, _ = shard(tmp_path, arrays)
    halves = {name: arrays[name] for name in [*list(arrays)[1::2], next(iter(arrays))]}
    (folder / "model-00002-of-00002.safetensors").write_bytes(file_bytes(halves))
    assert "the same array twice" in refused(folder)


NAMES = ["../model.safetensors", "/etc/x.safetensors", "a/b.safetensors", "a\\b.safetensors", "C:m.safetensors"]
NAMES += ["\\\\host\\m.safetensors", "..safetensors", "a..b.safetensors", ".safetensors", "m.bin", "m.safetensors\n"]
NAMES += ["m\0.safetensors", "", "NUL:.safetensors", "~m.safetensors", 1, None, ["m.safetensors"], {"a": "b"}]


@pytest.mark.parametrize("name", NAMES)
def test_shard_names(tmp_path, name):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert "is not the plain name" in refused(tmp_path)


BROKEN = ["", "nonsense", "[]", "1", "null", '{"weight_map": []}', '{"weight_map": {}}', "[" * 100_000, "\ud800"]
BROKEN += [
    '{"weight_map": {"a": "m.safetensors", "a": "n.safetensors"}}',
    '{"a": 1, "a": 2}',
    '{"a": ' + "9" * 5000 + "}",
]


@pytest.mark.parametrize("index", BROKEN)
def test_broken_indexes(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index, encoding="utf-8", errors="surrogatepass")
    assert "model.safetensors.index.json" in refused(tmp_path)


def test_links_a_user_made(tmp_path):
    """The folder, or the weights in it, may be links: that is how people share one large file."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.mkdir()
    folder.mkdir()
    put(elsewhere, as_filed(tiny_arrays()))
    (folder / "model.safetensors").symlink_to(elsewhere / "model.safetensors")
    assert same(load(folder, TINY, TABLE["masked_lm"]), tiny_arrays())
    linked = tmp_path / "linked"
    linked.symlink_to(elsewhere)
    assert same(load(linked, TINY, TABLE["masked_lm"]), tiny_arrays())


def test_a_shard_named_by_an_index_stays_in_the_folder(tmp_path):
    folder, weight_map = shard(tmp_path, as_filed(tiny_arrays()))
    name = next(iter(weight_map.values()))
    (tmp_path.parent / "outside").write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path.parent / "outside")
    assert "outside of the model's folder" in refused(folder)


def test_links_of_the_cache(tmp_path):
    """snapshots/COMMIT/shard -> ../../blobs/HASH is how the cache is laid out; any other way out is not."""
    model = tmp_path / "models--org--name"
    snapshot, blobs = model / "snapshots" / ("a" * 40), model / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    _, weight_map = shard(snapshot, as_filed(tiny_arrays()))
    name = next(iter(weight_map.values()))
    (snapshot / name).rename(blobs / "abc")
    (snapshot / name).symlink_to("../../blobs/abc")
    assert load(snapshot, TINY, TABLE["masked_lm"])
    (snapshot / name).unlink()
    (model / "abc").write_bytes((blobs / "abc").read_bytes())
    (snapshot / name).symlink_to("../../blobs/../abc")
    assert "outside" in refused(snapshot)


# Real files


def test_tiny_random_distilbert(shared):
    folder = shared / "data/checkpoints/tiny-random-distilbert"
    if not folder.is_dir():
        pytest.skip("no tiny-random-distilbert")
    config = SimpleNamespace(**json.loads((folder / "config.json").read_text()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load(folder, config, TABLE["base"])
    assert loaded["transformer.layer.4.ffn.lin1.weight"].shape == (37, 32)
    with pytest.warns(UserWarning, match="newly initialised"):
        assert len(loading.load(folder, config, TABLE["masked_lm"]).initialised) == 5


def test_a_real_model_against_its_rounded_copy(shared, tmp_path):
    original = shared / "models/nanodistil-mini"
    if not original.is_dir():
        pytest.skip("no model with learned weights")
    quantization.write(original, tmp_path)
    config = SimpleNamespace(**json.loads((original / "config.json").read_text()))
    ours, theirs = load(tmp_path, config, TABLE["masked_lm"]), load(original, config, TABLE["masked_lm"])
    for name, array in theirs.items():
        error = np.abs(ours[name] - array).max()
        assert error <= np.abs(array).max() / 253, name  # half a step of 1/127, and the rounding of a scale
        if array.ndim == 1 or "position" in name or "vocab_transform" in name:
            assert error == 0, name
