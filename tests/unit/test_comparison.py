"""bench --compare, with stand-ins for the peers and for the clock: who is asked, when, and what is made of it."""

import json

import numpy as np
import pytest
from conftest import TINY, random_tensors

from nanodistil import comparison, peers
from nanodistil.cli import bench, main
from nanodistil.comparison import Chosen
from nanodistil.family.distilbert import DistilBertModel
from nanodistil.peers import Files, Variant
from nanodistil.weights.errors import MissingExtraError


class World:
    """A clock that only engines and pauses move, and what was called."""

    def __init__(self, monkeypatch):
        self.now, self.calls, self.loads = 0.0, [], []
        monkeypatch.setattr(comparison, "perf_counter", lambda: self.now)
        monkeypatch.setattr(comparison, "sleep", self.rest)

    def rest(self, seconds):
        self.now += seconds
        self.calls.append("pause")

    def variant(self, engine, name, seconds, dtype="float32", shapes="fixed padded"):
        def load(shape):
            self.loads.append((engine, name, shape))

            def call(ids, mask):
                assert ids.shape == mask.shape and mask.all()
                self.now += seconds
                self.calls.append(engine)

            return call

        return Variant(engine, dtype, name, load, shapes)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_the_fastest_variant_counts_and_only_those_that_fit_are_tried(world):
    offered = [
        world.variant("A", "slow", 0.3),
        world.variant("A", "fast", 0.1),
        world.variant("A", "padded only", 0.01, shapes="padded"),
        world.variant("B", "even", 0.1, shapes="fixed even"),
        world.variant("A", "int8", 0.05, "int8"),
    ]
    one, two = comparison.batch("1x4", 9), comparison.batch("2x4", 9)
    best = comparison.fastest(offered, *one)
    assert {engine: chosen.name for engine, chosen in best.items()} == {("A", "float32"): "fast", ("A", "int8"): "int8"}
    assert best["A", "float32"].seconds == pytest.approx(0.1)
    assert ("B", "even", (1, 4)) not in world.loads
    assert ("B", "float32") in comparison.fastest(offered, *two)
    assert [name for _, name, shape in world.loads if shape == (2, 4)] == ["slow", "fast", "even", "int8"]
    padded = comparison.fastest(offered, *one, fixed=False)
    assert padded["A", "float32"].name == "padded only" and world.loads[-1][2] is None


def test_an_engine_has_a_pause_a_call_that_does_not_count_and_a_block(world):
    chosen = {
        ("nanodistil", "float32"): Chosen("", world.variant("nanodistil", "", 0.02).load(None), 0.02),
        ("A", "float32"): Chosen("x", world.variant("A", "", 0.25).load(None), 0.25),
    }
    cell = comparison.measure("1x4", chosen, *comparison.batch("1x4", 9), budget=0.0)
    assert cell.rounds == 3 or cell.rounds == comparison.ROUNDS
    block = ["pause", *["nanodistil"] * 3]  # one that does not count, two in 0.05 s
    assert world.calls[:6] == [*block, "pause", "A"] and world.calls[6:12] == ["pause", "A", *block]
    assert cell.seconds == {("nanodistil", "float32"): pytest.approx(0.02), ("A", "float32"): pytest.approx(0.25)}
    assert cell.ratios["A", "float32"] == pytest.approx(12.5)


def test_short_calls_have_their_rounds_and_long_ones_end(world):
    def rounds(seconds, budget):
        chosen = {("nanodistil", "int8"): Chosen("", world.variant("nanodistil", "", seconds).load(None), seconds)}
        return comparison.measure("1x4", chosen, *comparison.batch("1x4", 9), budget).rounds

    assert rounds(0.01, 0.0) == 3  # nothing may be spent: three all the same
    assert rounds(0.01, 0.2) == comparison.ROUNDS
    assert rounds(10.0, 1.0) == 3
    assert rounds(0.01, 1.0) == 13  # of 0.08 s, until a second is over


def test_ids_are_of_the_model_and_the_same_each_time():
    ids, mask = comparison.batch("3x5", 7)
    assert ids.shape == (3, 5) and ids.max() < 7 and mask.all()
    np.testing.assert_array_equal(ids, comparison.batch("3x5", 7)[0])


@pytest.fixture
def installed(monkeypatch):
    """Says which packages are there."""
    there = set()
    monkeypatch.setattr(peers, "find_spec", lambda name: name if name in there else None)
    return there


def names(variants):
    return {(v.engine, v.dtype) for v in variants}


def test_what_is_installed_is_offered(installed, monkeypatch, tmp_path):
    files = Files(tmp_path, "model", lambda: None)
    monkeypatch.setattr(peers, "_openvino_has_bfloat16", lambda: True)
    installed |= {"onnx", "onnxruntime"}
    assert peers.missing() == ["openvino", "nncf"]
    assert names(peers.variants(files, 1)) == {("ONNX Runtime", "float32"), ("ONNX Runtime", "int8")}
    installed |= {"openvino"}
    both = {("OpenVINO", "float32"), ("OpenVINO", "bfloat16")}
    assert names(peers.variants(files, 1)) == both | {("ONNX Runtime", "float32"), ("ONNX Runtime", "int8")}
    installed -= {"onnxruntime"}
    installed |= {"nncf"}
    monkeypatch.setattr(peers, "_openvino_has_bfloat16", lambda: False)
    assert names(peers.variants(files, 1)) == {("OpenVINO", "float32"), ("OpenVINO", "int8")}
    assert {v.shapes for v in peers.variants(files, 1)} == {"fixed", "fixed padded", "fixed even"}


@pytest.mark.parametrize("there", [set(), {"onnx"}, {"onnxruntime", "openvino", "nncf"}])
def test_without_any_peer_one_line_says_what_is_missing(installed, there, capsys):
    installed |= there
    with pytest.raises(
        MissingExtraError, match=r'nothing to compare with: .* not installed; pip install "nanodistil\['
    ):
        peers.missing()
    assert main(["bench", "--compare", "--model", "nanodistil-mini"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "onnx" in said.err


@pytest.fixture
def standing_in(world, installed, monkeypatch):
    """The command with a tiny model that needs no time, and a peer of 3 ms in float32 and int8."""
    pytest.importorskip("numba")
    installed |= {"onnx", "onnxruntime", "nncf"}
    found = {"numba": "1.2", "nanodistil": "3.4"}
    monkeypatch.setattr(comparison, "version", lambda package: found.get(package, "5.6"))
    offered = [world.variant("ONNX Runtime", "fixed", 0.003, dtype) for dtype in ("float32", "int8")]
    monkeypatch.setattr(comparison, "variants", lambda files, threads: offered)
    model = DistilBertModel(TINY, random_tensors(TINY, "base"), backend="numpy")
    loaded = []

    def load(name, **how):
        loaded.append(how)

        def call(ids, mask):
            world.now += 0.002
            return model(ids, mask)

        call.config = model.config
        return call

    monkeypatch.setattr(DistilBertModel, "from_pretrained", load)
    return loaded


def test_the_command(standing_in, capsys):
    before = bench.COMPARED
    assert before == ["1x8", "1x16", "1x128", "1x384", "8x128"]
    command = ["bench", "--compare", "--model", "m", "--shapes", "1x4", "2x3", "--seconds", "0", "--threads", "1"]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "m, threads: 1; nanodistil 3.4, numba 1.2, onnx 5.6, onnxruntime 5.6, nncf 5.6",
        'not installed: openvino; pip install "nanodistil[compare]"',
        "medians of blocks of calls that take turns; x: how many times as long as ours in the same dtype",
        "",
        "1x4, ms   nanodistil  ONNX Runtime",
        "float32         2.00          3.00  1.50 x",
        "bfloat16        2.00",
        "int8            2.00          3.00  1.50 x",
        "",
        "2x3, ms   nanodistil  ONNX Runtime",
        "float32         2.00          3.00  1.50 x",
        "bfloat16        2.00",
        "int8            2.00          3.00  1.50 x",
    ]
    assert [how["dtype"] for how in standing_in if how["backend"] == "numba"] == ["float32", "bfloat16", "int8"]


def test_the_command_in_json(standing_in, capsys):
    assert main(["bench", "--compare", "--model", "m", "--shape", "1x4", "--dtype", "int8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["missing"] == ["openvino"] and found["versions"]["onnxruntime"] == "5.6"
    (shape,) = found["shapes"]
    ours, peer = shape["engines"]
    assert (ours["engine"], ours["dtype"], ours["times_ours"]) == ("nanodistil", "int8", 1.0)
    assert (peer["engine"], peer["variant"], peer["times_ours"]) == ("ONNX Runtime", "fixed", pytest.approx(1.5))


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--backend", "numpy"], "--backend is numba, not numpy"),
        (["--shapes", "8"], "a shape is sentences x tokens"),
        (["--dtype", "float64"], "computes in float32 or bfloat16 or int8, not float64"),
    ],
)
def test_what_it_does_not_take(standing_in, capsys, flags, said):
    assert main(["bench", "--compare", "--model", "m", *flags]) == 2
    assert said in capsys.readouterr().err and not standing_in
