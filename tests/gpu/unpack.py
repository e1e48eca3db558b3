"""Wheels into a folder, without pip and without a network: python unpack.py WHEELS FOLDER.

A wheel is a zip file of what belongs on Python's path. Of each the machine is asked first: a package that it has is
left as it is, since NVIDIA's own images fit together and mixtures seldom do. Of the two CuPys the one is taken that
the driver can run, if both were brought.
"""

import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CUPY = ("cupy_cuda12x", "cupy_cuda13x")


def there(name: str) -> bool:
    """Whether the machine has this package, or any CuPy where this is one."""
    for candidate in CUPY if name in CUPY else (name,):
        try:
            print(f"{candidate} {version(candidate)} is here already")
        except PackageNotFoundError:
            continue
        return True
    return False


def newest_cuda() -> int:
    """The major version of the newest CUDA that the driver runs; 0 if there is no driver."""
    import ctypes

    number = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except OSError:
        return 0
    return number.value // 1000


def main(wheels: Path, folder: Path) -> int:
    files = sorted(wheels.glob("*.whl"))
    if not files:
        print(f"no wheels in {wheels}", file=sys.stderr)
        return 2
    names = {file: file.name.split("-")[0].lower() for file in files}
    wanted = CUPY[newest_cuda() >= 13]
    for file, name in names.items():
        if there(name) or (name in CUPY and name != wanted and wanted in names.values()):
            continue
        with zipfile.ZipFile(file) as wheel:
            wheel.extractall(folder)
        print(f"{file.name} unpacked")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
