"""Loss scaling: how gradients survive being rounded to float16.

float16 ends at 6e-8, and below 6e-5 it has fewer bits the smaller a number is; gradients of a trained model are mostly
smaller. They are linear in the loss. So the loss is multiplied by a large power of two before the way back, which moves
all of them up without changing a bit, and the optimiser divides by it, in float32 (Micikevicius et al. 2018, section
3.2). As large as possible is best, and too large shows at once: something overflows, and the norm of all gradients is
no finite number.

So it begins large, is halved whenever that happens, and doubled after GROWTH steps in a row that went well. Others skip
the step that overflowed; here it is done again with half the scale, so no step and no text is lost, and a run's length
does not depend on its rounding. bfloat16 has the range of float32: it and all wider types stay at 1.
"""

from __future__ import annotations

FIRST = 2.0**16
GROWTH = 2000  # steps
NAMES = ("loss_scale", "steps_at_loss_scale")  # in a checkpoint


class LossScale:
    """The scale of a run's loss, a power of two.

    >>> scale = LossScale("float16")
    >>> scale.value, scale.lower(), scale.value
    (65536.0, True, 32768.0)
    >>> LossScale("bfloat16").value, LossScale("bfloat16").lower()
    (1.0, False)
    """

    def __init__(self, dtype: str) -> None:
        self.changes = dtype == "float16"
        self.value = FIRST if self.changes else 1.0
        self.steps = 0  # that went well since it changed

    def lower(self) -> bool:
        """After a step that overflowed: half of it; False at 1, if something else is wrong."""
        if self.value == 1.0:
            return False
        self.value, self.steps = self.value / 2, 0
        return True

    def went_well(self) -> None:
        """After a step that did not overflow."""
        self.steps += 1
        if self.changes and self.steps == GROWTH:
            self.value, self.steps = self.value * 2, 0

    def state(self) -> dict[str, float]:
        """What a checkpoint has to hold of it; nothing if it never changes."""
        return dict(zip(NAMES, (self.value, float(self.steps)), strict=True)) if self.changes else {}

    def restore(self, state: dict[str, float]) -> None:
        """Take over what `state` said."""
        if self.changes:
            self.value, self.steps = state[NAMES[0]], int(state[NAMES[1]])
