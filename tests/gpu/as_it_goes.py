"""A plugin of pytest's for runs on a GPU: every test is written down when it begins and when it ends, a line of JSON.

So a run that is killed still tells, up to the test that was running. And one wrong kernel does not take the others
along: after an illegal access CUDA answers every later call of the process with the same error. So the device is asked
after each test whether it is well. That is the moment, too, at which an error of a launch that nobody waited for
comes up, and it is this test's. If it is not well the process ends, and run.py starts another for the tests that are
left. A test that takes too long ends its process likewise: a kernel that never returns cannot be interrupted.

Only tests that ask for the GPU are run: those with the fixture `cupy`, or with "cupy" for their backend. Several
processes share out the tests of one step.

From the environment: GPU_RUN_TESTS, the file; GPU_RUN_STEP; GPU_RUN_PART, "0/4" for the first of four processes;
GPU_RUN_TEST_SECONDS.
"""

import faulthandler
import json
import os
import sys
import time

import pytest

BROKEN_DEVICE = 86  # exit status
MOST_TEXT = 4000  # characters of a failure that are kept


def asks_for_the_gpu(item) -> bool:
    of = getattr(item, "callspec", None)
    return "cupy" in getattr(item, "fixturenames", ()) or (of is not None and of.params.get("backend") == "cupy")


def lines(file: str) -> list[dict]:
    """What stands in a file of these lines; of one that was cut short, all but the last."""
    found = []
    if os.path.exists(file):
        with open(file, encoding="utf-8") as records:
            for line in records:
                if line.endswith("\n"):
                    found.append(json.loads(line))
    return found


def emulated() -> bool:
    """Whether what a test just ran on was the stand-in for CuPy, which the tests take if no GPU answers."""
    gpu = sys.modules.get("nanodistil.kernels.gpu.cuda_source")
    return gpu is not None and hasattr(gpu.cupy, "emulation")


def device_is_well() -> str:
    """ "" if the GPU answers, or there is none; otherwise its error."""
    cupy = sys.modules.get("cupy")
    if cupy is None or emulated():
        return ""
    try:
        cupy.cuda.runtime.deviceSynchronize()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


class AsItGoes:
    def __init__(self, file: str, step: str, part: str, seconds: float) -> None:
        self.file, self.step, self.seconds = file, step, seconds
        self.part, self.parts = map(int, part.split("/"))
        self.rehearsing = os.environ.get("GPU_RUN_REHEARSING") == "1"
        self.worst = {}  # of the test that runs: its phases' outcomes

    def write(self, **record) -> None:
        line = json.dumps({"step": self.step, "pid": os.getpid(), **record}) + "\n"
        file = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())  # one call, so that lines of several processes do not mix
        finally:
            os.close(file)

    def pytest_collection_modifyitems(self, config, items):
        over = {record["test"] for record in lines(self.file) if record["step"] == self.step}
        asked = [item for item in items if asks_for_the_gpu(item)]
        items[:] = [t for n, t in enumerate(asked) if n % self.parts == self.part and t.nodeid not in over]

    def pytest_runtest_logstart(self, nodeid, location):
        self.worst, self.began = {"outcome": "passed"}, time.monotonic()
        self.write(test=nodeid, event="began")
        faulthandler.dump_traceback_later(self.seconds, exit=True)

    def pytest_runtest_logreport(self, report):
        if report.outcome != "passed" and self.worst["outcome"] != "failed":
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else self.said(report)
            self.worst = {"outcome": report.outcome, "why": why, "text": str(report.longrepr)[-MOST_TEXT:]}
            if report.outcome == "skipped":
                del self.worst["text"]

    @staticmethod
    def said(report) -> str:
        """A failure in one line."""
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash else str(report.longrepr)
        return " ".join(text.split())[:300]

    def pytest_runtest_logfinish(self, nodeid, location):
        faulthandler.cancel_dump_traceback_later()
        wrong = device_is_well()
        if self.worst["outcome"] == "passed" and emulated() and not self.rehearsing:
            self.worst = {"outcome": "failed", "why": "ran in the emulator: CuPy finds no GPU"}
        if wrong and self.worst["outcome"] != "failed":
            self.worst = {"outcome": "failed", "why": f"the GPU says afterwards: {wrong}"}
        self.write(test=nodeid, event="ended", seconds=round(time.monotonic() - self.began, 2), **self.worst)
        if wrong:
            pytest.exit(f"the GPU answers no more: {wrong}", returncode=BROKEN_DEVICE)


def pytest_configure(config):
    said = os.environ
    if "GPU_RUN_TESTS" in said:
        seconds = float(said["GPU_RUN_TEST_SECONDS"])
        config.pluginmanager.register(
            AsItGoes(said["GPU_RUN_TESTS"], said["GPU_RUN_STEP"], said["GPU_RUN_PART"], seconds), "as-it-goes"
        )
    if said.get("GPU_RUN_BREAK"):
        import broken

        config.pluginmanager.register(broken.Breaking(said["GPU_RUN_BREAK"].split(",")), "broken")
