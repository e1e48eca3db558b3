"""How likely texts are: against scores taken one prefix at a time, and files in windows against the whole in memory."""

import json
import os

import numpy as np
import pytest
from tiny_folders import tiny_folder
from tiny_gpt2s import tiny_gpt2

from nanodistil import AutoModelForCausalLM, AutoTokenizer, DistilBertForMaskedLM, InputError
from nanodistil.cli import main
from nanodistil.pipelines.scoring import CUT, ScoringPipeline, Window, in_pieces, totals, windows_of

TEXT = "The film was a wool film.\n\nA  filmy\ttool, wooly!\r\n  the end  \n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2"), positions=16)


@pytest.fixture(scope="module")
def score(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, backend="numpy")
    return ScoringPipeline(model, AutoTokenizer.from_pretrained(folder))


def by_hand(model, ids, width, stride):
    """The recipe of transformers' page on perplexity: window after window, what is new in each."""
    found, counted = [], 1
    for begin in range(0, len(ids), stride):
        end = min(begin + width, len(ids))
        logits = model([ids[begin:end]]).logits[0].astype(np.float64)
        for i in range(max(counted, begin + 1), end):
            row = logits[i - 1 - begin]
            found.append(row[ids[i]] - row.max() - np.log(np.exp(row - row.max()).sum()))
        counted = max(counted, end)
        if end == len(ids):
            return found


@pytest.mark.parametrize("stride", [1, 5, 8, 15])
def test_a_long_text_is_read_in_windows(score, stride):
    ids = score.tokenizer(TEXT).input_ids
    assert len(ids) > 32
    answer = score(TEXT, stride=stride, tokens=True)
    wanted = by_hand(score.model, ids, 16, stride)
    assert answer["tokens"] == len(ids) - 1 and answer["ids"] == ids[1:]
    np.testing.assert_allclose(answer["log_probs"], wanted, rtol=1e-4, atol=1e-4)
    assert answer["perplexity"] == pytest.approx(np.exp(-np.mean(wanted)), rel=1e-4)


def test_short_texts(score):
    found = score(["a", "", "The film"])
    assert found[0] == found[1] == {"tokens": 0, "log_prob": 0.0, "perplexity": None}
    assert found[2] == pytest.approx(score("The film"))
    with pytest.raises(InputError, match="stride 16: a window has 16 tokens"):
        score("a", stride=16)


def test_masked_models_are_asked_token_by_token(tmp_path):
    model = DistilBertForMaskedLM.from_pretrained(tiny_folder(tmp_path, DistilBertForMaskedLM), backend="numpy")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = np.array(tokenizer("a good film").input_ids)
    wanted = []
    for i in range(1, 4):
        masked = ids.copy()
        masked[i] = tokenizer.mask_token_id
        row = model([masked]).logits[0, i].astype(np.float64)
        wanted.append(row[ids[i]] - np.log(np.exp(row).sum()))
    answer = ScoringPipeline(model, tokenizer)("a good film", tokens=True)
    assert answer["ids"] == ids[1:-1].tolist()
    np.testing.assert_allclose(answer["log_probs"], wanted, atol=1e-4)


def test_windows_count_each_token_once():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n, width = int(rng.integers(0, 60)), int(rng.integers(1, 12))
        stride, ids = int(rng.integers(1, width + 1)), np.arange(n)
        pieces = np.split(ids, np.sort(rng.integers(0, n + 1, 4)))
        windows = list(windows_of(pieces, width, stride))
        assert [i for w in windows for i in w.ids[w.known :].tolist()] == ids.tolist()
        assert all(w.start == stride * i and len(w.ids) <= width for i, w in enumerate(windows))


def test_a_text_in_pieces_has_the_same_tokens(score):
    text = (TEXT + "woolthefilm" * 5) * 700
    pieces = list(in_pieces(text[i : i + 7001] for i in range(0, len(text), 7001)))
    assert "".join(pieces) == text and len(pieces) > 1 and max(map(len, pieces)) < 2 * CUT
    apart = [i for piece in pieces for i in score.tokenizer(piece, verbose=False).input_ids]
    assert apart == score.tokenizer(text, verbose=False).input_ids


def run(capsys, folder, *words, backend="numpy"):
    code = main(["score", "--backend", backend, "--model", folder, *map(str, words)])
    return code, capsys.readouterr()


def test_a_file_is_one_text_and_goes_on_where_it_ended(capsys, folder, score, tmp_path):
    file, out = tmp_path / "book.txt", tmp_path / "windows.jsonl"
    file.write_bytes(TEXT.encode())
    whole = score(TEXT, stride=5)
    words = ["--whole", "--stride", 5, "--input", file, "--output", out]
    code, shown = run(capsys, folder, *words, backend="numba")
    assert code == 0 and f"over {whole['tokens']} tokens" in shown.err
    lines = out.read_bytes().splitlines(keepends=True)
    results = [json.loads(line)["result"] for line in lines]
    found = totals(sum(r["tokens"] for r in results), sum(r["log_prob"] for r in results))
    assert found == pytest.approx(whole, rel=1e-4)
    os.unlink(out)
    (tmp_path / "windows.jsonl.partial").write_bytes(b"".join(lines[:3]) + lines[3][:7])
    code, again = run(capsys, folder, *words, "--resume", backend="numba")
    assert code == 0 and again.err == shown.err and out.read_bytes() == b"".join(lines)


def test_lines_and_mistakes(capsys, folder, tmp_path):
    code, shown = run(capsys, folder, "--jsonl", "--tokens", "The film", "a")
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert code == 0 and [line["text"] for line in lines] == ["The film", "a"] and "log_probs" in lines[0]["result"]
    assert run(capsys, folder, "--whole", "a")[0] == 2
    bert = tiny_folder(tmp_path, DistilBertForMaskedLM)
    code, shown = run(capsys, bert, "a good film")
    assert code == 0 and "a good film" in shown.out
    code, shown = run(capsys, bert, "--whole", "--input", tmp_path / "vocab.txt")
    assert code == 2 and "line by line" in shown.err


def test_a_window_is_an_input(score):
    ids = np.array(score.tokenizer("The film").input_ids)
    assert score(Window(ids, 0, 0)) == pytest.approx(score("The film"))
