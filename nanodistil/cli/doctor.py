"""`nanodistil doctor`: what is found on this machine, and whether it works; the first thing to send with a bug."""

from __future__ import annotations

import argparse
import json
from typing import Any

HELP = "examine this machine: processor, kernels, threads, caches, versions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print what was found; the exit code is 1 if the kernels multiply wrongly."""
    from nanodistil.machine import examine

    found = examine()
    print(json.dumps(found, indent=1) if args.json else report(found))
    return 1 if found["self_test"] and not found["self_test"]["passed"] else 0


def report(found: dict[str, Any]) -> str:
    """The facts of machine.examine, a line each."""
    rows = [("versions", ", ".join(f"{name} {v or 'absent'}" for name, v in found["versions"].items()))]
    rows.append(("system", f"{found['system']}; NumPy multiplies with {found['blas']}"))
    rows.append(("backend", found["backend"] + (f" ({found['without_numba']})" if "without_numba" in found else "")))
    if "without_numba" not in found:
        rows += kernels(found)
    rows += gpu(found["gpu"])
    hub = found["hub"]
    state = f"ready: {', '.join(hub['ready'])}" if hub["ready"] else "nothing ready in it"
    rows.append(("hub cache", f"{hub['folder']}; {state if hub['exists'] else 'not there'}"))
    return "\n".join(f"{name:<10} {text}" for name, text in rows)


def gpu(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines about GPUs."""
    if "why_not" in found:
        return [("gpu", f"none: {found['why_not']}")]
    rows = [
        (
            "gpu",
            f"{d['name']}: {d['bytes'] / 2**30:.0f} GiB, {d['multiprocessors']} multiprocessors, sm {d['capability']}",
        )
        for d in found["devices"]
    ]
    versions, limits = found["versions"], found["limits"]
    rows.append(("", f"CuPy {versions['cupy']} for CUDA {versions['cuda']}; the driver runs CUDA {versions['driver']}"))
    if limits:
        speed = f"{limits['flops'] / 1e12:.0f} TFLOP/s in float16, {limits['bandwidth'] / 1e9:.0f} GB/s of memory"
        rows.append(("", f"{speed}, measured just now on the first"))
    return rows


def kernels(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines about compiled code."""
    cpu, tile, threads, cache, limits = (found[part] for part in ("cpu", "tile", "threads", "cache", "limits"))
    rows = [("processor", f"{cpu['name']} ({cpu['llvm']}): {' '.join(cpu['features']) or 'no features known'}")]
    if cpu["overridden"]:
        rows.append(("", "overridden by " + ", ".join(f"{name}={value}" for name, value in cpu["overridden"].items())))
    vectors = f"vectors of {tile['vector_bits']} bits" if tile["vector_bits"] else "plain loops, no vectors of its own"
    how = vectors if tile["compiled"] else "not compiled: NUMBA_DISABLE_JIT is set"
    matrices = f"; AMX in {', '.join(tile['amx'])}" if tile["amx"] else ""
    rows.append(("tile", f"{tile['rows']} rows x {tile['columns']} columns, {how}{matrices}"))
    wrong = found["self_test"]["wrong"]
    rows.append(("self-test", f"FAIL: {wrong}. NumPy computes instead; please report this" if wrong else "PASS"))
    reasons = ", ".join(f"{name} {n}" for name, n in threads["limits"].items())
    rows.append(("threads", f"{threads['used']} (of {reasons})"))
    state = f"{cache['files']} kernels, {cache['bytes'] / 1e6:.1f} MB"
    if cache["why_not_readable"]:
        state = f"not used: {cache['why_not_readable']}; every process compiles anew"
    elif cache["why_not_writable"]:
        state += f", and no more will be kept: {cache['why_not_writable']}"
    rows.append(("kernels", f"{cache['folder'] or 'nowhere'}; {state}"))
    if limits:
        peaks = ", ".join(f"{flops / 1e9:.0f} in {dtype}" for dtype, flops in limits["peaks"].items())
        speed = f"GFLOP/s: {peaks}; {limits['bandwidth'] / 1e9:.1f} GB/s read from memory"
        rows.append(("limits", f"{speed}, measured just now with {limits['threads']} threads"))
    return rows
