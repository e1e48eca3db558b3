"""Twenty steps of `distill` follow upstream's distiller in torch, of a GPT-2 and of a RoBERTa with masks drawn anew.

The whole run is ours, from binarized texts on; what torch is given is the batches, masked words and all.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from distilling import upstream  # noqa: E402
from tiny_gpt2s import tiny_gpt2  # noqa: E402
from tiny_robertas import tiny_roberta  # noqa: E402

from nanodistil import AutoTokenizer  # noqa: E402
from nanodistil.training.binarize import binarize  # noqa: E402
from nanodistil.training.distill import Options, distill  # noqa: E402
from nanodistil.training.schedule import planned_steps, warmup_steps  # noqa: E402
from nanodistil.training.triple_loss import TripleLoss  # noqa: E402

pytestmark = pytest.mark.parity
torch.set_num_threads(1)
STEPS, ACCUMULATION, PEAK = 20, 2, 2e-3
DROPPED = {
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "roberta": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
RUNS = {  # family, shares: the recipe of the Distil* README, and all terms
    "gpt2": ("gpt2", {"alpha_ce": 5.0, "alpha_clm": 2.0, "alpha_cos": 1.0}),
    "gpt2, all": ("gpt2", {"alpha_ce": 0.5, "alpha_clm": 0.3, "alpha_mse": 0.2, "alpha_cos": 0.7, "temperature": 3.0}),
    "gpt2, alone": ("gpt2", {"alpha_ce": 0.0, "alpha_clm": 1.0}),
    "roberta": ("roberta", {"alpha_ce": 5.0, "alpha_mlm": 2.0, "alpha_cos": 1.0}),
    "roberta, masked": ("roberta", {"alpha_mlm": 0.3, "alpha_mse": 0.2, "restrict_ce_to_mask": True}),
}


def theirs(folder, family):
    made = transformers.GPT2LMHeadModel if family == "gpt2" else transformers.RobertaForMaskedLM
    return made.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")


def torch_terms(loss, family, teacher, student, packed, labels):
    """What distiller.step makes of a batch, padded."""
    spans = list(zip(packed.starts[:-1], packed.starts[1:], strict=True))
    longest = max(b - a for a, b in spans)
    ids = torch.full((len(spans), longest), 1)
    mask, words = torch.zeros_like(ids, dtype=torch.bool), torch.full_like(ids, -100)
    for row, (a, b) in enumerate(spans):
        ids[row, : b - a], mask[row, : b - a] = torch.tensor(packed.ids[a:b]), True
        words[row, : b - a] = torch.tensor(np.maximum(labels[a:b], -100))
    words[words < 0] = -100
    if family == "gpt2":
        words = torch.where(mask, ids, -100)  # prepare_batch_clm
    seen = {"attention_mask": None if family == "gpt2" else mask.long(), "output_hidden_states": True}
    s = student(ids, **seen)
    with torch.no_grad():
        t = teacher(ids, **seen)
    return upstream(loss, s.logits, t.logits, s.hidden_states[-1], t.hidden_states[-1], words, mask)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("run", RUNS)
def test_twenty_steps_follow_transformers_and_torch(run, tmp_path, monkeypatch):
    family, shares = RUNS[run]
    tiny = {"gpt2": tiny_gpt2, "roberta": tiny_roberta}[family]
    t_folder, s_folder = (
        str(tiny(tmp_path / name, seed=seed, layers=layers, **DROPPED[family]))
        for name, seed, layers in (("teacher", 1, 3), ("student", 2, 2))
    )
    rng = np.random.default_rng(0)
    words = ["the", "film", "a", "in"]
    texts = [" ".join(rng.choice(words, rng.integers(11, 15))) for _ in range(STEPS * ACCUMULATION * 3)]
    binarize(texts, tmp_path / "data", AutoTokenizer.from_pretrained(t_folder))

    given, of_batch = [], TripleLoss.of_batch

    def recorded(loss, trainee, teacher, batch, labels, **options):
        given.append((loss, batch, labels))
        return of_batch(loss, trainee, teacher, batch, labels, **options)

    monkeypatch.setattr(TripleLoss, "of_batch", recorded)
    teacher, student = theirs(t_folder, family).eval(), theirs(s_folder, family).train()
    decay = [p for p in student.parameters() if p.dim() > 1]
    rest = [p for p in student.parameters() if p.dim() == 1]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.98), eps=1e-6)
    losses, schedule = [], None

    def follow(stepped):
        nonlocal schedule
        if schedule is None:
            total = planned_steps(STEPS * ACCUMULATION, ACCUMULATION, 1)
            schedule = transformers.get_linear_schedule_with_warmup(optimizer, warmup_steps(total, 0.05), total)
        optimizer.zero_grad()
        their = 0.0
        for loss, batch, labels in given:
            terms = torch_terms(loss, family, teacher, student, batch, labels)
            part = sum(loss.alphas[name] * term for name, term in terms.items()) / ACCUMULATION
            part.backward()
            their += part.item()
        given.clear()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append((stepped.loss["loss"], their))

    options = Options(
        dump_path=str(tmp_path / "run"), data_file=str(tmp_path / "data"), student_pretrained_weights=s_folder,
        teacher_name=t_folder if shares.get("alpha_ce") != 0 else None, backend="numpy", dtype="float64", batch_size=3,
        gradient_accumulation_steps=ACCUMULATION, n_epoch=1, learning_rate=PEAK, weight_decay=0.01, max_length=32,
        **shares,
    )  # fmt: skip
    mine = distill(options, on_step=follow).state_dict()
    ours, others = np.array(losses).T
    print("largest difference", np.abs(ours / others - 1).max(), "from", ours[0], "to", ours[-1])
    np.testing.assert_allclose(ours, others, rtol=1e-12)
    assert len(losses) == STEPS and ours[-1] < ours[0]
    for name, parameter in student.named_parameters():
        np.testing.assert_allclose(mine[name], parameter.detach().numpy(), rtol=0, atol=1e-10, err_msg=name)
