"""One small figure of the panel: lines, points, bars and bands on axes with round ticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bqplot
import ipywidgets
import numpy as np
from numpy.typing import NDArray

__all__ = ["Chart", "round_ticks"]

FloatArray = NDArray[np.float64]


def _axis(scale: Any, label: str, vertical: bool = False) -> bqplot.Axis:
    return bqplot.Axis(
        scale=scale, label=label, orientation="vertical" if vertical else "horizontal", grid_lines="none",
        label_offset="46px" if vertical else "30px", tick_style={"font-size": "10px"},
    )  # fmt: skip


def round_ticks(low: float, high: float, at_least: int = 3) -> tuple[FloatArray, str]:
    """Return round numbers between two limits, and how to write them; as few as possible but some.

    What bqplot chooses is not round, and what it writes beside it is rounded.
    """
    power = np.floor(np.log10(high - low))
    for step in (m * 10.0 ** (power - k) for k in range(3) for m in (5.0, 2.5, 2.0, 1.0)):
        first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        if last - first + 1 >= at_least:
            break
    digits = next(n for n in range(330) if abs(step * 10.0**n - round(step * 10.0**n)) < 1e-6 * step * 10.0**n)
    return np.asarray(np.arange(first, last + 1) * step + 0.0), f".{digits}f" if digits < 5 and step < 1e5 else ".2g"


class Chart:
    """One figure: named lines, points and bars on linear axes whose limits ignore outliers.

    Parameters
    ----------
    x_label, y_label : str
        Axes, with their units.
    height : int, optional
        In pixels.
    """

    def __init__(self, x_label: str, y_label: str, height: int = 200, caption: str = "") -> None:
        self.height, self.caption = height, caption
        self.legend: dict[str, str] = {}
        self.x, self.y = bqplot.LinearScale(allow_padding=False), bqplot.LinearScale(allow_padding=False)
        self.x_axis, self.y_axis = _axis(self.x, x_label), _axis(self.y, y_label, vertical=True)
        self.figure = bqplot.Figure(
            axes=[self.x_axis, self.y_axis], animation_duration=0, display_toolbar=False, padding_x=0, padding_y=0,
            fig_margin={"top": 8, "bottom": 42, "left": 62, "right": 14},
            layout=ipywidgets.Layout(width="100%", height=f"{height}px", min_width="0"),
        )  # fmt: skip
        self.marks: dict[str, Any] = {}

    def _put(self, name: str, make: Callable[[], Any], **traits: Any) -> Any:
        if name not in self.marks:
            self.marks[name] = make()
            self.figure.marks = [*self.figure.marks, self.marks[name]]
        mark = self.marks[name]
        with mark.hold_sync():
            for key, value in traits.items():
                old = getattr(mark, key)
                same = np.array_equal(old, value) if isinstance(value, np.ndarray) else old == value
                if not same:
                    setattr(mark, key, value)
        return mark

    def line(self, name: str, x: Any, y: Any, colour: str, **style: Any) -> None:
        """Draw a line, broken where it is NaN."""
        scales = {"x": self.x, "y": self.y}
        make = lambda: bqplot.Lines(x=[], y=[], scales=scales, colors=[colour], **{"stroke_width": 1.5, **style})  # noqa: E731
        self._put(name, make, x=np.asarray(x, float), y=np.asarray(y, float))

    def points(self, name: str, x: Any, y: Any, colour: str, size: int = 16, **style: Any) -> Any:
        """Draw points."""
        scales = {"x": self.x, "y": self.y}
        make = lambda: bqplot.Scatter(x=[], y=[], scales=scales, colors=[colour], default_size=size, **style)  # noqa: E731
        good = np.isfinite(x) & np.isfinite(y)
        return self._put(name, make, x=np.asarray(x, float)[good], y=np.asarray(y, float)[good])

    def bars(self, name: str, x: Any, y: Any, error: Any, colour: str, *, along_x: bool = False) -> None:
        """Draw error bars, along y or along x."""
        x, y, error = (np.asarray(value, float) for value in (x, y, error))
        gap = np.full(x.shape, np.nan)
        moving = x if along_x else y
        low_high = np.stack([moving - error, moving + error, gap], axis=-1).ravel()
        still = np.stack([y if along_x else x] * 2 + [gap], axis=-1).ravel()
        self.line(
            name,
            low_high if along_x else still,
            still if along_x else low_high,
            colour,
            stroke_width=1,
            opacities=[0.7],
        )

    def band(self, name: str, x: Any, lower: Any, upper: Any, colour: str) -> None:
        """Fill between two lines."""
        scales = {"x": self.x, "y": self.y}
        make = lambda: bqplot.Lines(  # noqa: E731
            x=[],
            y=[],
            scales=scales,
            colors=[colour],
            stroke_width=0,
            fill="between",
            fill_opacities=[0.25],
            fill_colors=[colour],
        )
        self._put(name, make, x=np.asarray(x, float), y=np.asarray([lower, upper], float))

    def drop(self, keep: Sequence[str]) -> None:
        """Remove the marks that are not named."""
        gone = [name for name in self.marks if name not in keep]
        if gone:
            for name in gone:
                del self.marks[name]
            self.figure.marks = list(self.marks.values())

    def limits(self, x: Any = None, y: Any = None, *, exact: bool = False, hold: Any = ()) -> None:
        """Set the axes to hold these values: all of them, or all but the outliers with a margin, and those to hold."""
        for scale, axis, values in ((self.x, self.x_axis, x), (self.y, self.y_axis, y)):
            if values is None:
                continue
            values = np.asarray(values, float)
            values = values[np.isfinite(values)]
            if not values.size:
                values = np.asarray(hold, float)
            if not values.size:
                continue
            low, high = (values.min(), values.max()) if exact else np.percentile(values, [1, 99])
            margin = 0 if exact else 0.15 * (high - low)
            if high - low <= 0:
                margin = 0.5 * abs(high) if high else 0.5
            low, high = float(min([low - margin, *hold])), float(max([high + margin, *hold]))
            if (scale.min, scale.max) != (low, high):
                with scale.hold_sync():
                    scale.min, scale.max = low, high
                # in this order: a new format alone is not drawn until the values change, and would lag by one
                values, axis.tick_format = round_ticks(low, high)
                axis.tick_values = values
