"""Devices and dtypes in the words of PyTorch and transformers, and whether they are what a backend has.

A model computes where its backend does, and is not moved; a device is named to say what is so, or is refused.
"""

from __future__ import annotations

from typing import Any

from nanodistil.weights.errors import DeviceError, InputError, excerpt

DTYPES = {  # other names of dtypes -> ours
    "half": "float16", "float": "float32", "double": "float64",
    "bf16": "bfloat16", "fp16": "float16", "fp32": "float32",
}  # fmt: skip


class Device(str):
    """ "cpu" or "cuda:0": a string that PyTorch takes for a device, with a device's two attributes.

    >>> Device("cuda:1").type, Device("cuda:1").index, Device("cpu").index
    ('cuda', 1, None)
    """

    @property
    def type(self) -> str:
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]  # the device's, and no string's
        number = self.partition(":")[2]
        return int(number) if number else None


def device_of(backend: str) -> Device:
    """Where a backend computes.

    >>> device_of("numba"), device_of("cupy"), device_of("cupy:1")
    ('cpu', 'cuda:0', 'cuda:1')
    """
    from nanodistil.backend import named  # NumPy comes with it, which a tokenizer does without

    found, number = named(backend)
    return Device(f"cuda:{number}" if found.on_gpu else "cpu")


def check_device(wanted: Any, backend: str) -> None:
    """Raises DeviceError if `wanted`, a device in PyTorch's or transformers' words, is not the backend's.

    >>> for device in ("cpu", -1, None, "auto", {"": "cpu"}):
    ...     check_device(device, "numba")
    >>> check_device("cuda", "numba")
    Traceback (most recent call last):
    nanodistil.weights.errors.DeviceError: device 'cuda': the numba backend computes on the cpu; for ...
    """
    said = excerpt(wanted if isinstance(wanted, int) else str(wanted))
    if isinstance(wanted, dict):  # a device_map: what is placed, and where
        places = list(map(str, wanted.values()))
        wanted = places[0] if places and len(set(places)) == 1 else "several devices"
        wanted = int(wanted) if wanted.isdecimal() else wanted
    if isinstance(wanted, bool) or (isinstance(wanted, int) and wanted < -1):
        raise InputError(f"device {said}: a device is a name such as 'cpu', a number, or -1 for the cpu")
    here = device_of(backend)
    if isinstance(wanted, int):
        wanted = "cpu" if wanted < 0 else f"cuda:{wanted}"
    name = here if wanted in (None, "auto") else str(wanted)
    if name == "cuda" and here.type == "cuda":
        name = here
    if name not in (here, f"{here}:0"):
        turn = "load it with backend='numba'" if here.type == "cuda" else "for an NVIDIA GPU load with backend='cupy'"
        raise DeviceError(f"device {said}: the {backend} backend computes on the {here}; {turn}")


def dtype_name(dtype: Any) -> Any:
    """A dtype as `backend.choose` takes it, of what NumPy, PyTorch and transformers call it; "auto" is None.

    >>> dtype_name("torch.bfloat16"), dtype_name("auto"), dtype_name("fp16")
    ('bfloat16', None, 'float16')
    """
    if isinstance(dtype, str) or type(dtype).__module__.partition(".")[0] == "torch":
        name = str(dtype).removeprefix("torch.")
        return None if name == "auto" else DTYPES.get(name, name)
    return dtype
