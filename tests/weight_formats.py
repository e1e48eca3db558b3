"""The other formats of weights, written by hand: what torch.save, Keras and Flax would have written, and what not.

The pickle is put together instruction by instruction, so that a test can put in others; TensorFlow and JAX are not
needed, as the layouts are facts: h5_file.py and msgpack_file.py describe them.
"""

import io
import struct
import zipfile

import numpy as np

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
VERSION = b"\x80\x02M\xe9\x03."
MACHINE = b"\x80\x02}(X\x0d\x00\x00\x00little_endian\x88u."
STORAGES = {"float64": "Double", "float32": "Float", "float16": "Half", "uint16": "BFloat16", "int64": "Long"}


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(storage, key, numel, offset, shape, strides, old=False):
    """_rebuild_tensor_v2(("storage", torch.FloatStorage, key, "cpu", numel), offset, shape, strides, False, {})"""
    pid = text("storage") + f"ctorch\n{storage}Storage\n".encode() + text(key) + text("cpu") + integer(numel)
    pid = b"(" + pid + (b"N" if old else b"") + b"tQ"
    view = integer(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + view + b"tR"


def strides(shape):
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def torch_pickle(arrays, old=False, more=b""):
    """The state dict of arrays (uint16: BF16), a numbered storage each; more: instructions of other items."""
    items = [
        text(name) + tensor(STORAGES[a.dtype.name], str(i), a.size, 0, a.shape, strides(a.shape), old)
        for i, (name, a) in enumerate(arrays.items())
    ]
    return b"\x80\x02}(" + b"".join(items) + more + b"u."


def torch_zip(pickle, storages, folder="archive", align=64, compression=zipfile.ZIP_STORED, byteorder=b"little"):
    """A zip as torch.save writes it: the numbers aligned by padding the header of their member."""
    file = io.BytesIO()
    members = {"data.pkl": pickle, "byteorder": byteorder, **{f"data/{k}": raw for k, raw in storages.items()}}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, raw in members.items():
            info = zipfile.ZipInfo(f"{folder}/{name}")
            info.compress_type = compression
            pad = -(file.tell() + 30 + len(info.filename) + 4) % align
            info.extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
            archive.writestr(info, raw)
            info.extra = b""  # only in the local header
    return file.getvalue()


def raw_storages(arrays):
    return {str(i): np.ascontiguousarray(array).tobytes() for i, array in enumerate(arrays.values())}


def torch_bin(arrays, **how):
    return torch_zip(torch_pickle(arrays), raw_storages(arrays), **how)


def torch_stream(arrays, pickle=None):
    """As torch.save wrote before 1.6."""
    keys = b"\x80\x02](" + b"".join(text(str(i)) for i in range(len(arrays))) + b"e."
    data = b"".join(struct.pack("<q", a.size) + np.ascontiguousarray(a).tobytes() for a in arrays.values())
    return MAGIC + VERSION + MACHINE + (pickle or torch_pickle(arrays, old=True)) + keys + data


def keras(path, arrays, model="tf_distil_bert_for_masked_lm", **how):
    """As Keras saves the weights of a task's model; arrays under transformers' names. how: of each dataset."""
    import h5py

    layers = {}
    for name, array in arrays.items():
        *parts, last = name.replace(".layer.", ".layer#").split(".")
        norm = parts[-1].lower().endswith("norm")
        last = {"bias": "beta" if norm else "bias", "weight": "gamma" if norm else "kernel"}[last]
        if parts[-1] == "word_embeddings":
            last = "weight"
        elif parts[-1] in ("position_embeddings", "token_type_embeddings"):
            last = "embeddings"
        array = np.ascontiguousarray(array.T) if last == "kernel" else array
        place = "/".join([model, *parts, last]).replace("#", "_._") + ":0"  # a list in TensorFlow: layer_._0
        layers.setdefault(parts[0], {})[place] = array
    layers["dropout_19"] = {}  # a layer without weights, as most heads have one
    for head, body in (("vocab_projector", "distilbert"), ("mlm___cls", "bert")):
        if head in layers:  # which uses the embeddings, so Keras lists them once more
            layers[head] |= {n: a for n, a in layers[body].items() if "/embeddings/" in n}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, array in weights.items():
                group.create_dataset(name, data=array, **how)


def flax_extension(array, name=None):
    import msgpack

    name = name or {"uint16": "bfloat16"}.get(array.dtype.name, array.dtype.name)
    return msgpack.ExtType(1, msgpack.packb((array.shape, name, array.tobytes()), use_bin_type=True))


def flax(arrays, pieces_of=None):
    """As Flax serialises a task's model; arrays beyond `pieces_of` numbers are cut, as Flax does beyond a gigabyte."""
    import msgpack

    tree = {}
    for name, array in arrays.items():
        *parts, last = name.split(".")
        norm = parts[-1].lower().endswith("norm")
        if last == "weight":
            last = "scale" if norm else "embedding" if "embeddings" in parts[-1] else "kernel"
        array = np.ascontiguousarray(array.T) if last == "kernel" else array
        node = tree
        for part in parts:
            node = node.setdefault(part, {})
        node[last] = flax_extension(array)
        if pieces_of and array.size > pieces_of:
            flat = array.reshape(-1)
            chunks = [flat[i : i + pieces_of] for i in range(0, flat.size, pieces_of)]
            node[last] = {
                "__msgpack_chunked_array__": True,
                "shape": {str(i): n for i, n in enumerate(array.shape)},
                "chunks": {str(i): flax_extension(chunk) for i, chunk in enumerate(chunks)},
            }
    return msgpack.packb(tree, strict_types=True)
