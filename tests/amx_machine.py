"""A machine with AMX, for those who have none: what Intel's manual says of each instruction, done to arrays.

The code that amx.py emits is compiled as it is, but calls these functions for its seven instructions. So addresses,
strides, smaller registers and loops are those that run on the real machine. It is stricter than that one: whatever is
read or written must lie in an array that it was told of, and a register that has no size may not be named.
"""

import ctypes
from typing import NamedTuple

import numpy as np

REGISTERS, ROWS, BYTES = 8, 16, 64


class Fault(Exception):
    """What would be an exception of the processor, or an access beyond an array."""


TINY = np.float32(2.0**-126)


def nearest(x):
    """float64 -> float32, and 0 for what is denormal: each float32 that the instruction takes or makes."""
    x = np.asarray(x).astype(np.float32)
    small = np.abs(x) < TINY
    return np.where(small, np.copysign(np.float32(0), x), x) if small.any() else x


def add_products_of_bfloat16(c, a, b):
    """tdpbf16ps: (R, N) float32, (R, K) and (K, N) words of two bfloat16 -> (R, N) float32.

    A product of two bfloat16 and its sum with a float32 take at most 53 bits, or the smaller is lost in any rounding:
    so in float64, rounded once to float32, they are the manual's fused multiply-add.
    """
    with np.errstate(all="ignore"):
        x, w = (
            np.stack([words << 16, words & 0xFFFF0000]).view(np.float32)
            for words in (a.view(np.uint32), b.view(np.uint32))
        )
        x, w = nearest(x).astype(np.float64), nearest(w).astype(np.float64)
        chains = np.zeros((2, *c.shape), np.float32)  # of even inputs, and of odd ones
        for k in range(a.shape[1]):
            chains = nearest(x[:, :, k, None] * w[:, None, k] + chains)
        even, odd = chains.astype(np.float64)
        return nearest(nearest(c).astype(np.float64) + nearest(even + odd))


def add_products_of_bytes(c, a, b):
    """tdpbusd: (R, N) int32, (R, K) words of four from 0 to 255, (K, N) words of four from -128 to 127; sums wrap."""
    x = a.view(np.uint8).reshape(len(a), -1).astype(np.int64)
    w = b.view(np.int8).reshape(*b.shape, 4).transpose(0, 2, 1).reshape(-1, b.shape[1]).astype(np.int64)
    return (c + x @ w).astype(np.int32)


class Size(NamedTuple):
    rows: int
    bytes: int


class Machine:
    """The registers, and the arrays that may be touched; `wrong` is what was done that may not be."""

    def __init__(self):
        self.configuration, self.sizes = bytes(64), [Size(0, 0)] * REGISTERS
        self.registers = np.zeros((REGISTERS, ROWS, BYTES), np.uint8)
        self.known, self.wrong, self.counts = None, [], {}

    def may_touch(self, *arrays):
        """These arrays and no others; at first, everything."""
        self.known = [(x.ctypes.data, x.nbytes, x) for x in arrays]

    def reach(self, address, size):
        """The bytes at an address, as a view."""
        if self.known is None or any(b <= address and address + size <= b + n for b, n, _ in self.known):
            return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)
        raise Fault(f"{size} bytes outside of every array")

    def size(self, register):
        if not 0 <= register < REGISTERS or 0 in self.sizes[register]:
            raise Fault(f"register {register} has no size")
        return self.sizes[register]

    def sttilecfg(self, address):
        ctypes.memmove(address, self.configuration, 64)

    def ldtilecfg(self, address):
        raw = ctypes.string_at(address, 64)
        sizes = [Size(raw[48 + i], int.from_bytes(raw[16 + 2 * i : 18 + 2 * i], "little")) for i in range(REGISTERS)]
        reserved = raw[1:16] + raw[32:48] + raw[56:]
        if raw[0] != 1 or any(reserved):
            raise Fault("a configuration of another format")
        if any(s.rows > ROWS or s.bytes > BYTES or (0 in s) != (s == (0, 0)) for s in sizes):
            raise Fault(f"sizes that no register has: {sizes}")
        self.configuration, self.sizes = raw, sizes
        self.registers[...] = 0

    def tilezero(self, register):
        self.size(register)
        self.registers[register] = 0

    def tileloadd64(self, register, address, step):
        rows, size = self.size(register)
        self.registers[register] = 0
        for r in range(rows):
            self.registers[register, r, :size] = self.reach(address + r * step, size)

    def tilestored64(self, register, address, step):
        rows, size = self.size(register)
        for r in range(rows):
            self.reach(address + r * step, size)[...] = self.registers[register, r, :size]

    def multiply(self, c, a, b, kind, add):
        (rows, columns), (rows_of_a, inputs), (depth, columns_of_b) = (self.size(x) for x in (c, a, b))
        if rows != rows_of_a or columns != columns_of_b or inputs != 4 * depth:
            raise Fault("sizes that do not go together")
        words = [
            self.registers[x, : self.sizes[x].rows, : self.sizes[x].bytes].copy().view(np.int32) for x in (c, a, b)
        ]
        self.registers[c] = 0
        self.registers[c, :rows, :columns] = add(words[0].view(kind), *words[1:]).view(np.uint8)

    def tdpbusd(self, c, a, b):
        self.multiply(c, a, b, np.int32, add_products_of_bytes)

    def tdpbf16ps(self, c, a, b):
        self.multiply(c, a, b, np.float32, add_products_of_bfloat16)

    def plug_in(self, llvm, prefix):
        """Let compiled code call the instructions by these names. What is returned must live as long as that code."""
        byte, word = ctypes.c_int8, ctypes.c_int64
        takes = {
            "sttilecfg": [word], "ldtilecfg": [word], "tilezero": [byte], "tileloadd64": [byte, word, word],
            "tilestored64": [byte, word, word], "tdpbusd": [byte] * 3, "tdpbf16ps": [byte] * 3,
        }  # fmt: skip
        doors = []
        for name, arguments in takes.items():
            door = ctypes.CFUNCTYPE(None, *arguments)(self.counted(name))
            llvm.add_symbol(prefix + name, ctypes.cast(door, ctypes.c_void_p).value)
            doors.append(door)
        return doors

    @staticmethod
    def asked(name, *arguments):
        """What is done if an instruction comes with these arguments: tests of the tests put something else here."""
        return name, *arguments

    def counted(self, name):
        def do(*arguments):
            self.counts[name] = self.counts.get(name, 0) + 1
            try:
                instruction, *arguments = self.asked(name, *arguments)
                getattr(self, instruction)(*arguments)
            except Fault as fault:
                self.wrong.append(f"{name}: {fault}")

        return do
