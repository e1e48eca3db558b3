"""From a model's name to a folder with its files.

    resolve("./my-model")                            a folder
    resolve("nanodistil-mini")                       a small model inside this package (embedded.py)
    resolve("distilbert/distilbert-base-uncased")    the Hugging Face cache, else a download (extra `hub`)

What other programs have downloaded is used where it lies, without huggingface_hub and without asking the network, so a
cached model loads in an aeroplane; `download` asks the hub for the newest revision. An id is checked before it becomes
a path or a URL, and a folder is handed out only when the files asked for are in it.
"""

from os import PathLike, fsdecode
from pathlib import Path
from typing import Any, NamedTuple

from .cache import EMBEDDED, EMBEDDED_NAME, cache_folder, find, valid_id, valid_revision
from .cache import CachedModel as CachedModel
from .cache import cached_models as cached_models
from .embedded import HOME, NAMES
from .errors import InputError, MissingExtraError, ModelNotFoundError, excerpt
from .files import CONFIG, NEEDS, VOCABULARIES, is_adapter, missing
from .nearby import near, perhaps

OFFICIAL = "distilbert/distilbert-base-uncased"


def resolve(
    name: str | Path,
    *,
    need: str = "model",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    adapters: bool = False,
) -> Path:
    """The folder that holds the files of `need`: "config", "tokenizer", "model" (config and weights) or "all".

    name: a folder, "nanodistil-mini", or a hub id. revision: branch, tag or commit of a hub id ("main"). cache_dir:
    instead of the user's cache. local_files_only: never ask the network. token: instead of HF_TOKEN; False for none.
    adapters: whether the folder of an adapter alone will do as a model; its config and tokenizer are its base's.
    Raises ModelNotFoundError (a bad name, no such folder, a file missing, or the hub cannot give it),
    MissingExtraError (a download is needed and huggingface_hub is not installed), CheckpointError (a broken index; a
    download that is not what was announced).

    >>> resolve("nanodistil-mini").name
    'nanodistil-mini'
    >>> resolve("./no-such-folder")
    Traceback (most recent call last):
    nanodistil.weights.errors.ModelNotFoundError: no folder ./no-such-folder
    """
    source: Any = {"cache_dir": cache_dir, "local_files_only": local_files_only, "token": token}
    folder = _resolved(name, need, revision, **source)
    if not is_adapter(folder):
        return folder
    own = {"config": (CONFIG,), "tokenizer": VOCABULARIES}.get(need)
    if own and not any((folder / file).is_file() for file in own):
        return resolve_base(folder, need=need, **source)
    if not own and not adapters:
        raise ModelNotFoundError(f"{folder} holds an adapter alone: make a model of it with `nanodistil export`")
    return folder


class Home(NamedTuple):
    """Where the files of a model are."""

    folder: Path  # of the weights, or of an adapter alone
    base: Path | None  # of the model such an adapter is added to
    config: Path  # config.json


def resolve_model(name: str | Path, revision: str | None = None, **source: Any) -> Home:
    """As `resolve` for a model, of which an adapter and its base are one too.

    source: cache_dir, local_files_only and token of `resolve`, which says what is raised.
    """
    folder = resolve(name, need="model", revision=revision, adapters=True, **source)
    base = resolve_base(folder, **source) if is_adapter(folder) else None
    own = base is None or (folder / CONFIG).is_file()
    return Home(folder, base, (folder if own else base or folder) / CONFIG)


def resolve_base(folder: Path, need: str = "model", **source: Any) -> Path:
    """The folder of the model that the adapter in `folder` was trained on: where it says, or beside it.

    source: cache_dir, local_files_only and token of `resolve`, which says what is raised.
    """
    from .adapter import base_of

    name, revision = base_of(folder)
    beside = folder.parent / name
    try:
        if not Path(name).is_dir() and ".." not in beside.parts and beside.is_dir():
            name = str(beside)
        base = _resolved(name, need, revision, **source)
    except (ModelNotFoundError, MissingExtraError) as error:
        raise type(error)(f"{folder} is an adapter of {excerpt(name)}: {error}") from None
    except (OSError, ValueError):  # a name too long, a NUL in it
        raise ModelNotFoundError(f"{folder} is an adapter of {excerpt(name)}, which is no name of a model") from None
    if is_adapter(base):
        raise ModelNotFoundError(
            f"{folder} is an adapter of {excerpt(name)}, which is an adapter too; merge that first"
        )
    return base


def _resolved(
    name: str | Path,
    need: str,
    revision: str | None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    if need not in NEEDS:
        raise InputError(f"need is one of {', '.join(NEEDS)}, not {excerpt(need)}")
    folder = _local(name)
    if folder is not None:
        lacks = missing(folder, need)
        if lacks:
            raise ModelNotFoundError(f"the folder {folder} lacks {', '.join(lacks)}{perhaps(folder)}")
        return folder
    model_id, wanted = str(name), revision or "main"
    try:
        _validate(model_id, wanted)
        cache = cache_folder(cache_dir)
        for alias in _aliases(model_id):
            found = find(cache, alias, wanted, need)
            if found is not None:
                return found
        if local_files_only:
            raise ModelNotFoundError(
                f"{model_id} is not in the cache {cache}, and local_files_only forbids to download it"
            )
        from .download import download as fetch

        try:
            return fetch(model_id, need, wanted, cache, token)
        except (ModelNotFoundError, MissingExtraError) as error:
            raise type(error)(f"{error} (looked in the cache first: {cache})") from None
    except (ModelNotFoundError, MissingExtraError) as error:
        if model_id == OFFICIAL:  # which nobody takes for a folder
            raise
        raise type(error)(f"no folder {excerpt(model_id)} here{near(model_id, cache_dir)}; {error}") from None


def download(
    name: str,
    *,
    need: str = "all",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
) -> Path:
    """As `resolve`, but the hub is asked for its newest revision even if an older one is cached."""
    if _local(name) is not None:
        return resolve(name, need=need, adapters=True)
    _validate(name, revision or "main")
    from .download import download as fetch

    return fetch(name, need, revision or "main", cache_folder(cache_dir), token)


def resolve_default(need: str = "all", **source: Any) -> tuple[Path, str | None]:
    """The command line's model: the official one, from the cache or the hub, else the one inside this package.

    Returns its folder and, if it is not the official one, a line for stderr that says so and how to get that. A
    download that fails its hash check is not passed over: CheckpointError. source: the other arguments of `resolve`.
    """
    try:
        return resolve(OFFICIAL, need=need, **source), None
    except (ModelNotFoundError, MissingExtraError) as error:
        return EMBEDDED, (
            f"note: {EMBEDDED_NAME}, small and embedded, answers: the official model is not on this machine; "
            f"to get it: {getting(OFFICIAL, error)}"
        )


def resolve_usual(model_id: str, **source: Any) -> str:
    """The id of a task's usual model, which nobody has named, if it can be had; its files are in the cache then.

    Raises ModelNotFoundError or MissingExtraError if it cannot. source: the other arguments of `resolve`.
    """
    try:
        resolve(model_id, **source)
    except (ModelNotFoundError, MissingExtraError) as error:
        raise type(error)(
            "no model was named, and the usual one is not on this machine; name a model, or get it: "
            f"{getting(model_id, error)}"
        ) from None
    return model_id


def getting(model_id: str, error: ModelNotFoundError | MissingExtraError) -> str:
    """The command that helps if a model could not be had; it says itself what is wrong with the network.

    >>> getting("org/name", ModelNotFoundError("no network"))
    'nanodistil download org/name'
    """
    return (
        'pip install "nanodistil[hub]"' if isinstance(error, MissingExtraError) else f"nanodistil download {model_id}"
    )


def _local(name: str | Path) -> Path | None:
    """The folder that `name` means, or None if it can only be an id. Raises on a path to nothing."""
    if not isinstance(name, (str, PathLike)):  # of None, or of bytes, an id would be made and asked for
        raise InputError(f"a model is named by a folder or an id, not by {excerpt(name)}")
    text = fsdecode(name)
    try:
        folder = Path(text).expanduser()
        if text and folder.is_dir():
            return folder
        if folder.is_file():
            raise ModelNotFoundError(f"{text} is a file: give the folder it lies in")
    except ModelNotFoundError:
        raise
    except RuntimeError:
        raise ModelNotFoundError(f"{text}: there is no such user") from None
    except PermissionError as error:  # of a folder above, or of the working folder, which an id has nothing to do with
        if not valid_id(text):
            raise ModelNotFoundError(f"{excerpt(text)}: {error.strerror}") from None
    except (ValueError, OSError):  # a NUL inside, a name too long
        raise ModelNotFoundError(f"{excerpt(text)} is no path") from None
    if text in NAMES:
        return HOME / text
    scheme, address, path = text.partition("://")
    if address and isinstance(name, str) and scheme in ("http", "https"):
        model_id = "/".join(path.split("/")[1:3])
        hint = f", such as {model_id}" if valid_id(model_id) else ""
        raise ModelNotFoundError(f"{excerpt(text)} is an address: give the model's id{hint}")
    if not isinstance(name, str) or text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1:
        raise ModelNotFoundError(f"no folder {text}{near(text)}")
    return None


def _validate(model_id: str, revision: str) -> None:
    if not valid_id(model_id):
        raise ModelNotFoundError(f"{excerpt(model_id)} is neither a folder nor a possible id of a model on the hub")
    if not valid_revision(revision):
        raise ModelNotFoundError(f"{excerpt(revision)} cannot be a revision: a branch, a tag or a commit is")


def _aliases(model_id: str) -> list[str]:
    """The first DistilBERTs had no organisation in their name; the hub redirects the old name, the cache does not."""
    organisation, slash, bare = model_id.rpartition("/")
    if not slash and bare.startswith("distilbert-base"):
        return [model_id, f"distilbert/{bare}"]
    return [model_id, bare] if organisation == "distilbert" else [model_id]
