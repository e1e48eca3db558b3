"""The terms of the distillation loss as upstream's distiller.step has them, in torch."""

import torch
from torch.nn import functional as F


def upstream(loss, s_logits, t_logits, s_hidden, t_hidden, labels, mask):
    """Those with a share: (B, T, V) twice, (B, T, D) twice, (B, T) labels and mask."""
    chosen = labels > -1 if loss.restrict_ce_to_mask else mask
    S, T = s_logits[chosen], t_logits[chosen]  # (n, V)
    V, tau = S.shape[-1], loss.temperature
    kl = torch.nn.KLDivLoss(reduction="batchmean")
    words = torch.nn.CrossEntropyLoss(ignore_index=-100)
    one = s_hidden[mask].new_ones(int(mask.sum()))
    terms = {
        "ce": kl(F.log_softmax(S / tau, -1), F.softmax(T / tau, -1)) * tau**2,
        "mlm": words(s_logits.view(-1, V), labels.view(-1)),
        "clm": words(s_logits[:, :-1].reshape(-1, V), labels[:, 1:].reshape(-1)),
        "mse": torch.nn.MSELoss(reduction="sum")(S, T) / S.size(0),
        "cos": torch.nn.CosineEmbeddingLoss(reduction="mean")(s_hidden[mask], t_hidden[mask], one),
    }
    return {name: terms[name] for name in loss.alphas}
