"""What a pipeline may be called with, as users of transformers do: generators, data sets, nothing at all."""

import pytest
from small_pipelines import small

from nanodistil import InputError, pipeline

TEXTS = ["This is a test", "This restaurant is great", "A rather longer text that says little"]
QUESTION = {"question": "Where was it founded?", "context": "It was founded in Paris."}
TASKS = {  # task -> its model, its inputs, options of the call
    "fill-mask": ("DistilBertForMaskedLM", [f"{text} [MASK]." for text in TEXTS], {"top_k": 2}),
    "text-classification": ("DistilBertForSequenceClassification", TEXTS, {}),
    "token-classification": ("DistilBertForTokenClassification", TEXTS, {"ignore_labels": []}),
    "question-answering": ("DistilBertForQuestionAnswering", [QUESTION] * 3, {}),
    "zero-shot-classification": ("DistilBertForSequenceClassification", TEXTS, {"candidate_labels": ["a", "b"]}),
    "feature-extraction": ("DistilBertModel", TEXTS, {}),
}


class DataSet:
    """As torch.utils.data.Dataset: a length and items by number, which never say that there is no such item."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number % len(self.items)]


def rounded(value):
    """NumPy's BLAS promises no bits: a text alone and in a batch differ in the last ones."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore:none of the labels")
def test_several_inputs_in_whatever_holds_them(task):
    head, inputs, options = TASKS[task]
    pipe = pipeline(task, *small(head))
    wanted = rounded(pipe(inputs, **options))
    assert isinstance(wanted, list) and len(wanted) == len(inputs)
    assert rounded(list(pipe(iter(inputs), **options))) == wanted
    assert rounded(list(pipe((one for one in inputs), **options))) == wanted
    assert rounded(list(pipe(DataSet(inputs), **options))) == wanted
    preset = pipeline(task, pipe.model, pipe.tokenizer, **options)  # options of the pipeline instead of the call's
    assert rounded(preset(inputs)) == wanted == rounded(list(preset(DataSet(inputs))))
    for nothing in (None, 3, object()):
        with pytest.raises(InputError, match=r"needed|needs"):
            pipe(nothing, **options)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore:none of the labels")
def test_a_config_that_asks_for_more_changes_no_answer(task):
    """Hidden states, attentions and plain tuples are what a model gives its caller; a pipeline is its own."""
    head, inputs, options = TASKS[task]
    model, tokenizer = small(head)
    pipe = pipeline(task, model, tokenizer)
    wanted = rounded(pipe(inputs, **options))
    model.config.update({"output_hidden_states": True, "output_attentions": True, "return_dict": False})
    assert isinstance(model([[101, 102]]), tuple)
    assert rounded(pipe(inputs, **options)) == wanted
