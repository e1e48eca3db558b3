"""Ours against PyTorch on one GPU: how exact, then how fast. A full-size random DistilBERT, one process, in turns.

    python tests/bench/gpu.py                                  exactness, all shapes, a ragged batch; some minutes
    python tests/bench/gpu.py --shapes 8x128 32x128 --no-compile --seconds 1

Exactness: the root mean square error of masked words' logits against float64, ours and torch's, in float32 (TF32 off)
and in float16 and bfloat16 (torch's autocast). Speed: milliseconds of the encoder and of the masked-LM head at one
masked word a sentence, float16; torch with sdpa, and compiled with max-autotune. All engines get their ids from the
host and end with the GPU waited for; hidden states stay on the GPU, the five best of masked words come back. "Launched
one by one" is ours without its recordings of small batches (kernels/gpu/cuda_graph.py). A number is the median over the
rounds, engines taking turns; "share" is ours of the chip's float16 products measured in the same run.

Needs torch (CUDA) and transformers. Without a GPU, tiny shapes go through the stand-in for CuPy and torch's CPU, which
shows that the script runs, and nothing else: --layers 1 --shapes 1x8 --no-compile --seconds 0
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
import transformers

HERE = Path(__file__).resolve().parent
ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    sys.path.insert(0, str(HERE.parent / "emulation"))

from nanodistil import DistilBertConfig, DistilBertForMaskedLM, backend  # noqa: E402

DEVICE = "cuda" if ON_GPU else "cpu"
SHAPES = ["1x8", "1x128", "8x128", "32x128", "256x128", "32x512"]
V, MASK = 30522, 103
ROUNDS = 5

Call = Callable[[], object]


def batches(shape: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask (B, T) of "BxT", or of "ragged": 64 sentences of 8 to 128 tokens."""
    rng = np.random.default_rng(seed)
    B, T = (64, 128) if shape == "ragged" else map(int, shape.split("x"))
    lengths = rng.integers(8, T + 1, B) if shape == "ragged" else np.full(B, T)
    ids = rng.integers(1000, V, (B, T))
    ids[:, 3] = MASK
    mask = np.arange(T) < lengths[:, None]
    return np.where(mask, ids, 0), mask


def torch_model(config: DistilBertConfig, tensors: dict[str, np.ndarray]) -> transformers.DistilBertForMaskedLM:
    """transformers' model with the same weights, float32, on the GPU."""
    settings = {k: v for k, v in config.to_dict().items() if k not in ("architectures", "dtype", "torch_dtype")}
    model = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**settings, attn_implementation="sdpa"))
    model.load_state_dict({name: torch.from_numpy(x.copy()) for name, x in tensors.items()}, strict=False)
    model.tie_weights()
    return model.eval().to(DEVICE)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def exactness(
    config: DistilBertConfig, ours: dict[str, DistilBertForMaskedLM], theirs: torch.nn.Module
) -> Iterator[str]:
    """Lines: dtype, our error, torch's, the ratio, which should be at most 1."""
    torch.backends.cuda.matmul.allow_tf32 = False
    ids, _ = batches("16x64" if ON_GPU else "1x8")
    places = np.stack([np.arange(len(ids)), np.full(len(ids), 3)], axis=1)
    tensors = {name: x.astype(np.float64) for name, x in ours["float32"].tensors().items()}
    truth = DistilBertForMaskedLM(config, tensors, backend="numpy", dtype="float64")(ids, positions=places).logits
    size = rms(truth)
    on_gpu = torch.from_numpy(ids).to(DEVICE)
    for dtype, model in ours.items():
        with torch.no_grad(), torch.autocast(DEVICE, getattr(torch, dtype), enabled=dtype != "float32"):
            reference = theirs(on_gpu).logits[:, 3].float().cpu().numpy()
        mine, other = rms(model(ids, positions=places).logits - truth) / size, rms(reference - truth) / size
        yield f"{dtype:<9} ours {mine:.2e}   torch {other:.2e}   ratio {mine / other:.2f}"


def calls(shape: str, ours: DistilBertForMaskedLM, engines: dict[str, torch.nn.Module]) -> dict[str, dict[str, Call]]:
    """Task -> engine -> a call that ends when the GPU has finished."""
    ids, mask = batches(shape)
    places = np.stack([np.arange(len(ids)), np.full(len(ids), 3)], axis=1)
    whole = bool(mask.all())

    def encoder() -> None:
        ours._encode(ids, None if whole else mask, None, None, None)
        ours.ops.wait()  # type: ignore[attr-defined]

    def one_by_one() -> None:
        graphs, ours.graphs = ours.graphs, None
        encoder()
        ours.graphs = graphs

    found: dict[str, dict[str, Call]] = {
        "encoder": {"ours": encoder, "launched one by one": one_by_one},
        "fill-mask": {"ours": lambda: ours.most_probable(ids, None if whole else mask, places, 5)},
    }
    for name, model in engines.items():

        def given() -> dict[str, torch.Tensor]:
            kept = {} if whole else {"attention_mask": torch.from_numpy(mask.astype(np.int64)).to(DEVICE)}
            return {"input_ids": torch.from_numpy(ids).to(DEVICE), **kept}

        def hidden(model: torch.nn.Module = model) -> None:
            with torch.inference_mode():
                model.distilbert(**given())
            if ON_GPU:
                torch.cuda.synchronize()

        def words(model: torch.nn.Module = model) -> None:
            with torch.inference_mode():
                x = model.distilbert(**given())[0][:, 3]
                x = model.vocab_layer_norm(model.activation(model.vocab_transform(x)))
                best = model.vocab_projector(x).float().softmax(-1).topk(5)
                best.values.cpu(), best.indices.cpu()

        found["encoder"][name], found["fill-mask"][name] = hidden, words
    return found


def in_turns(engines: dict[str, Call], seconds: float) -> dict[str, float]:
    """Seconds a call: the median of ROUNDS rounds, after three calls that do not count."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for call in engines.values():
        for _ in range(3):
            call()
    for _ in range(ROUNDS):
        for name, call in engines.items():
            began, n = time.perf_counter(), 0
            while n == 0 or time.perf_counter() - began < seconds / ROUNDS:
                call()
                n += 1
            times[name].append((time.perf_counter() - began) / n)
    return {name: median(all_of) for name, all_of in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=[*SHAPES, "ragged"])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each engine and cell")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    args = parser.parse_args()
    config = DistilBertConfig(n_layers=args.layers)
    first = DistilBertForMaskedLM(config, backend="cupy")
    tensors, state = first.tensors(), first.state_dict()
    ours = {"float32": first} | {
        dtype: DistilBertForMaskedLM(config, dict(tensors), backend="cupy", dtype=dtype)
        for dtype in ("float16", "bfloat16")
    }
    theirs = torch_model(config, state)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for line in exactness(config, ours, theirs):
        print(line, flush=True)
    half = theirs.half() if ON_GPU else theirs
    engines: dict[str, torch.nn.Module] = {"sdpa": half}
    if not args.no_compile:
        compiled = torch_model(config, state).half()
        compiled.distilbert = torch.compile(compiled.distilbert, mode="max-autotune", dynamic=False)
        engines["compiled"] = compiled
    peak = backend.gpu_module("gpu").limits("float16").flops if ON_GPU else 0.0
    for shape in args.shapes:
        tokens = int(batches(shape)[1].sum())
        for task, of in calls(shape, ours["float16"], engines).items():
            times = in_turns(of, args.seconds)
            ms = "   ".join(f"{name} {t * 1e3:8.3f} ms ({t / times['ours']:.2f})" for name, t in times.items())
            maps = 2 * args.layers * (4 * config.dim**2 + 2 * config.dim * config.hidden_dim)  # operations a token
            share = f"   share {maps * tokens / times['ours'] / peak:.0%}" if peak and task == "encoder" else ""
            print(f"{shape:<8} {task:<9} {ms}{share}", flush=True)


if __name__ == "__main__":
    main()
