"""Ours on a GPU: how exact, how fast, and beside PyTorch where it is installed. A full-size random DistilBERT.

    python tests/bench/gpu.py                                  everything; the fastest rival, torch.compile, comes last
    python tests/bench/gpu.py --shapes 8x128 64x128 --no-compile --seconds 1

Exactness: the root mean square error of masked words' logits against float64, ours and torch's (torch_rival.py), in
float32 (TF32 off), float16 and bfloat16 (autocast). Speed: milliseconds of the encoder and of the best five words at
one masked word a sentence, and of a step of training in bfloat16 (forward, backward, AdamW). All engines get their ids
from the host and end with the GPU waited for; hidden states stay on the GPU. "Launched one by one" is ours without its
recordings of small batches (kernels/gpu/cuda_graph.py). A number is the median over the rounds, engines taking turns;
"share" is what ours reaches of the same run's largest product by cuBLASLt in the same dtype; in brackets, the time by
ours. A line is printed as soon as it is known, and what takes minutes, compiling, comes last, shape by shape: whoever
stops this has the rest.

"ragged64x128": 64 sentences of 8 to 128 tokens; torch has them padded, with a mask. Without a GPU, tiny shapes go
through the stand-in for CuPy, which shows that the script runs, and nothing else: --layers 1 --shapes 1x8 --seconds 0
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE)]
torch: Any = None
if find_spec("torch"):
    import torch
    from torch_rival import Rival


def gpu_answers() -> bool:
    try:
        import cupy

        return bool(cupy.cuda.runtime.getDeviceCount()) and not hasattr(cupy, "emulation")
    except Exception:
        return False


ON_GPU = gpu_answers()
if not ON_GPU and "cupy" not in sys.modules:
    sys.path.insert(0, str(HERE.parent / "emulation"))

from nanodistil import DistilBertConfig, DistilBertForMaskedLM, backend  # noqa: E402
from nanodistil.heads.masked_lm import objective  # noqa: E402
from nanodistil.training.optimizer import AdamW  # noqa: E402
from nanodistil.training.trainee import Trainee  # noqa: E402

DEVICE = "cuda" if ON_GPU else "cpu"
SHAPES = ["1x16", "1x128", "8x128", "64x128", "256x128", "ragged64x128"]
COMPILED = ["64x128", "1x16", "8x128", "256x128", "1x128", "ragged64x128"]  # in the order of what they tell
STEPS = ["8x128", "32x128"]  # of training
V, MASK = 30522, 103
ROUNDS = 5
DROPOUT = 0.1

Call = Callable[[], object]


def batches(shape: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask (B, T) of "BxT", or of "raggedBxT": B sentences of 8 to T tokens."""
    rng = np.random.default_rng(seed)
    B, T = map(int, shape.removeprefix("ragged").split("x"))
    lengths = rng.integers(min(8, T), T + 1, B) if shape.startswith("ragged") else np.full(B, T)
    ids = rng.integers(1000, V, (B, T))
    ids[:, 3] = MASK
    mask = np.arange(T) < lengths[:, None]
    return np.where(mask, ids, 0), mask


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def third_words(ids: np.ndarray) -> np.ndarray:
    """(B, 2) places of one masked word a sentence."""
    return np.stack([np.arange(len(ids)), np.full(len(ids), 3)], axis=1)


def exactness(
    config: DistilBertConfig, tensors: dict[str, np.ndarray], ours: dict[str, DistilBertForMaskedLM], theirs: Any
) -> Iterator[str]:
    """Lines: dtype, our error, torch's, the ratio, which should be at most 1."""
    ids, _ = batches("16x64" if ON_GPU else "1x8")
    places = third_words(ids)
    exact = {name: x.astype(np.float64) for name, x in tensors.items()}
    truth = DistilBertForMaskedLM(config, exact, backend="numpy", dtype="float64")(ids, positions=places).logits
    size = rms(truth)
    for dtype, model in ours.items():
        line = f"{dtype:<9} error of ours {(mine := rms(model(ids, positions=places).logits - truth) / size):.2e}"
        if theirs is not None:
            torch.backends.cuda.matmul.allow_tf32 = False
            with torch.no_grad(), torch.autocast(DEVICE, getattr(torch, dtype), enabled=dtype != "float32"):
                logits = theirs.words(theirs(torch.from_numpy(ids).to(DEVICE))[:, 3])
            other = rms(logits.float().cpu().numpy() - truth) / size
            line += f"   torch {other:.2e}   ratio {mine / other:.2f}"
        yield line


def waited() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def on_device(ids: np.ndarray, mask: np.ndarray) -> tuple[Any, Any]:
    keep = None if mask.all() else torch.from_numpy(mask).to(DEVICE)[:, None, None]
    return torch.from_numpy(ids).to(DEVICE), keep


def of_torch(encode: Any, rival: Any, shape: str) -> dict[str, Call]:
    """Task -> a call. encode: the rival, or what torch.compile has made of it."""
    ids, mask = batches(shape)

    def encoder() -> Any:
        with torch.inference_mode():
            x = encode(*on_device(ids, mask))
        waited()
        return x

    def words() -> None:
        with torch.inference_mode():
            best = rival.words(encode(*on_device(ids, mask))[:, 3]).float().softmax(-1).topk(5)
            best.values.cpu(), best.indices.cpu()

    return {"encoder": encoder, "fill-mask": words}


def of_ours(model: DistilBertForMaskedLM, shape: str) -> dict[str, dict[str, Call]]:
    """Task -> engine -> a call that ends when the GPU has finished."""
    ids, mask = batches(shape)
    given = None if mask.all() else mask

    def encoder() -> None:
        model._encode(ids, given, None, None, None)
        model.ops.wait()  # type: ignore[attr-defined]

    def one_by_one() -> None:
        graphs, model.graphs = model.graphs, None
        encoder()
        model.graphs = graphs

    words = {"ours": lambda: model.most_probable(ids, given, third_words(ids), 5)}
    return {"encoder": {"ours": encoder, "launched one by one": one_by_one}, "fill-mask": words}


def training(config: DistilBertConfig, tensors: dict[str, np.ndarray], shape: str) -> dict[str, Call]:
    """Engine -> a step: forward, backward, AdamW, the loss on the host."""
    ids, mask = batches(shape)
    labels = np.where(np.random.default_rng(1).random(ids.shape) < 0.15, ids, -100)
    trainee = Trainee(DistilBertForMaskedLM(config, dict(tensors), backend="cupy"), dtype="bfloat16")
    optimizer, taken = AdamW(trainee, trainee.bops, weight_decay=0.01), [0]

    def step() -> None:
        taken[0] += 1
        trainee.zero_gradients()
        objective(trainee, {"input_ids": ids, "attention_mask": mask, "labels": labels}, key=taken[0])
        optimizer.step(taken[0], 1e-5, 1.0)
        trainee.refresh()
        trainee.ops.wait()  # type: ignore[attr-defined]

    found: dict[str, Call] = {"ours": step}
    if torch is not None:
        rival = Rival(tensors, config.n_heads, config.n_layers, DROPOUT).to(DEVICE).train()
        adamw = torch.optim.AdamW(rival.parameters(), lr=1e-5, weight_decay=0.01, fused=ON_GPU)

        def their_step() -> None:
            given, keep = on_device(ids, mask)
            wanted = torch.from_numpy(labels).to(DEVICE)
            adamw.zero_grad()
            with torch.autocast(DEVICE, torch.bfloat16):
                x = rival(given, keep)[wanted != -100]
                loss = torch.nn.functional.cross_entropy(rival.words(x).float(), wanted[wanted != -100])
            loss.backward()
            adamw.step()
            loss.item()

        found["sdpa"] = their_step
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


def line(dtype: str, shape: str, task: str, times: dict[str, float], share: float = 0.0) -> str:
    of = "   ".join(f"{name} {t * 1e3:8.3f} ms ({t / times['ours']:.2f})" for name, t in times.items())
    return f"{dtype:<9} {shape:<13} {task:<9} {of}{f'   share {share:.0%}' if share else ''}"


def operations(config: DistilBertConfig, shape: str) -> float:
    """In the encoder's linear maps, of which real tokens are all that ours multiplies."""
    maps = 2 * config.n_layers * (4 * config.dim**2 + 2 * config.dim * config.hidden_dim)  # a token
    return float(maps * batches(shape)[1].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--steps", nargs="*", default=STEPS, help="shapes of steps of training")
    parser.add_argument("--dtypes", nargs="+", default=["float16", "bfloat16", "float32"])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each engine and cell")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    args = parser.parse_args()
    config = DistilBertConfig(n_layers=args.layers, dropout=DROPOUT, attention_dropout=DROPOUT)
    tensors = DistilBertForMaskedLM(config, backend="cupy").tensors()
    ours = {dtype: DistilBertForMaskedLM(config, dict(tensors), backend="cupy", dtype=dtype) for dtype in args.dtypes}
    rivals = {}
    if torch is not None:
        torch.set_float32_matmul_precision("highest")
        rivals = {d: Rival(tensors, config.n_heads, args.layers).eval().to(DEVICE) for d in ("float32", *args.dtypes)}
    print(f"beside torch {torch.__version__}" if torch is not None else "no torch here: ours alone", flush=True)
    if not ON_GPU:
        print("in the emulator: none of this is a GPU's", flush=True)
    for text in exactness(config, tensors, ours, rivals.get("float32")):
        print(text, flush=True)
    for dtype in args.dtypes:
        if ON_GPU and torch is not None:
            rivals[dtype] = rivals[dtype].to(getattr(torch, dtype))
    peaks = {}
    for dtype, model in ours.items():
        if ON_GPU:
            limits = backend.gpu_module("device").limits(dtype)
            peaks[dtype] = limits.flops
            print(f"{dtype:<9} products {limits.flops / 1e12:.0f} TFLOP/s, copies {limits.bandwidth / 1e12:.2f} TB/s")
        for shape in args.shapes:
            tasks = of_ours(model, shape)
            if torch is not None:
                for task, call in of_torch(rivals[dtype], rivals[dtype], shape).items():
                    tasks[task]["sdpa"] = call
            for task, engines in tasks.items():
                times = in_turns(engines, args.seconds)
                share = operations(config, shape) / times["ours"] / peaks[dtype] if dtype in peaks else 0.0
                print(line(dtype, shape, task, times, share if task == "encoder" else 0.0), flush=True)
    for shape in args.steps:
        times = in_turns(training(config, tensors, shape), args.seconds)
        print(line("bfloat16", shape, "step", times), flush=True)
    if args.no_compile or torch is None or not ON_GPU:
        return
    for dtype in [d for d in args.dtypes if d != "float32"]:
        for shape in [s for s in COMPILED if s in args.shapes]:
            compiled = torch.compile(rivals[dtype], mode="reduce-overhead", dynamic=False)
            engines = {
                "ours": of_ours(ours[dtype], shape)["encoder"]["ours"],
                "torch.compile": of_torch(compiled, rivals[dtype], shape)["encoder"],
            }
            print(line(dtype, shape, "encoder", in_turns(engines, args.seconds)), flush=True)


if __name__ == "__main__":
    main()
