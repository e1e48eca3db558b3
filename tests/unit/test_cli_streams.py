"""What a command is run in: closed streams, locales that know no more than ASCII, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from nanodistil.cli import interrupts, main, streams

MINI = ["--model", "nanodistil-mini", "--backend", "numpy", "--top-k", "1"]
COMMAND = [sys.executable, "-m", "nanodistil"]
ONLY_ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX")


def spawn(words, redirected="", **environment):
    """The command in a shell that closes streams: exit code, output, and what came on standard error."""
    line = 'exec "$@" ' + redirected
    done = subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND, *words],
        input=b"", capture_output=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip
    assert b"Traceback" not in done.stderr and done.stderr.count(b"\n") <= 1, done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@posix
def test_closed_streams(tmp_path):
    told = ["tokenize", "a", "--model", "nanodistil-mini"]
    code, _, err = spawn(told, ">&-")
    assert code == 2 and err == "nanodistil: cannot write the output: standard output is closed\n"
    assert spawn(told, ">&- 2>&-")[0] == spawn(["--version"], ">&-")[0] == spawn(["-h"], ">&-")[0] == 2
    assert spawn(told, "1</dev/null")[0] == 2  # it is there, and cannot be written
    code, out, _ = spawn(["fill-mask", "none", *MINI], "2>&-")
    assert (code, out) == (2, "")  # and not the error where the results should be
    code, _, err = spawn(["tokenize", "-", *MINI[:2]], "<&-")
    assert code == 2 and "standard input is closed" in err


@posix
def test_a_file_does_not_get_what_was_meant_for_a_closed_stream(tmp_path):
    """It would have the number 1, or 2."""
    file = tmp_path / "out.jsonl"
    code, _, _ = spawn(["fill-mask", "A [MASK].", *MINI, "--output", str(file)], "<&- >&- 2>&-")
    assert code == 0 and len(json.loads(file.read_text())) >= 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["--version"], ["-h"], ["completion", "bash"]])
def test_what_cannot_be_written_is_said_of_help_too(words):
    code, _, err = spawn(words, ">/dev/full")
    assert code == 2 and "cannot write the output" in err


@posix
def test_an_ascii_locale(tmp_path):
    """Arguments, standard input, output and the names of files."""
    (tmp_path / "é.txt").write_text("Café [MASK].\n", encoding="utf-8")
    wanted = spawn(["fill-mask", "Café [MASK].", *MINI])
    assert wanted[0] == 0 and "Café" in wanted[1]
    assert spawn(["fill-mask", "Café [MASK].", *MINI], **ONLY_ASCII) == wanted
    assert spawn(["fill-mask", "--input", str(tmp_path / "é.txt"), *MINI], **ONLY_ASCII) == wanted
    assert spawn(["fill-mask", "-", *MINI], f"< '{tmp_path}/é.txt'", **ONLY_ASCII) == wanted
    out = str(tmp_path / "ü.jsonl")
    assert spawn(["fill-mask", "Café [MASK].", *MINI, "--output", out], **ONLY_ASCII)[0] == 0
    assert os.path.exists(out)
    code, _, err = spawn(["fill-mask", "x [MASK]", "--model", "./nö"], **ONLY_ASCII)
    assert code == 2 and "./nö" in err


def test_a_locale_with_more_is_taken_at_its_word(monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("began again"))
    for encoding in ("utf-8", "iso8859-1", "cp1252"):
        monkeypatch.setattr(sys, "getfilesystemencoding", lambda encoding=encoding: encoding)
        streams.as_utf8()


def interrupted(words, seconds):
    pipe = subprocess.PIPE
    process = subprocess.Popen([*COMMAND, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@posix
@pytest.mark.sweep
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("seconds", [0.6, 0.8, 1.0, 1.5])
def test_ctrl_c_at_any_moment(seconds):
    """While Python itself begins (0.2 s and less), it is Python's own affair."""
    code, err = interrupted(["fill-mask", "-", *MINI], seconds)
    assert code == 130 and err == ""


def test_ctrl_c_while_the_command_is_imported(monkeypatch):
    class Interrupting:
        def find_spec(self, name, *_):
            if name == "nanodistil.cli.command":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "nanodistil.cli.command", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert main(["--version"]) == 130


def test_ctrl_c_is_not_lost_in_an_import_or_a_destructor(monkeypatch):
    class Ended(Exception):
        pass

    def exit(code):
        assert code == 130
        raise Ended

    monkeypatch.setattr(os, "_exit", exit)
    importing = compile("interrupted(2, sys._getframe())", "<frozen importlib._bootstrap>", "exec")
    with pytest.raises(Ended):
        exec(importing, {"interrupted": interrupts.interrupted, "sys": sys})
    with pytest.raises(KeyboardInterrupt):
        interrupts.interrupted(2, sys._getframe())
    with pytest.raises(Ended):
        interrupts.unraisable(SimpleNamespace(exc_type=KeyboardInterrupt))
