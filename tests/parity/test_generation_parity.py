"""generate() live against transformers: ids, scores, processors, stop strings, configs."""

import json
import shutil
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from gpt2_generation import OnTheirs, difference, in_float64, small_gpt2, theirs
from transformers.generation import logits_process as their_processors

from nanodistil import AutoTokenizer, InputError, pipeline
from nanodistil.generation import biases, lengths, narrowing, repeating, rescaling
from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.stopping import StopStringCriteria

pytestmark = pytest.mark.parity

rng = np.random.default_rng(0)
S, V = 4, 60
IDS = rng.integers(0, 12, (S, 9))  # few, so that they repeat
SCORES = 3 * rng.standard_normal((S, V))
LEFT_OUT = np.where(rng.random((S, V)) < 0.5, -np.inf, SCORES)

PROCESSORS = {
    lengths: {
        "MinLengthLogitsProcessor": [(9, [1, 2]), (10, [1, 2]), (10, 1)],
        "MinNewTokensLengthLogitsProcessor": [(5, 4, [1]), (5, 5, [1, 3])],
        "ForcedBOSTokenLogitsProcessor": [(3,)],
        "ForcedEOSTokenLogitsProcessor": [(10, [3, 4]), (11, 3)],
        "ExponentialDecayLengthPenalty": [((3, 1.3), [1, 2], 4), ((6, 1.3), 1, 4)],
        "SuppressTokensLogitsProcessor": [([1, 50],), ([],)],
        "SuppressTokensAtBeginLogitsProcessor": [([1, 50], 9), ([1, 50], 8)],
    },
    repeating: {
        "RepetitionPenaltyLogitsProcessor": [(1.3,), (0.5,), (1.3, 4), (1.3, 0)],
        "EncoderRepetitionPenaltyLogitsProcessor": [(1.3, IDS[:, :3])],
        "NoRepeatNGramLogitsProcessor": [(1,), (2,), (3,), (20,)],
        "EncoderNoRepeatNGramLogitsProcessor": [(1, IDS[:, :5]), (2, IDS[:2, :5]), (20, IDS)],
    },
    biases: {
        "SequenceBiasLogitsProcessor": [({(3,): 1.5, (*IDS[0, -2:].tolist(), 7): -4.0, (5, 6): 1.0},)],
        "NoBadWordsLogitsProcessor": [([[3], [4, 5], [*IDS[1, -1:].tolist(), 8]], 3), ([[3]], [3])],
        "PrefixConstrainedLogitsProcessor": [(lambda prompt, ids: [prompt, int(ids[-1]), 30], 2)],
    },
    narrowing: {
        "TemperatureLogitsWarper": [(0.7,)],
        "TopKLogitsWarper": [(1,), (7,), (7, -1.0), (3, -np.inf, 5), (100,)],
        "TopPLogitsWarper": [(0.9,), (0.1,), (0.0,), (1.0,), (0.5, -np.inf, 8)],
        "MinPLogitsWarper": [(0.1,), (0.9, -np.inf, 5), (0.0,)],
        "TypicalLogitsWarper": [(0.5,), (0.99,), (0.1, -np.inf, 4)],
        "EpsilonLogitsWarper": [(0.01,), (0.5,), (0.3, -np.inf, 6)],
        "EtaLogitsWarper": [(0.01,), (0.5,), (0.3, -np.inf, 6)],
    },
    rescaling: {"LogitNormalization": [()], "InfNanRemoveLogitsProcessor": [()]},
}
CASES = [(room, name, given) for room, named in PROCESSORS.items() for name, calls in named.items() for given in calls]


@pytest.mark.parametrize(("room", "name", "given"), CASES, ids=[f"{name}-{i}" for i, (_, name, _) in enumerate(CASES)])
@pytest.mark.parametrize("scores", [SCORES, LEFT_OUT], ids=["all", "some"])
def test_processors(room, name, given, scores):
    if name == "ExponentialDecayLengthPenalty":
        scores = SCORES  # NaN there, where the end is left out
    if name == "TopKLogitsWarper" and given[1:] == (-1.0,):
        scores = SCORES
    before = scores.copy()
    ours = getattr(room, name)(*given)(IDS, scores)
    with in_float64():
        as_tensors = (torch.tensor(one) if isinstance(one, np.ndarray) else one for one in given)
        other = getattr(their_processors, name)(*as_tensors)(torch.tensor(IDS), torch.tensor(scores)).numpy()
    assert np.array_equal(np.isfinite(ours), np.isfinite(other))
    np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-12)
    assert np.array_equal(scores, before)


def test_random_settings():
    models = [small_gpt2(seed) for seed in range(3)] + [small_gpt2(5, vocab_size=60, eos_token_id=59, bos_token_id=59)]
    ours = [OnTheirs(model) for model in models]
    found = [difference(ours[seed % 4], models[seed % 4], seed) for seed in range(24)]  # 2,000: bench/generation.py
    assert not any(found), [one for one in found if one]


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3, "num_return_sequences": 2}])
def test_float32_defaults_and_transition_scores(settings):
    """In the dtype that users have, transformers as it is."""
    model = small_gpt2(1).float()
    ours = OnTheirs(model, np.float32)
    s = {"return_dict_in_generate": True, "output_scores": True, **settings}
    ids = np.array([[5, 6, 7]])
    a = ours.generate(ids, **s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        b = model.generate(torch.tensor(ids), **s)
    assert np.array_equal(a.sequences, b.sequences.numpy())
    for normalized in (False, True):
        mine = ours.compute_transition_scores(a.sequences, a.scores, a.get("beam_indices"), normalized)
        other = model.compute_transition_scores(b.sequences, b.scores, b.get("beam_indices"), normalized)
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-4, atol=1e-4)


def test_guesses_change_nothing():
    """Prompt lookup and an assistant give transformers' own ids, which are those without; it adds one now and then."""
    model, small = small_gpt2(0), small_gpt2(1)
    ours, assistant = OnTheirs(model), OnTheirs(small)
    for seed in range(4):
        ids = np.random.default_rng(seed).integers(3, 40, (1, 6))
        plain = ours.generate(ids, max_new_tokens=20, repetition_penalty=1.2)
        there = theirs(model, ids, max_new_tokens=20, repetition_penalty=1.2, prompt_lookup_num_tokens=3).numpy()
        helped = ours.generate(ids, max_new_tokens=20, repetition_penalty=1.2, assistant_model=assistant)
        looked = ours.generate(ids, max_new_tokens=20, repetition_penalty=1.2, prompt_lookup_num_tokens=3)
        assert np.array_equal(plain, there[:, : plain.shape[1]])
        assert np.array_equal(plain, helped) and np.array_equal(plain, looked)


def test_stop_strings(shared):
    words = shared / "data" / "tokenizers" / "distilgpt2"
    ours = AutoTokenizer.from_pretrained(words)
    other = transformers.AutoTokenizer.from_pretrained(words)
    texts = ["The quick brown fox", "quick", " jumps. Over!", "naïve café 東京", "a\n\nb", "fox fox", "stop", "x" * 30]
    for stops in (["k br", "ver!", "東京"], ["xxxx", "\n\n"]):
        mine, theirs_ = StopStringCriteria(ours, stops), transformers.StopStringCriteria(other, stops)
        for text in texts:
            ids = np.array([ours(text).input_ids])
            for end in range(1, ids.shape[1] + 1):
                assert mine(ids[:, :end], None)[0] == bool(theirs_(torch.tensor(ids[:, :end]), None)[0]), (stops, text)


def test_pipeline(shared, tmp_path):
    said = {"text-generation": {"do_sample": False, "max_length": 30}}
    words = {"vocab_size": 50257, "eos_token_id": 50256, "bos_token_id": 50256, "n_positions": 512}
    small_gpt2(3, task_specific_params=said, **words).float().save_pretrained(tmp_path)
    for file in (shared / "data" / "tokenizers" / "distilgpt2").iterdir():
        if file.name != "config.json":
            shutil.copy(file, tmp_path)
    ours = pipeline("text-generation", model=tmp_path, backend="numpy")
    other = transformers.pipeline("text-generation", model=str(tmp_path), device="cpu")
    for name in ("max_length", "max_new_tokens", "do_sample", "temperature", "eos_token_id", "pad_token_id"):
        assert getattr(ours.generation_config, name) == getattr(other.generation_config, name), name
    calls = {
        "Hello there , my dog .": {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 6},
        "the quick": {"return_full_text": False, "max_new_tokens": 5, "clean_up_tokenization_spaces": False},
        "": {"return_tensors": True, "max_new_tokens": 5},
        "a": {"max_new_tokens": 9, "stop_sequence": " the", "prefix": "Once "},
    }
    for text, options in calls.items():
        assert ours(text, **options) == other(text, **options), options
    assert ours([*calls], max_new_tokens=3) == other([*calls], max_new_tokens=3)


CONFIGS = [
    {},
    {"max_new_tokens": 5, "do_sample": True, "top_k": 10, "eos_token_id": [1, 2], "own": {"a": [1]}},
    {"num_beams": 3, "num_return_sequences": 2, "early_stopping": "never", "bad_words_ids": [[1], [2, 3]]},
    {"do_sample": True, "temperature": 0.7, "transformers_version": "4.20.1"},
]
WRONG = [
    {"max_new_tokens": 0},
    {"early_stopping": "always"},
    {"num_return_sequences": 2},
    {"num_beams": 2, "num_return_sequences": 3},
    {"streamer": 1},
]


@pytest.mark.parametrize("values", CONFIGS)
def test_configs(tmp_path, values):
    mine, other = GenerationConfig(**values), transformers.GenerationConfig(**values)
    assert json.loads(mine.to_json_string()) == json.loads(other.to_json_string())
    assert json.loads(mine.to_json_string(False, True)) == json.loads(other.to_json_string(False, True))
    mine.save_pretrained(tmp_path)
    assert transformers.GenerationConfig.from_pretrained(tmp_path) == other
    other.save_pretrained(tmp_path)
    assert GenerationConfig.from_json_file(tmp_path / "generation_config.json") == mine


@pytest.mark.parametrize("values", WRONG)
def test_configs_that_cannot_be(values):
    with pytest.raises(ValueError):
        transformers.GenerationConfig(**values)
    with pytest.raises(InputError):
        GenerationConfig(**values)
