"""DistilBERT in plain PyTorch, as fast as it is written without kernels of one's own: the rival on a GPU.

One product for q, k and v, scaled_dot_product_attention, and nothing that torch.compile could not see through. So it
is no slower than transformers' model, and needs no particular version of it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-12


class Rival(nn.Module):
    """The weights of ours, by name; a head for masked words. dropout: in training."""

    def __init__(self, tensors: dict[str, np.ndarray], heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.layers, self.rate = heads, layers, dropout
        given = {name.replace(".", "_"): torch.from_numpy(np.array(x, np.float32)) for name, x in tensors.items()}
        for i in range(layers):
            for kind in ("weight", "bias"):
                parts = [given.pop(f"transformer_layer_{i}_attention_{lin}_lin_{kind}") for lin in "qkv"]
                given[f"transformer_layer_{i}_attention_qkv_{kind}"] = torch.cat(parts)
        for name, x in given.items():
            self.register_parameter(name, nn.Parameter(x))

    def linear(self, x: torch.Tensor, at: str) -> torch.Tensor:
        return F.linear(x, getattr(self, f"{at}_weight"), getattr(self, f"{at}_bias"))

    def norm(self, x: torch.Tensor, at: str) -> torch.Tensor:
        weight, bias = getattr(self, f"{at}_weight"), getattr(self, f"{at}_bias")
        return F.layer_norm(x, x.shape[-1:], weight, bias, EPS)

    def dropped(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.rate, self.training) if self.rate else x

    def forward(self, ids: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """(B, T), (B, 1, 1, T) bool or None -> (B, T, D)."""
        B, T = ids.shape
        x = F.embedding(ids, self.embeddings_word_embeddings_weight) + self.embeddings_position_embeddings_weight[:T]
        x = self.dropped(self.norm(x, "embeddings_LayerNorm"))
        D = x.shape[-1]
        rate = self.rate if self.training else 0.0
        for i in range(self.layers):
            at = f"transformer_layer_{i}"
            qkv = self.linear(x, f"{at}_attention_qkv").view(B, T, 3, self.heads, D // self.heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, Dh) each
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=rate)
            context = context.transpose(1, 2).reshape(B, T, D)
            x = self.norm(self.linear(context, f"{at}_attention_out_lin") + x, f"{at}_sa_layer_norm")
            h = F.gelu(self.linear(x, f"{at}_ffn_lin1"))
            x = self.norm(self.dropped(self.linear(h, f"{at}_ffn_lin2")) + x, f"{at}_output_layer_norm")
        return x

    def words(self, x: torch.Tensor) -> torch.Tensor:
        """(M, D) -> (M, V) logits."""
        x = self.norm(F.gelu(self.linear(x, "vocab_transform")), "vocab_layer_norm")
        return F.linear(x, self.embeddings_word_embeddings_weight, self.vocab_projector_bias)
