"""A model hub on loopback: the part of the protocol that downloads speak, over real HTTP, with faults on demand.

    /<id>/resolve/<revision>/<file>   HEAD, GET: small files at once; those in `large` by a redirect to /cdn/<sha256>
    /cdn/<sha256>                     GET, with Range; on another host name, as tokens must not follow there

Answers carry ETag (git's blob hash, or sha256 by X-Linked-Etag), X-Repo-Commit, X-Linked-Size and X-Error-Code as the
real hub's do. `faults` maps a file's name, or "*", to one of the words that `_Handler` looks for.
"""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """`with HubServer({"org/name": {"config.json": b"{}"}}) as hub:` then hub.url is an HF_ENDPOINT."""

    def __init__(self, models, large=("model.safetensors",)):
        self.models, self.large = models, large
        self.faults = {}
        self.commit = COMMIT
        self.log = []  # (method, path, Range)
        self.served = threading.Event()  # set when the first bytes of a large file have gone out

    def __enter__(self):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.http.daemon_threads = True
        self.http.hub = self
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def fetched(self):
        """Names of the files whose contents were asked for."""
        names = {
            hashlib.sha256(data).hexdigest(): name for files in self.models.values() for name, data in files.items()
        }
        asked = [path.rsplit("/", 1)[1] for method, path, _ in self.log if method == "GET"]
        return [names.get(name, name) for name in asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def log_message(self, *_):
        pass

    def answer(self):
        hub = self.server.hub
        path = unquote(self.path.partition("?")[0])
        hub.log.append((self.command, path, self.headers.get("Range")))
        name = path.rsplit("/", 1)[1]
        fault = hub.faults.get(name) or hub.faults.get("*")
        if path.startswith("/cdn/"):
            by_hash = {
                hashlib.sha256(data).hexdigest(): data for files in hub.models.values() for data in files.values()
            }
            return self.content(by_hash[name], hub.faults.get("cdn"), hub)
        if "/resolve/" not in path:
            return self.refuse(404, "RepoNotFound")
        model_id, _, rest = path[1:].partition("/resolve/")
        known = ("main", "v1.0", "refs/pr/1", hub.commit)
        revision = next((one for one in known if rest.startswith(one + "/")), None)
        if fault in ("401", "403", "500"):
            return self.refuse(int(fault), {"401": "RepoNotFound", "403": "GatedRepo"}.get(fault, ""))
        if fault == "loop":
            return self.head(307, {"Location": path, "Content-Length": "0"})
        if fault == "slow headers":
            return self.trickle(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000)
        files = hub.models.get(model_id)
        if files is None:
            return self.refuse(401, "RepoNotFound")
        if revision is None:
            return self.refuse(404, "RevisionNotFound")
        name = rest.removeprefix(revision + "/")
        if name not in files:
            return self.refuse(404, "EntryNotFound")
        data = files[name]
        sha256, git = hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        if fault == "wrong hash":
            sha256_said, git = hashlib.sha256(b"other").hexdigest(), hashlib.sha1(b"other").hexdigest()
        else:
            sha256_said = sha256
        headers = {"X-Repo-Commit": hub.commit}
        if fault == "evil etag":
            headers["ETag"] = '"../../../evil"'
            return self.content(data, None, hub, headers)
        if fault == "evil commit":
            headers["X-Repo-Commit"] = "../../evil"
        if name in hub.large:
            headers |= {
                "X-Linked-Etag": f'"{sha256_said}"',
                "X-Linked-Size": str(len(data)),
                "ETag": '"of-the-pointer"',
                "Location": f"http://localhost:{self.server.server_port}/cdn/{sha256}",
                "Content-Length": "0",
            }
            return self.head(302, headers)
        headers["ETag"] = f'"{git}"'
        return self.content(data, None, hub, headers)

    def content(self, data, fault, hub, headers=None):
        start = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        ranged = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        self.head(
            206 if start else 200,
            {"Content-Length": str(len(data) - start), "Accept-Ranges": "bytes"} | ranged | (headers or {}),
        )
        if self.command == "HEAD":
            return
        if fault == "truncate":
            self.wfile.write(data[start : len(data) // 2])
            self.close_connection = True
            return
        if fault == "flip":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if fault == "trickle":
            self.wfile.write(data[start : start + len(data) // 2])
            self.wfile.flush()
            hub.served.set()
            self.trickle(data[start + len(data) // 2 :])
            return
        self.wfile.write(data[start:])

    def trickle(self, data):
        """A byte now and then, never enough to trip a read timeout."""
        try:
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.2)
        except OSError:
            self.close_connection = True

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def refuse(self, status, code):
        self.head(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"})
