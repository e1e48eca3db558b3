"""What a client is told that cannot be answered: a status, a kind, one line; in the form its own library reads.

TEI and the Inference API    {"error": "...", "error_type": "Validation"}
OpenAI                       {"error": {"message": "...", "type": "...", "param": ..., "code": ...}}

400 no JSON   401 no key   404, 405 no such path, or model   408 the body does not come   413 too much
422 cannot be used   424 the model failed, or cannot do this   429 not now   500 a bug   503 ends, or is not ready
"""

from __future__ import annotations

import json
from typing import Any

from nanodistil.weights.errors import InputError, NanoDistilError, TooLongError

TYPES = {  # OpenAI's words
    401: "authentication_error",
    424: "server_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class Problem(Exception):
    """Ends a request. retry_after: in seconds; param: the field it is about; code: OpenAI's word, if it has one."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        retry_after: int | None = None,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, " ".join(message.split())
        self.retry_after, self.param, self.code = retry_after, param, code

    def body(self, openai: bool) -> bytes:
        """As JSON, for OpenAI's clients or for others.

        >>> unusable("`inputs` are needed").body(openai=False)
        b'{"error": "`inputs` are needed", "error_type": "Validation"}'
        """
        if not openai:
            return json.dumps({"error": self.message, "error_type": self.kind}).encode()
        kind = TYPES.get(self.status, "invalid_request_error")
        error: dict[str, Any] = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()


def unusable(message: str, param: str | None = None) -> Problem:
    return Problem(422, "Validation", message, param=param)


def too_large(message: str) -> Problem:
    return Problem(413, "Validation", message, code="too_large")


def overloaded(message: str, retry_after: int) -> Problem:
    return Problem(429, "Overloaded", message, retry_after=retry_after, code="overloaded")


def cannot(message: str) -> Problem:
    """What this model has no head for."""
    return Problem(424, "Backend", message, code="not_supported")


def of(error: Exception) -> Problem:
    """The problem that an error of the library is to a client; a bug's words stay here."""
    if isinstance(error, TooLongError):
        return Problem(413, "Validation", str(error), code="context_length_exceeded")
    if isinstance(error, InputError):
        return unusable(str(error))
    if isinstance(error, NanoDistilError):
        return Problem(424, "Backend", str(error))
    if isinstance(error, MemoryError):
        return Problem(424, "Backend", "there is too little memory for this; send shorter texts")
    return Problem(500, "Internal", f"an error of the server's own ({type(error).__name__})")
