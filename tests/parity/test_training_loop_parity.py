"""Optimiser, clipping, accumulation and schedule against torch's and transformers', in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from small_trainee import Line, points  # noqa: E402

from nanodistil import backend as backends  # noqa: E402
from nanodistil.training.loop import Plan, Worked, train  # noqa: E402
from nanodistil.training.optimizer import AdamW  # noqa: E402
from nanodistil.training.run import Run  # noqa: E402
from nanodistil.training.schedule import linear, planned_steps, warmup_steps  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("betas, eps, decay", [((0.9, 0.98), 1e-6, 0.0), ((0.9, 0.999), 1e-8, 0.1)])
def test_twenty_steps_are_torchs(tmp_path, betas, eps, decay):
    """Three micro-batches a step over several epochs; clipped at some steps and not at others."""
    accumulation, steps, peak, longest = 3, 20, 0.05, 8.0
    batches = steps * accumulation
    total = planned_steps(batches, accumulation, 1)
    warmup = warmup_steps(total, 0.15)

    line = Line()
    W = torch.nn.Parameter(torch.tensor(line.flat[:6].reshape(2, 3)))
    b = torch.nn.Parameter(torch.tensor(line.flat[6:]))
    groups = [{"params": [W], "weight_decay": decay}, {"params": [b], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=peak, betas=betas, eps=eps)
    schedule = transformers.get_linear_schedule_with_warmup(theirs, warmup, total)

    losses, clipped, seen = [], [], []

    def plain(batch, key, scale):
        seen.append(batch)
        x, y = batch
        wrong = x @ line.refreshed[:6].reshape(2, 3).T + line.refreshed[6:] - y
        line.flat_gradients[:6] += scale * 2 * (wrong.T @ x).ravel()
        line.flat_gradients[6:] += scale * 2 * wrong.sum(0)
        return Worked((float((wrong**2).sum()),), 1)

    def follow(stepped):
        nonlocal seen
        loss = sum(((torch.tensor(x) @ W.T + b - torch.tensor(y)) ** 2).sum() for x, y in seen) / accumulation
        theirs.zero_grad()
        loss.backward()
        clipped.append(float(torch.nn.utils.clip_grad_norm_([W, b], longest)) > longest)
        assert stepped.lr == pytest.approx(schedule.get_last_lr()[0], rel=1e-14)
        theirs.step()
        schedule.step()
        losses.append((stepped.loss["loss"], loss.item()))
        both = torch.cat([W.flatten(), b]).detach().numpy()
        np.testing.assert_allclose(line.flat, both, rtol=1e-12, atol=1e-14)
        seen = []

    plan = Plan(batches, lambda s: peak * linear(s, warmup, total), accumulation, longest)
    optimizer = AdamW(line, backends.load_backward("numpy", "float64"), betas=betas, eps=eps, weight_decay=decay)
    train(line, optimizer, plain, points, plan, Run(tmp_path / "r", {}), on_step=follow)
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-12)
    assert len(losses) == steps and any(clipped) and not all(clipped)
