"""generate() on toy models: what a prompt gets does not depend on its batch, on guesses, or on a cache."""

import json
from itertools import chain

import numpy as np
import pytest

from nanodistil import (
    AutoModelForCausalLM,
    CheckpointError,
    DistilBertConfig,
    GPT2Config,
    GPT2LMHeadModel,
    InputError,
)
from nanodistil.generation import drawing
from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.decoding import Uncached
from nanodistil.generation.drawing import drawn, streams
from nanodistil.generation.mixin import GenerationMixin
from nanodistil.generation.narrowing import FIRST, TopKLogitsWarper, TopPLogitsWarper, TypicalLogitsWarper
from nanodistil.generation.processing import LogitsProcessor, LogitsProcessorList
from nanodistil.generation.settling import settled
from nanodistil.generation.stopping import StoppingCriteriaList
from nanodistil.generation.streaming import BaseStreamer, TextIteratorStreamer, TextStreamer
from nanodistil.weights.errors import TooLongError

V, END, PAD = 30, 2, 29


class Toy(GenerationMixin):
    """What follows depends on the last two tokens and on how many there are, at random."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.tables = 2 * rng.standard_normal((3, 40, V))
        self.tables[0, :, PAD] = -99
        self.config = DistilBertConfig(vocab_size=V, max_position_embeddings=40, eos_token_id=END, bos_token_id=1)
        self.generation_config = GenerationConfig(eos_token_id=END, bos_token_id=1, pad_token_id=PAD)
        self.fed = []

    def logits(self, ids):
        a, b, c = self.tables
        self.fed.append(len(ids))
        return a[ids] + b[np.append(ids[:1], ids[:-1])] + c[: len(ids)]

    def decoding(self, use_cache=True):
        return Uncached(self.logits)


toy = Toy()
TEXTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6, 7], [14, 3]]
WAYS = [
    {},
    {"do_sample": True, "seed": 3, "top_k": 8},
    {"num_beams": 3, "num_return_sequences": 2},
    {"num_beams": 3, "do_sample": True, "seed": 3, "temperature": 2.0},
    {"do_sample": True, "seed": 3, "num_return_sequences": 3, "typical_p": 0.8},
]


def batch(texts, side):
    T = max(map(len, texts))
    pad = [[0] * (T - len(text)) for text in texts]
    pairs = list(zip(pad, texts, strict=True))
    ids = [p + t if side == "left" else t + p for p, t in pairs]
    return ids, [[0] * len(p) + [1] * len(t) if side == "left" else [1] * len(t) + [0] * len(p) for p, t in pairs]


def new_tokens(sequences, T):
    """Behind the prompt, up to the end."""
    return [[int(t) for t in row[T:] if t != PAD] for row in sequences]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_prompt_gets_the_same_alone_and_in_any_batch(way, side):
    ids, mask = batch(TEXTS, side)
    together = new_tokens(toy.generate(ids, attention_mask=mask, max_new_tokens=12, **way), len(ids[0]))
    n = way.get("num_return_sequences", 1)
    alone = [new_tokens(toy.generate([text], max_new_tokens=12, **way), len(text)) for text in TEXTS]
    backwards, its_mask = batch(TEXTS[::-1], side)
    turned = new_tokens(toy.generate(backwards, attention_mask=its_mask, max_new_tokens=12, **way), len(ids[0]))
    for i in (0, 1, 2, 4):
        assert together[i * n : (i + 1) * n] == alone[i]
    for i in (1, 2, 4):
        assert turned[(4 - i) * n : (5 - i) * n] == alone[i]
    if way.get("do_sample"):  # equal prompts have draws of their own, in order
        assert together[3 * n : 4 * n] != alone[3] and turned[n : 2 * n] == alone[0]


def test_seeds():
    def sampled(seed):
        return toy.generate([[5]], do_sample=True, max_new_tokens=12, eos_token_id=None, seed=seed).tolist()

    assert sampled(1) == sampled(1) != sampled(2)
    assert sampled(None) != sampled(None)
    with pytest.raises(InputError, match="seed should be a whole number"):
        sampled(1.5)


def test_draws_have_the_processed_probabilities():
    """Chi-square of 5,000 draws behind one prompt, with a seed; 46.8 is the 0.999 quantile of 21 degrees."""
    found = toy.generate(
        [[5, 6]], do_sample=True, max_new_tokens=1, num_return_sequences=5_000, top_k=22, temperature=3.0, seed=0,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    row = found.scores[0][0]
    kept = np.flatnonzero(row > -np.inf)
    p = np.exp(row[kept]) / np.exp(row[kept]).sum()
    counts = np.bincount(found.sequences[:, 2], minlength=V)
    assert len(kept) == 22 and counts.sum() == counts[kept].sum()
    assert ((counts[kept] - 5_000 * p) ** 2 / (5_000 * p)).sum() < 46.8


def test_drawn_beams_have_the_probabilities_of_draws_without_replacement():
    """The first of two: the marginal of one draw; the second: what is left, weighted."""
    p = np.array([0.5, 0.3, 0.2])
    counts = np.zeros((3, 3))
    for stream in streams(0, [np.array([1])], 5_000):
        counts[tuple(np.argsort(-(np.log(p) + stream.gumbel(3)))[:2])] += 1
    wanted = 5_000 * np.outer(p, p) / (1 - p)[:, None]
    off = ~np.eye(3, dtype=bool)
    assert ((counts - wanted)[off] ** 2 / wanted[off]).sum() < 20.5  # 0.999 of 5 cells


@pytest.mark.parametrize("way", [WAYS[0], WAYS[1]], ids=str)
def test_guesses_change_nothing(way):
    for seed in range(5):
        text = np.random.default_rng(seed).integers(3, V, (1, 6))
        arguments = {"max_new_tokens": 25, "eos_token_id": None, **way}
        plain = toy.generate(text, **arguments)
        for helper in (Toy(), Toy(1)):
            helper.generation_config.num_assistant_tokens_schedule = "heuristic"
            assert np.array_equal(plain, toy.generate(text, assistant_model=helper, **arguments))
        assert np.array_equal(plain, toy.generate(text, prompt_lookup_num_tokens=4, **arguments))


def test_a_perfect_assistant_saves_steps():
    helper = Toy()
    helper.generation_config.assistant_confidence_threshold = 0.0
    toy.fed.clear()
    toy.generate([[5, 6, 7]], max_new_tokens=25, eos_token_id=None, assistant_model=helper)
    assert len(toy.fed) <= 4  # the prompt, and 25 tokens 21 at a time


def test_finished_sequences_are_not_computed():
    ids, mask = batch(TEXTS, "left")
    toy.fed.clear()
    found = toy.generate(ids, attention_mask=mask, max_new_tokens=20, forced_eos_token_id=END)
    assert len(toy.fed) == sum(map(len, new_tokens(found, len(ids[0]))))


class Recorder(BaseStreamer):
    def __init__(self):
        self.got = []

    def put(self, value):
        self.got.append(np.asarray(value).tolist())

    def end(self):
        self.got.append("end")


def test_streamers():
    for more in ({}, {"prompt_lookup_num_tokens": 3}):
        recorder = Recorder()
        found = toy.generate([[5, 6]], max_new_tokens=5, streamer=recorder, **more)
        prompt, *new, end = recorder.got
        assert prompt == [[5, 6]] and end == "end" and [*chain(*new)] == found[0, 2:].tolist()


class Words:
    """A tokenizer for streamers."""

    def decode(self, ids, **_):
        return "".join({1: " a", 2: " b", 3: "c", 4: "\n", 5: "東"}[i] for i in ids)


def test_text_streams_in_whole_words(capsys):
    streamer = TextStreamer(Words(), skip_prompt=True)
    streamer.put(np.array([[1, 1]]))
    shown = []
    for token in (1, 3, 2, 4, 5, 5, 3):
        streamer.put(np.array([token]))
        shown.append(capsys.readouterr().out)
    streamer.end()
    assert shown == [" ", "", "ac ", "b\n", "東", "東", ""] and capsys.readouterr().out == "c\n"
    with pytest.raises(InputError, match="only supports batch size 1"):
        streamer.put(np.array([[1], [2]]))
    several = TextIteratorStreamer(Words())
    several.put(np.array([[1, 2]]))
    several.end()
    assert "".join(several) == " a b"


def test_stopping_and_processors_of_ones_own():
    class Nine(LogitsProcessor):
        def __call__(self, input_ids, scores):
            return np.where(np.arange(V) == 9, 5.0, scores - 9)

    found = toy.generate(
        [[5], [6]],
        max_new_tokens=9,
        logits_processor=[Nine()],
        stopping_criteria=StoppingCriteriaList([lambda ids, scores: ids.shape[1] > 3]),
    )
    assert found.tolist() == [[5, 9, 9, 9], [6, 9, 9, 9]]
    with pytest.raises(InputError, match="should give scores"):
        toy.generate([[5]], logits_processor=[lambda ids, scores: scores[:, :3]])
    with pytest.raises(InputError, match="should say yes or no"):
        toy.generate([[5]], stopping_criteria=[lambda ids, scores: "no"])
    with pytest.raises(NotImplementedError):
        LogitsProcessorList([LogitsProcessor()])([[1]], [[0.5]])


WRONG = [
    ({"inputs": [[]]}, "input_ids has no token|has no token"),
    ({"inputs": [[5, 99]]}, "input_ids has 99, and the model tokens 0 to 29"),
    ({"inputs": [[5]], "attention_mask": [[0]]}, "prompt 0 has no token"),
    ({"inputs": [5]}, "put it in a list"),
    ({"inputs": [[5]], "max_new_token": 3}, "did you mean max_new_tokens"),
    ({"inputs": [[5]], "inputs_embeds": [[1.0]]}, "give input_ids"),
    ({"inputs": [[5]], "penalty_alpha": 0.6}, "moved it out of the library"),
    ({"inputs": [[5]], "output_attentions": True, "return_dict_in_generate": True}, "for attentions"),
    ({"inputs": [[5]], "do_sample": True, "temperature": 0.0}, "strictly positive float.*do_sample=False"),
    ({"inputs": [[5]], "num_beams": 2, "streamer": TextStreamer(None)}, "cannot be used with beam search"),
    ({"inputs": [[5], [6]], "prompt_lookup_num_tokens": 2}, "for one prompt"),
    ({"inputs": [[5]], "stop_strings": "a"}, "tokenizer="),
    ({"inputs": [[5, 6]], "max_length": 2}, "Input length of input_ids is 2, but `max_length` is set to 2"),
    ({"inputs": [[5]], "suppress_tokens": list(range(V))}, "no token can follow"),
    ({"inputs": [[5]], "sequence_bias": {(77,): 1.0}}, "vocabulary size is 30"),
    ({"inputs": [[5]], "top_k": "many"}, "`top_k` should be int"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_cannot_be_is_said_in_one_line(arguments, said):
    with pytest.raises(InputError, match=said) as caught:
        toy.generate(**arguments)
    assert "\n" not in str(caught.value)


def test_positions_are_not_exceeded():
    assert toy.generate([[5] * 10], max_new_tokens=31, min_new_tokens=31).shape == (1, 41)  # the last one is not read
    with pytest.raises(TooLongError, match="set max_new_tokens to 31 or less"):
        toy.generate([[5] * 10], max_new_tokens=32)
    with pytest.raises(TooLongError, match="41 tokens, and the model 40 positions"):
        toy.generate([[5] * 41])
    assert toy.generate([[5] * 30], min_new_tokens=9).shape == (1, 40)  # 20 by default, as far as there is room


def test_nan_is_never_chosen():
    class Broken(Toy):
        def logits(self, ids):
            return np.full((len(ids), V), np.nan)

    for way in WAYS[:4]:
        with pytest.raises(InputError, match="no token can follow"):
            Broken().generate([[5]], **way)


def test_whose_settings_count():
    model = Toy()
    model.generation_config = GenerationConfig(eos_token_id=END, pad_token_id=0, max_new_tokens=4, suppress_tokens=[2])
    assert model.generate([[5]]).shape == (1, 5)
    assert model.generate([[5]], GenerationConfig(max_new_tokens=3)).shape == (1, 4)
    assert model.generate([[5]], GenerationConfig(), max_new_tokens=2).shape == (1, 3)
    told, _ = settled(model, GenerationConfig(), False, {})
    assert told.eos_token_id == END and told.max_new_tokens is None


def test_config_files(tmp_path):
    GenerationConfig(max_new_tokens=3, own=[1]).save_pretrained(tmp_path)
    path = tmp_path / "generation_config.json"
    assert GenerationConfig.from_json_file(path).own == [1]
    assert json.loads(path.read_text()).keys() == {"max_new_tokens", "own", "transformers_version"}
    for broken in ('{"top_k": "x"}', "[1]", "{", '{"max_new_tokens": -1}'):
        path.write_text(broken)
        with pytest.raises(CheckpointError, match=r"generation_config\.json"):
            GenerationConfig.from_json_file(path)
    with pytest.warns(UserWarning, match="`temperature` is 0.5, which only counts with do_sample=True"):
        idle = GenerationConfig(temperature=0.5)
    with pytest.raises(InputError, match="is invalid"):
        idle.save_pretrained(tmp_path)


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_what_is_sorted_in_part_is_as_if_sorted_whole(scale, monkeypatch):
    rng = np.random.default_rng(0)
    scores = scale * rng.standard_normal((3, 20 * FIRST))
    scores[1, :9000] = scores[1, 0]  # ties
    for processor in (TopPLogitsWarper(0.9), TopPLogitsWarper(0.3), TypicalLogitsWarper(0.9), TypicalLogitsWarper(0.2)):
        in_part = processor([[0]], scores)
        monkeypatch.setattr("nanodistil.generation.narrowing.FIRST", scores.size)
        assert np.array_equal(in_part, processor([[0]], scores))
        monkeypatch.undo()
    assert (TopKLogitsWarper(7)([[0]], scores) > -np.inf).sum(axis=1).tolist()[::2] == [7, 7]


def test_a_draw_is_never_what_was_left_out():
    row = np.array([-np.inf, 0.0, -np.inf, -800.0, -np.inf])
    assert {drawn(row, u) for u in (0.0, 0.5, np.nextafter(1, 0))} == {1}
    with pytest.raises(InputError, match="no token can follow"):
        drawn(np.full(3, -np.inf), 0.5)
    assert drawing.streams(0, [], 1) == []


@pytest.fixture(scope="module", params=["numpy", "numba"])
def gpt2(request):
    tiny = GPT2Config(vocab_size=61, n_positions=64, n_embd=24, n_layer=2, n_head=2, initializer_range=0.6)
    return GPT2LMHeadModel(tiny, backend=request.param, seed=1)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_real_model_with_and_without_its_cache(gpt2, way):
    """Bit for bit on numba: scores too."""
    ids, mask = batch([[int(t) for t in np.random.default_rng(n).integers(3, 60, n)] for n in (5, 2, 9)], "left")
    s = {"max_new_tokens": 6, "eos_token_id": [7, 8], "pad_token_id": 0, "repetition_penalty": 1.3, **way}
    s |= {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    kept, anew = (gpt2.generate(ids, attention_mask=mask, use_cache=use, **s) for use in (True, False))
    far = 0.0 if gpt2.backend == "numba" else 1e-3
    assert np.array_equal(kept.sequences, anew.sequences)
    for name in ("scores", "logits"):
        for a, b in zip(kept[name], anew[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=far)


def test_a_real_model_guesses_and_is_saved(gpt2, tmp_path):
    s = {"max_new_tokens": 30, "pad_token_id": 0, "do_sample": True, "seed": 5, "top_k": 5}
    plain = gpt2.generate([[5, 6, 7]], **s)
    assert np.array_equal(plain, gpt2.generate([[5, 6, 7]], assistant_model=gpt2, **s))
    assert np.array_equal(plain, gpt2.generate([[5, 6, 7]], prompt_lookup_num_tokens=3, **s))
    gpt2.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, backend=gpt2.backend)
    assert again.generation_config == gpt2.generation_config and again.generation_config.eos_token_id == 50256
    assert np.array_equal(plain, again.generate([[5, 6, 7]], **s))
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        AutoModelForCausalLM.from_pretrained(tmp_path, backend=gpt2.backend)
