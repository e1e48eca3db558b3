"""What TensorFlow and Flax call the arrays of a model, and how they lie: under PyTorch's names, and turned.

    TensorFlow    distilbert/transformer/layer_._0/ffn/lin1/kernel:0
    Flax          distilbert.transformer.layer.0.ffn.lin1.kernel
    PyTorch       distilbert.transformer.layer.0.ffn.lin1.weight

A `kernel` is (in, out), where PyTorch's `weight` is (out, in); tables of embeddings lie as they do there. The rules are
transformers' own: `_._` and `/` become dots, `mlm___cls` (a BERT's) is `cls`, TensorFlow's `embeddings` and Flax's
`embedding` and `scale` are `weight`, and `gamma` and `beta` names.py knows from elsewhere.

These names come in three files: tf_model.h5, flax_model.msgpack, and a model.safetensors that one of the two frameworks
wrote. Its metadata says so ({"format": "tf"}), but the names alone decide: no PyTorch model has a `kernel`, and a file
whose metadata were lost on the way is read all the same. MLX ({"format": "mlx"}) keeps PyTorch's names and order.
"""

from .mapped import Entry


def of_tensorflow(name: str) -> str:
    """PyTorch's name for a name of TensorFlow's, the model's own level left off.

    >>> of_tensorflow("distilbert/transformer/layer_._0/ffn/lin1/kernel:0")
    'distilbert.transformer.layer.0.ffn.lin1.weight'
    >>> of_tensorflow("distilbert/embeddings/position_embeddings/embeddings:0")
    'distilbert.embeddings.position_embeddings.weight'
    """
    *modules, last = name.removesuffix(":0").split("/")
    last = "weight" if last in ("kernel", "embeddings") else last
    return ".".join(part.rpartition("___")[2] for part in (*modules, last)).replace("_._", ".")


def of_flax(name: str) -> str:
    """PyTorch's name for a name of Flax's.

    >>> of_flax("distilbert.embeddings.LayerNorm.scale"), of_flax("vocab_transform.kernel")
    ('distilbert.embeddings.LayerNorm.weight', 'vocab_transform.weight')
    """
    module, dot, last = name.rpartition(".")
    return f"{module}{dot}{'weight' if last in ('kernel', 'embedding', 'scale') else last}"


def turned(entry: Entry) -> Entry:
    """A kernel, (in, out) in the file, as the (out, in) it means; one of no two dimensions stays as it is."""
    if len(entry.shape) != 2:
        return entry
    return Entry(entry.dtype, entry.shape[::-1], entry.begin, (1, entry.shape[1]))


def translated(entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries of a safetensors file under PyTorch's names, turned if need be: the same ones, if it is PyTorch's.

    Raises ValueError if two come to have one name.
    """
    if any("/" in name for name in entries):
        rule, kernel = of_tensorflow, "/kernel"
    elif any(name.endswith(".kernel") for name in entries):
        rule, kernel = of_flax, ".kernel"
    else:
        return entries
    kernels = {name for name in entries if name.removesuffix(":0").endswith(kernel)}
    found = {rule(name): turned(entry) if name in kernels else entry for name, entry in entries.items()}
    if len(found) != len(entries):
        raise ValueError("two of its arrays have one name in PyTorch")
    return found
