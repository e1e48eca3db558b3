"""Integrated gradients beside captum's, on transformers' model of the same weights: with equal points, equal shares."""

import numpy as np
import pytest
from small_pipelines import small

from nanodistil.page import attributing, question

torch = pytest.importorskip("torch")
captum = pytest.importorskip("captum.attr")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.parity
STEPS = 24


@pytest.mark.parametrize("head", ["ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"])
def test_shares_are_captums(tmp_path, head):
    model, tokenizer = small(head, backend="numba")
    model.save_pretrained(tmp_path)
    theirs = getattr(transformers, f"DistilBert{head}").from_pretrained(tmp_path, attn_implementation="eager").eval()
    q = question.ask(model, tokenizer, "hello [MASK] world, says Ann")
    words = theirs.get_input_embeddings()
    before = torch.tensor(np.where(q.inserted, q.ids, q.baseline))[None]

    for target, ours in zip(q.targets, attributing.integrated_gradients(model, q, steps=STEPS), strict=True):

        def score(x, target=target):
            logits = theirs(inputs_embeds=x).logits
            logits = logits if logits.ndim == 2 else logits[:, target.row]
            return logits.log_softmax(-1)[:, target.answer]

        with torch.no_grad():
            inputs, baselines = words(torch.tensor(q.ids)[None]), words(before)
        shares, gap = captum.IntegratedGradients(score).attribute(
            inputs, baselines, n_steps=STEPS, method="gausslegendre", return_convergence_delta=True
        )
        np.testing.assert_allclose(ours.shares, shares.sum(-1)[0].numpy(), atol=2e-5)
        assert ours.gap == pytest.approx(gap.item(), abs=2e-5)
