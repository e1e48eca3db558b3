"""A server in a process of its own, and requests to it by nothing but the standard library."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager


class Live:
    """`nanodistil serve`, running."""

    def __init__(self, *argv, **environment):
        command = [sys.executable, "-m", "nanodistil", "serve", *argv]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
        self.events, self.port, self.ready = [], None, threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self.ready.wait(240):
            self.process.kill()
            raise AssertionError(f"not ready: {self.events[-5:]}")

    def _read(self):
        for line in self.process.stderr:
            event = json.loads(line) if line[:1] == "{" else {"event": "other", "said": line}
            self.events.append(event)
            if found := re.search(r"running on https?://[^:]+:(\d+)", event.get("said", "")):
                self.port = int(found[1])
            if event["event"] == "ready":
                self.ready.set()
        self.ready.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, headers=()):
        """status, headers, JSON"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), dict(headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def post(self, path, body, **more):
        status, _, answer = self.ask("POST", path, body, **more)
        assert status == 200, answer
        return answer

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def end(self, signal):
        self.process.send_signal(signal)
        return self.process.wait(60)


@contextmanager
def live(*argv, **environment):
    """A server that is ready, killed at the end if it is still there."""
    server = Live(*argv, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        for _ in range(100):
            if server.process.stderr.closed:
                break
            time.sleep(0.001)
