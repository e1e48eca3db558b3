"""A Chromium that a test drives: its own protocol, over two pipes, so that nothing but the browser is needed.

Where there is none, `find` gives None and tests skip. `Tab` keeps what a page may not do: errors, and requests.
"""

import base64
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from contextlib import suppress

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--remote-debugging-pipe",
]
KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), " ": (" ", 32), "Home": ("", 36), "End": ("", 35)}
KEYS |= {f"Arrow{way}": ("", 37 + i) for i, way in enumerate(("Left", "Up", "Right", "Down"))}
PATIENCE = 60  # seconds till a page that answers nothing is given up


def find():
    """The browser's program, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A browser for the length of a `with`."""

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.into, self.out, theirs = None, None, []
        for ours, n in (("out", 0), ("into", 1)):  # the browser reads what we write on 3, and writes on 4
            ends = os.pipe()
            setattr(self, ours, ends[1 - n])
            theirs.append(fcntl.fcntl(ends[n], fcntl.F_DUPFD_CLOEXEC, 10))  # out of the way of 3 and 4
            os.close(ends[n])
        line = [find(), *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"]
        moves = [(os.POSIX_SPAWN_DUP2, theirs[0], 3), (os.POSIX_SPAWN_DUP2, theirs[1], 4)]
        quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        self.process = os.posix_spawn(line[0], line, os.environ, file_actions=[*moves, quiet])
        for end in theirs:
            os.close(end)
        self.number, self.left, self.tabs, self.answers = 0, b"", {}, {}
        return self

    def __exit__(self, *_):
        with suppress(OSError, EOFError):
            self.ask("Browser.close")
        end = time.monotonic() + 10
        while os.waitpid(self.process, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(self.process, signal.SIGKILL)
            time.sleep(0.05)
        os.close(self.out)
        os.close(self.into)
        self.profile.cleanup()

    def ask(self, method, session=None, **arguments):
        """The result of a method of the protocol. Events that come before it go to their tabs."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": arguments}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data) :]
        while True:
            found = self.next()
            if found.get("id") == self.number:
                assert "error" not in found, (method, found)
                return found["result"]

    def next(self):
        """The next message; an event is noted too."""
        while b"\0" not in self.left:
            more = os.read(self.into, 1 << 20)
            if not more:
                raise EOFError("the browser has ended")
            self.left += more
        one, _, self.left = self.left.partition(b"\0")
        found = json.loads(one)
        if "method" in found and found.get("sessionId") in self.tabs:
            self.tabs[found["sessionId"]].note(found["method"], found["params"])
        return found

    def tab(self, width=1280, height=900, dark=False):
        """A new tab."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.tabs[session] = tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.ask(f"{domain}.enable")
        tab.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.ask("Emulation.setEmulatedMedia", features=[scheme])
        return tab


class Tab:
    """A page, with what went wrong on it and what it asked for."""

    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        self.errors, self.requests = [], []

    def ask(self, method, **arguments):
        return self.browser.ask(method, self.session, **arguments)

    def note(self, method, event):
        if method == "Runtime.exceptionThrown":
            self.errors.append(event["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.errors.append(str(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.errors.append(event["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])

    def open(self, path):
        """Load a file and wait till it is drawn; the milliseconds that took, as the page tells."""
        self.ask("Page.navigate", url=path.as_uri())
        return int(self.until("document.documentElement?.dataset.ready"))

    def js(self, expression):
        """The value of an expression."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression):
        """Its value, once it is true."""
        end = time.monotonic() + PATIENCE
        while not self.js(f"!!({expression})"):
            assert time.monotonic() < end, f"never true: {expression} ({self.errors})"
            time.sleep(0.02)
        return self.js(expression)

    def key(self, name, times=1, shift=False):
        """Press a key, as a person would."""
        text, code = KEYS.get(name, (name, ord(name[0].upper())))
        event = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        for _ in range(times):
            self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **event)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text):
        for character in text:
            self.key(character)

    def click(self, selector, dx=0.5, dy=0.5):
        """Press the mouse on an element, at this share of its width and height."""
        at = f"document.querySelector({json.dumps(selector)})"
        x, y = self.js(
            f"(() => {{ {at}.scrollIntoView({{block: 'center'}}); const r = {at}.getBoundingClientRect();"
            f" return [r.left + {dx} * r.width, r.top + {dy} * r.height]; }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def focus(self, selector):
        self.js(f"document.querySelector({json.dumps(selector)}).focus()")

    def picture(self, path, whole=False):
        """A screenshot."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
