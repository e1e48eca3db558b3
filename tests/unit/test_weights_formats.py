"""torch_file.py, h5_file.py and msgpack_file.py: one model in every format is one model, to the last bit."""

import json
import struct
import sys
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from weight_files import TINY, as_filed, bf16, file_bytes, tiny_arrays
from weight_formats import (
    MACHINE,
    MAGIC,
    VERSION,
    flax,
    flax_extension,
    keras,
    tensor,
    text,
    torch_bin,
    torch_pickle,
    torch_stream,
    torch_zip,
)

from nanodistil import DistilBertForMaskedLM
from nanodistil.heads import HEADS as TABLE
from nanodistil.weights import loading
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.h5_file import H5File
from nanodistil.weights.msgpack_file import MsgpackFile
from nanodistil.weights.names import canonical, expected
from nanodistil.weights.safetensors_reader import SafetensorsFile
from nanodistil.weights.torch_file import TorchFile

WORDS = "distilbert.embeddings.word_embeddings.weight"


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning is a failure, unless the test expects it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def write(folder, form, arrays):
    """One model in one form, under transformers' names."""
    folder.mkdir(exist_ok=True)
    names = list(arrays)
    halves = [{name: arrays[name] for name in names[i::2]} for i in range(2)]
    if form == "safetensors":
        (folder / "model.safetensors").write_bytes(file_bytes(arrays))
    elif form == "bin":  # which repeats the tied projection
        (folder / "pytorch_model.bin").write_bytes(torch_bin(arrays | {"vocab_projector.weight": arrays[WORDS]}))
    elif form == "old bin":
        (folder / "pytorch_model.bin").write_bytes(torch_stream(arrays))
    elif form == "h5":
        pytest.importorskip("h5py")
        keras(folder / "tf_model.h5", arrays)
    elif form == "msgpack":
        pytest.importorskip("msgpack")
        (folder / "flax_model.msgpack").write_bytes(flax(arrays))
    else:
        stem, suffix, writer = {
            "shards": ("model", "safetensors", file_bytes),
            "bins": ("pytorch_model", "bin", torch_bin),
        }[form]
        files = [f"{stem}-0000{i}-of-00002.{suffix}" for i in (1, 2)]
        for file, half in zip(files, halves, strict=True):
            (folder / file).write_bytes(writer(half))
        index = {"weight_map": {name: file for file, half in zip(files, halves, strict=True) for name in half}}
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    return folder


FORMS = ["safetensors", "shards", "bin", "old bin", "bins", "h5", "msgpack"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stored", [np.float16, np.float32, np.float64])
def test_one_model_in_every_form(tmp_path, form, stored):
    arrays = {name: array.astype(stored) for name, array in tiny_arrays().items()}
    folder = write(tmp_path, form, as_filed(arrays))
    for dtype in (np.float32, np.float64):
        loaded = loading.load(folder, TINY, TABLE["masked_lm"], dtype)
        assert not loaded.initialised and loaded.dropped == []
        assert list(loaded.tensors) == list(arrays)
        for name, array in loaded.tensors.items():
            assert array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
            np.testing.assert_array_equal(array, arrays[name].astype(dtype), err_msg=name)


@pytest.mark.parametrize("form", ["bin", "old bin", "bins", "msgpack"])  # HDF5 has no bfloat16
def test_bfloat16(tmp_path, form):
    arrays = as_filed(tiny_arrays())
    there = loading.load(
        write(tmp_path / "s", "safetensors", {n: bf16(a) for n, a in arrays.items()}), TINY, TABLE["masked_lm"]
    )
    here = loading.load(write(tmp_path / "h", form, {n: bf16(a) for n, a in arrays.items()}), TINY, TABLE["masked_lm"])
    for name, array in here.tensors.items():
        np.testing.assert_array_equal(array, there.tensors[name])


@pytest.mark.parametrize("form", ["bin", "bins"])
def test_float32_is_a_view_of_the_file(tmp_path, form):
    loaded = loading.load(write(tmp_path, form, as_filed(tiny_arrays())), TINY, TABLE["masked_lm"])
    for array in loaded.tensors.values():
        assert not array.flags.owndata and not array.flags.writeable


@pytest.mark.parametrize("head", sorted(set(TABLE) - {"pooler"}))
@pytest.mark.parametrize("form", ["h5", "msgpack"])
def test_every_head(tmp_path, form, head):
    config = SimpleNamespace(**vars(TINY), num_labels=3)
    arrays = tiny_arrays(head, config)
    filed = as_filed(arrays, "masked_lm")  # with the prefix, which a file of the base model has here too
    loaded = loading.load(write(tmp_path, form, filed), config, TABLE[head])
    assert not loaded.initialised and not loaded.dropped
    for name in expected(config, TABLE[head]):
        np.testing.assert_array_equal(loaded.tensors[name], arrays[name], err_msg=name)


def test_preference(tmp_path):
    forms = ["safetensors", "shards", "bin", "bins", "h5", "msgpack"]
    for seed, form in enumerate(forms):
        write(tmp_path, form, as_filed(tiny_arrays(seed=seed)))
    files = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    for seed, file in enumerate([*files, "tf_model.h5", "flax_model.msgpack"]):
        words = loading.load(tmp_path, TINY, TABLE["masked_lm"]).tensors["embeddings.word_embeddings.weight"]
        np.testing.assert_array_equal(words, tiny_arrays(seed=seed)["embeddings.word_embeddings.weight"], err_msg=file)
        (tmp_path / file).unlink()


def test_linked_shards_of_the_cache(tmp_path):
    """Blobs have no suffix: the format is the name's in the index."""
    model = tmp_path / "models--org--name"
    snapshot, blobs = model / "snapshots" / ("a" * 40), model / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    write(snapshot, "bins", as_filed(tiny_arrays()))
    for i, file in enumerate(snapshot.glob("*.bin")):
        file.rename(blobs / f"abc{i}")
        file.symlink_to(f"../../blobs/abc{i}")
    assert loading.load(snapshot, TINY, TABLE["masked_lm"])


def refused(folder):
    with pytest.raises(CheckpointError) as error:
        loading.load(folder, TINY, TABLE["masked_lm"])
    message = str(error.value)
    assert "\n" not in message and len(message) < 5000
    return message


# torch


def opened(tmp_path, raw):
    (tmp_path / "x.bin").write_bytes(raw)
    return TorchFile(tmp_path / "x.bin")


def misread(tmp_path, raw):
    with pytest.raises(CheckpointError) as error:
        opened(tmp_path, raw)
    assert "\n" not in str(error.value)
    return str(error.value)


FOUR = np.arange(12, dtype=np.float32)


def one(*view, more=b"", storages=None, **how):
    """A file with one tensor "w" over a storage "0" of 12 numbers."""
    pickle = b"\x80\x02}(" + text("w") + tensor("Float", "0", 12, *view) + more + b"u."
    return torch_zip(pickle, {"0": FOUR.tobytes()} if storages is None else storages, **how)


def test_views(tmp_path):
    cases = [((0, (3, 4), (4, 1)), FOUR.reshape(3, 4)), ((0, (4, 3), (1, 4)), FOUR.reshape(3, 4).T)]
    cases += [((2, (5,), (2,)), FOUR[2::2]), ((11, (), ()), FOUR[11]), ((12, (0,), (1,)), FOUR[:0])]
    cases += [((0, (2, 1, 6), (6, 99, 1)), FOUR.reshape(2, 1, 6)), ((3, (2, 2), (1, 1)), [[3, 4], [4, 5]])]
    for view, wanted in cases:
        array = opened(tmp_path, one(*view)).array("w")
        np.testing.assert_array_equal(array, wanted)
        assert array.flags.c_contiguous


def test_shared_storage(tmp_path):
    file = opened(tmp_path, one(0, (12,), (1,), more=text("v") + tensor("Float", "0", 12, 6, (2, 3), (3, 1))))
    assert np.shares_memory(file.array("w"), file.array("v"))
    np.testing.assert_array_equal(file.array("v").ravel(), FOUR[6:])


LIES = {
    (1, (3, 4), (4, 1)): "reaches beyond its storage",
    (0, (3, 4), (5, 1)): "reaches beyond its storage",
    (0, (2**62, 2), (0, 1)): "more numbers than the 12",
    (0, (2**62, 2**62), (2**62, 1)): "reaches beyond its storage",
    (-1, (3,), (1,)): "no natural numbers",
    (0, (-3,), (1,)): "no natural numbers",
    (11, (3,), (-1,)): "no natural numbers",
    (0, (3, 4), (4,)): "2 dimensions and 1 strides",
    (0, (1,) * 9, (1,) * 9): "9 dimensions",
    (0, (13,), (0,)): "more numbers than the 12",
}


@pytest.mark.parametrize(("view", "says"), LIES.items())
def test_views_that_lie(tmp_path, view, says):
    assert says in misread(tmp_path, one(*view))


def test_storages_that_lie(tmp_path):
    view = (0, (3,), (1,))
    assert "storage '0' is not there" in misread(tmp_path, one(*view, storages={}))
    assert "storage '0' is not there" in misread(tmp_path, one(*view, storages={"1": FOUR.tobytes()}))
    assert "has 44 bytes, not what it says" in misread(tmp_path, one(*view, storages={"0": FOUR.tobytes()[4:]}))


def test_what_is_no_tensor(tmp_path):
    """The message shows what is there instead."""
    more = text("epoch") + b"K\x03" + text("lr") + b"G" + bytes(8) + text("state_dict") + b"}" + text("x") + b"N"
    file = opened(tmp_path, one(0, (12,), (1,), more=more))
    assert {n: e.dtype for n, e in file.entries.items()} == {
        "w": "F32", "epoch": "int", "lr": "float", "state_dict": "dict", "x": "NoneType"
    }  # fmt: skip
    (tmp_path / "x.bin").rename(tmp_path / "pytorch_model.bin")
    message = refused(tmp_path)
    assert "unexpected: w, epoch, lr, state_dict, x" in message
    with pytest.raises(CheckpointError, match="holds a list, not a state dict"):
        opened(tmp_path, torch_zip(b"\x80\x02].", {}))


def test_ordered_dicts_parameters_and_metadata(tmp_path):
    """As torch.save(model.state_dict()) has them, and old files of parameters."""
    ordered = b"ccollections\nOrderedDict\n)R"
    parameter = (
        b"ctorch._utils\n_rebuild_parameter\n" + tensor("Float", "0", 12, 0, (12,), (1,)) + b"\x88" + ordered + b"\x87R"
    )
    metadata = b"}" + text("_metadata") + ordered + b"sb"
    pickle = b"\x80\x02" + ordered + b"q\x01(" + text("w") + parameter + b"u" + metadata + b"."
    np.testing.assert_array_equal(opened(tmp_path, torch_zip(pickle, {"0": FOUR.tobytes()})).array("w"), FOUR)


def test_integers_are_no_weights(tmp_path):
    file = opened(tmp_path, torch_bin({"w": np.arange(3)}))
    with pytest.raises(CheckpointError, match="w is I64; weights are"):
        file.array("w")
    ids = {"distilbert.embeddings.position_ids": np.arange(5)[None]}
    folder = write(tmp_path, "bin", as_filed(tiny_arrays()) | ids)
    assert not loading.load(folder, TINY, TABLE["masked_lm"]).dropped


def test_data_that_lies_unaligned(tmp_path):
    for shift in range(1, 8):
        raw = torch_bin({"w": FOUR}, align=64, folder="x" * shift)
        assert opened(tmp_path, raw).array("w").flags.aligned
        stream = torch_stream({"w" * shift: FOUR})
        assert opened(tmp_path, stream).array("w" * shift).flags.aligned


def zipped(**fields):
    """A valid file with fields of the central directory's first member, or of its end, changed."""
    return patched(torch_bin({"w": FOUR}), **fields)


CENTRAL = {"flags": (8, "<H"), "method": (10, "<H"), "packed": (20, "<I"), "full": (24, "<I"), "name": (28, "<H")}
CENTRAL |= {"extra": (30, "<H"), "comment": (32, "<H"), "disk": (34, "<H"), "header": (42, "<I")}
END = {"end_disk": (4, "<H"), "here": (8, "<H"), "count": (10, "<H"), "size": (12, "<I"), "start": (16, "<I")}
LOCAL = {
    "local_flags": (6, "<H"),
    "local_method": (8, "<H"),
    "local_packed": (18, "<I"),
    "local_full": (22, "<I"),
    "local_name": (26, "<H"),
}


def patched(raw, **fields):
    raw = bytearray(raw)
    start = struct.unpack_from("<I", raw, len(raw) - 6)[0]
    for field, value in fields.items():
        for table, base in ((CENTRAL, start), (END, len(raw) - 22), (LOCAL, 0)):
            if field in table:
                struct.pack_into(table[field][1], raw, base + table[field][0], value)
    return bytes(raw)


FIELDS = {
    "flags": 1, "method": 8, "packed": 5, "full": 2**31, "name": 3, "extra": 9000, "comment": 7, "disk": 4,
    "header": 1, "end_disk": 1, "here": 2, "count": 2, "size": 5, "start": 5, "local_flags": 1, "local_method": 8,
    "local_full": 5, "local_name": 3,
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), FIELDS.items())
def test_zip_fields_that_lie(tmp_path, field, value):
    assert opened(tmp_path, zipped()).entries
    misread(tmp_path, zipped(**{field: value}))


def test_zip_fields_that_lie_together(tmp_path):
    far = dict.fromkeys(("packed", "full", "local_packed", "local_full"), 10_000)
    assert "data.pkl does not lie within the file" in misread(tmp_path, zipped(**far))
    assert "longer than its members" in misread(tmp_path, zipped(here=2, count=2))
    raw = zipped()
    assert "directory is broken" in misread(tmp_path, raw[:-22] + b"more" + raw[-22:])


def test_a_local_header_of_another_name(tmp_path):
    raw = zipped()
    assert raw[30:46] == b"archive/data.pkl"
    assert "tell different stories" in misread(tmp_path, raw[:30] + b"b" + raw[31:])


def test_zips_torch_does_not_write(tmp_path):
    assert "is compressed" in misread(tmp_path, torch_bin({"w": FOUR}, compression=zipfile.ZIP_DEFLATED))
    whole = torch_bin({"w": FOUR})
    for cut in (1, 22, 100, len(whole) - 10):
        assert "cut short?" in misread(tmp_path, whole[:-cut])
    assert "cut short?" in misread(tmp_path, whole + b"\0")
    assert "not little-endian" in misread(tmp_path, torch_bin({"w": FOUR}, byteorder=b"big"))
    assert "0 members data.pkl" in misread(tmp_path, torch_bin({"w": FOUR}, folder="a/b"))
    assert "encrypted" in misread(tmp_path, zipped(flags=1))
    assert "goes on after its end" in misread(
        tmp_path, torch_zip(torch_pickle({"w": FOUR}) + b"N.", {"0": FOUR.tobytes()})
    )
    for name in ("..", "a/../b", "/a", "a//b", "a\\b", "a\nb", "x" * 400):
        assert "has a member named" in misread(tmp_path, torch_bin({"w": FOUR}, folder=name))


def test_a_member_twice(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = torch_bin({"w": FOUR})
        (tmp_path / "x.bin").write_bytes(raw)
        with zipfile.ZipFile(tmp_path / "x.bin", "a") as archive:
            archive.writestr("archive/data/0", b"x" * 48)
    with pytest.raises(CheckpointError, match="stands in it twice"):
        TorchFile(tmp_path / "x.bin")


def test_members_that_share_bytes(tmp_path):
    """Storage 1 lies within storage 0, with a good local header of its own."""
    inner = b"PK\3\4" + bytes(14) + struct.pack("<2I2H", 4, 4, 14, 0) + b"archive/data/1" + b"abcd"
    raw = bytearray(torch_zip(torch_pickle({"w": FOUR}), {"0": inner, "1": b"abcd"}))
    at = raw.rindex(b"archive/data/1") - 46
    struct.pack_into("<I", raw, at + 42, raw.index(inner))
    assert "share bytes" in misread(tmp_path, bytes(raw))


def test_zip64(tmp_path):
    """Sizes in 64 bits, as Python writes them on request and torch beyond 4 GB."""
    raw = torch_bin({"w": FOUR})
    start, end = struct.unpack_from("<I", raw, len(raw) - 6)[0], len(raw) - 22
    directory = raw[start:end]
    full = struct.unpack_from("<I", directory, 24)[0]
    name = struct.unpack_from("<H", directory, 28)[0]
    first = bytearray(directory[: 46 + name])
    struct.pack_into("<2I", first, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", first, 30, 20)
    directory = bytes(first) + struct.pack("<2H2Q", 1, 16, full, full) + directory[46 + name :]
    count = struct.unpack_from("<H", raw, end + 10)[0]
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    whole = raw[:start] + directory + end64 + locator + tail
    np.testing.assert_array_equal(opened(tmp_path, whole).array("w"), FOUR)
    for lie in (
        whole.replace(struct.pack("<Q", full), struct.pack("<Q", 2**63)),
        whole[: start + 3] + whole[start + 4 :],
    ):
        misread(tmp_path, lie)
    other = raw[:start] + directory + end64 + locator + tail[:10] + b"\1\0" + tail[12:]
    assert "two things of itself" in misread(tmp_path, other)


def test_the_old_format(tmp_path):
    whole = torch_stream({"w": FOUR, "v": FOUR[:5].astype(np.float64)})
    file = opened(tmp_path, whole)
    np.testing.assert_array_equal(file.array("v"), FOUR[:5])
    for cut in (1, 40, 60, 100, 300):
        misread(tmp_path, whole[:-cut])
    assert "goes on after its last storage" in misread(tmp_path, whole + b"\0")
    assert "not little-endian" in misread(tmp_path, whole.replace(MACHINE, MACHINE.replace(b"\x88", b"\x89")))
    assert "not one torch.save wrote" in misread(
        tmp_path, MAGIC + b"\x80\x02M\xea\x03." + whole[len(MAGIC + VERSION) :]
    )
    assert "not one torch.save wrote" in misread(tmp_path, b"\x80\x02}.")
    fewer = torch_stream({"w": FOUR}).replace(struct.pack("<q", 12), struct.pack("<q", 11))[:-4]
    assert "storage '0' has 44 bytes, not what it says" in misread(tmp_path, fewer)


def test_no_torch_file_at_all(tmp_path):
    assert "cannot be read" in misread(tmp_path, b"")
    assert "nothing torch.save wrote" in misread(tmp_path, b"hello" * 100)
    assert "tar archive" in misread(tmp_path, bytes(257) + b"ustar\x0000" + bytes(300))
    assert "git lfs pull" in misread(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


# Keras


def test_keras_names(tmp_path):
    pytest.importorskip("h5py")
    arrays = as_filed(tiny_arrays())
    write(tmp_path, "h5", arrays)
    assert {canonical(name) for name in H5File(tmp_path / "tf_model.h5").entries} == set(tiny_arrays())


def test_h5_of_a_newer_form(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "tf_model.h5", "w", libver="latest") as file:
        file[PLACE] = np.zeros((11, 4), np.float32)
    assert "newer form of HDF5" in refused(tmp_path)


@pytest.mark.parametrize("kind", [">f4", "i4", "S5", "c8"])
def test_h5_of_what_is_no_weight(kind, tmp_path):
    pytest.importorskip("h5py")
    assert "weights are F64" in refused(filled(tmp_path, lambda file: file.update({PLACE: np.ones((11, 4), kind)})))


@pytest.mark.parametrize("how", [{"chunks": True}, {"compression": "gzip"}, {"fletcher32": True}])
def test_keras_does_not_chunk(tmp_path, how):
    pytest.importorskip("h5py")
    keras(tmp_path / "tf_model.h5", as_filed(tiny_arrays()), **how)
    assert "not stored in one piece" in refused(tmp_path)


PLACE = "distilbert/m/distilbert/embeddings/word_embeddings/weight:0"


def filled(folder, fill):
    """A file with whatever `fill` puts into it."""
    import h5py

    with h5py.File(folder / "tf_model.h5", "w") as file:
        fill(file)
    return folder


def test_h5_that_points_elsewhere(tmp_path):
    """HDF5 can keep an array in another file, or be a link to one: neither is followed."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(4 * 44))
    outside = [(str(tmp_path / "secret"), 0, 176)]
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file[PLACE] = np.zeros((11, 4), np.float32)
    layout = h5py.VirtualLayout((11, 4), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), PLACE, (11, 4))
    piece, absent = "is not stored in one piece", "missing: embeddings.word_embeddings.weight"
    links = "links, or a newer form of groups"
    fills = [
        ("missing: embeddings.position", lambda file: file.create_dataset(PLACE, data=np.ones((11, 4), np.float32))),
        (piece, lambda file: file.create_dataset(PLACE, (11, 4), "f4", external=outside)),
        (piece, lambda file: file.create_virtual_dataset(PLACE, layout)),
        (piece, lambda file: file.create_dataset(PLACE, (11, 4), "f4")),  # never written
        (absent, lambda file: file.create_group(PLACE)),
        (links, lambda file: file.update({PLACE: h5py.ExternalLink("other.h5", PLACE)})),
        (absent, lambda file: file.update({PLACE: h5py.SoftLink("/distilbert")})),
        (links, lambda file: file.update({"distilbert/m": h5py.ExternalLink("other.h5", "distilbert/m")})),
    ]
    for says, fill in fills:
        assert says in refused(filled(tmp_path, fill))


def test_h5_without_an_end(tmp_path):
    """A group that holds itself, and one with too much in it."""
    pytest.importorskip("h5py")

    def circle(file):
        file.create_group("a")
        file["a/b"] = file["a"]

    def crowd(file):
        for i in range(10_001):
            file.create_group(str(i))

    for fill in (circle, crowd):
        assert "has more in it, or deeper, than any model" in refused(filled(tmp_path, fill))


def test_h5_that_is_none(tmp_path):
    pytest.importorskip("h5py")
    write(tmp_path, "h5", as_filed(tiny_arrays()))
    raw = (tmp_path / "tf_model.h5").read_bytes()
    for broken in (b"", b"hello", raw[:1000], b"\x89HDF\r\n\x1a\n"):
        (tmp_path / "tf_model.h5").write_bytes(broken)
        refused(tmp_path)
    (tmp_path / "tf_model.h5").write_bytes(bytes(512) + raw)
    refused(tmp_path)


# Flax


def test_cut_arrays(tmp_path):
    pytest.importorskip("msgpack")
    arrays = as_filed(tiny_arrays())
    (tmp_path / "flax_model.msgpack").write_bytes(flax(arrays, pieces_of=7))
    for dtype in (np.float32, np.float64):
        loaded = loading.load(tmp_path, TINY, TABLE["masked_lm"], dtype).tensors
        for name, array in tiny_arrays().items():
            np.testing.assert_array_equal(loaded[name], array, err_msg=name)


def unpacked(tmp_path, tree):
    import msgpack

    (tmp_path / "x").write_bytes(tree if isinstance(tree, bytes) else msgpack.packb(tree))
    return MsgpackFile(tmp_path / "x")


def test_odd_things_in_a_tree(tmp_path):
    msgpack = pytest.importorskip("msgpack")
    good = flax_extension(FOUR)
    scalar = msgpack.ExtType(3, flax_extension(np.float32(2)).data)
    file = unpacked(tmp_path, {"a": {"kernel": good, "step": 300, "flag": True, "one": scalar}, "kernel": good})
    assert file.array("a.weight").shape == file.array("weight").shape == (12,)
    assert file.array("a.one") == 2 and file.entries["a.step"].dtype == "int" and file.entries["a.flag"].dtype == "bool"
    wide = msgpack.packb({"w": good}).replace(b"\x81\xa1w", b"\xdf\0\0\0\1\xd9\1w")
    np.testing.assert_array_equal(unpacked(tmp_path, wide).array("w"), FOUR)
    extension = lambda *parts: msgpack.ExtType(1, msgpack.packb(parts))  # noqa: E731
    cut = {"__msgpack_chunked_array__": True, "shape": {"0": 12}, "chunks": {"0": good}}
    assert unpacked(tmp_path, {"w": cut}).array("w").shape == (12,)
    deep = {"w": good}
    for _ in range(20):
        deep = {"a": deep}
    wrong = [
        [], 1, {"a": None}, {"a": 1.5}, {"a": "text"}, {"a": [1]}, {1: good}, {"a": b"bytes"}, deep,
        {"x" * 300: good}, {"a": msgpack.ExtType(2, good.data)}, {"a": msgpack.ExtType(1, b"")},
        {"a": extension([12], "float32", bytes(47))}, {"a": extension([2**63, 2], "float32", bytes(48))},
        {"a": extension([1] * 9, "float32", bytes(4))}, {"a": extension([-1], "float32", bytes(4))},
        {"a": extension([1], "float32")}, {"a": extension(["x"], "float32", bytes(4))},
        {"a": cut | {"shape": {"0": 13}}}, {"a": cut | {"shape": {"1": 12}}}, {"a": cut | {"chunks": {}}},
        {"a": cut | {"chunks": {"0": cut}}}, {"a": cut | {"chunks": {"0": True}}},
        {"a": {"__msgpack_chunked_array__": 1}},
        {"a": cut | {"chunks": {"0": good, "1": flax_extension(FOUR[:0].astype(np.float64))}}},
        msgpack.packb({"w": good})[:-1], msgpack.packb({"w": good}) + b"\0", b"\x82\xa1a\xc3\xa1a\xc3",
        b"\xdf\xff\xff\xff\xff", b"\x81\xa1\xff\xc3", {"a.b": good, "a": {"b": good}},
    ]  # fmt: skip
    for tree in wrong:
        with pytest.raises(CheckpointError) as error:
            unpacked(tmp_path, tree)
        assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError, match=r"a is complex64; weights"):
        unpacked(tmp_path, {"a": flax_extension(np.zeros(2, np.complex64))}).array("a")


def test_no_extra_is_needed_for_flax(tmp_path, monkeypatch):
    folder = write(tmp_path, "msgpack", as_filed(tiny_arrays()))
    monkeypatch.setitem(sys.modules, "msgpack", None)
    assert loading.load(folder, TINY, TABLE["masked_lm"])


# The way a user comes in


@pytest.mark.parametrize("form", FORMS)
def test_from_pretrained(tmp_path, form):
    """The golden model in every form: the same logits."""
    tiny = Path(__file__).resolve().parent.parent / "golden" / "tiny"
    file = SafetensorsFile(tiny / "model.safetensors")
    write(tmp_path, form, {name: file.array(name) for name in file.entries})
    (tmp_path / "config.json").write_bytes((tiny / "config.json").read_bytes())
    ours, theirs = (DistilBertForMaskedLM.from_pretrained(folder, backend="numpy") for folder in (tmp_path, tiny))
    np.testing.assert_array_equal(ours([[1, 2, 3]]).logits, theirs([[1, 2, 3]]).logits)


# A model saved by torch, beside the same one in safetensors


def test_tiny_random_distilbert(shared):
    folder = shared / "data/checkpoints/tiny-random-distilbert"
    if not folder.is_dir():
        pytest.skip("no tiny-random-distilbert")
    ours, theirs = TorchFile(folder / "pytorch_model.bin"), SafetensorsFile(folder / "model.safetensors")
    assert list(ours.entries) and set(ours.entries) == set(theirs.entries)
    for name in theirs.entries:
        np.testing.assert_array_equal(ours.array(name), theirs.array(name), err_msg=name)
