"""Small random GPT-2s of transformers, and generate() on their own numbers: what is compared is generation alone.

transformers computes scores in float32 whatever the model's dtype, and begins beams with -1e9, in which float32 loses
what follows. `in_float64` has it count in float64, so that ties and rounding play no part.
"""

import warnings
from contextlib import contextmanager

import numpy as np
import torch
import transformers
from transformers.generation import logits_process, utils

from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.decoding import Uncached
from nanodistil.generation.mixin import GenerationMixin

torch.set_num_threads(1)


def small_gpt2(seed=0, **config):
    """A random GPT-2 in float64 that has opinions."""
    torch.manual_seed(seed)
    size = {"vocab_size": 40, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    size |= {"bos_token_id": 1, "eos_token_id": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**size, **config})).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(("ln" in name and name.endswith("weight")) + 0.5 * torch.randn_like(parameter))
    return model


class OnTheirs(GenerationMixin):
    """generate() here, with transformers' model behind it, one text at a time."""

    def __init__(self, model, dtype=np.float64):
        self.model, self.dtype = model, dtype
        self.config = model.config
        self.generation_config = GenerationConfig(**model.generation_config.to_dict())
        self.known = {}

    def logits(self, ids):
        key = ids.tobytes()
        if key not in self.known:
            with torch.no_grad():
                self.known[key] = self.model(torch.tensor(ids)[None]).logits[0].numpy()
        return self.known[key].astype(self.dtype)

    def decoding(self, use_cache=True):
        return Uncached(self.logits)


class _Double:
    """torch, where float32 is float64."""

    float32 = float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextmanager
def in_float64():
    """transformers' generate() in float64."""
    kept = utils.torch, logits_process.torch
    utils.torch = logits_process.torch = _Double()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        utils.torch, logits_process.torch = kept
        torch.set_default_dtype(torch.float32)


def theirs(model, ids, mask=None, **settings):
    """transformers' generate(), arrays in and out, without its notes."""
    with warnings.catch_warnings(), in_float64(), torch.no_grad():
        warnings.simplefilter("ignore")
        mask = None if mask is None else torch.tensor(mask)
        return model.generate(torch.tensor(ids), attention_mask=mask, **settings)


def random_setting(rng, V):
    """ids, mask (padded on the left) and arguments of greedy or beam search, of all that change its result.

    Left out is what transformers leaves to chance or to NaN: two forced ends have equal scores, which torch ranks as it
    likes, beams of a first forced token too; an end that was left out becomes NaN under the length penalty.
    """

    def some(most):
        return rng.choice(V, int(rng.integers(1, most + 1)), replace=False).tolist()

    def may(p=0.25):
        return rng.random() < p

    B, T = int(rng.integers(1, 4)), int(rng.integers(1, 9))
    lengths = rng.integers(1, T + 1, B)
    lengths[rng.integers(B)] = T
    mask = (np.arange(T) >= T - lengths[:, None]).astype(np.int64)
    s = {}
    if may(2 / 3):
        s["num_beams"] = int(rng.integers(2, 6))
        s["num_return_sequences"] = int(rng.integers(1, s["num_beams"] + 1))
        s["length_penalty"] = float(rng.choice([1.0, 0.0, 0.5, 2.0, -1.0]))
        s["early_stopping"] = [False, True, "never"][rng.integers(3)]
    new = int(rng.integers(1, 16)) if may(0.9) else 20
    if new < 20:
        s |= {"max_new_tokens": new} if may(0.7) else {"max_length": T + new}
    if may():
        s |= {"min_new_tokens": int(rng.integers(1, 8))} if may(0.5) else {"min_length": int(rng.integers(1, 15))}
    if may(0.5):
        s["eos_token_id"] = some(4) if may(0.8) else some(1)[0]
    if may(0.5):
        s["pad_token_id"] = int(rng.integers(0, V))
    for name in ("repetition_penalty", "encoder_repetition_penalty"):
        if may(0.2):
            s[name] = float(rng.uniform(0.7, 2))
    for name in ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"):
        if may(0.2):
            s[name] = int(rng.integers(1, 4))
    if may():
        s["bad_words_ids"] = [some(3) for _ in range(int(rng.integers(1, 6)))]
    if may():
        s["sequence_bias"] = {tuple(some(2)): float(rng.normal() * 4) for _ in range(int(rng.integers(1, 8)))}
    if may(0.1) and ("num_beams" not in s or T > 1):
        s["forced_bos_token_id"] = some(1)[0]
    if may(0.15) and new > 1:
        s["forced_eos_token_id"] = some(1) if "num_beams" in s else some(2)
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        if may():
            s[name] = some(5)
    if may(0.1):
        s["guidance_scale"] = float(rng.uniform(1.1, 2))
    for name in ("remove_invalid_values", "renormalize_logits"):
        if may(0.15):
            s[name] = True
    decays = not {name for name in s if "min" in name or "no_repeat" in name or "forced" in name or "bad" in name}
    if may(0.3) and decays:
        s["exponential_decay_length_penalty"] = (int(rng.integers(0, 6)), float(rng.uniform(1, 1.5)))
    elif may(0.15):
        allowed = [[*some(int(V * 0.7)), 0] for _ in range(7)]
        s["prefix_allowed_tokens_fn"] = lambda prompt, ids: allowed[(prompt + int(ids[-1])) % 7]
    return rng.integers(3, V - 1, (B, T)), mask, s


def difference(ours, model, seed):
    """What differs in a random setting, in words; "" if nothing does."""
    rng = np.random.default_rng(seed)
    ids, mask, s = random_setting(rng, model.config.vocab_size)
    s |= {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            a = ours.generate(ids, attention_mask=mask, **s)
    except ValueError as error:
        a = error
    try:
        b = theirs(model, ids, mask, **s)
    except ValueError as error:
        b = error
    if isinstance(a, ValueError) or isinstance(b, ValueError):
        return "" if isinstance(a, ValueError) and isinstance(b, ValueError) else f"{a!r} is not {b!r}: {s}"
    if not np.array_equal(a.sequences, b.sequences.numpy()):
        return f"{a.sequences} is not {b.sequences.numpy()}: {s}"
    if "beam_indices" in a and not np.array_equal(a.beam_indices, b.beam_indices.numpy()):
        return f"beams {a.beam_indices} are not {b.beam_indices.numpy()}: {s}"
    far = 0.0
    if "num_beams" in s:  # what goes on when a prompt's search is over is computed there alone
        with np.errstate(invalid="ignore"):
            x, y = a.sequences_scores, b.sequences_scores.numpy()
            far = float(np.where(x == y, 0, np.abs(x - y) / np.maximum(1, np.abs(y))).max())
    else:
        open_ = np.ones(len(ids), bool)
        for step, (x, y) in enumerate(zip(a.scores, b.scores, strict=True)):
            x, y = x[open_], y.numpy()[open_]
            with np.errstate(invalid="ignore"):
                far = max(far, float(np.where(x == y, 0, np.abs(x - y)).max()))
            ends = np.atleast_1d(s.get("eos_token_id", model.config.eos_token_id))
            open_ &= ~np.isin(a.sequences[:, ids.shape[1] + step], ends)
    return "" if far <= 1e-12 else f"scores are {far} apart: {s}"
