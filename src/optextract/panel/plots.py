"""The small figures of the panel: built when a step is first opened, updated while it is open."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import bqplot
import ipywidgets
import numpy as np
from astropy import units as u
from bqplot_image_gl import ImageGL
from numpy.typing import NDArray

from ..frame import Frame
from ..report.units import readable, words
from ..results import Extraction
from .charts import Chart
from .marks import COLOURS, CYCLE, candidate_colour

__all__ = ["Gallery"]

FloatArray = NDArray[np.float64]


def _sources(count: int) -> dict[str, str]:
    """Legend of a figure with a line for each source; one alone needs none."""
    return {f"source {n + 1}": CYCLE[n % len(CYCLE)] for n in range(count)} if count > 1 else {}


def _unit(unit: u.UnitBase) -> str:
    name = "pixel" if unit == u.pix else words(unit)
    return name if name else "no unit"


#: Columns of a running median.
WINDOW = 15


def _median(values: FloatArray, width: int = WINDOW) -> FloatArray:
    """Running median for the eye, NaN ignored."""
    padded = np.pad(values, width // 2, constant_values=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without any value
        return np.asarray(np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, width), axis=-1))


class Gallery:
    """All figures of one panel.

    Parameters
    ----------
    moved : callable
        Called with the number of a source and its new position when its handle was dragged in the kernel slice.
    """

    #: Names of the figures of each step, in the order they are shown.
    STEPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "kernel": ("slice",),
        "trace": ("centre", "width", "profile"),
        "noise": ("variance", "gain"),
        "extract": ("spectrum",),
        "compare": ("ratio",),
    }  # fmt: skip

    def __init__(self, moved: Callable[[int, float], None]) -> None:
        self.charts: dict[str, Any] = {}
        self._moved = moved

    def shown(self, step: str) -> list[dict[str, Any]]:
        """Return what the template needs of the figures of a step: model id, height, caption and legend."""
        return [
            {
                "widget": "IPY_MODEL_" + self._widget(name).model_id,
                "height": self._chart(name).height,
                "caption": self._chart(name).caption,
                "legend": [{"text": text, "colour": colour} for text, colour in self._chart(name).legend.items()],
            }
            for name in self.STEPS.get(step, ())
        ]

    def _chart(self, name: str) -> Chart:
        chart = self.charts[name]
        return chart["main"] if isinstance(chart, dict) else chart

    def _widget(self, name: str) -> Any:
        if name not in self.charts:
            self.charts[name] = getattr(self, f"_new_{name}")()
        chart = self.charts[name]
        return chart["box"] if isinstance(chart, dict) else chart.figure

    def update(self, step: str, frame: Frame, result: Extraction, others: dict[str, tuple[Any, Any]]) -> None:
        """Bring the figures of the open step up to date.

        Parameters
        ----------
        step : str
            The step that is open.
        frame : Frame
            The frame, shape (n_cross, n_disp).
        result : Extraction
            What was found.
        others : dict of str to (flux, uncertainty)
            Spectra to compare with, on the columns of the result, each of shape (n_disp,).
        """
        for name in self.STEPS.get(step, ()):
            self._widget(name)
            arguments = (frame, result, others) if name == "ratio" else (frame, result)
            getattr(self, f"_draw_{name}")(self.charts[name], *arguments)

    def _new_slice(self) -> dict[str, Any]:
        main, side = (
            Chart("Flux", "Row (pixel)", 360, "Kernel slice, a column's flux against the row:"),
            Chart("Pull", "", 360),
        )
        side.y_axis.scale = side.y = main.y
        side.y_axis.visible = False
        main.figure.layout.width, side.figure.layout.width = "66%", "34%"
        main.figure.fig_margin = {**main.figure.fig_margin, "left": 48, "right": 14}
        main.y_axis.label_offset = "34px"
        side.figure.fig_margin = {**side.figure.fig_margin, "left": 10}
        box = ipywidgets.HBox([main.figure, side.figure], layout=ipywidgets.Layout(width="100%", overflow="hidden"))
        return {"box": box, "main": main, "side": side}

    def _draw_slice(self, charts: dict[str, Any], frame: Frame, result: Extraction) -> None:
        main, side, kernel = charts["main"], charts["side"], result.kernel
        main.x_axis.label = f"Flux ({_unit(frame.unit)})"
        main.legend = {"data": "#888888", "model": COLOURS["preview"], "background": COLOURS["background"]}
        # broad and pale, below the candidates: the chosen one of them lies on it
        main.line("model", kernel.model, kernel.rows, COLOURS["preview"], stroke_width=6, opacities=[0.4])
        main.bars("error", kernel.data, kernel.rows, kernel.error, "#888888", along_x=True)
        main.points("data", kernel.data, kernel.rows, "#888888")
        main.line("background", kernel.background, kernel.rows, COLOURS["background"], line_style="dotted")
        drawn, drawn_beside = ["model", "error", "data", "background", "handles"], ["zero", "pull"]
        if len(kernel.components) > 1:
            for number, component in enumerate(kernel.components):
                main.line(f"source {number}", component, kernel.rows, "#888888", line_style="dash_dotted")
                drawn.append(f"source {number}")
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = (kernel.data - kernel.model) / kernel.error
            for candidate in kernel.candidates:
                name, colour = f"candidate {candidate.kind}", candidate_colour(candidate.kind)
                main.legend[candidate.kind] = colour
                main.line(name, candidate.curve, kernel.rows, colour)
                of_it = (kernel.data - candidate.curve) / kernel.error
                side.line(name, of_it, kernel.rows, colour, stroke_width=1)
                drawn.append(name)
                drawn_beside.append(name)
        self._draw_handles(main, result)
        main.drop(drawn)
        ends = [kernel.rows.min() - 0.5, kernel.rows.max() + 0.5]
        span = np.concatenate([kernel.data + kernel.error, kernel.data - kernel.error, kernel.model])
        main.limits(span[np.isfinite(span)] * 1.05, ends, exact=True)
        side.line("zero", [0, 0], ends, "#888888", stroke_width=1)
        side.points("pull", pull, kernel.rows, COLOURS["preview"])
        side.drop(drawn_beside)
        largest = np.nanmax(np.abs(pull)) if np.isfinite(pull).any() else 3.0
        side.limits([-max(3.0, largest) * 1.1, max(3.0, largest) * 1.1], exact=True)

    def _draw_handles(self, main: Chart, result: Extraction) -> None:
        """Diamonds at the peaks, by which the sources are dragged."""
        kernel = result.kernel
        peak = np.nanmax(kernel.model) if np.isfinite(kernel.model).any() else 0.0
        handles = main.points(
            "handles", np.full(len(kernel.centres), peak), np.array(kernel.centres), COLOURS["trace"], 64
        )
        if not handles.enable_move:
            with handles.hold_sync():
                handles.enable_move, handles.restrict_y, handles.marker = True, True, "diamond"
            handles.on_drag_end(lambda _, data: self._moved(int(data["index"]), float(data["point"]["y"])))

    def _wavelength(self, result: Extraction) -> tuple[FloatArray, str]:
        unit = result.wavelength.unit
        return result.wavelength.value, "Column (pixel)" if unit == u.pix else f"Wavelength ({_unit(unit)})"

    def _at(self, result: Extraction, columns: FloatArray) -> FloatArray:
        values = result.wavelength.value
        return np.asarray(np.interp(columns, np.arange(values.size), values))

    def _new_centre(self) -> Chart:
        return Chart(
            "Wavelength", "Centre \u2212 trace (pixel)", caption="Position: what each bin says by itself, less the fit."
        )

    def _draw_centre(self, chart: Chart, frame: Frame, result: Extraction) -> None:
        chart.legend = _sources(len(result.trace.centre))
        _, chart.x_axis.label = self._wavelength(result)
        trace, x = result.trace, self._at(result, result.trace.columns)
        chart.line(
            "zero",
            [np.nanmin(result.wavelength.value), np.nanmax(result.wavelength.value)],
            [0, 0],
            "#888888",
            stroke_width=1,
        )
        drawn, all_off = ["zero"], []
        for number in range(len(trace.centre)):
            line = np.interp(trace.columns, np.arange(frame.n_disp), result.centre[number])
            off = trace.centre[number] - line
            chart.bars(f"error {number}", x, off, trace.centre_error[number], CYCLE[number % len(CYCLE)])
            chart.points(f"centre {number}", x, off, CYCLE[number % len(CYCLE)])
            drawn += [f"error {number}", f"centre {number}"]
            all_off.append(off)
        chart.drop(drawn)
        spread = np.concatenate(all_off) if all_off else np.zeros(1)
        limit = max(0.05, 1.6 * float(np.nanpercentile(np.abs(spread), 95)) if np.isfinite(spread).any() else 0.5)
        chart.limits(result.wavelength.value, [-limit, limit], exact=True)

    def _new_width(self) -> Chart:
        return Chart("Wavelength", "FWHM (pixel)", caption="Width: what each bin says by itself, and the fit.")

    def _draw_width(self, chart: Chart, frame: Frame, result: Extraction) -> None:
        chart.legend = _sources(len(result.trace.fwhm))
        wavelength, chart.x_axis.label = self._wavelength(result)
        trace, x, drawn = result.trace, self._at(result, result.trace.columns), []
        for number in range(len(trace.fwhm)):
            colour = CYCLE[number % len(CYCLE)]
            chart.bars(f"error {number}", x, trace.fwhm[number], trace.fwhm_error[number], colour)
            chart.points(f"bins {number}", x, trace.fwhm[number], colour)
            chart.line(f"fit {number}", wavelength, result.fwhm[number], colour, stroke_width=2)
            drawn += [f"error {number}", f"bins {number}", f"fit {number}"]
        chart.drop(drawn)
        both = np.concatenate([trace.fwhm.ravel(), result.fwhm.ravel()])
        chart.limits(wavelength[np.isfinite(wavelength)], exact=True)
        chart.limits(y=both)

    def _new_profile(self) -> Chart:
        return Chart("Row \u2212 trace (pixel)", "Fraction a pixel", caption="Profile at")

    def _draw_profile(self, chart: Chart, frame: Frame, result: Extraction) -> None:
        good = np.flatnonzero(np.isfinite(result.flux[0]))
        columns: Any = good[[0, good.size // 2, -1]] if good.size else []
        rows, drawn, highest = np.arange(frame.n_cross), [], 0.0
        chart.legend = {}
        for number, column in enumerate(columns):
            values = result.profile[0, :, column]
            chart.line(
                f"at {number}", rows - result.centre[0, column], values, CYCLE[number], marker="circle", marker_size=12
            )
            drawn.append(f"at {number}")
            where = result.wavelength[column]
            at = f"column {column}" if where.unit == u.pix else f"{where.value:.3f} {_unit(where.unit)}"
            chart.legend[at] = CYCLE[number]
            highest = max(highest, float(np.nanmax(values)) if np.isfinite(values).any() else 0.0)
        chart.drop(drawn)
        reach = 4 * float(np.nanmedian(result.fwhm[0])) if np.isfinite(result.fwhm[0]).any() else 10.0
        chart.limits([-reach, reach], [min(0.0, -0.05 * highest), 1.1 * highest or 1.0], exact=True)

    def _new_variance(self) -> Chart:
        return Chart("Column (pixel)", "Row (pixel)")

    def _draw_variance(self, chart: Chart, frame: Frame, result: Extraction) -> None:
        variance = (
            frame.variance
            if frame.variance is not None
            else sum((frame.variance_parts or {}).values(), np.zeros(frame.shape))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.log10(np.where(frame.good & (variance > 0), variance, np.nan))
        low, high = np.nanpercentile(values, [1, 99]) if np.isfinite(values).any() else (0.0, 1.0)
        if "image" not in chart.marks:
            scale = bqplot.ColorScale(colors=["#b01030", "#000000", "#ffffff"])
            image = ImageGL(image=np.zeros((1, 1)), scales={"x": chart.x, "y": chart.y, "image": scale})
            chart.marks["image"] = image
            chart.figure.marks = [image]
        image = chart.marks["image"]
        span = max(float(high - low), 1e-6)
        grey = np.where(np.isfinite(values), np.clip((values - low) / span, 0, 1) + 1, 0).astype(np.float32)
        if not np.array_equal(image.image, grey):
            with image.hold_sync():
                image.image, image.x, image.y = grey, [-0.5, frame.n_disp - 0.5], [-0.5, frame.n_cross - 0.5]
            with image.scales["image"].hold_sync():
                image.scales["image"].min, image.scales["image"].max = 0.0, 2.0
        chart.caption = (
            f"Variance, log10 of ({_unit(frame.unit)})\u00b2: black {low:.2f} to white {high:.2f}, bad pixels red."
        )
        chart.limits([-0.5, frame.n_disp - 0.5], [-0.5, frame.n_cross - 0.5], exact=True)

    def _new_gain(self) -> Chart:
        return Chart("Wavelength", "S/N gain", caption="S/N over that of the matched boxcar.")

    def _draw_gain(self, chart: Chart, frame: Frame, result: Extraction) -> None:
        chart.legend = _sources(result.n_source)
        wavelength, chart.x_axis.label = self._wavelength(result)
        box, drawn, gains = result.boxcar, ["one"], []
        chart.line("one", [np.nanmin(wavelength), np.nanmax(wavelength)], [1, 1], "#888888", stroke_width=1)
        for number in range(result.n_source):
            with np.errstate(invalid="ignore", divide="ignore"):
                gain = np.atleast_2d(box.uncertainty)[number] / result.uncertainty[number]
            gain = np.where(np.isfinite(result.flux[number]), _median(gain), np.nan)
            chart.line(f"gain {number}", wavelength, gain, CYCLE[number % len(CYCLE)])
            drawn.append(f"gain {number}")
            gains.append(gain)
        chart.drop(drawn)
        chart.limits(wavelength, exact=True)
        chart.limits(y=np.concatenate(gains), hold=(0.95, 1.05))

    def _new_spectrum(self) -> Chart:
        return Chart("Wavelength", "Flux", 230, "Preview, with its 1 sigma band.")

    def _draw_spectrum(self, chart: Chart, frame: Frame, result: Extraction) -> None:
        chart.legend = _sources(result.n_source)
        wavelength, chart.x_axis.label = self._wavelength(result)
        factor, unit = readable(result.flux, result.unit)
        chart.y_axis.label, drawn = f"Flux ({_unit(unit)})", []
        for number, (flux, error) in enumerate(zip(factor * result.flux, factor * result.uncertainty, strict=True)):
            colour = CYCLE[number % len(CYCLE)]
            chart.band(f"band {number}", wavelength, flux - error, flux + error, colour)
            chart.line(f"flux {number}", wavelength, flux, colour, stroke_width=1)
            drawn += [f"band {number}", f"flux {number}"]
        chart.drop(drawn)
        chart.limits(wavelength, exact=True)
        with np.errstate(invalid="ignore"):
            lines = factor * result.flux[result.flux > 5 * result.uncertainty]
        chart.limits(y=factor * result.flux, hold=lines)

    def _new_ratio(self) -> Chart:
        return Chart(
            "Wavelength", "Optimal / other", 210, "Ratio, median of 15 columns; in the 1D viewer in these colours:"
        )

    def _draw_ratio(self, chart: Chart, frame: Frame, result: Extraction, others: dict[str, tuple[Any, Any]]) -> None:
        wavelength, chart.x_axis.label = self._wavelength(result)
        chart.line("one", [np.nanmin(wavelength), np.nanmax(wavelength)], [1, 1], "#888888", stroke_width=1)
        drawn, ratios = ["one"], []
        # the colours of the same spectra in the 1D viewer
        chart.legend = {name: COLOURS["compare" if number else "boxcar"] for number, name in enumerate(others)}
        for name, (flux, error) in others.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                theirs = _median(flux)
                # without light there is no ratio
                lit = theirs > 3 * _median(np.where(np.isfinite(error), error, 0.0)) / np.sqrt(WINDOW)
                ratio = np.where(lit, _median(result.flux[0]) / theirs, np.nan)
            chart.line(name, wavelength, ratio, chart.legend[name])
            drawn.append(name)
            ratios.append(ratio)
        chart.drop(drawn)
        chart.limits(wavelength, exact=True)
        chart.limits(y=np.concatenate(ratios) if ratios else [], hold=(0.7, 1.3))
