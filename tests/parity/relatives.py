"""What the tests of DistilBERT's relatives compare with transformers."""

import numpy as np
import pytest
import torch

from nanodistil.training.trainee import Trainee
from nanodistil.weights.side_by_side import put_together


def calls_of(texts, pair, sorted_out, *answers):
    """task -> the ending of its class's name, what else its config says, and calls of a pipeline: inputs and options.

    pair: the second text of pairs. sorted_out: what zero-shot classification is asked. answers: options of questions.
    """
    what = {"question": "what", "context": texts[3]}
    return {
        "text-classification": (
            "ForSequenceClassification",
            {},
            [(texts, {}), ([{"text": text, "text_pair": pair} for text in texts], {"top_k": None})],
        ),
        "zero-shot-classification": (
            "ForSequenceClassification",
            {"id2label": {0: "contradiction", 1: "entailment"}, "label2id": {"contradiction": 0, "entailment": 1}},
            [(sorted_out, {"candidate_labels": ["good", "bad", "a film"]})],
        ),
        "token-classification": (
            "ForTokenClassification",
            {"num_labels": 3, "id2label": {0: "O", 1: "B-X", 2: "I-X"}},
            [(texts, {}), (texts, {"aggregation_strategy": "simple"})],
        ),
        "question-answering": (
            "ForQuestionAnswering",
            {},
            [({"question": "who was bad?", "context": texts[0]}, {}), *((what, options) for options in answers)],
        ),
        "feature-extraction": ("Model", {}, [(texts, {})]),
    }


def assert_alike(mine, theirs):
    """The same structure, the same words, the same numbers, which upstream's pipelines give in float32."""
    if isinstance(mine, dict):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"word"}:  # ours is the text as it stands: docs/differences.md
            assert_alike(mine[name], theirs[name])
    elif isinstance(mine, list):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert_alike(one, other)
    elif isinstance(mine, float):
        assert mine == pytest.approx(float(theirs), rel=2e-7)
    else:
        assert mine == theirs


def assert_same_gradients(made, theirs, folder, batch, loss_of=None):
    """Loss and every array's gradient, to 1e-12 of its largest entry. theirs: the same model in float64.

    loss_of: from its output and the batch to the loss, if not its own.
    """
    given = {name: torch.tensor(value) for name, value in batch.items()}
    out = theirs.eval()(**given)
    loss = loss_of(out, given) if loss_of else out.loss
    loss.backward()
    trainee = Trainee(made.from_pretrained(folder, backend="numpy", dtype="float64"))
    assert made.head.objective(trainee, batch) == pytest.approx(float(loss.detach()), abs=1e-12)
    of_theirs = dict(theirs.named_parameters())
    spared = {
        f"{name}.weight": module.padding_idx
        for name, module in theirs.named_modules()
        if getattr(module, "padding_idx", None) is not None
    }
    table = trainee.config.names
    gradients = {table.filed(name, made.head): gradient for name, gradient in trainee.gradients.items()}
    for filed, gradient in put_together(gradients, table).items():
        wanted = of_theirs[filed].grad.numpy()
        if filed in spared:  # PyTorch lets the padding token's row not learn
            wanted[spared[filed]] = gradient[spared[filed]]
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-12 * max(1, np.abs(wanted).max()), err_msg=filed)


def assert_read_back(model, cls, folder, wanted):
    """transformers' class reads what ours saved, to the last bit. wanted: theirs, which ours was read from."""
    model.save_pretrained(folder)
    again, told = cls.from_pretrained(folder, output_loading_info=True, dtype=torch.float64)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    found = dict(again.named_parameters())
    for name, parameter in wanted.named_parameters():
        assert torch.equal(parameter, found[name]), name
