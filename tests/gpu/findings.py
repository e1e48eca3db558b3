"""What compute-sanitizer found, or the emulator in its place: each finding once, in a line.

compute-sanitizer begins its lines with "=========". A finding is a line that says what is wrong, and below it the line
that says where; what cuBLAS's own kernels do is NVIDIA's affair, so it is counted and not named. Errors that calls of
the CUDA API returned ("Program hit") are named as such: libraries try what may fail.
"""

from __future__ import annotations

import re

BAR = "========="
WRONG = re.compile(
    r"Invalid |Misaligned|Error: |Warning: |Uninitialized|Barrier error|Race reported|Out-of-range|Unused|Leaked "
)
HIT = re.compile(r"Program hit (\S+).* on CUDA API call to (\w+)")
PLACE = re.compile(r"at (?:0x[0-9a-f]+ in )?(?P<where>.+)$")
OURS = re.compile(r"\.cuh?\b")


def findings(said: str) -> list[str]:
    """Of all that was printed, the findings: what, where, how often.

    >>> findings('''
    ... ========= Invalid __global__ write of size 4 bytes
    ... =========     at activation+0x1b0 in gelu.cu:31
    ... =========     by thread (3,0,0) in block (0,0,0)
    ... ========= Invalid __global__ write of size 4 bytes
    ... =========     at activation+0x1b0 in gelu.cu:31
    ... ========= Invalid __shared__ read of size 16 bytes
    ... =========     at cutlass_gemm+0x90
    ... ========= ERROR SUMMARY: 3 errors
    ... ''')
    ['2 x Invalid __global__ write of size 4 bytes at activation+0x1b0 in gelu.cu:31', "1 x in a library's kernels"]
    """
    found: dict[str, int] = {}
    rows = [line.removeprefix(BAR).strip() for line in said.splitlines() if line.startswith(BAR)]
    for number, row in enumerate(rows):
        if hit := HIT.search(row):
            text = f"a call returned an error: {hit[1]} from {hit[2]}"
        elif WRONG.match(row):
            where = next((m["where"] for r in rows[number + 1 : number + 3] if (m := PLACE.match(r))), "")
            if where in row:
                where = ""
            text = f"{row}{' at ' if where else ''}{where}"
            if not OURS.search(text):
                text = "in a library's kernels"
        else:
            continue
        found[text] = found.get(text, 0) + 1
    named = [f"{times} x {text}" for text, times in found.items()]
    emulated = re.findall(r"EmulationError: (.*)", said)
    return named + [f"{text}" for text in dict.fromkeys(emulated)]
