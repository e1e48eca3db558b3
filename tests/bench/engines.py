"""The peers of peers.py: each loads a saved model for one shape, or for any, and returns a call (ids, mask) -> result.

An engine is offered in several variants, and the fastest of them is the one that counts, cell by cell: what is best for
one sentence of 8 tokens is not what is best for 32 of 128. All use THREADS threads. Nothing here is about our side but
`ours`.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

import nanodistil

THREADS = 2
HEADS = {
    "encoder": transformers.DistilBertModel,
    "masked_lm": transformers.DistilBertForMaskedLM,
    "classifier": transformers.DistilBertForSequenceClassification,
}
Shape = tuple[int, int] | None  # sentences x tokens; None: any
Call = Callable[[np.ndarray, np.ndarray], Any]


class Variant(NamedTuple):
    """One way of running one engine. `load` takes the kind of model (a key of HEADS) and the shape."""

    engine: str
    name: str
    load: Callable[[str, Shape], Call]
    shapes: str = "any fixed"  # which it can be loaded for


class Files:
    """A random model of the official size, saved by transformers, and its ONNX files, made when first asked for."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder, self.config = folder, config

    def saved(self, kind: str) -> Path:
        """The folder of `kind`; all kinds share the encoder's weights."""
        place = self.folder / kind
        if not place.exists():
            torch.manual_seed(0)
            HEADS[kind](transformers.DistilBertConfig(**self.config)).save_pretrained(place)
        return place

    def torch(self, kind: str) -> Any:
        return HEADS[kind].from_pretrained(self.saved(kind), attn_implementation="sdpa").eval()

    def onnx(self, kind: str) -> Path:
        """Any batch and length."""
        place = self.folder / f"{kind}.onnx"
        if not place.exists():
            model = FirstOutput(self.torch(kind))
            ids = torch.ones((2, 16), dtype=torch.int64)
            names = ["input_ids", "attention_mask"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracing exporter is the older one, and the better fused one
                torch.onnx.export(
                    model,
                    (ids, ids),
                    str(place),
                    input_names=names,
                    output_names=["output"],
                    dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names},
                    opset_version=17,
                    dynamo=False,
                )
        return place

    def onnx_fused(self, kind: str) -> Path:
        """With ONNX Runtime's own fusions for transformers: attention, addition and LayerNorm, bias and GELU."""
        place = self.folder / f"{kind}.fused.onnx"
        if not place.exists():
            from onnxruntime.transformers import optimizer

            fused = optimizer.optimize_model(
                str(self.onnx(kind)), model_type="bert", num_heads=12, hidden_size=768, opt_level=1, use_gpu=False
            )
            fused.save_model_to_file(str(place))
        return place

    def onnx_int8(self, kind: str) -> Path:
        """Weights int8, a scale a channel; activations rounded on the fly."""
        place = self.folder / f"{kind}.int8.onnx"
        if not place.exists():
            import onnx
            from onnxruntime.quantization import QuantType, quantize_dynamic

            extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # the fused operators' types are not inferred
            source = self.onnx_fused(kind)
            quantize_dynamic(source, place, per_channel=True, weight_type=QuantType.QInt8, extra_options=extra)
        return place

    def openvino_int8(self, kind: str) -> Path:
        """As OpenVINO's own tool makes it: weights and activations int8, ranges from calibration (random ids do)."""
        place = self.folder / f"{kind}.int8.xml"
        if not place.exists():
            import nncf
            import openvino

            random = np.random.default_rng(0)
            ids = [random.integers(0, 30522, (1, 64)) for _ in range(4)]
            batches = nncf.Dataset([{"input_ids": i, "attention_mask": np.ones_like(i)} for i in ids])
            model = openvino.Core().read_model(self.onnx(kind))
            model = nncf.quantize(model, batches, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(ids))
            openvino.save_model(model, place, compress_to_fp16=False)
        return place


class FirstOutput(torch.nn.Module):
    """What ONNX can express of a transformers model: two arrays in, one out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=False)[0]


def pytorch(files: Files, with_mask: bool) -> Callable[[str, Shape], Call]:
    """transformers in eager mode. Without padding it may be spared the mask."""

    def load(kind: str, shape: Shape) -> Call:
        torch.set_num_threads(THREADS)
        model = files.torch(kind)

        def call(ids: np.ndarray, mask: np.ndarray) -> Any:
            with torch.inference_mode():
                extra = {"attention_mask": torch.from_numpy(mask)} if with_mask else {}
                return model(input_ids=torch.from_numpy(ids), return_dict=False, **extra)[0].numpy()

        return call

    return load


def onnx_runtime(path: Callable[[str], Path], fixed: bool, spin: bool) -> Callable[[str, Shape], Call]:
    def load(kind: str, shape: Shape) -> Call:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.add_session_config_entry("session.force_spinning_stop", "1")  # no spinning while others are timed
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        if fixed and shape:
            for name, size in zip(("batch", "tokens"), shape, strict=True):
                options.add_free_dimension_override_by_name(name, size)
        session = onnxruntime.InferenceSession(str(path(kind)), options, providers=["CPUExecutionProvider"])
        return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return load


def openvino(files: Files, fixed: bool, precision: str, streams: int = 1) -> Callable[[str, Shape], Call]:
    """streams > 1: the batch is cut into as many requests that run at the same time, a thread each."""

    def load(kind: str, shape: Shape) -> Call:
        import openvino as ov

        core = ov.Core()
        source = files.openvino_int8(kind) if precision == "int8" else files.onnx(kind)
        model = core.read_model(source)
        if fixed and shape:
            model.reshape({name: [shape[0] // streams, shape[1]] for name in ("input_ids", "attention_mask")})
        settings = {
            "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
            "INFERENCE_NUM_THREADS": THREADS,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
        }
        compiled = core.compile_model(model, "CPU", settings)
        if streams == 1:
            request = compiled.create_infer_request()
            # share_inputs and share_outputs: no copies at the door, as fast as its C++ interface
            return lambda ids, mask: request.infer((ids, mask), share_inputs=True, share_outputs=True)[0]
        requests = [compiled.create_infer_request() for _ in range(streams)]

        def call(ids: np.ndarray, mask: np.ndarray) -> Any:
            for request, i, m in zip(requests, np.split(ids, streams), np.split(mask, streams), strict=True):
                request.start_async((i, m), share_inputs=True)
            for request in requests:
                request.wait()
            return np.concatenate([request.get_output_tensor(0).data for request in requests])

        return call

    return load


def ours(files: Files, dtype: str) -> Callable[[str, Shape], Call]:
    """Without padding, and computing what the question needs: the whole encoder, the masked word, the first row."""

    def load(kind: str, shape: Shape) -> Call:
        options: dict[str, Any] = {"backend": "numba", "dtype": dtype, "threads": THREADS}
        if kind == "masked_lm":
            filler = nanodistil.DistilBertForMaskedLM.from_pretrained(files.saved(kind), **options)
            return lambda ids, mask: filler(ids, mask, positions=[(0, ids.shape[1] // 2)]).logits
        if kind == "classifier":
            return classifier(files, options)
        encoder = nanodistil.DistilBertModel.from_pretrained(files.saved(kind), **options)
        return lambda ids, mask: encoder(ids, mask).last_hidden_state

    return load


def classifier(files: Files, options: dict[str, Any]) -> Call:
    """Our encoder at the first row of each sentence, and the two small maps after it."""
    if hasattr(nanodistil, "DistilBertForSequenceClassification"):
        judge = nanodistil.DistilBertForSequenceClassification.from_pretrained(files.saved("classifier"), **options)
        return lambda ids, mask: judge(ids, mask).logits
    encoder = nanodistil.DistilBertModel.from_pretrained(files.saved("classifier"), **options)
    tensors = load_file(files.saved("classifier") / "model.safetensors")
    parts = [tensors[f"{name}.{part}"] for name in ("pre_classifier", "classifier") for part in ("weight", "bias")]

    def call(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        first = [(b, 0) for b in range(len(ids))]
        _, x, _ = encoder._encode(ids, mask, None, None, False, None, first)
        return np.maximum(x @ parts[0].T + parts[1], 0) @ parts[2].T + parts[3]

    return call


def variants(files: Files) -> list[Variant]:
    """Every way of every engine, ours first. Names of engines are the columns of the table."""
    found = [
        Variant("nanodistil", "", ours(files, "float32"), "fixed dynamic padded"),
        Variant("transformers", "mask", pytorch(files, True), "fixed padded"),
        Variant("transformers", "no mask", pytorch(files, False), "fixed"),
    ]
    for spin in (True, False):
        for fixed in (True, False):
            name = f"{'fixed' if fixed else 'dynamic'}{', spinning' if spin else ''}"
            shapes = "fixed" if fixed else "fixed padded"
            for label, path in (("", files.onnx), ("fused, ", files.onnx_fused)):
                found.append(Variant("ONNX Runtime", label + name, onnx_runtime(path, fixed, spin), shapes))
            found.append(Variant("ONNX Runtime int8", name, onnx_runtime(files.onnx_int8, fixed, spin), shapes))
    for engine, precision in (("OpenVINO", "f32"), ("OpenVINO bf16", "bf16"), ("OpenVINO int8", "int8")):
        found += [
            Variant(engine, "fixed", openvino(files, True, precision), "fixed"),
            Variant(engine, "dynamic", openvino(files, False, precision), "fixed padded"),
            Variant(engine, "fixed, 2 streams", openvino(files, True, precision, 2), "fixed even"),
        ]
    found += [
        Variant(f"nanodistil {short}", "", ours(files, dtype), "fixed padded")
        for short, dtype in (("bf16", "bfloat16"), ("int8", "int8"))
    ]
    return found


def release() -> None:
    """Give back what the engines of the last cell held."""
    gc.collect()
