"""The command: output forms, exit codes, one line an error, never a traceback."""

import json
import os
import subprocess
import sys

import pytest

from nanodistil.cli import VERBS, main

MINI = ["--model", "nanodistil-mini", "--backend", "numpy"]
TEXT = "Hello I'm a [MASK] model."


def call(capsys, *argv):
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_table(capsys):
    code, out, err = call(capsys, "fill-mask", TEXT, *MINI)
    lines = out.splitlines()
    assert code == 0 and err == "" and lines[0] == TEXT and len(lines) == 6
    assert lines[1].split()[1] == "new" and lines[1].endswith("hello i'm a new model.")


def results(out):
    found = json.loads(out)
    return [one["result"] for one in found]


def test_json_is_a_list_of_what_the_pipeline_returns(capsys):
    code, out, _ = call(capsys, "fill-mask", TEXT, *MINI, "--json", "--top-k", "2")
    assert code == 0 and [f["token_str"] for f in results(out)[0]] == ["new", "good"]
    code, out, _ = call(capsys, "fill-mask", TEXT, "[MASK] [MASK]", *MINI, "--json")
    one, two = results(out)
    assert len(one) == 5 and len(two) == 2 and len(two[0]) == 5


def test_jsonl_is_a_line_a_text(capsys):
    code, out, _ = call(capsys, "fill-mask", TEXT, "A [MASK].", *MINI, "--jsonl", "--top-k", "1")
    assert code == 0 and [len(json.loads(line)["result"]) for line in out.splitlines()] == [1, 1]


def test_raw_targets_and_truth(capsys):
    code, out, err = call(capsys, "fill-mask", TEXT, *MINI, "--raw", "--truth", "--targets", "role", "fashion")
    assert code == 0 and "i ' m" in out and "largest difference of 2 scores from float64" in err


def test_a_bad_line_of_many_is_named(capsys):
    code, _, err = call(capsys, "fill-mask", TEXT, "none", *MINI)
    assert code == 2 and "input 2" in err


@pytest.mark.parametrize(
    "argv",
    [
        ["fill-mask", "no mask", *MINI],
        ["fill-mask", TEXT, "--model", "./nowhere"],
        ["fill-mask", TEXT, "--model", "../../etc/passwd"],
        ["fill-mask", TEXT, *MINI, "--threads", "0"],
        ["fill-mask", TEXT, *MINI, "--top-k", "-3"],
        ["fill-mask", TEXT, "--model", "a" * 300],
        ["fill-mask", TEXT, "--model", "~nosuchuser/x"],
        ["fill-mask", TEXT, "--targets", "paris", "B [MASK].", *MINI],
        ["fill-mask", TEXT, *MINI[:2], "--backend", "numba", "--dtype", "float64"],
        ["tokenize", "a", "--model", "./nowhere"],
        ["download", "./nowhere"],
    ],
)
def test_user_errors_are_one_line_and_exit_2(capsys, argv):
    code, _, err = call(capsys, *argv)
    assert code == 2 and err.startswith("nanodistil: ") and err.count("\n") == 1 and "Traceback" not in err


def spawn(*argv, stdin="", **environment):
    return subprocess.run(
        [sys.executable, "-m", "nanodistil", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_standard_input_and_a_reader_that_leaves():
    result = spawn("fill-mask", "-", *MINI, "--jsonl", "--top-k", "1", stdin="A [MASK].\nThe [MASK] is red.\r\n")
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 2
    command = f"{sys.executable} -m nanodistil fill-mask - {' '.join(MINI)} --jsonl --top-k 1 | head -1"
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; yes 'A [MASK].' | head -600 | {command}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert len(piped.stdout.splitlines()) == 1 and "Traceback" not in piped.stderr


def test_lines_are_answered_as_they_come():
    """A slow writer gets its first answer before it has written its second line."""
    command = [sys.executable, "-m", "nanodistil", "fill-mask", "-", *MINI, "--jsonl", "--top-k", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for _ in range(2):
            process.stdin.write("A [MASK].\n")
            assert len(json.loads(process.stdout.readline())["result"]) == 1
        process.stdin.close()
        assert process.wait(60) == 0


def test_answers_before_a_bad_line_are_given():
    result = spawn("fill-mask", "-", *MINI, "--jsonl", "--top-k", "1", stdin="A [MASK].\nB [MASK].\n\nC [MASK].\n")
    assert result.returncode == 2 and len(result.stdout.splitlines()) == 2 and "input 3" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_output_that_cannot_be_written():
    command = f"{sys.executable} -m nanodistil fill-mask 'A [MASK].' {' '.join(MINI)} > /dev/full"
    full = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert full.returncode == 2 and full.stderr.count("\n") == 1 and "cannot write" in full.stderr
    closed = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m nanodistil fill-mask - {' '.join(MINI)} <&-"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert closed.returncode == 2 and "closed" in closed.stderr and "Traceback" not in closed.stderr
    ascii_only = spawn("fill-mask", "é [MASK].", *MINI, PYTHONIOENCODING="ascii")
    assert ascii_only.returncode == 0 and "\\xe9" in ascii_only.stdout


def test_not_utf8():
    result = subprocess.run(
        [sys.executable, "-m", "nanodistil", "fill-mask", "-", *MINI],
        input=b"a\xff\xfe",
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 2 and b"not UTF-8" in result.stderr and b"Traceback" not in result.stderr


def test_without_network_or_cache_the_embedded_model_answers(tmp_path):
    """And says so in one line on stderr."""
    result = spawn("fill-mask", TEXT, "--backend", "numpy", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert result.returncode == 0 and "hello i'm a new model." in result.stdout
    assert result.stderr.count("\n") == 1 and "nanodistil-mini" in result.stderr


def test_a_gpt2_folder_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    result = spawn("fill-mask", TEXT, "--model", str(tmp_path))
    assert result.returncode == 2 and "gpt2" in result.stderr.lower() and result.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help(capsys, verb):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0 and f"usage: nanodistil {verb}" in capsys.readouterr().out


def test_help_lists_the_verbs():
    result = spawn("--help")
    assert result.returncode == 0 and all(v in result.stdout for v in ("fill-mask", "tokenize", "download", "models"))
