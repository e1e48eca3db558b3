"""The pictures of drift and count (extra: pip install "nanodistil[plot]")."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanodistil.weights.errors import InputError, MissingExtraError
from nanodistil.weights.saving import written

if TYPE_CHECKING:
    from nanodistil.lessons.counting import Counted
    from nanodistil.lessons.drifting import Drift


def _figure(out: str | Path, **more: Any) -> tuple[Any, str]:
    """A figure, and which kind of picture the ending of a file's name says.

    Raises MissingExtraError without matplotlib, InputError for an ending it does not know.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f'matplotlib is needed ({error}): pip install "nanodistil[plot]"') from None
    figure, kind = Figure(layout="constrained", **more), Path(out).suffix.removeprefix(".").lower()
    if kind not in FigureCanvasAgg(figure).get_supported_filetypes():
        raise InputError(f"{out}: the ending says what picture to draw; .png, .svg and .pdf are known")
    return figure, kind


def check(out: str | Path | None) -> None:
    """Raises as `_figure`, before anything is computed for a picture that cannot be."""
    if out is not None:
        _figure(out)


def draw_drift(found: Drift, out: str | Path) -> None:
    """The errors along the layers, and below what each kind of op brings of the answer's."""
    figure, kind = _figure(out, figsize=(9, 9))
    above, below = figure.subplots(2, 1)
    for one in found.candidates:
        above.plot(list(one.errors), list(one.errors.values()), label=one.name, marker=".", markersize=3)
    stages = [name for name, _ in found.stages()]
    above.set_xticks(stages, [name.replace(".output_layer_norm", "") for name in stages], rotation=30, ha="right")
    above.set_yscale("log")
    above.set_ylabel("error against float64, relative")
    above.grid(alpha=0.3)
    above.legend()
    kinds, told = found.kinds(), [c for c in found.candidates if c.alone]
    for n, one in enumerate(told):
        shares = [(one.shares(name) or (0.0, 0.0))[0] for name, _ in kinds]
        below.barh([k + 0.8 * n / len(told) for k in range(len(kinds))], shares, 0.8 / len(told), label=one.name)
    below.set_yticks([k + 0.4 * (len(told) - 1) / max(len(told), 1) for k in range(len(kinds))], [k for k, _ in kinds])
    below.invert_yaxis()
    below.set_xlabel("an op's error alone, as a share of the answer's squared error")
    below.legend()
    written(Path(out), lambda path: figure.savefig(path, format=kind, dpi=100))


def draw_roofline(found: Counted, out: str | Path) -> None:
    """The roof, and every op that multiplies as a point below it; above it only what was in a cache.

    Raises InputError if the machine's limits are not known.
    """
    figure, kind = _figure(out, figsize=(9, 6))
    if not found.peak:
        raise InputError(
            "the machine's peak was not measured, so there is no roof: it takes the numba backend, compiled"
        )
    axes = figure.subplots()
    points = [op for op in found.ops if op.flops and op.seconds]
    ridge = found.peak / found.bandwidth
    left = min([op.intensity for op in points] + [ridge]) / 3
    right = max([op.intensity for op in points] + [ridge]) * 3
    axes.plot(
        [left, ridge, right], [left * found.bandwidth / 1e9, found.peak / 1e9, found.peak / 1e9], color="black",
        label=f"{found.peak / 1e9:.0f} GFLOP/s and {found.bandwidth / 1e9:.1f} GB/s",
    )  # fmt: skip
    for op in points:
        axes.plot(op.intensity, op.rate / 1e9, "o", label=op.name)
    axes.axvline(ridge, color="grey", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations for a byte of memory")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"{found.shape}, {found.backend} {found.dtype}: left of the ridge ops wait for memory")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    written(Path(out), lambda path: figure.savefig(path, format=kind, dpi=100))
