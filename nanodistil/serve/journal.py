"""What is written down: one JSON object a line, for every request and for what happens to the server. Never a text.

    {"time": "...", "event": "request", "id": "...", "client": "...", "route": "/embed", "status": 200, ...}

Paths are written as the routes they are of and errors by their kind, since both may hold what a client wrote.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TextIO


class Journal:
    """Writes lines to `out`; None: nowhere."""

    def __init__(self, out: TextIO | None) -> None:
        self.out = out

    def write(self, event: str, **facts: Any) -> None:
        if self.out is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self.out.write(json.dumps({"time": now, "event": event, **facts}) + "\n")
            self.out.flush()
        except (OSError, ValueError):  # nobody reads it any more; requests are answered all the same
            self.out = None
