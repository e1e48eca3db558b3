"""From the hub into the cache, so that what stands in the cache is always whole and always what the hub announced.

huggingface_hub (the extra `hub`) moves the bytes: proxies, tokens, retries, resuming, xet and the progress bar are its
trade. Four things are added here.

1. Offline is decided in 3 seconds. The libraries allow 10 s for a connection, and a DNS lookup has no limit of its own
   at all; so one HEAD request is sent first from a thread that is waited for 3 s and then left behind. Any answer
   counts, 404 and 500 too: someone is there. Only redirects in a circle do not.
2. Only the needed files are fetched, never every format of the same weights: config, tokenizer, the best one there is.
3. The contents are hashed. The hub announces the sha256 of a large file (and git's sha1 of a small one) as its ETag;
   over plain HTTP, huggingface_hub compares sizes only. A wrong file is refused and deleted.
4. Files arrive in a folder aside, and are moved into the cache when their hash has been seen to be right; the ref
   (`main`) is written last. A process killed at any moment therefore leaves the cache without the file, or with it.
   The folder aside belongs to one process at a time (a file lock), and is emptied at the end or by the next one.
"""

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

from .cache import COMMIT, storage
from .errors import CheckpointError, MissingExtraError, ModelNotFoundError, NanoDistilError, excerpt
from .files import (
    ADAPTER_CONFIG,
    ADAPTER_FILES,
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER_EXTRAS,
    TORCH,
    VOCABULARIES,
    WEIGHT_FILES,
    WEIGHTS,
    is_index,
    shards,
)
from .sentence_modules import MODULES, OF_MODEL, SETTINGS, behind

OFFLINE_SECONDS = 2.7  # for the decision; with starting Python, under 3 s
_ETAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


def download(model_id: str, need: str, revision: str, cache: Path, token: str | bool | None = None) -> Path:
    """The folder of a snapshot holding the files of `need`, fetched if they are not there yet.

    The arguments have been validated (hub.resolve does). Raises MissingExtraError without huggingface_hub,
    ModelNotFoundError if the model cannot be had, CheckpointError if what came is not what was announced.
    """
    if offline_by_choice():
        raise ModelNotFoundError(f"{model_id} cannot be downloaded: HF_HUB_OFFLINE forbids it")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingExtraError(f'to download {model_id}: pip install "nanodistil[hub]"')
    if str(cache).startswith("~"):
        raise ModelNotFoundError(f"{model_id} cannot be downloaded: there is no home folder to keep it in; set HF_HOME")
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    reason = unreachable(f"{endpoint}/{model_id}/resolve/{quote(revision, safe='')}/{CONFIG}")
    if reason:
        raise ModelNotFoundError(f"{model_id} cannot be downloaded: {endpoint} is out of reach ({reason})")
    with _plain_errors(model_id, revision, endpoint):
        return _Fetch(model_id, revision, cache, endpoint, token).run(need)


def offline_by_choice() -> bool:
    """Whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the network."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def unreachable(url: str, seconds: float = OFFLINE_SECONDS) -> str:
    """Why nobody answers at `url` (through the environment's proxies) within `seconds`, or "" if somebody does."""
    import ssl  # half of what this module takes to import; not needed if there is no huggingface_hub
    import urllib.error
    import urllib.request

    answers: list[str] = []

    def ask() -> None:
        try:
            proxies = urllib.request.getproxies()
            for scheme in ("http", "https"):
                if "all" in proxies:
                    proxies.setdefault(scheme, proxies["all"])
            if any(address.startswith("socks") for address in proxies.values()):
                answers.append("")  # urllib does not speak SOCKS: let the library try
                return
            opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
            opener.open(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
            answers.append("")
        except urllib.error.HTTPError as error:
            # Redirects are followed here, up to ten: huggingface_hub 1.0 follows them for ever.
            answers.append("redirects in a loop" if 300 <= error.code < 400 else "")
        except urllib.error.URLError as error:
            # A certificate we do not know: the library may have been told of others (REQUESTS_CA_BUNDLE).
            answers.append("" if isinstance(error.reason, ssl.SSLError) else str(error.reason))
        except Exception as error:  # http.client's errors, a proxy that cannot be parsed: no one who speaks HTTP
            answers.append(f"{type(error).__name__}: {error}")

    # A daemon thread: a lookup that hangs in the C library cannot be stopped, only not waited for.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"no answer in {seconds:.0f} s"


class _Fetch:
    """One model at one revision on its way into the cache."""

    def __init__(self, model_id: str, revision: str, cache: Path, endpoint: str, token: str | bool | None) -> None:
        self.model_id, self.revision, self.endpoint, self.token = model_id, revision, endpoint, token
        self.home = storage(cache, model_id)
        self.aside = cache / ".nanodistil-incoming" / self.home.name
        self.commit: str | None = None  # known from the first answer on, and the same for all files

    def run(self, need: str) -> Path:
        self.aside.parent.mkdir(parents=True, exist_ok=True)
        with import_module("huggingface_hub.utils").WeakFileLock(f"{self.aside}.lock"):
            try:
                adapter = not self.file(CONFIG, optional=True) and self.file(ADAPTER_CONFIG, optional=True)
                if adapter:
                    self.adapter()
                    need = "config"  # all else is its base's
                self.file(ADAPTER_CONFIG if adapter else CONFIG)
                if need in ("tokenizer", "all"):
                    found = [name for name in VOCABULARIES if self.file(name, optional=True)]
                    if not found:
                        raise ModelNotFoundError(f"{self.model_id} has neither {' nor '.join(VOCABULARIES)}")
                    for name in TOKENIZER_EXTRAS:
                        self.file(name, optional=True)
                if need in ("model", "all"):
                    self.weights()
                if self.revision != self.commit:
                    _write(self.home / "refs" / self.revision, str(self.commit))
            finally:
                shutil.rmtree(self.aside, ignore_errors=True)
        return self.snapshot()

    def weights(self) -> None:
        """The one form of the weights that files.py prefers among those the hub has; and how a model writes.

        What stands behind a model of sentence-transformers comes first: who finds the weights finds that too.
        """
        self.file(GENERATION_CONFIG, optional=True)
        if listed := self.file(MODULES, optional=True):
            for name in (*OF_MODEL, SETTINGS, *(f"{path}/{CONFIG}" for path in behind(listed.parent))):
                self.file(name, optional=True)
            for path in behind(listed.parent):
                self.file(f"{path}/{WEIGHTS}", optional=True) or self.file(f"{path}/{TORCH}", optional=True)
        for name in WEIGHT_FILES:
            file = self.file(name, optional=True)
            if file is not None:
                for shard in shards(file) if is_index(name) else ():
                    self.file(shard)
                return
        raise ModelNotFoundError(f"{self.model_id} has no weights: none of {', '.join(WEIGHT_FILES)}")

    def adapter(self) -> None:
        """An adapter's weights, and its tokenizer if it has one of its own."""
        for name in (*VOCABULARIES, *TOKENIZER_EXTRAS):
            self.file(name, optional=True)
        if not any(self.file(name, optional=True) for name in ADAPTER_FILES):
            raise ModelNotFoundError(
                f"{self.model_id} is an adapter without weights: none of {', '.join(ADAPTER_FILES)}"
            )

    def snapshot(self) -> Path:
        return self.home / "snapshots" / str(self.commit)

    def file(self, name: str, optional: bool = False) -> Path | None:
        """The file in the snapshot, fetched if need be; None if it is optional and the model has none."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError

        target = self.snapshot() / name
        if self.commit and target.is_file():
            return target
        revision = self.commit or self.revision
        try:
            url = hf_hub_url(self.model_id, name, revision=revision, endpoint=self.endpoint)
            announced = get_hf_file_metadata(url, token=self.token)
        except EntryNotFoundError:
            if optional:
                return None
            raise
        commit, etag = str(announced.commit_hash), str(announced.etag)
        # Both become parts of paths, there as here.
        if not COMMIT.fullmatch(commit) or not _ETAG.fullmatch(etag) or ".." in etag:
            raise CheckpointError(
                f"{self.endpoint} answered with commit {excerpt(commit)} and ETag {excerpt(etag)}: no hub does that"
            )
        if self.commit not in (None, commit):
            raise CheckpointError(f"{self.endpoint} answered with commit {commit} when asked for {self.commit}")
        self.commit = commit
        target = self.snapshot() / name
        if target.is_file():
            return target
        blob = self.home / "blobs" / etag
        if not blob.is_file():
            name_aside = hf_hub_download(
                self.model_id,
                name,
                revision=commit,
                cache_dir=self.aside,
                token=self.token,
                endpoint=self.endpoint,
            )
            came = Path(name_aside).resolve()
            _check_hash(came, etag, f"{self.model_id}/{name}")
            blob.parent.mkdir(parents=True, exist_ok=True)
            os.replace(came, blob)
        _link(blob, target)
        return target


def _check_hash(file: Path, etag: str, name: str) -> None:
    """Compare with the announced hash: sha256 for files in large-file storage, git's blob hash for the others.

    Reading back costs 0.2 s for 268 MB if the processor has SHA instructions.
    """
    with file.open("rb") as content:
        if re.fullmatch(r"[0-9a-f]{64}", etag):
            found = hashlib.file_digest(content, "sha256").hexdigest()
        elif re.fullmatch(r"[0-9a-f]{40}", etag):
            git = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
            git.update(content.read())
            found = git.hexdigest()
        else:
            return  # a mirror's own ETag: nothing to compare with
    if found != etag:
        file.unlink()
        raise CheckpointError(f"{name}: the hash of what came is {found}, announced was {etag}; refused and deleted")


def _link(blob: Path, target: Path) -> None:
    """target -> blob, relative and in one step; if the system has no links, the file itself goes there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        fresh.symlink_to(os.path.relpath(blob, target.parent))
    except (OSError, NotImplementedError):
        os.replace(blob, target)
    else:
        os.replace(fresh, target)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text, encoding="ascii")
    os.replace(fresh, file)


@contextmanager
def _plain_errors(model_id: str, revision: str, endpoint: str) -> Iterator[None]:
    """Whatever huggingface_hub and its HTTP library raise, as one line of our own.

    Everything is caught: the library below is requests, httpx or httpx2 by version, with three families of errors.
    """
    from huggingface_hub import errors

    try:
        yield
    except NanoDistilError:
        raise
    except errors.GatedRepoError:
        say = f"{model_id} is gated: accept its terms on {endpoint}/{model_id}, then set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        say = f"{endpoint} knows no model {model_id}; if it is a private one, set HF_TOKEN"
    except errors.RevisionNotFoundError:
        say = f"{model_id} has no revision {excerpt(revision)}"
    except errors.LocalEntryNotFoundError as error:
        say = f"{model_id}: the download failed ({_first_line(error.__cause__ or error)})"
    except errors.EntryNotFoundError as error:
        say = f"{model_id} lacks a file a model needs ({_first_line(error)})"
    except errors.HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401:
            say = f"{endpoint} wants a valid token for {model_id} (status 401): set HF_TOKEN"
        else:
            say = f"{model_id}: {endpoint} answered with an error ({_first_line(error)})"
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            say = f"{model_id}: the disk is full; HF_HOME can point to another one"
        else:
            say = f"{model_id}: the download failed ({_first_line(error)})"
    else:
        return
    raise ModelNotFoundError(say) from None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
