"""Runs the steps of steps.py one after the other and says what came of them; one_run.sh calls it.

What is in the folder afterwards, and at any moment before, if the run is killed:

    report.md       the whole on one page: steps, every failure by name with its reason, what a checker found
    facts.txt       device, driver, toolkit, packages
    tests.jsonl     a line when a test begins and when it ends, with the text of a failure
    sanitizer.txt   what compute-sanitizer printed
    figures.txt     exactness and speed, line by line as they are measured
    logs.txt        what everything else printed

Nothing here imports what is being tried: a package that crashes takes a step's process along and not the run. A step
that fails, crashes or is too slow is named, and the next one begins.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from as_it_goes import BROKEN_DEVICE, lines  # noqa: E402
from facts import tool  # noqa: E402
from findings import findings  # noqa: E402
from report import report  # noqa: E402
from steps import PATIENCE, SECONDS, STEPS, Step  # noqa: E402

MOST_PROCESSES = 6
MOST_STARTS = 12  # of processes for one step, if tests keep taking theirs along
TEST_SECONDS = 40.0
TOO_SLOW = "stopped, as its time was up"


class Came(NamedTuple):
    """What came of a step."""

    step: str
    seconds: float
    ended: str  # in words; "" if all went well
    names: tuple[str, ...] = ()  # failures of a script


class Run:
    def __init__(self, out: Path, deadline: float, rehearse: bool, breaking: str, test_seconds: float) -> None:
        self.out, self.deadline, self.rehearse, self.breaking = out, deadline, rehearse, breaking
        self.test_seconds = test_seconds
        self.tests = out / "tests.jsonl"
        self.came: list[Came] = []
        self.begun: list[subprocess.Popen[bytes]] = []  # and perhaps still running

    def environment(self, step: Step, part: str = "0/1") -> dict[str, str]:
        paths = [str(HERE), str(ROOT), *([str(HERE.parent / "emulation")] if self.rehearse else [])]
        if before := os.environ.get("PYTHONPATH"):
            paths.append(before)
        return {
            **os.environ, "PYTHONPATH": os.pathsep.join(paths), "GPU_RUN_TESTS": str(self.tests),
            "GPU_RUN_STEP": step.name, "GPU_RUN_PART": part, "GPU_RUN_TEST_SECONDS": str(self.test_seconds),
            "GPU_RUN_BREAK": self.breaking, "GPU_RUN_REHEARSING": str(int(self.rehearse)), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip

    def begin(self, command: list[str], step: Step, to: str, part: str = "0/1") -> subprocess.Popen[bytes]:
        with open(self.out / to, "ab") as file:
            file.write(f"\n== {step.name}: {' '.join(command)}\n".encode())
            file.flush()
            errors = subprocess.STDOUT if to != "figures.txt" else open(self.out / "logs.txt", "ab")  # noqa: SIM115
            begun = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=errors, cwd=ROOT,
                env=self.environment(step, part), start_new_session=True,
            )  # fmt: skip
        self.begun = [process for process in self.begun if process.poll() is None] + [begun]
        return begun

    def step(self, step: Step) -> Came:
        began = time.monotonic()
        limit = min((step.limit or SECONDS) * (PATIENCE if self.rehearse else 1), self.deadline - began)
        if limit < 1:
            return Came(step.name, 0, "not begun: no time was left")
        until = began + limit
        ended, names = self.by_tests(step, until) if step.tests else self.by_script(step, until)
        return Came(step.name, time.monotonic() - began, ended, names)

    # ---- tests

    def by_tests(self, step: Step, until: float) -> tuple[str, tuple[str, ...]]:
        """In several processes at once; whichever ends with tests left over is started again."""
        asked = step.rehearsal if self.rehearse else step.tests
        command = [sys.executable, "-m", "pytest", "-p", "as_it_goes", "-p", "no:cacheprovider", "-q", "--tb=short"]
        command += ["-m", "", *asked]
        n = 1 if self.rehearse or step.alone else max(1, min(MOST_PROCESSES, (os.cpu_count() or 2) // 2))
        parts = [f"{i}/{n}" for i in range(n)]
        running = {part: self.begin(command, step, "logs.txt", part) for part in parts}
        starts, ended = n, ""
        while running:
            for part, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[part]
                left_one = self.close(step, process)
                if left_one or process.returncode == BROKEN_DEVICE:
                    if starts < MOST_STARTS * n:
                        running[part] = self.begin(command, step, "logs.txt", part)
                        starts += 1
                    else:
                        ended = f"given up: {starts} processes did not get through"
                elif process.returncode not in (0, 1, 5):
                    ended = f"pytest ended with {process.returncode}: logs.txt says why"
            if running and time.monotonic() > until:
                for process in running.values():
                    stop(process)
                    self.close(step, process, TOO_SLOW)
                return TOO_SLOW, ()
            time.sleep(0.05)
        if not ended and not [r for r in lines(str(self.tests)) if r["step"] == step.name]:
            ended = "no test ran: logs.txt says why"
        return ended, ()

    def close(self, step: Step, process: subprocess.Popen[bytes], why: str = "") -> bool:
        """Write down the test that a process ended in, if there is one."""
        open_ones: dict[str, None] = {}
        for record in lines(str(self.tests)):
            if record["pid"] == process.pid and record["step"] == step.name:
                if record["event"] == "began":
                    open_ones[record["test"]] = None
                else:
                    open_ones.pop(record["test"], None)
        for test in open_ones:
            code = process.returncode
            if not why and code is not None and code < 0:
                why = f"took the process along: {signal.Signals(-code).name}"
            why = why or f"took the process along, or did not end in {self.test_seconds:.0f} seconds (exit code {code})"
            with open(self.tests, "a", encoding="utf-8") as file:
                record = {"step": step.name, "pid": process.pid, "test": test, "event": "ended", "seconds": 0}
                file.write(json.dumps({**record, "outcome": "failed", "why": why}) + "\n")
        return bool(open_ones)

    # ---- scripts

    def by_script(self, step: Step, until: float) -> tuple[str, tuple[str, ...]]:
        command = [sys.executable, str(HERE.parent / step.script[0]), *step.script[1:]]
        if self.rehearse:
            command += [*step.rehearsal]
        if step.checker:
            checker = tool("compute-sanitizer")
            if self.rehearse:
                pass  # the emulator watches by itself
            elif not checker:
                return "not begun: there is no compute-sanitizer here", ()
            else:
                command = [checker, "--tool", step.checker, "--error-exitcode", "99", "--print-limit", "100", *command]
        before = (self.out / step.to).stat().st_size if (self.out / step.to).exists() else 0
        process = self.begin(command, step, step.to)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        slow = process.poll() is None
        if slow:
            stop(process)
        with open(self.out / step.to, "rb") as file:
            file.seek(before)
            said = file.read().decode(errors="replace")
        names = tuple(findings(said)) if step.checker else ()
        if slow:
            return ("" if step.limit == 0 else TOO_SLOW), names  # the last step has what is left, and prints as it goes
        if process.returncode and not names:
            last = [line for line in said.splitlines() if line.strip()]
            names = (f"{step.script[0]} ended with {process.returncode}: {last[-1] if last else ''}"[:300],)
        return "", names

    def all(self, steps: list[Step]) -> bool:
        self.write("begun")
        for step in steps:
            self.write(f"in the step {step.name}")
            self.came.append(self.step(step))
            if step.name == "facts" and (self.came[-1].names or self.came[-1].ended) and not self.rehearse:
                return self.write("ended here: what is needed is not there, and in its place would be the emulator")
            self.write(f"after the step {step.name}")
        return self.write("finished")

    def write(self, state: str) -> bool:
        """The report as things are; whether nothing has failed."""
        head = "rehearsed in the emulator, which says nothing of a GPU" if self.rehearse else "on a GPU"
        if self.breaking:
            head += f"; broken on purpose: {self.breaking}"
        text, well = report(f"{head}; {state}", self.came, lines(str(self.tests)), self.out)
        fresh = self.out / "report.md.part"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.out / "report.md")
        return well


def stop(process: subprocess.Popen[bytes]) -> None:
    """A process and what it started; one that hangs in the driver is not waited for long."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=2 if kind == signal.SIGTERM else 5)
        except subprocess.TimeoutExpired:
            continue
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--started", type=float, default=0.0, help="seconds since 1970: when the whole began")
    parser.add_argument("--seconds", type=float, help=f"of the whole; {SECONDS} if nothing is said")
    parser.add_argument("--only", default="", help="these steps, with commas between them")
    parser.add_argument("--rehearse", action="store_true", help="in the emulator, small")
    parser.add_argument("--break", dest="breaking", default="", help="kernels to break on purpose: broken.py")
    parser.add_argument("--test-seconds", type=float, default=TEST_SECONDS, help="after which a test is given up")
    args = parser.parse_args()
    names = [name for name in args.only.split(",") if name]
    known = [step.name for step in STEPS]
    if wrong := [name for name in names if name not in known]:
        parser.error(f"no step is called {wrong[0]}: there are {', '.join(known)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ("tests.jsonl", "logs.txt", "sanitizer.txt", "figures.txt"):
        (args.out / name).unlink(missing_ok=True)  # of a run before
    passed = time.time() - args.started if args.started else 0.0
    seconds = args.seconds or SECONDS * (PATIENCE if args.rehearse else 1)
    run = Run(args.out, time.monotonic() + seconds - passed, args.rehearse, args.breaking, args.test_seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        well = run.all([step for step in STEPS if not names or step.name in names])
    finally:
        for process in run.begun:  # a run that is ended leaves nothing on the GPU
            if process.poll() is None:
                stop(process)
    print((args.out / "report.md").read_text(encoding="utf-8"))
    return not well


if __name__ == "__main__":
    sys.exit(main())
