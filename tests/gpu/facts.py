"""What this machine is: its GPU, driver, toolkit, and the packages that matter. Each by itself: any may be missing."""

import glob
import importlib
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "cupy-cuda13x", "cupy-cuda12x", "cupy", "numpy", "numba", "ml_dtypes", "safetensors", "regex", "pytest", "torch",
    "triton", "transformers", "nvidia-cublas", "nvidia-cublas-cu12", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12",
    "nvidia-nccl-cu13", "nvidia-nccl-cu12",
)  # fmt: skip
NEEDED = ("numpy", "safetensors", "regex", "pytest", "cupy")
SMI = (
    "nvidia-smi",
    "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit,compute_mode",
    "--format=csv",
)


def tool(name: str) -> str:
    """Where a tool of the CUDA toolkit is; "" if it is not."""
    places = glob.glob(f"/usr/local/cuda*/bin/{name}") + glob.glob(f"/usr/local/cuda*/{name}/{name}")
    return shutil.which(name) or next(iter(sorted(places, reverse=True)), "")


def said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return (done.stdout + done.stderr).strip()


def of_cupy() -> str:
    """What CuPy sees: asked for in the words of our own backend, and in CuPy's."""
    from nanodistil import backend

    device = backend.gpu_module("device")
    import cupy

    found = [str(device.devices()), str(device.versions())]
    if hasattr(cupy, "show_config"):
        cupy.show_config()
    return "\n".join(found)


def main() -> int:
    print(
        f"python     {sys.version.split()[0]} at {sys.executable}, {platform.platform()}, {os.cpu_count()} processors"
    )
    for name in PACKAGES:
        try:
            print(f"{name:<24} {version(name)}")
        except PackageNotFoundError:
            continue
    print(said(*SMI))
    print(f"nvcc               {said(nvcc, '--version').splitlines()[-1] if (nvcc := tool('nvcc')) else 'none'}")
    checker = tool("compute-sanitizer")
    print(f"compute-sanitizer  {said(checker, '--version').splitlines()[-1] if checker else 'none'}", flush=True)
    wrong = []
    try:
        print(of_cupy(), flush=True)
    except Exception as error:
        wrong.append(f"the cupy backend cannot be used: {type(error).__name__}: {error}")
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            wrong.append(f"{name} is missing: {error}")
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
