"""The door, opened: uvicorn on a port or a Unix socket, until a signal; then what was begun is finished.

SIGTERM stops listening, lets requests that are being answered end within a grace time, and the exit code is 0.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.middleware.cors import CORSMiddleware

from nanodistil.serve.door import Door
from nanodistil.serve.patience import Patient
from nanodistil.serve.site import Site
from nanodistil.weights.errors import InputError

SWITCH = 0.0005  # seconds that a thread may keep the interpreter while another waits: the kernels' own comes back often


class Told(logging.Handler):
    """What uvicorn has to say, in the journal."""

    def __init__(self, site: Site) -> None:
        super().__init__(logging.INFO)
        self.site = site

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage() if record.exc_info is None else "an error, see the event before"
        self.site.journal.write("server", level=record.levelname.lower(), said=words)


class Server(uvicorn.Server):
    """uvicorn's, which says that it is not ready as soon as it is told to end."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self.site = site

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.site.ready = False
        super().handle_exit(sig, frame)


def application(site: Site, origins: Sequence[str] = ()) -> Any:
    """What speaks ASGI; origins: of pages that may ask from a browser."""
    door = Door(site)
    if not origins:
        return door
    return CORSMiddleware(
        door,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-request-id"],
        expose_headers=["retry-after", "x-request-id"],
    )


def listen(
    site: Site,
    *,
    host: str,
    port: int,
    uds: str | None = None,
    origins: Sequence[str] = (),
    certificate: str | None = None,
    key: str | None = None,
    grace: int = 30,
) -> int:
    """Answer until a signal comes; the exit code. Raises InputError where it cannot listen."""
    for path in (certificate, key):
        if path is not None and not Path(path).is_file():
            raise InputError(f"{path}: there is no such file")
    if uds is not None and Path(uds).is_socket():
        Path(uds).unlink()  # of a server that was killed
    try:
        config = uvicorn.Config(
            application(site, origins),
            host=host,
            port=port,
            uds=uds,
            http=Patient,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            timeout_graceful_shutdown=grace,
            backlog=1024,
        )
        config.load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InputError(f"TLS cannot be set up with {certificate} and {key}: {error}") from None
    logger = logging.getLogger("uvicorn.error")
    logger.handlers, logger.propagate = [Told(site)], False
    logger.setLevel(logging.INFO)
    sys.setswitchinterval(SWITCH)
    signal.signal(signal.SIGTERM, lambda *_: None)  # what uvicorn raises again when all is done
    server = Server(config, site)
    try:
        server.run()
    except OSError as error:
        raise InputError(f"cannot listen on {uds or f'{host}:{port}'}: {error.strerror or error}") from None
    except SystemExit as error:
        if error.code:
            raise InputError(f"cannot listen on {uds or f'{host}:{port}'}; is something else listening?") from None
    return 0
