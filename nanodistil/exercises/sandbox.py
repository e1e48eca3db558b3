"""A process for a learner's code, and what becomes of it: it may answer, crash, hang, leave, or eat all memory.

The child (sandboxed.py) says what it is about and how long that may take. If the time is over it is ended, and what it
was about is reported. Time is the child's own: on a busy machine it may take longer, as long as it is waiting for the
processor and not for something else.

If compiled code has crashed, or is wrong in a way that nobody knows, the cases are run once more as plain Python
(NUMBA_DISABLE_JIT=1), where an index out of range is an error with a line.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import nanodistil
from nanodistil.exercises.exercise import Exercise
from nanodistil.exercises.report import of_verdict

ROOT = str(Path(nanodistil.__file__).resolve().parents[1])
BEGIN = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root)\n"
    "from nanodistil.exercises.sandboxed import main; main(sys.argv[1:])"
)
TICK = 0.1  # seconds
IDLE = 5  # ticks
PATIENCE = 20  # times as long as a step may take, if the machine is busy
MOST = 3 << 30  # bytes, where the system has no limit of its own
KEPT = 200  # characters of what was printed


@dataclass
class Child:
    """What is known of a process."""

    at: str = ""  # what it is about
    began: float = 0.0
    seconds: float = 0.0
    compiling: list[float] = field(default_factory=list)  # what `seconds` was before; one compilation starts others
    idle: int = 0  # ticks for which nothing of it ran or would have liked to
    cpu: float = 0.0  # its processor time when that began
    numba: bool = False
    ended: bool = False
    cannot: str = ""
    passed: bool = False
    verdict: dict[str, Any] = field(default_factory=dict)
    printed: bytearray = field(default_factory=bytearray)
    lines: int = 0  # that it printed
    why: str = ""  # it was ended


def check(exercise: Exercise, path: Path, say: Callable[[list[str]], None]) -> bool:
    """Check a learner's file, and say what is found as it is found. Whether it has passed."""
    child = run(exercise, path, "all", say)
    found = child.why or child.cannot
    beside = any("out of range" in failure["why"] for failure in child.verdict.get("failures", []))
    if child.numba and not child.passed and not child.cannot and (beside or not child.verdict.get("slips")):
        plain = run(exercise, path, "cases", lambda lines: None, {"NUMBA_DISABLE_JIT": "1"})
        raised = [f for f in plain.verdict.get("failures", []) if "IndexError" in f["why"]]
        if raised:
            say([f"as plain Python (NUMBA_DISABLE_JIT=1), where indices are checked: {raised[0]['why']}"])
    if found:
        say([f"{exercise.name}: {found}"])
    if child.lines:
        first = bytes(child.printed).decode("utf-8", "replace").splitlines()[0][:KEPT]
        say([f"(your code printed {child.lines:,} line{'s' * (child.lines != 1)}; the first: {first})"])
    return child.passed and not found


def run(
    exercise: Exercise, path: Path, how: str, say: Callable[[list[str]], None], more: dict[str, str] | None = None
) -> Child:
    """One process, from its beginning to its end."""
    reading, writing = os.pipe()
    threads = dict.fromkeys(
        ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
    )
    command = [sys.executable, "-P", "-u", "-c", BEGIN, ROOT, exercise.name, str(path.resolve()), str(writing), how]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **threads, **(more or {})}, pass_fds=(writing,), start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(writing)
    child = Child(seconds=60.0, began=monotonic())
    try:
        listen(process, reading, child, exercise, say)
    finally:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(reading)
        if process.stdout:
            process.stdout.close()
    return child


def listen(
    process: subprocess.Popen[bytes], reading: int, child: Child, exercise: Exercise, say: Callable[[list[str]], None]
) -> None:
    """Until the child has told all, is gone, or takes too long."""
    assert process.stdout
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        selector.register(process.stdout.fileno(), selectors.EVENT_READ)
        while not child.ended:
            for key, _ in selector.select(TICK):
                data = os.read(key.fd, 1 << 16)
                if key.fd != reading:
                    child.lines += data.count(b"\n")
                    child.printed += data[: max(0, 4 * KEPT - len(child.printed))]
                    if not data:
                        selector.unregister(key.fd)
                    continue
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    _heard(json.loads(line), child, process.pid, exercise, say)
                if not data:
                    process.wait()  # it has closed the pipe
                    if not (child.ended or child.cannot):
                        child.why = _gone(process.returncode, child)
                    return
            if why := _too_much(process.pid, child):
                child.why = why
                return


def _heard(
    message: dict[str, Any], child: Child, pid: int, exercise: Exercise, say: Callable[[list[str]], None]
) -> None:
    if "at" in message:
        child.at, child.seconds, child.compiling = message["at"], message["seconds"], []
    if "compiling" in message:  # the step begins anew behind it
        if message["compiling"]:
            child.compiling.append(child.seconds)
            child.seconds = message["seconds"]
        else:
            child.seconds = child.compiling.pop()
    if "at" in message or "compiling" in message:
        child.began, child.cpu = monotonic(), _cpu(pid)[0]
    child.numba |= "numba" in message
    child.cannot = message.get("cannot", child.cannot)
    child.ended |= "end" in message
    if "verdict" in message:
        child.verdict = message["verdict"]
        child.passed = bool(child.verdict["cases"]) and not child.verdict["failures"]
        lines = of_verdict(child.verdict, exercise.name)
        if child.passed:
            lines[0] += f"; {message['lines']} lines of code (about {exercise.lines} will do)"
        say(lines)
    if "report" in message:
        say(message["report"])


def _gone(code: int, child: Child) -> str:
    where = f" at: {child.at}" if child.at else ""
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; is an index out of range?" if name in ("SIGSEGV", "SIGBUS", "SIGABRT") else ""
        return f"it crashed ({name}){where}{hint}"
    return f"it ended the process (exit code {code}){where}"


def _too_much(pid: int, child: Child) -> str:
    """Why the child has to be ended; "" if it has not."""
    over = monotonic() - child.began
    if sys.platform != "linux" and _resident(pid) > MOST:
        return f"it needs more than {MOST >> 30} GB of memory at: {child.at}"
    if over < child.seconds:
        return ""
    used, waits = _cpu(pid)
    child.idle = 0 if waits else child.idle + 1
    if child.idle < IDLE and used - child.cpu < child.seconds and over < PATIENCE * child.seconds:
        return ""  # it waits for the processor
    return f"it does not end: more than {child.seconds:.0f} s at: {child.at}"


def _cpu(pid: int) -> tuple[float, bool]:
    """Seconds of processor time, and whether any thread runs or would like to; (0, False) if that is not known."""
    with suppress(OSError, ValueError, IndexError):
        threads = [path.read_text(errors="replace").rpartition(")")[2].split() for path in _threads(pid)]
        ticks = sum(int(stat[11]) + int(stat[12]) for stat in threads)
        return ticks / os.sysconf("SC_CLK_TCK"), any(stat[0] in "RD" for stat in threads)
    return 0.0, False


def _threads(pid: int) -> list[Path]:
    return [path / "stat" for path in Path(f"/proc/{pid}/task").iterdir()]


def _resident(pid: int) -> int:
    """Bytes in memory, as ps has it; 0 if it is not known."""
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        return 1024 * int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, timeout=5).stdout)
    return 0
