"""A head that the package does not know, in this file: it runs, learns, is saved, loaded, and answers in a pipeline."""

from typing import ClassVar

import numpy as np
import pytest
from conftest import TINY
from tiny_folders import TEXTS, tiny_folder

from nanodistil import DistilBertTokenizer, InputError
from nanodistil.family.distilbert import DistilBertModel
from nanodistil.head import Head
from nanodistil.heads.learning import at_first, only, packed
from nanodistil.kernels.runtime.target import INTERPRETED
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.tokens import row_of
from nanodistil.pretrained import Pretrained
from nanodistil.training.trainee import Trainee

IDS = np.array([[3, 7, 9, 4], [5, 6, 2, 8]])
BATCH = {"input_ids": IDS, "labels": np.array([[1.0, -2.0], [0.5, 3.0]])}


def forward(x, w, ops, tap):
    """Two numbers of the first token, through a norm: (B, D) -> (B, 2)."""
    h = tap("point_layer_norm", ops.layer_norm(x, *w.head.point_layer_norm))
    return tap("point", ops.linear(h, w.head.point))


def backward(dlogits, run, w, d, ops, bops):
    bops.linear_backward_weight(dlogits, run.seen["point_layer_norm"], *d.head.point)
    dh = bops.linear_backward_input(dlogits, w.head.point)
    return bops.layer_norm_backward(dh, run.x, w.head.point_layer_norm.weight, *d.head.point_layer_norm)


def objective(learner, batch, *, key=None, scale=1.0):
    only(batch, "labels")
    run, head = at_first(learner, packed(learner, batch, first=True), key)
    apart = learner.ops.fetch(head.logits) - batch["labels"]
    dlogits = learner.ops.send((2 * scale / apart.size * apart).astype(head.logits.dtype))
    learner.encode_backward(learner.head_backward(dlogits, head), run)
    return float((apart**2).mean())


class ForPoints(Pretrained):
    head: ClassVar[Head] = Head(
        "points",
        arrays={
            "point_layer_norm.weight": "D",
            "point_layer_norm.bias": "D",
            "point.weight": "2 D",
            "point.bias": "2",
        },
        forward=forward,
        backward=backward,
        kept=("point_layer_norm",),
        dropout=(("hidden", lambda config: config.dropout),),
        objective=objective,
    )

    def __call__(self, input_ids, attention_mask=None, **options):
        return self.ops.fetch(self._scores(self._encode(input_ids, attention_mask, None, None, "first", **options)))


def test_it_answers_the_same_on_every_backend(backend):
    tensors = ForPoints(TINY, backend="numpy", seed=1).tensors()
    plain, fast = ForPoints(TINY, tensors, backend="numpy"), ForPoints(TINY, tensors, backend=backend)
    np.testing.assert_allclose(fast(IDS), plain(IDS), rtol=0, atol=1e-5)
    assert "point" in seen_by(fast)


def seen_by(model):
    names = []
    model(IDS, tap=lambda name, value: names.append(name) or value)
    return names


def test_it_is_saved_and_loaded_and_its_body_is_anybodys(tmp_path):
    model = ForPoints(TINY, backend="numpy", seed=1)
    model.save_pretrained(tmp_path)
    again = ForPoints.from_pretrained(tmp_path, backend="numpy")
    assert not again.initialised and not again.dropped
    np.testing.assert_array_equal(again(IDS), model(IDS))
    assert len(DistilBertModel.from_pretrained(tmp_path, backend="numpy").dropped) == 4  # set aside without a word
    DistilBertModel(TINY, backend="numpy").save_pretrained(tmp_path / "body")
    with pytest.warns(UserWarning, match=r"newly initialised.*point"):
        fresh = ForPoints.from_pretrained(tmp_path / "body", backend="numpy")
    assert len(fresh.initialised) == 4


@pytest.mark.parametrize("name", ["point.weight", "point_layer_norm.bias", "transformer.layer.1.ffn.lin1.bias"])
def test_its_gradients_are_those_of_its_loss(name):
    trainee = Trainee(ForPoints(TINY, backend="numpy", dtype="float64", seed=1))
    run = trainee.model.head.objective
    run(trainee, BATCH)
    gradient = trainee.gradients[name].copy()
    place, small = np.unravel_index(np.abs(gradient).argmax(), gradient.shape), 1e-6
    around = []
    for step in (small, -2 * small):
        trainee.weights[name][place] += step
        trainee.refresh()
        around.append(run(trainee, BATCH))
    assert (around[0] - around[1]) / (2 * small) == pytest.approx(gradient[place], rel=1e-6)


def test_it_learns(backend):
    trainee = Trainee(ForPoints(TINY, backend=backend, seed=1))
    found, quick = [], INTERPRETED and backend == "numba"
    for step in range(6 if quick else 30):
        trainee.flat_gradients[...] = 0
        found.append(trainee.model.head.objective(trainee, BATCH, key=step))
        trainee.flat -= 0.05 * trainee.flat_gradients
        trainee.refresh()
    assert found[-1] < (1 if quick else 0.5) * found[0]


class Points(Pipeline):
    """A point in the plane for each text."""

    def __call__(self, texts):
        return self.answer(texts, self.settings())

    def settings(self):
        return None

    def prepare(self, one, settings, name="the input"):
        return Prepared([row_of(self.model, self.tokenizer, (one,), name, {})])

    def compute(self, inputs, wanted):
        return self.model(**inputs)

    def finish(self, prepared, results, settings):
        return results[0].tolist()


def test_a_pipeline_of_it_answers_in_batches_as_alone(tmp_path, backend):
    folder = tiny_folder(tmp_path, ForPoints)
    points = Points(ForPoints.from_pretrained(folder, backend=backend), DistilBertTokenizer.from_pretrained(folder))
    alone = [points(text) for text in TEXTS]
    np.testing.assert_allclose(points(TEXTS), alone, rtol=0, atol=0 if backend == "numba" else 1e-6)
    assert list(points(iter(TEXTS[:2]))) == alone[:2] or backend != "numba"
    with pytest.raises(InputError, match="input 2 has 98 tokens"):
        points(["a", "a " * 96])
