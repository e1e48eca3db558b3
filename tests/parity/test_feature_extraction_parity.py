"""Live against transformers' feature-extraction, and its DistilBertModel for what the pipeline adds."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from small_models import TEXTS, largest_difference, ours_and_theirs, random_texts, same, save, theirs

from nanodistil import InputError, pipeline

pytestmark = pytest.mark.parity

INPUTS = [TEXTS[0], "", [TEXTS[3]], TEXTS, []]
ARGUMENTS = [
    {},
    {"truncation": True},
    {"truncation": False},
    {"truncation": True, "tokenize_kwargs": {"max_length": 5}},
    {"tokenize_kwargs": {"truncation": "longest_first", "max_length": 3}},
    {"tokenize_kwargs": {"max_length": 4}},
    {"tokenize_kwargs": {"padding": "max_length", "max_length": 90}},
    {"tokenize_kwargs": {"padding": "max_length", "max_length": 70, "padding_side": "left"}},
    {"tokenize_kwargs": {"padding": True, "pad_to_multiple_of": 16}},
    {"return_tensors": False},
]


@pytest.fixture(scope="module", params=[0, 1])
def both(request, tmp_path_factory, shared):
    folder = save(tmp_path_factory.mktemp("model"), shared, "Model", request.param)
    return ours_and_theirs("feature-extraction", folder)


@pytest.mark.filterwarnings("ignore")
def test_every_argument(both):
    ours, upstream = both
    worst = 0.0
    for inputs, arguments in itertools.product(INPUTS, ARGUMENTS):
        options = dict(arguments.get("tokenize_kwargs", {}))  # upstream writes into what it is given
        expected = upstream(inputs, **{**arguments, "tokenize_kwargs": options})
        for pipe in ours.values():
            answer = pipe(inputs, **arguments)
            assert same(answer, expected), (inputs, arguments)
            worst = max(worst, largest_difference(answer, expected))
    print(f"largest difference {worst:.1e}")


def test_a_checkpoint_of_the_hub(shared):
    """The one that transformers' own tests of pipelines use, with its own small vocabulary."""
    folder = shared / "data" / "checkpoints" / "tiny-random-distilbert"
    if not folder.is_dir():
        pytest.skip("no tiny-random-distilbert")
    expected = theirs("feature-extraction", folder)(TEXTS)
    for backend in ("numpy", "numba"):
        assert same(pipeline("feature-extraction", folder, backend=backend)(TEXTS), expected)


def test_tensors_and_streams(both):
    ours, upstream = both
    texts = random_texts(20)
    expected = upstream(texts, return_tensors=True)
    for pipe in ours.values():
        for mine, other in zip(pipe((t for t in texts), return_tensors=True), expected, strict=True):
            assert mine.shape == tuple(other.shape) and mine.dtype == np.float32
            np.testing.assert_allclose(mine, other.numpy(), rtol=0, atol=1e-5)


def test_pooling_is_the_mean_over_the_mask_or_the_first(both):
    """As sentence-transformers' Pooling and Normalize compute them from a padded batch."""
    import torch

    ours, upstream = both
    texts = random_texts(20)
    batch = upstream.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = upstream.model(**batch).last_hidden_state
    weights = batch["attention_mask"][..., None].float()
    mean = (hidden * weights).sum(1) / weights.sum(1)
    for pooling, truth in (("mean", mean), ("cls", hidden[:, 0])):
        for normalize in (False, True):
            wanted = torch.nn.functional.normalize(truth, dim=1) if normalize else truth
            for pipe in ours.values():
                got = np.stack(pipe(texts, pooling=pooling, normalize=normalize, return_tensors=True))
                np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_what_raises_there_raises_here(both):
    ours, upstream = both
    for inputs, arguments in (
        (None, {}),
        ([3], {}),
        ("word " * 600, {}),
        ("a", {"truncation": True, "tokenize_kwargs": {"truncation": True}}),
    ):
        with pytest.raises(Exception):  # noqa: B017  # whatever it is
            upstream(inputs, **arguments)
        with pytest.raises(InputError):
            ours["numpy"](inputs, **arguments)
