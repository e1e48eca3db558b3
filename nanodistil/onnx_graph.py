"""model.py once more, as a graph of ONNX: for ONNX Runtime and all that reads its format.

The nodes bear the names that a tap sees ("layer.3.attention.context"), and the arrays those of the checkpoint, a linear
map's weight turned to (in, out). A model that reads from left to right is written without its past. Here there is
padding, as the format has no ragged batches: masked tokens are computed and not attended to, as in transformers. Inputs
and outputs are called as transformers' exporter calls them, so that a program written for one of its files takes this
one: `input_ids`, `attention_mask` and, if the family has them, `token_type_ids`, int64, (batch, sequence), and
`last_hidden_state`, `logits`, or `start_logits` and `end_logits`.

Opset 20 is the first with an exact GELU. `onnx` (the extra of this name) checks the graph and writes it; nothing else
is needed, and no torch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.config import Config
from nanodistil.pretrained import Pretrained
from nanodistil.weights.errors import InputError, MissingExtraError
from nanodistil.weights.layout import TOKEN_TYPES
from nanodistil.weights.saving import written

OPSET = 20
IR_VERSION = 9  # that of opset 20; newer ones are refused by runtimes of its day
MOST_BYTES = (1 << 31) - (1 << 20)  # protobuf's limit, less the graph
GELU: dict[str, Any] = {"gelu": {}, "gelu_python": {}}
GELU |= {name: {"approximate": "tanh"} for name in ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh")}
ONE_NODE = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "mish": "Mish", "linear": "Identity"}
MASKED = np.float32(np.finfo(np.float32).min)


def write_onnx(path: Path, model: Pretrained) -> None:
    """Write the model's graph and float32 weights as one .onnx file.

    Raises MissingExtraError without onnx, InputError for an activation that is not written, for more than 2 GB, and
    where the file cannot be written.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError('to write ONNX: pip install "nanodistil[onnx]"') from None
    if sum(array.nbytes for array in model.tensors().values()) > MOST_BYTES:
        raise InputError(f"{path}: one ONNX file holds 2 GB, the model has more")
    graph = _Graph(model, onnx).whole()
    onnx.checker.check_model(graph, full_check=True)
    raw = graph.SerializeToString()
    written(path, lambda fresh: fresh.write_bytes(raw))


class _Graph:
    """Nodes and arrays, as they come; each method adds what the function of its name in model.py does."""

    def __init__(self, model: Pretrained, onnx: Any) -> None:
        self.model, self.config, self.onnx = model, model.config, onnx
        self.tensors = {name: np.asarray(array, np.float32) for name, array in model.tensors().items()}
        self.nodes: list[Any] = []
        self.arrays: dict[str, NDArray[Any]] = {}

    def whole(self) -> Any:
        helper, types = self.onnx.helper, self.onnx.TensorProto
        choices = self.model.head.name == "multiple_choice"
        shape = ["batch", "choices", "sequence"] if choices else ["batch", "sequence"]
        names = ["input_ids", "attention_mask", *(["token_type_ids"] if self.config.token_types else [])]
        inputs = [helper.make_tensor_value_info(name, types.INT64, shape) for name in names]
        if choices:
            last = self.node("Slice", "shape.sequence", self.node("Shape", "shape", "input_ids"), self.ints("two", [2]),
                             self.ints("three", [3]))  # fmt: skip
            flat = self.node("Concat", "shape.flat", self.ints("all", [-1]), last, axis=0)
            names = [self.node("Reshape", f"flat.{name}", name, flat) for name in names]
        x = self.encoder(*names)
        self.ids, self.mask = names[:2]
        outputs = []
        for name, made, dims in self.answers(x, shape):
            self.nodes.append(helper.make_node("Identity", [made], [name], name=name))
            outputs.append(helper.make_tensor_value_info(name, types.FLOAT, dims))
        arrays = [self.onnx.numpy_helper.from_array(array, name) for name, array in self.arrays.items()]
        graph = helper.make_graph(self.nodes, type(self.model).__name__, inputs, outputs, arrays)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="nanodistil")

    # What it is made of

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output, both of the same name."""
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def array(self, name: str, array: Any) -> str:
        self.arrays[name] = np.asarray(array, order="C")
        return name

    def ints(self, name: str, values: Any) -> str:
        return self.array(name, np.array(values, np.int64))

    def weight(self, name: str) -> str:
        return self.array(name, self.tensors[name])

    def linear(self, name: str, x: str, module: str) -> str:
        """(..., I) -> (..., O)"""
        product = self.node("MatMul", f"{name}.product", x, self.turned(f"{module}.weight"))
        return self.node("Add", name, product, self.weight(f"{module}.bias"))

    def turned(self, name: str) -> str:
        return self.array(name, self.tensors[name].T)

    def layer_norm(self, name: str, x: str, module: str) -> str:
        weights = (self.weight(f"{module}.{w}") for w in ("weight", "bias"))
        return self.node("LayerNormalization", name, x, *weights, axis=-1, epsilon=self.config.layer_norm_eps)

    def activation(self, name: str, x: str, kind: str) -> str:
        if kind in GELU:
            return self.node("Gelu", name, x, **GELU[kind])
        if kind in ONE_NODE:
            return self.node(ONE_NODE[kind], name, x)
        if kind in ("silu", "swish"):
            return self.node("Mul", name, x, self.node("Sigmoid", f"{name}.sigmoid", x))
        raise InputError(f"the activation {kind} is not written as ONNX; {', '.join([*GELU, *ONE_NODE, 'silu'])} are")

    # model.py

    def encoder(self, ids: str, mask: str, token_types: str | None = None) -> str:
        """(B, T) ids, mask and types -> (B, T, D)"""
        words = self.node("Gather", "words", self.weight("embeddings.word_embeddings.weight"), ids)
        if type(self.config).positions is not Config.positions:
            raise InputError(
                f"ONNX is not written of a {self.config.model_type}, which numbers positions in its own way"
            )
        if token_types:
            types = self.node("Gather", "types", self.weight(TOKEN_TYPES), token_types)  # (B, T, D)
            words = self.node("Add", "words and types", words, types)
        length = self.node("Gather", "length", self.node("Shape", "ids.shape", ids), self.ints("one", [1]))
        table = self.weight("embeddings.position_embeddings.weight")
        positions = self.node("Slice", "positions", table, self.ints("zero", [0]), length)  # (T, D)
        x = self.node("Add", "embeddings.sum", words, positions)
        if not self.config.pre_norm:
            x = self.layer_norm("embeddings.LayerNorm.out", x, "embeddings.LayerNorm")
        keep = self.node("Cast", "keep", mask, to=self.onnx.TensorProto.BOOL)
        keep = self.node("Unsqueeze", "keep.keys", keep, self.ints("heads and queries", [1, 2]))  # (B, 1, 1, T)
        if self.config.causal:
            keep = self.node("And", "keep.pairs", keep, self.earlier(length))  # (B, 1, T, T)
        for i in range(self.config.n_layers):
            x = self.block(x, keep, f"transformer.layer.{i}", f"layer.{i}")
        return self.layer_norm("last_layer_norm", x, "transformer.last_layer_norm") if self.config.pre_norm else x

    def earlier(self, length: str) -> str:
        """(1,) T -> (T, T), whether the second stands no later than the first"""
        T = self.node("Squeeze", "length.number", length)
        at = self.node("Range", "places", self.ints("from", 0), T, self.ints("step", 1))
        rows = self.node("Unsqueeze", "places.rows", at, self.ints("second axis", [1]))
        return self.node("LessOrEqual", "earlier", at, rows)

    def last_tokens(self) -> str:
        """(B, 1), where each text ends: at the last that is not padding, or that is not hidden"""
        if self.config.pad_token_id is None:
            real = self.mask
        else:
            padding = self.node("Equal", "padding", self.ids, self.ints("padding token", self.config.pad_token_id))
            real = self.node(
                "Cast", "words.number", self.node("Not", "no padding", padding), to=self.onnx.TensorProto.INT64
            )
        return self.node("ArgMax", "last", self.node("Mul", "last.places", real, "places"), axis=1)

    def block(self, x: str, keep: str, layer: str, at: str) -> str:
        def norm(kind: str, x: str) -> str:
            return self.layer_norm(f"{at}.{kind}_layer_norm", x, f"{layer}.{kind}_layer_norm")

        first = self.config.pre_norm
        attended = self.self_attention(norm("sa", x) if first else x, keep, f"{layer}.attention", f"{at}.attention")
        x = self.node("Add", f"{at}.attended", attended, x)
        x, given = (x, norm("output", x)) if first else (norm("sa", x),) * 2
        h = self.linear(f"{at}.ffn.lin1", given, f"{layer}.ffn.lin1")
        h = self.activation(f"{at}.ffn.activation", h, self.config.activation)
        h = self.linear(f"{at}.ffn.lin2", h, f"{layer}.ffn.lin2")
        x = self.node("Add", f"{at}.fed", h, x)
        return x if first else norm("output", x)

    def self_attention(self, x: str, keep: str, module: str, at: str) -> str:
        Dh = self.config.dim // self.config.n_heads
        A = len(self.tensors[f"{module}.q_lin.bias"])
        split = self.ints(f"{at}.heads", [0, 0, A // Dh, Dh])

        def heads(name: str, order: list[int]) -> str:
            rows = self.linear(f"{at}.{name}", x, f"{module}.{name}")
            apart = self.node("Reshape", f"{at}.{name}.heads", rows, split)
            return self.node("Transpose", f"{at}.{name}.turned", apart, perm=order)

        q, k, v = heads("q_lin", [0, 2, 1, 3]), heads("k_lin", [0, 2, 3, 1]), heads("v_lin", [0, 2, 1, 3])
        sharp = self.config.sharpness(int(at.split(".")[1]))
        scale = self.array(f"{at}.scale", np.float32(sharp / math.sqrt(Dh)))
        scores = self.node("Mul", f"{at}.scores", self.node("MatMul", f"{at}.products", q, k), scale)  # (B, H, T, T)
        scores = self.node("Where", f"{at}.masked", keep, scores, self.array(f"{at}.never", MASKED))
        probs = self.node("Softmax", f"{at}.probs", scores, axis=-1)
        context = self.node("MatMul", f"{at}.gathered", probs, v)  # (B, H, T, Dh)
        context = self.node("Transpose", f"{at}.mixed", context, perm=[0, 2, 1, 3])
        context = self.node("Reshape", f"{at}.context", context, self.ints(f"{at}.rows", [0, 0, A]))
        return self.linear(f"{at}.out_lin", context, f"{module}.out_lin")

    def words(self, module: str) -> str:
        """(D, V), the embeddings once more unless they have been told apart"""
        if self.config.tie_word_embeddings:
            return self.node("Transpose", f"{module}.weight", "embeddings.word_embeddings.weight", perm=[1, 0])
        return self.turned(f"{module}.weight")

    def answers(self, x: str, shape: list[str]) -> list[tuple[str, str, list[Any]]]:
        """Name, node and shape of each output."""
        C, V, head = self.config.num_labels, self.config.vocab_size, self.model.head.name
        if head == "masked_lm":
            h = self.activation("vocab_transform.active", self.linear("vocab_transform", x, "vocab_transform"),
                                self.config.activation)  # fmt: skip
            h = self.layer_norm("vocab_layer_norm", h, "vocab_layer_norm")
            h = self.node("MatMul", "vocab_projector.product", h, self.words("vocab_projector"))
            return [
                ("logits", self.node("Add", "vocab_projector", h, self.weight("vocab_projector.bias")), [*shape, V])
            ]
        if head == "causal_lm":
            return [("logits", self.node("MatMul", "lm_head", x, self.words("lm_head")), [*shape, V])]
        if head == "last_token":
            x = self.node("GatherND", "last token", x, self.last_tokens(), batch_dims=1)  # (B, D)
            return [("logits", self.node("MatMul", "score", x, self.turned("score.weight")), [shape[0], C])]
        if head == "token_classification":
            return [("logits", self.linear("classifier", x, "classifier"), [*shape, C])]
        if head == "question_answering":
            both = self.linear("qa_outputs", x, "qa_outputs")
            ends = [self.node("Gather", f"qa_outputs.{i}", both, self.ints(f"end {i}", i), axis=-1) for i in range(2)]
            return [("start_logits", ends[0], shape), ("end_logits", ends[1], shape)]
        hidden = ("last_hidden_state", x, [*shape, self.config.dim])
        if self.model.head.bare and "pre_classifier.weight" not in self.tensors:
            return [hidden]
        first = self.node("Gather", "first", x, self.ints("first token", 0), axis=1)  # (B, D)
        h = self.linear("pre_classifier", first, "pre_classifier")
        h = self.activation("pre_classifier.active", h, self.model.head.activation)
        if self.model.head.bare:
            return [hidden, ("pooler_output", h, [shape[0], self.config.dim])]
        logits = self.linear("classifier", h, "classifier")
        if head == "sequence_classification":
            return [("logits", logits, [shape[0], C])]
        back = self.node("Slice", "shape.choices", "shape", self.ints("none", [0]), self.ints("2", [2]))
        return [("logits", self.node("Reshape", "scores", logits, back), shape[:2])]
