"""The peers of `nanodistil bench --compare` compute what we do: every engine, every way of running it."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
pytest.importorskip("nncf")

from conftest import TINY, random_tensors

from nanodistil import peers
from nanodistil.family.distilbert import DistilBertModel

pytestmark = pytest.mark.parity


def test_every_variant(tmp_path, capfd):
    model = DistilBertModel(TINY, random_tensors(TINY, "base"), backend="numpy")
    ids = np.random.default_rng(1).integers(0, TINY.vocab_size, (2, 7))
    mask = np.ones_like(ids)
    exact = model(ids, mask).last_hidden_state
    tried = set()
    for v in peers.variants(peers.Files(tmp_path, "model", lambda: model), threads=1):
        got = v.load(ids.shape if "fixed" in v.shapes else None)(ids, mask)
        off = np.abs(got - exact).max()
        assert off < {"float32": 2e-5, "bfloat16": 0.1, "int8": 1.0}[v.dtype], v
        assert v.dtype == "float32" or off > 2e-5, v  # it is rounded indeed
        tried.add((v.engine, v.dtype))
    assert tried >= {(engine, dtype) for engine in ("ONNX Runtime", "OpenVINO") for dtype in ("float32", "int8")}
    assert capfd.readouterr().out == ""  # where JSON may be going
