"""Arguments given to `pipeline` are those of every call, unless the call has its own."""

import os
import pickle

import pytest

import nanodistil
from nanodistil import InputError

TEXT = "Hello I'm a [MASK] model."


def test_options_of_every_call(backend):
    if backend == "numba" and os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        pytest.skip("kernels of the embedded model's size take minutes as plain Python")
    plain = nanodistil.pipeline("fill-mask", "nanodistil-mini", backend=backend)
    preset = nanodistil.pipeline("fill-mask", "nanodistil-mini", backend=backend, top_k=2)
    assert preset(TEXT) == plain(TEXT, top_k=2) and preset(TEXT, top_k=1) == plain(TEXT, top_k=1)
    assert list(preset.each([TEXT])) == [plain(TEXT, top_k=2)]
    assert preset.model.config == plain.model.config
    assert pickle.loads(pickle.dumps(preset))(TEXT) == preset(TEXT)


@pytest.mark.parametrize("task", ["fill-mask", "feature-extraction"])
def test_options_that_no_call_takes(task):
    with pytest.raises(InputError, match="colour"):
        nanodistil.pipeline(task, "nanodistil-mini", backend="numpy", colour="blue")


def test_an_iterator_among_the_options_is_for_every_call():
    fill = nanodistil.pipeline("fill-mask", "nanodistil-mini", backend="numpy", targets=iter(["good", "bad"]))
    assert len(fill(TEXT)) == len(fill(TEXT)) == 2
