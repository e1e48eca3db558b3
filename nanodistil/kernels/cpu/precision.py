"""A lower precision: these ops with another linear.

bfloat16 and int8 change how linear maps are stored and multiplied, and nothing else. So their modules define the linear
maps, and take everything else from float32's: `globals().update(other_ops(numba_ops))`, before their own definitions.
What is named in LINEAR is never taken: a linear map that such a module lacks is an error, not float32's by accident.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

LINEAR = {
    "prepare_linear", "prepare_head", "restore_linear", "linear", "linear_activation",
    "prepare_backward", "linear_backward_input", "linear_backward_weight",
}  # fmt: skip


def other_ops(ops: ModuleType) -> dict[str, Any]:
    """The public names of a module of ops but its linear maps."""
    return {name: value for name, value in vars(ops).items() if not name.startswith("_") and name not in LINEAR}
