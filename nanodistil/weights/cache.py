"""The user's Hugging Face cache, read without huggingface_hub: models other programs downloaded are found here.

    <cache>/models--distilbert--distilbert-base-uncased/
      refs/main                     a commit hash, as text
      snapshots/<commit>/<file>     links into blobs/ (plain files if the system has no links)
      blobs/<etag>                  the contents, named by their hash

<cache> is HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else
~/.cache/huggingface/hub. Any file here may be torn or missing (a download killed, a disk filled), so nothing is
assumed: a ref that is no hash, a link to nothing or a snapshot without files is a model that is not there.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from .embedded import EMBEDDED as EMBEDDED
from .embedded import EMBEDDED_NAME as EMBEDDED_NAME
from .embedded import HOME, NAMES
from .errors import CheckpointError, excerpt
from .files import CONFIG, is_adapter, missing
from .small_files import FOR_CONFIG, read_json

COMMIT = re.compile(r"[0-9a-f]{40}")
KINDS = ("distilbert", "bert", "roberta", "gpt2")  # the families, of which this folder knows no more
# The hub's rules: at most 96 characters, word characters at both ends; no "--", "..", ".git" (see valid_id).
_ID = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?/)?[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,94}[A-Za-z0-9_])?"
)
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")


def cache_folder(explicit: str | Path | None = None) -> Path:
    """Where the cache is; the environment is read at each call."""
    env = os.environ.get
    home = env("HF_HOME") or os.path.join(env("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    place = explicit or env("HF_HUB_CACHE") or env("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(os.path.expanduser(place)))


def valid_id(name: str) -> bool:
    """Whether the hub could have a model of this name; nothing else is ever made into a path or a URL.

    >>> valid_id("distilbert/distilbert-base-uncased"), valid_id("bert"), valid_id("../etc"), valid_id("a/b/c")
    (True, True, False, False)
    """
    return bool(_ID.fullmatch(name)) and "--" not in name and ".." not in name and not name.endswith(".git")


def valid_revision(revision: str) -> bool:
    """Whether `revision` can be a branch, tag, `refs/pr/1` or commit.

    >>> valid_revision("main"), valid_revision("refs/pr/1"), valid_revision("../../x"), valid_revision("/etc")
    (True, True, False, False)
    """
    return len(revision) < 200 and bool(_REVISION.fullmatch(revision)) and ".." not in revision


def storage(cache: Path, model_id: str) -> Path:
    """The folder of one model in the cache."""
    return cache / ("models--" + model_id.replace("/", "--"))


def find(cache: Path, model_id: str, revision: str, need: str) -> Path | None:
    """The snapshot of a model that has all files of `need`, or None. Never raises for what lies in the cache."""
    home = storage(cache, model_id)
    commit = revision if COMMIT.fullmatch(revision) else _ref(home / "refs" / revision)
    if commit is None:
        return None
    snapshot = home / "snapshots" / commit
    try:
        return None if missing(snapshot, need) else snapshot
    except (CheckpointError, OSError):
        return None


class CachedModel(NamedTuple):
    """A row of `nanodistil models`."""

    id: str
    revisions: dict[str, str]  # name of a ref, or the commit again if none points at it -> commit
    size: int  # bytes on disk, all revisions and formats together
    lacks: str  # why nanodistil cannot use it; "" if it can
    folder: str  # of the newest usable revision; "" if none is


def cached_models(cache: str | Path | None = None) -> list[CachedModel]:
    """All models of the cache, and the embedded ones first. Never raises for what lies in the cache."""
    found = [CachedModel(name, {}, _size(HOME / name), _lacks(HOME / name), str(HOME / name)) for name in NAMES]
    for home in sorted(_listed(cache_folder(cache), "models--*")):
        model_id = home.name.removeprefix("models--").replace("--", "/")
        if not valid_id(model_id):
            continue
        snapshots = {s.name: s for s in _listed(home / "snapshots", "*") if COMMIT.fullmatch(s.name)}
        revisions = {commit: commit for commit in snapshots}
        for ref in _listed(home / "refs", "**/*"):
            commit = _ref(ref)
            if commit in snapshots:
                revisions = {name: c for name, c in revisions.items() if name != commit}
                revisions[ref.relative_to(home / "refs").as_posix()] = commit
        verdicts = {commit: _lacks(folder) for commit, folder in snapshots.items()}
        usable = [commit for commit, lacks in verdicts.items() if not lacks]
        main = revisions.get("main")
        best = main if main in usable else max(usable, key=lambda c: _changed(snapshots[c]), default="")
        lacks = "" if usable else next(iter(verdicts.values()), "has no files")
        folder = str(snapshots[best]) if best else ""
        found.append(CachedModel(model_id, revisions, _size(home), lacks, folder))
    return found


def _ref(file: Path) -> str | None:
    try:
        with file.open("rb") as ref:
            commit = ref.read(100).decode("ascii").strip()
    except (OSError, ValueError):  # not there, a folder, not text
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _lacks(folder: Path) -> str:
    """What keeps a folder from being used, in a few words; "" if nothing does."""
    try:
        files = missing(folder, "all")
        if files:
            return "lacks " + ", ".join(files)
    except (CheckpointError, OSError):
        return "has a broken index of shards"
    if is_adapter(folder):
        return ""
    try:
        kind = read_json(folder / CONFIG, FOR_CONFIG).get("model_type", "distilbert")
    except CheckpointError:
        return "has a broken config.json"
    return "" if kind in KINDS else f"is a {excerpt(kind)}, which nanodistil has not"


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []


def _size(folder: Path) -> int:
    """Bytes of the files below `folder`, links not followed, so that a blob counts once."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0
