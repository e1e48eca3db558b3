"""What transformers' pipelines take besides: a device, batch sizes, dtypes; taken for what is so here, else refused."""

import inspect

import numpy as np
import pytest
from small_pipelines import small
from tiny_folders import OF_ENCODERS

import nanodistil
from nanodistil import DeviceError, InputError
from nanodistil.pipelines import TASKS
from nanodistil.pipelines.fill_mask import FillMaskPipeline

TEXT = "Hello I'm a [MASK] model."
CALLS = {
    "fill-mask": ((TEXT,), {}),
    "text-classification": (("good",), {}),
    "zero-shot-classification": (("good", ["a", "b"]), {}),
    "multiple-choice": (("good", ["a", "b"]), {}),
    "feature-extraction": (("good",), {}),
    "token-classification": (("good",), {}),
    "question-answering": ((), {"question": "who?", "context": "me and you"}),
}


def pipe(task="fill-mask", **arguments):
    return nanodistil.pipeline(task, *small(TASKS[task][2]), **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"device": -1},
        {"device": "cpu"},
        {"device": None, "framework": "pt"},
        {"batch_size": 8, "num_workers": 0},
        {"torch_dtype": "auto"},
        {"torch_dtype": np.float32, "device_map": "auto"},
        {"dtype": "float32", "trust_remote_code": False, "use_fast": True},
        {"model_kwargs": {"low_cpu_mem_usage": True, "attn_implementation": "sdpa"}},
    ],
)
def test_what_is_so_anyway(arguments):
    plain = pipe()(TEXT)
    assert pipe(**arguments)(TEXT) == plain  # of a model, and by its name
    if "framework" in arguments or "torch_dtype" in arguments:
        assert nanodistil.pipeline("fill-mask", "nanodistil-mini", backend="numpy", **arguments)(TEXT)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"device": 0}, DeviceError, "cupy"),
        ({"device": "cuda:0"}, DeviceError, "cupy"),
        ({"device": "mps"}, DeviceError, "mps"),
        ({"device": True}, InputError, "device"),
        ({"device_map": "cuda"}, DeviceError, "cupy"),
        ({"framework": "tf"}, InputError, "framework"),
        ({"batch_size": 0}, InputError, "batch_size"),
        ({"num_workers": "two"}, InputError, "num_workers"),
        ({"torch_dtype": "float64", "dtype": "float32"}, InputError, "two names"),
        ({"attn_implementation": "flash_attention_2"}, InputError, "attn_implementation"),
        ({"colour": "blue"}, InputError, "colour"),
    ],
)
def test_what_is_not_so(arguments, error, says):
    for make in (pipe, lambda **a: nanodistil.pipeline("fill-mask", "nanodistil-mini", backend="numpy", **a)):
        with pytest.raises(error, match=says) as caught:
            make(**arguments)
        assert "\n" not in str(caught.value)
    if "dtype" not in arguments:
        with pytest.raises(InputError, match="float64"):
            pipe(dtype="float64")  # the model is loaded, in another


@pytest.mark.filterwarnings("ignore:none of the labels")
@pytest.mark.parametrize("task", OF_ENCODERS)
def test_batch_sizes_change_nothing(task):
    one = pipe(task)
    inputs, options = CALLS[task]
    wanted = one(*inputs, **options)
    assert one(*inputs, **options, batch_size=4, num_workers=2) == wanted
    assert pipe(task, batch_size=4)(*inputs, **options) == wanted
    for wrong in ({"batch_size": 0}, {"batch_size": 1.5}, {"num_workers": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            one(*inputs, **options, **wrong)


@pytest.mark.parametrize("task", OF_ENCODERS)
@pytest.mark.filterwarnings("ignore:none of the labels")
def test_signatures_are_spelled_out(task):
    call = inspect.signature(pipe(task).__call__)
    assert not [p for p in call.parameters.values() if p.kind is p.VAR_KEYWORD]
    assert {"batch_size", "num_workers"} <= set(call.parameters)
    forward = inspect.signature(getattr(nanodistil, f"DistilBert{TASKS[task][2]}").__call__)
    assert {"output_attentions", "keep_masked", "tap"} <= set(forward.parameters)
    assert not [p for p in forward.parameters.values() if p.kind is p.VAR_KEYWORD]


@pytest.mark.parametrize("task", ["fill-mask", "token-classification", "question-answering", "feature-extraction"])
def test_misspelt_arguments_name_what_was_called(task):
    inputs, options = CALLS[task]
    with pytest.raises(TypeError, match=r"PipelineX?(\.__call__)?\(\).*'topp_k'"):
        pipe(task)(*inputs, **options, topp_k=3)
    with pytest.raises(TypeError, match=r"DistilBert\w+\(\).*'token_type_ids'"):
        pipe(task).model([[101, 102]], token_type_ids=[[0, 0]])


def test_a_preset_is_what_it_presets():
    one = pipe(top_k=2)
    assert isinstance(one, FillMaskPipeline) and len(one(TEXT)) == 2


def test_vectors_as_arrays_or_lists():
    one = pipe("feature-extraction")
    assert isinstance(one("good", return_tensors="np"), np.ndarray) and isinstance(one("good"), list)
    with pytest.raises(InputError, match="return_tensors"):
        one("good", return_tensors="tf")
