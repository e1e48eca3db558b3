"""What a pipeline says of options and texts that it cannot use: when it is made, and before a model is loaded."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tiny_folders import OF_ENCODERS, tiny_folder

import nanodistil
from nanodistil import CheckpointError, InputError, heads
from nanodistil.family import class_of
from nanodistil.pipelines import KNOWN

HEADS = {task: class_of("distilbert", head) for task, (_, _, head) in OF_ENCODERS.items()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for task, head in HEADS.items():
        labels = {"id2label": {0: "contradiction", 1: "entailment"}} if "classification" in task else {}
        made[task] = tiny_folder(tmp_path_factory.mktemp("m") / task, head, **labels)
    return made


MISSPELT = {  # an option of a task, and what is meant
    "fill-mask": ("tok_k", "top_k"),
    "text-classification": ("function_to_aply", "function_to_apply"),
    "zero-shot-classification": ("multilabel", "multi_label"),
    "multiple-choice": ("choises", "choices"),
    "feature-extraction": ("poling", "pooling"),
    "token-classification": ("aggregation_stategy", "aggregation_strategy"),
    "question-answering": ("max_answer_length", "max_answer_len"),
}


@pytest.mark.parametrize("task", OF_ENCODERS)
def test_a_misspelt_option_is_found_before_anything_is_loaded(task, folders):
    wrong, right = MISSPELT[task]
    for model in ("./nowhere", folders[task]):
        with pytest.raises(InputError, match=f"'{wrong}' is no option of a .*Pipeline; did you mean {right}"):
            nanodistil.pipeline(task, model=model, backend="numpy", **{wrong: 3})
    with pytest.raises(InputError, match="did you mean model"):
        nanodistil.pipeline(task, modle="x")
    with pytest.raises(InputError, match=r"'colour' is no option of .*; there are "):
        nanodistil.pipeline(task, colour=3)
    made = nanodistil.pipeline(task, model=folders[task], backend="numpy")
    with pytest.raises((InputError, TypeError)) as error:
        list(made.each(["a"], **{wrong: 3}))
    assert "_settings" not in str(error.value) and wrong in str(error.value)


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("fill-mask", {"top_k": "x"}),
        ("fill-mask", {"tokenizer_kwargs": {"truncating": True}}),
        ("text-classification", {"function_to_apply": "sofmax"}),
        ("feature-extraction", {"pooling": "avg"}),
        ("token-classification", {"aggregation_strategy": "simpel"}),
        ("question-answering", {"max_seq_len": 10**9}),
        ("zero-shot-classification", {"candidate_labels": []}),
    ],
)
def test_a_value_that_cannot_be_is_found_when_a_pipeline_is_made(task, options, folders):
    with pytest.raises(InputError):
        nanodistil.pipeline(task, model=folders[task], backend="numpy", **options)


def test_options_that_can_be_are_taken(folders):
    fill = nanodistil.pipeline("fill-mask", model=folders["fill-mask"], backend="numpy", top_k=2)
    assert len(fill("a [MASK]")) == 2 and len(fill("a [MASK]", top_k=3)) == 3
    classify = nanodistil.pipeline(
        "text-classification", model=folders["text-classification"], backend="numpy", truncation=True, top_k=None
    )
    assert len(classify("a " * 100)) == 2
    sort = nanodistil.pipeline(
        "zero-shot-classification", model=folders["zero-shot-classification"], backend="numpy", multi_label=True
    )
    assert len(sort("a good film", ["a", "b"])["labels"]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a <mask> film", "write [MASK] for its <mask>"),
        ("a [mask] film", "write [MASK] for its [mask]"),
        ("a [ MASK ] film", "write [MASK] for its [ MASK ]"),
        ("a {mask} film", "write [MASK] for its {mask}"),
        ("a ___ film", "write [MASK] for its ___"),
        ("a film", "put it where a word should go"),
        ("mask masks unmask", "put it where a word should go"),
    ],
)
def test_other_masks_are_known(text, said, folders):
    fill = nanodistil.pipeline("fill-mask", model=folders["fill-mask"], backend="numpy")
    with pytest.raises(InputError) as error:
        fill(text)
    assert said in str(error.value) and "cut off" not in str(error.value)


def test_a_mask_that_was_cut_off(folders):
    fill = nanodistil.pipeline("fill-mask", model=folders["fill-mask"], backend="numpy")
    with pytest.raises(InputError, match=r"\[MASK\] of input 2 is in the part that was cut off"):
        fill(["[MASK]", "good " * 40 + "[MASK]"], tokenizer_kwargs={"truncation": True})
    assert len(fill("[MASK] " + "good " * 40, tokenizer_kwargs={"truncation": True})) == 5


@pytest.mark.parametrize(
    "task", ["token-classification", "question-answering", "multiple-choice", "text-classification"]
)
def test_no_warning_before_the_error_that_makes_it_beside_the_point(task, folders):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError, match="has no head") as error:
            nanodistil.pipeline(task, model=folders["fill-mask"], backend="numpy")
    assert KNOWN.get(task, "") in str(error.value)


def test_warnings_come_where_no_error_does(tmp_path):
    folder = tiny_folder(tmp_path / "m", heads.DistilBertForMaskedLM)
    from safetensors.numpy import load_file, save_file

    file = tmp_path / "m" / "model.safetensors"
    save_file(load_file(file) | {"something.else": np.zeros(3, np.float32)}, file, {"format": "pt"})
    with pytest.warns(UserWarning, match=r"no use for: something\.else"):
        nanodistil.pipeline("fill-mask", model=folder, backend="numpy")
    (tmp_path / "m" / "vocab.txt").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spoilt = load_file(file)
        spoilt["distilbert.embeddings.word_embeddings.weight"][3, 3] = np.nan
        save_file(spoilt, file, {"format": "pt"})
        with pytest.raises(CheckpointError, match="NaN"):
            heads.DistilBertForMaskedLM.from_pretrained(folder, backend="numpy")


@pytest.mark.parametrize("task", KNOWN)
def test_who_names_no_model_is_told_of_one(task, monkeypatch):
    monkeypatch.setattr("nanodistil.pipelines.INSIDE", {})
    with pytest.raises(InputError, match="no default model") as error:
        nanodistil.pipeline(task)
    assert str(error.value).endswith(KNOWN[task])


def test_a_misspelt_task():
    with pytest.raises(InputError, match="did you mean fill-mask"):
        nanodistil.pipeline("fil-mask")
    with pytest.raises(InputError) as error:
        nanodistil.pipeline("summarization")
    assert "did you mean" not in str(error.value)


def test_ragged_labels_are_not_for_padding_true():
    tokenizer = nanodistil.DistilBertTokenizer.from_pretrained("nanodistil-mini")
    rows = {"input_ids": [[1, 2], [1]], "labels": [[1, 2], [1]]}
    with pytest.raises(InputError, match=r"labels has rows of different lengths .* with -100"):
        tokenizer.pad(rows, return_tensors="np")
    with pytest.raises(InputError, match=r"input_ids has rows of different lengths .* padding=True"):
        tokenizer.pad({"input_ids": [[1, 2], [1]]}, padding=False, return_tensors="np")


@pytest.mark.parametrize("options", [{"beams": 10**15}, {"top_k": 1025, "beams": 1}])
def test_more_joint_fillings_than_there_is_time_and_memory_for(options):
    fill = nanodistil.pipeline("fill-mask", model="nanodistil-mini", backend="numpy")
    with pytest.raises(InputError, match="at most 1024 joint fillings"):
        fill("a [MASK] [MASK]", joint=True, **options)
