"""What nanodistil finds on this machine: the facts behind `nanodistil doctor`, as one dictionary.

Each part stands for a question that a slow or failing installation raises: which versions, which processor, which
register tile and does it multiply correctly, how many threads and why, where compiled code is kept, how fast this
machine is at all, which GPU there is, and where models are looked for. Works without Numba, whose parts are then None.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nanodistil import __version__
from nanodistil.backend import choose, gpu_module, instrument, self_tests
from nanodistil.weights.cache import cache_folder, cached_models
from nanodistil.weights.errors import DeviceError, MissingExtraError

PACKAGES = ("numpy", "numba", "llvmlite", "safetensors", "regex", "huggingface_hub")


def versions() -> dict[str, str | None]:
    """Name -> version, None if it is absent."""
    found: dict[str, str | None] = {"nanodistil": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def blas() -> str:
    """NumPy's matrix library, which the numpy backend multiplies with."""
    import numpy as np

    try:
        built: Any = np.show_config(mode="dicts")
        return "{name} {version}".format(**built["Build Dependencies"]["blas"])
    except (KeyError, TypeError):
        return "unknown"


def hub() -> dict[str, Any]:
    """The Hugging Face cache in use, and the models in it that are ready."""
    folder = cache_folder()
    ready = [m.id for m in cached_models(folder) if not m.lacks]
    return {"folder": str(folder), "exists": folder.is_dir(), "ready": ready}


def gpu(measure: bool) -> dict[str, Any]:
    """The GPUs that answer, or in `why_not` why there is nothing for the cupy backend to compute on."""
    try:
        module = gpu_module("device")
    except (MissingExtraError, DeviceError) as error:
        return {"why_not": str(error)}
    found = {"devices": module.devices(), "versions": module.versions()}
    return found | {"limits": module.limits("float16")._asdict() if measure else None}


def examine(measure: bool = True) -> dict[str, Any]:
    """Everything. `measure` takes half a second for the processor's peak and the memory's bandwidth."""
    found: dict[str, Any] = {
        "versions": versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "blas": blas(),
        "backend": choose(None, None)[0],
        "gpu": gpu(measure),
        "hub": hub(),
    }
    parts: dict[str, Any] = dict.fromkeys(("cpu", "tile", "self_test", "threads", "cache", "limits"))
    try:
        diagnosis = instrument("diagnosis")
    except MissingExtraError as error:
        return found | parts | {"without_numba": str(error)}
    parts["cpu"] = diagnosis.cpu()
    parts["tile"] = diagnosis.register_tile()
    wrong = "; ".join(f"{dtype}: {found}" for dtype, found in self_tests().items() if found)
    parts["self_test"] = {"passed": not wrong, "wrong": wrong}
    parts["threads"] = diagnosis.threads()
    parts["cache"] = diagnosis.cache()  # after the self-test, which may have filled it
    if measure and parts["tile"]["compiled"]:
        measuring = instrument("peak")
        peaks = measuring.peaks()
        found_now = {"flops": peaks["float32"], "peaks": peaks, "bandwidth": measuring.bandwidth()}
        parts["limits"] = {"threads": parts["threads"]["used"]} | found_now
    return found | parts
