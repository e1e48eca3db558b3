"""The machine code of a kernel, where it spends its time: its innermost loop, as LLVM wrote it for this processor.

What to look for. In the loop of a matrix product nothing should stand but multiply-adds on registers, the loads that
feed them, prefetches, and a few instructions that count; a `mov` to or from the stack (`rsp`) is a sum too many.
The loop shown is the one with the most multiply-adds among those that hold no other loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..cpu import bfloat16_ops, gelu, int8_ops, layer_norm, linear, numba_ops
from ..runtime import native

JUMP = re.compile(r"\s+(?:j\w+|b|b\.\w+|cbn?z|tbn?z)\s.*?(\.?L\w+)\s*$")
LABEL = re.compile(r"(\.?L\w+):")
MULTIPLY_ADD = re.compile(r"\s+(?:vf?n?madd|vfm|vdpbf16ps|vpdpbusd|tdp|v?pmaddwd|sdot|fmla|fmadd)")
MATRIX = re.compile(r"\s+tdp")


class Loop(NamedTuple):
    """A kernel's innermost loop."""

    kernel: str
    lines: list[str]
    multiply_adds: int  # instructions, each of a whole vector
    stack: int  # instructions that touch the stack


def _linear(ops: Any) -> Callable[[np.ndarray[Any, Any]], Any]:
    return lambda x: ops.linear(x, ops.prepare_linear(x, x[0]))


# What can be shown: the kernel, and something that has it compiled, given a square matrix.
KERNELS: dict[str, tuple[Any, Callable[[np.ndarray[Any, Any]], Any]]] = {
    "linear": (linear.linear_blocks, _linear(numba_ops)),
    "linear-bfloat16": (bfloat16_ops.bfloat16_blocks, _linear(bfloat16_ops)),
    "linear-int8": (int8_ops.int8_blocks, _linear(int8_ops)),
    "gelu": (gelu.gelu_rows, lambda x: numba_ops.activation(x, "gelu")),
    "layer-norm": (layer_norm.layer_norm_rows, lambda x: numba_ops.layer_norm(x, x[0], x[1])),
}


def inner_loop(name: str) -> Loop:
    """The innermost loop of one of KERNELS, as this machine runs it. Only if kernels are compiled."""
    kernel, use = KERNELS[name]
    use(np.ones((128, 128), np.float32))
    lines = busiest_loop(code_of(kernel))
    stack = sum("rsp" in line or "[sp" in line for line in lines)
    return Loop(kernel.py_func.__name__, lines, multiply_adds(lines), stack)


def code_of(kernel: Any) -> list[str]:
    """The machine code of a kernel that was used, a line each. Compiled once more: what was loaded has no listing."""
    kinds = next(kinds for known, kinds in native._entries if known is kernel)
    return list(native.code_of(kernel, kinds)._library.get_asm_str().splitlines())


def multiply_adds(lines: list[str]) -> int:
    """How many instructions of a listing are one."""
    return sum(bool(MULTIPLY_ADD.match(line)) for line in lines)


def busiest_loop(lines: list[str]) -> list[str]:
    """Of all loops in an assembly listing that hold no other, the one with the most multiply-adds; [] if none.

    One of AMX (amx.py) is as many as 256 of others.

    >>> busiest_loop([".L1:", "  vfmadd231ps a", ".L2:", "  vfmadd231ps b", "  jne .L2", "  jne .L1"])
    ['.L2:', '  vfmadd231ps b', '  jne .L2']
    """
    labels: dict[str, int] = {}
    loops: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if label := LABEL.match(line):
            labels[label[1]] = number
        elif (jump := JUMP.match(line)) and jump[1] in labels:  # backwards
            loops.append((labels[jump[1]], number))
    inner = [(a, b) for a, b in loops if not any(a < c and d <= b and (a, b) != (c, d) for c, d in loops)]
    bodies = [[line for line in lines[a : b + 1] if not re.match(r"\s*[#.;/@](?!L)", line)] for a, b in inner]
    return max(bodies, key=lambda body: (any(MATRIX.match(line) for line in body), multiply_adds(body)), default=[])
