"""Every kernel once, on the smallest shapes that reach all of it: what NVIDIA's checkers watch.

    compute-sanitizer --tool memcheck python tests/gpu/smallest.py

A model that answers and learns, and one that writes, in float32 and in bfloat16. memcheck knows what was allocated, and
nothing of what CuPy's pool cuts from it: so here the pool is left out, and an array's neighbour is forbidden ground. A
checker names a line of the source if the compiler says where it was (-lineinfo).
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]
if "--emulated" in sys.argv:
    sys.path.insert(0, str(HERE.parent / "emulation"))

import numpy as np  # noqa: E402

from nanodistil.kernels.gpu import cuda_source  # noqa: E402

cupy = cuda_source.cupy
SOURCES = {path.name for path in cuda_source.SOURCES.glob("*.cu")}
LENGTHS = 17, 3  # of two sentences: more than a strip of 16, and less


def watched() -> set[str]:
    """Kernels are compiled with their lines from here on. The files that were, which grow as they are."""
    seen, module = set(), cupy.RawModule
    right = cuda_source.source

    def source(file: str) -> str:
        seen.add(file)
        return right(file)

    def with_lines(*, code, options, backend):
        return module(code=code, options=(*options, "-lineinfo"), backend=backend)

    cuda_source.source, cupy.RawModule = source, with_lines
    return seen


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask (B, T)."""
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    return np.where(mask, np.random.default_rng(0).integers(4, 50, mask.shape), 0), mask


def answer_and_learn(dtype: str) -> None:
    """A model with heads of 16, which in 16 bits go to the tensor cores."""
    from nanodistil import DistilBertConfig, DistilBertForMaskedLM
    from nanodistil.heads.masked_lm import objective
    from nanodistil.training.optimizer import AdamW
    from nanodistil.training.trainee import Trainee

    config = DistilBertConfig(vocab_size=50, max_position_embeddings=24, n_layers=1, n_heads=2, dim=32, hidden_dim=64)
    ids, mask = batch()
    model = DistilBertForMaskedLM(config, backend="cupy", dtype=dtype)
    model(ids, mask)  # from a recording
    graphs, model.graphs = model.graphs, None
    model(ids, mask, keep_masked=True)
    model.most_probable(ids, mask, [(0, 3), (1, 1)], 5)
    model.graphs = graphs
    trainee = Trainee(DistilBertForMaskedLM(config, backend="cupy"), dtype=dtype)
    labelled = {"input_ids": ids, "attention_mask": mask, "labels": np.where(mask, ids, -100)}
    objective(trainee, labelled, key=1)
    AdamW(trainee, trainee.bops, weight_decay=0.01).step(1, 1e-3, 1.0)
    trainee.refresh()
    compare(trainee.bops)
    cupy.cuda.runtime.deviceSynchronize()


def write_on(dtype: str) -> None:
    """A causal model, two texts of it by one token more at a time."""
    from nanodistil import GPT2Config, GPT2LMHeadModel
    from nanodistil.decoder import Decoder

    config = GPT2Config(vocab_size=50, n_positions=24, n_embd=32, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config, backend="cupy", dtype=dtype)
    ids, mask = batch()
    decoder = Decoder(model)
    texts = decoder.join(2)
    decoder.feed(texts, [row[kept] for row, kept in zip(ids, mask, strict=True)])
    for _ in range(2):
        decoder.feed(texts, [np.array([7]), np.array([8])])
    cupy.cuda.runtime.deviceSynchronize()


def compare(bops) -> None:
    """The losses that a student has and a lone model has not."""
    rng = np.random.default_rng(1)
    student, teacher, gradient = (cupy.asarray(rng.standard_normal((3, 50), np.float32)) for _ in range(3))
    bops.divergence(student, teacher, 2.0, 1.0, gradient)
    bops.squared_error(student, teacher, 1.0, gradient)
    bops.cosine_distance(student, teacher, 1.0, gradient)
    bops.sum_of_squares(gradient)


def main() -> int:
    if not hasattr(cupy, "emulation"):
        cupy.cuda.set_allocator(None)
    seen = watched()
    if breaking := os.environ.get("GPU_RUN_BREAK"):
        import broken

        broken.break_them(breaking.split(","))
    for dtype in ("float32", "bfloat16"):
        print(f"{dtype}: a model answers and learns", flush=True)
        answer_and_learn(dtype)
        print(f"{dtype}: another writes", flush=True)
        write_on(dtype)
    missed = sorted(SOURCES - seen)
    print(
        f"{len(seen & SOURCES)} of {len(SOURCES)} files of kernels ran{'; not: ' if missed else ''}{', '.join(missed)}"
    )
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
