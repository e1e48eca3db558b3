"""generate() against transformers over many random settings, and what a step costs besides the model.

python tests/bench/generation.py 2000       greedy and beam search in float64: how many settings give other ids
python tests/bench/generation.py            microseconds a processor takes of one row of 50,257 scores, one thread
"""

import sys
import time
from pathlib import Path

import numpy as np

from nanodistil.generation import narrowing
from nanodistil.generation.drawing import drawn
from nanodistil.generation.repeating import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor
from nanodistil.generation.rescaling import LogitNormalization


def compare(count):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))
    from gpt2_generation import OnTheirs, difference, small_gpt2

    models = [small_gpt2(seed) for seed in range(3)] + [small_gpt2(5, vocab_size=60, eos_token_id=59, bos_token_id=59)]
    ours = [OnTheirs(model) for model in models]
    found = [difference(ours[seed % 4], models[seed % 4], seed) for seed in range(count)]
    for seed, said in enumerate(found):
        if said:
            print(seed, said)
    print(f"{sum(map(bool, found))} of {count} settings differ")


def microseconds(call, row, rounds=200):
    """The least of many, of this thread."""
    best = np.inf
    for _ in range(rounds):
        scores = row.copy()[None]
        start = time.thread_time()
        call(scores)
        best = min(best, time.thread_time() - start)
    return 1e6 * best


def cost():
    rng = np.random.default_rng(0)
    row = (2 * rng.standard_normal(50_257)).astype(np.float32)
    row[rng.integers(0, 50_257, 20)] += np.linspace(8, 14, 20, dtype=np.float32)  # a few likely ones, as models have it
    ids = rng.integers(0, 50_257, (1, 500))
    top = narrowing.TopKLogitsWarper(50)
    processors = [
        RepetitionPenaltyLogitsProcessor(1.2), NoRepeatNGramLogitsProcessor(3), narrowing.TemperatureLogitsWarper(0.7),
        top, narrowing.TopPLogitsWarper(0.9), narrowing.MinPLogitsWarper(0.05), narrowing.TypicalLogitsWarper(0.9),
        narrowing.EpsilonLogitsWarper(3e-4), narrowing.EtaLogitsWarper(3e-4), LogitNormalization(),
    ]  # fmt: skip
    for one in processors:
        print(f"{type(one).__name__:36s}{microseconds(lambda scores, one=one: one.change(ids, scores), row):8.0f}")
    print(f"{'a greedy token':36s}{microseconds(lambda scores: scores[0].argmax(), row):8.0f}")
    kept = top(ids, row[None])[0]
    print(f"{'a draw behind top_k':36s}{microseconds(lambda scores: drawn(scores[0], 0.3), kept):8.0f}")


if __name__ == "__main__":
    compare(int(sys.argv[1])) if sys.argv[1:] else cost()
