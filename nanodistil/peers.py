"""ONNX Runtime and OpenVINO on our model: each loads our ONNX file for a shape, and gives a call (ids, mask) -> result.

An engine is offered in several variants, and the fastest of them is the one that counts, shape by shape: what is best
for one sentence of 8 tokens is not what is best for 32 of 128. Each gets its own tool's int8: ONNX Runtime weights that
are rounded channel by channel and inputs rounded on the fly, OpenVINO what NNCF makes, inputs and weights with ranges
from calibration (random ids do: only time is measured). bfloat16 is offered if the engine says that it has it on
this processor: without, OpenVINO takes its reference loops, which are forty times as slow.

The extra `compare` brings all of them. What is not installed is left out, and `missing` names it.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanodistil.onnx_graph import write_onnx
from nanodistil.pretrained import Pretrained
from nanodistil.weights.errors import MissingExtraError

PACKAGES = ("onnx", "onnxruntime", "openvino", "nncf")
EXTRA = 'pip install "nanodistil[compare]"'
INPUTS = ("input_ids", "attention_mask")
CALIBRATION = (4, 64)  # sentences, tokens

Ints = NDArray[np.int64]
Shape = tuple[int, int] | None  # sentences x tokens; None: any
Call = Callable[[Ints, Ints], Any]


class Variant(NamedTuple):
    """One way of running one engine."""

    engine: str
    dtype: str
    name: str
    load: Callable[[Shape], Call]
    shapes: str = "fixed padded"  # which batches it takes: of one shape, padded ones; "fixed even": of an even number


def missing() -> list[str]:
    """The packages that are not installed.

    Raises MissingExtraError if nothing can be compared without them.
    """
    lacking = [package for package in PACKAGES if find_spec(package) is None]
    if "onnx" in lacking or {"onnxruntime", "openvino"} <= set(lacking):
        raise MissingExtraError(f"nothing to compare with: {', '.join(lacking)} not installed; {EXTRA}")
    return lacking


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice and the progress bars of others' tools, which would stand among our own lines."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


class Files:
    """A model's ONNX file, and what others' tools make of it, written into a folder when first asked for."""

    def __init__(self, folder: Path, name: str, model: Callable[[], Pretrained]) -> None:
        self.folder, self.name, self.model = folder, name, model

    def onnx(self) -> Path:
        """float32, any batch and length."""
        place = self.folder / f"{self.name}.onnx"
        if not place.exists():
            write_onnx(place, self.model())
        return place

    def onnx_int8(self) -> Path:
        """By ONNX Runtime."""
        place = self.folder / f"{self.name}.int8.onnx"
        if not place.exists():
            import onnx
            from onnxruntime.quantization import QuantType, quantize_dynamic

            extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}
            with _quiet():
                quantize_dynamic(self.onnx(), place, per_channel=True, weight_type=QuantType.QInt8, extra_options=extra)
        return place

    def openvino_int8(self) -> Path:
        """By NNCF."""
        place = self.folder / f"{self.name}.int8.xml"
        if not place.exists():
            import nncf
            import openvino

            random, (B, T), config = np.random.default_rng(0), CALIBRATION, self.model().config
            words, T = config.vocab_size, min(T, config.max_position_embeddings)
            pairs = [(random.integers(0, words, (1, T)), np.ones((1, T), np.int64)) for _ in range(B)]
            inputs = nncf.Dataset([dict(zip(INPUTS, pair, strict=True)) for pair in pairs])
            model = openvino.Core().read_model(self.onnx())
            with _quiet():
                made = nncf.quantize(model, inputs, model_type=nncf.ModelType.TRANSFORMER, subset_size=B)
            openvino.save_model(made, place, compress_to_fp16=False)
        return place


def onnx_runtime(path: Callable[[], Path], threads: int, fixed: bool, spin: bool) -> Callable[[Shape], Call]:
    """One of its sessions. fixed: it is told the shape; spin: its threads wait for the next op awake."""

    def load(shape: Shape) -> Call:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.add_session_config_entry("session.force_spinning_stop", "1")  # no spinning while others are timed
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        if fixed and shape:
            for name, size in zip(("batch", "sequence"), shape, strict=True):
                options.add_free_dimension_override_by_name(name, size)
        session = onnxruntime.InferenceSession(str(path()), options, providers=["CPUExecutionProvider"])
        return lambda ids, mask: session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]

    return load


def openvino(
    path: Callable[[], Path], threads: int, precision: str, fixed: bool, streams: int = 1
) -> Callable[[Shape], Call]:
    """One of its models. streams > 1: the batch is cut into as many requests, which run at the same time."""

    def load(shape: Shape) -> Call:
        import openvino as ov

        core = ov.Core()
        model = core.read_model(path())
        if fixed and shape:
            model.reshape({name: [shape[0] // streams, shape[1]] for name in INPUTS})
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
        }
        compiled = core.compile_model(model, "CPU", settings)
        if streams == 1:
            request = compiled.create_infer_request()
            # share_inputs and share_outputs: no copies at the door, as fast as its C++ interface
            return lambda ids, mask: request.infer((ids, mask), share_inputs=True, share_outputs=True)[0]
        requests = [compiled.create_infer_request() for _ in range(streams)]

        def call(ids: Ints, mask: Ints) -> Any:
            for request, i, m in zip(requests, np.split(ids, streams), np.split(mask, streams), strict=True):
                request.start_async((i, m), share_inputs=True)
            for request in requests:
                request.wait()
            return np.concatenate([request.get_output_tensor(0).data for request in requests])

        return call

    return load


def _openvino_has_bfloat16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def variants(files: Files, threads: int) -> list[Variant]:
    """Every way of every engine that is installed. Raises MissingExtraError if none is."""
    lacking, found = missing(), []
    if "onnxruntime" not in lacking:
        for spin in (True, False):
            for fixed in (True, False):
                name = f"{'fixed' if fixed else 'dynamic'}{', spinning' if spin else ''}"
                shapes = "fixed" if fixed else "fixed padded"
                for dtype, path in (("float32", files.onnx), ("int8", files.onnx_int8)):
                    load = onnx_runtime(path, threads, fixed, spin)
                    found.append(Variant("ONNX Runtime", dtype, name, load, shapes))
    if "openvino" not in lacking:
        kinds = [("float32", "f32", files.onnx)]
        kinds += [("bfloat16", "bf16", files.onnx)] * _openvino_has_bfloat16()
        kinds += [("int8", "f32", files.openvino_int8)] * ("nncf" not in lacking)
        for dtype, precision, path in kinds:
            ways = {"fixed": (True, 1), "dynamic": (False, 1), "fixed, 2 streams": (True, 2)}
            for (name, (fixed, streams)), shapes in zip(
                ways.items(), ("fixed", "fixed padded", "fixed even"), strict=True
            ):
                load = openvino(path, threads, precision, fixed, streams)
                found.append(Variant("OpenVINO", dtype, name, load, shapes))
    return found
