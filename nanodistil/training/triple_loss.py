"""DistilBERT's loss: the teacher's opinion, the words that were there, and the direction of the hidden states.

    L = alpha_ce  L_ce  + alpha_mlm L_mlm + alpha_mse L_mse + alpha_cos L_cos      (Sanh et al. 2019, section 2)

With S and T the student's and teacher's logits at n positions, both having seen the same masked sentences:

    L_ce  = tau^2 / n  sum over positions of KL(softmax(T / tau) || softmax(S / tau))
    L_mlm = the mean over the masked positions of -log softmax(S)[the word that stood there]
    L_mse = 1 / n  sum over positions and words of (S - T)^2
    L_cos = the mean over all positions of 1 - cos(student's last hidden state, teacher's)

A GPT-2, which hides nothing, has in place of L_mlm, and of alpha_mlm,

    L_clm = the mean over the tokens that another follows of -log softmax(S)[that other]

The gradient of a KL at temperature tau shrinks as 1 / tau^2; the factor tau^2 keeps the share of L_ce the same when the
temperature is changed (Hinton, Vinyals and Dean 2015, section 2). The n positions of L_ce and L_mse are all tokens, or
with `restrict_ce_to_mask` the masked ones only, in spite of its name for both.

A row of logits is as long as the vocabulary, so those of a batch would be 0.5 GB (8 x 512 tokens), as much for the
teacher, and again for the gradient. They never exist together: both heads are applied to a few hundred rows at a time,
whose loss and gradient are done before the next. If only masked positions count and hidden states do not, the last
layer computes no others (`Look`). Terms whose alpha is 0 are not computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanodistil import model as forward
from nanodistil.backend import Array, BackwardOps, Ints
from nanodistil.model import Look, Packed
from nanodistil.packing import sent
from nanodistil.pretrained import Pretrained
from nanodistil.taps import NoTap
from nanodistil.training.trainee import Trainee

HEAD_TERMS = ("ce", "mlm", "clm", "mse")  # those of logits; "cos" is one of hidden states
OF_WORDS = ("mlm", "clm")  # those of labels


@dataclass(frozen=True)
class Shares:
    """The shares and what they are shares of; upstream's names."""

    temperature: float = 2.0
    alpha_ce: float = 0.5
    alpha_mlm: float = 0.5
    alpha_mse: float = 0.0
    alpha_cos: float = 0.0
    restrict_ce_to_mask: bool = False


@dataclass(frozen=True)
class TripleLoss(Shares):
    """The loss that they make."""

    alpha_clm: float = 0.0

    @property
    def alphas(self) -> dict[str, float]:
        """Those above 0, by the names of their terms.

        >>> TripleLoss(alpha_ce=5.0, alpha_mlm=2.0, alpha_cos=1.0).alphas
        {'ce': 5.0, 'mlm': 2.0, 'cos': 1.0}
        """
        all_of_them = {name: getattr(self, f"alpha_{name}") for name in (*HEAD_TERMS, "cos")}
        return {name: alpha for name, alpha in all_of_them.items() if alpha > 0}

    @property
    def names(self) -> tuple[str, ...]:
        """What `of_batch` gives: the whole first.

        >>> TripleLoss().names
        ('loss', 'loss_ce', 'loss_mlm')
        """
        return "loss", *(f"loss_{name}" for name in self.alphas)

    @property
    def teaches(self) -> bool:
        """Whether a teacher is needed."""
        return bool({"ce", "mse", "cos"} & self.alphas.keys())

    def rows(self, labels: Ints) -> Ints:
        """Where logits are needed: (N,) labels, negative if there is none -> ascending rows."""
        everywhere = not self.restrict_ce_to_mask and bool({"ce", "mse"} & self.alphas.keys())
        return np.arange(len(labels)) if everywhere else np.flatnonzero(labels >= 0)

    def of_logits(
        self,
        ops: BackwardOps,
        student: Array,
        teacher: Array | None,
        labels: Ints,
        compared: int,
        labelled: int,
        scale: float,
        dstudent: Array,
    ) -> dict[str, float]:
        """The share of some rows in the terms of logits: 2 x (m, V), (m,) labels, adding to (m, V) -> the terms.

        compared: n, the rows with a teacher in the whole batch; labelled: those with a label. scale: of the gradient.
        """
        terms: dict[str, float] = {}
        for name, alpha in self.alphas.items():
            if name in OF_WORDS:
                part = 1 / labelled
                terms[name] = part * ops.cross_entropy(student, labels, scale * alpha * part, dstudent)
            elif name == "ce":
                assert teacher is not None
                part = self.temperature**2 / compared
                weight = scale * alpha * part
                terms[name] = part * ops.divergence(student, teacher, self.temperature, weight, dstudent)
            elif name == "mse":
                assert teacher is not None
                part = 1 / compared
                terms[name] = part * ops.squared_error(student, teacher, scale * alpha * part, dstudent)
        return terms

    def of_batch(
        self,
        trainee: Trainee,
        teacher: Pretrained | None,
        batch: Packed,
        labels: Ints,
        *,
        key: int | None = None,
        scale: float = 1.0,
    ) -> tuple[float, ...]:
        """The loss of a batch and its terms, in the order of `names`; adds scale times its gradients to the trainee's.

        batch: N tokens. labels: (N,), the words that were masked, or those that come next, negative elsewhere; at
        least one is not. teacher: with its language modelling head; None if nothing `teaches`. key: of the student's
        dropout; None for none.
        """
        alphas, send = self.alphas, trainee.ops.send
        rows = self.rows(labels)  # (R,)
        look = None
        if "cos" not in alphas and len(rows) < len(labels):
            look = Look(rows, np.searchsorted(rows, batch.starts))
        taught = encoded(teacher, batch, look) if teacher is not None else None  # (N or R, D of the teacher)
        run = trainee.encode(batch, look, key)  # x is (N or R, D)
        dx = np.zeros_like(run.x)
        terms = dict.fromkeys(alphas, 0.0)
        if "cos" in alphas:
            assert taught is not None
            part = 1 / len(run.x)
            terms["cos"] = part * trainee.bops.cosine_distance(run.x, taught, scale * alphas["cos"] * part, dx)
        labelled = int((labels >= 0).sum())
        step = trainee.bops.HEAD_ROWS
        for start in range(0, len(rows) if terms.keys() & HEAD_TERMS else 0, step):
            piece = rows[start : start + step]  # (m,)
            here = send(piece if look is None else np.arange(start, start + len(piece)))  # (m,) rows of x
            head = trainee.apply_head(run.x[here], key)  # logits are (m, V)
            theirs = None
            if teacher is not None and taught is not None and terms.keys() & {"ce", "mse"}:
                theirs = teacher.head.forward(taught[here], teacher.weights, teacher.ops, NoTap())  # (m, V)
            d = np.zeros_like(head.logits)  # (m, V)
            words = send(labels[piece])  # (m,)
            found = self.of_logits(trainee.bops, head.logits, theirs, words, len(rows), labelled, scale, d)
            for name, value in found.items():
                terms[name] += value
            dx[here] += trainee.head_backward(d, head)  # (m, D)
        trainee.encode_backward(dx, run)
        return sum(alphas[name] * value for name, value in terms.items()), *terms.values()


def encoded(teacher: Pretrained, batch: Packed, look: Look | None) -> Array:
    """The teacher's last hidden states, without dropout: (N, D), or (M, D) at the rows of `look`."""
    send = teacher.ops.send
    if look is not None:
        look = look._replace(rows=send(look.rows))
    return forward.encoder(sent(batch, send), teacher.weights, teacher.config, teacher.ops, NoTap(), look)
