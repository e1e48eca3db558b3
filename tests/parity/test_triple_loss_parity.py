"""The distillation loss against the formulas of upstream's distiller.step, restated in torch; and twenty steps."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from distilling import upstream  # noqa: E402

from nanodistil import DistilBertForMaskedLM  # noqa: E402
from nanodistil import backend as backends  # noqa: E402
from nanodistil.family.bert import BertForMaskedLM  # noqa: E402
from nanodistil.packing import Packing  # noqa: E402
from nanodistil.training.loop import Plan, Worked, train  # noqa: E402
from nanodistil.training.optimizer import AdamW  # noqa: E402
from nanodistil.training.run import Run  # noqa: E402
from nanodistil.training.schedule import linear, planned_steps, warmup_steps  # noqa: E402
from nanodistil.training.trainee import Trainee  # noqa: E402
from nanodistil.training.triple_loss import TripleLoss  # noqa: E402

pytestmark = pytest.mark.parity
torch.set_num_threads(1)
V, D = 60, 24

LOSSES = [
    TripleLoss(2.0, 5.0, 2.0, 0.0, 1.0),  # the recipe of upstream's README
    TripleLoss(3.0, 0.5, 0.3, 0.2, 0.7, restrict_ce_to_mask=True),
    TripleLoss(2.0, 0.5, 0.5, 0.0, 0.0, restrict_ce_to_mask=True),
    TripleLoss(1.0, 0.0, 1.0, 0.0, 0.0),
    TripleLoss(1.5, 1.0, 0.0, 0.1, 0.0),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A BERT as a teacher and a DistilBERT as a student: theirs, and the folders they are in."""
    torch.manual_seed(0)
    bert = transformers.BertConfig(
        V, D, num_hidden_layers=3, num_attention_heads=4, intermediate_size=32, max_position_embeddings=16
    )
    distil = transformers.DistilBertConfig(
        V, 16, dim=D, n_layers=2, n_heads=4, hidden_dim=32, dropout=0.0, attention_dropout=0.0
    )
    teacher, student = transformers.BertForMaskedLM(bert).eval(), transformers.DistilBertForMaskedLM(distil)
    with torch.no_grad():
        for parameter in (*teacher.parameters(), *student.parameters()):
            parameter.add_(0.2 * torch.randn_like(parameter))
    folders = [tmp_path_factory.mktemp(name) for name in ("teacher", "student")]
    for model, folder in zip((teacher, student), folders, strict=True):
        model.save_pretrained(folder)
    return folders


def ours(folders, backend="numpy", dtype="float64"):
    teacher = BertForMaskedLM.from_pretrained(folders[0], backend=backend, dtype=dtype)
    return teacher, Trainee(DistilBertForMaskedLM.from_pretrained(folders[1], backend=backend, dtype=dtype))


def theirs(folders):
    teacher = transformers.BertForMaskedLM.from_pretrained(folders[0]).double().eval()
    return teacher, transformers.DistilBertForMaskedLM.from_pretrained(folders[1]).double().train()


def batches(count, seed=1, B=4, T=13):
    """Ragged batches: ids (B, T), mask, labels (-100 at most places, and at the padding)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        mask = np.arange(T) < rng.integers(5, T + 1, B)[:, None]
        labels = np.where((rng.random((B, T)) < 0.3) & mask, rng.integers(0, V, (B, T)), -100)
        labels[0, 1] = 7
        found.append((rng.integers(5, V, (B, T)) * mask, mask, labels))
    return found


def torch_terms(loss, teacher, student, batch):
    ids, mask, labels = map(torch.tensor, batch)
    s = student(ids, attention_mask=mask.long(), output_hidden_states=True)
    with torch.no_grad():
        t = teacher(ids, attention_mask=mask.long(), output_hidden_states=True)
    return upstream(loss, s.logits, t.logits, s.hidden_states[-1], t.hidden_states[-1], labels, mask)


@pytest.mark.parametrize("loss", LOSSES)
def test_terms_of_recorded_logits_are_upstreams(loss):
    """In pieces, as they come in training, at a size of logits like a trained model's."""
    rng = np.random.default_rng(3)
    B, T = 3, 11
    S, teacher = (4 * rng.standard_normal((B, T, V)) for _ in range(2))
    _, mask, labels = batches(1, B=B, T=T)[0]
    student = torch.tensor(S, requires_grad=True)
    hidden = torch.ones(B, T, 2, dtype=torch.float64)
    terms = upstream(loss, student, torch.tensor(teacher), hidden, hidden, torch.tensor(labels), torch.tensor(mask))
    total = sum(loss.alphas[name] * term for name, term in terms.items() if name != "cos")
    total.backward()

    rows = loss.rows(labels[mask])
    ops, sums, d = backends.load_backward("numpy", "float64"), dict.fromkeys(terms, 0.0), np.zeros((mask.sum(), V))
    for piece in np.array_split(rows, 3):
        at = np.zeros((len(piece), V))
        found = loss.of_logits(
            ops,
            S[mask][piece],
            teacher[mask][piece],
            labels[mask][piece],
            len(rows),
            int((labels >= 0).sum()),
            0.5,
            at,
        )
        for name, value in found.items():
            sums[name] += value
        d[piece] += at
    for name in found:
        assert sums[name] == pytest.approx(terms[name].item(), rel=1e-12), name
    np.testing.assert_allclose(d, 0.5 * student.grad.numpy()[mask], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradients_of_a_batch_are_torchs(loss, models):
    batch = batches(1)[0]
    teacher, student = theirs(models)
    terms = torch_terms(loss, teacher, student, batch)
    sum(loss.alphas[name] * term for name, term in terms.items()).backward()

    mine, trainee = ours(models)
    ids, mask, labels = batch
    packing = Packing.of(ids, mask, trainee.config)
    found = loss.of_batch(trainee, mine if loss.teaches else None, packing.batch, labels[mask])
    for name, value in zip(loss.alphas, found[1:], strict=True):
        assert value == pytest.approx(terms[name].item(), rel=1e-12), name
    gradients = {name.removeprefix("distilbert."): p.grad for name, p in student.named_parameters()}
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in trainee.gradients.items():  # that of k_lin.bias is 0 and its rounding
        their = gradients[name].numpy()
        np.testing.assert_allclose(gradient, their, rtol=1e-12, atol=1e-13 * largest, err_msg=name)


@pytest.mark.parametrize("loss", LOSSES[:2])
@pytest.mark.parametrize(("backend", "dtype", "near"), [("numpy", "float64", 1e-12), ("numba", "float32", 1e-6)])
def test_twenty_steps_follow_transformers_and_torch(backend, dtype, near, loss, models, tmp_path):
    steps, accumulation, peak = 20, 2, 2e-3
    data = batches(steps * accumulation, seed=5)
    total = planned_steps(len(data), accumulation, 1)
    warmup = warmup_steps(total, 0.05)
    teacher, student = theirs(models)
    decay = [p for n, p in student.named_parameters() if p.dim() > 1]
    rest = [p for n, p in student.named_parameters() if p.dim() == 1]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), eps=1e-6)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, warmup, total)
    mine, trainee = ours(models, backend, dtype)
    losses = []

    def step(batch, key, scale):
        ids, mask, labels = batch
        packed = Packing.of(ids, mask, trainee.config).batch
        return Worked(loss.of_batch(trainee, mine, packed, labels[mask], scale=scale), int(mask.sum()))

    def follow(stepped):
        optimizer.zero_grad()
        their = 0.0
        for batch in data[(stepped.done - 1) * accumulation : stepped.done * accumulation]:
            terms = torch_terms(loss, teacher, student, batch)
            part = sum(loss.alphas[name] * term for name, term in terms.items()) / accumulation
            part.backward()
            their += part.item()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append((stepped.loss["loss"], their))

    adamw = AdamW(trainee, trainee.bops, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)
    plan = Plan(len(data), lambda s: peak * linear(s, warmup, total), accumulation, 5.0, 1, loss.names)
    train(trainee, adamw, step, lambda epoch: data, plan, Run(tmp_path / "run", {}), on_step=follow)
    mine_all, their_all = np.array(losses).T
    print("largest difference", np.abs(mine_all / their_all - 1).max(), "from", mine_all[0], "to", mine_all[-1])
    np.testing.assert_allclose(mine_all, their_all, rtol=near)
    assert len(losses) == steps and mine_all[-1] < mine_all[0]
