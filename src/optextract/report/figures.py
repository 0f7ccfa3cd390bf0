"""The summary figure of one extraction: image, kernel slice, spectrum. Matplotlib is imported inside functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optextract.frame import Frame
from optextract.results import Extraction

from .compare import Comparison
from .units import label, readable, robust_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_image", "draw_kernel", "draw_spectrum", "save_summary", "summary_figure"]

FloatArray = NDArray[np.float64]

#: Colour-blind safe (Okabe and Ito); one colour a source.
_SOURCES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_OTHER, _BOXCAR, _NOISE = "#CC3311", "#888888", "0.55"


def _colour(source: int) -> str:
    return _SOURCES[source % len(_SOURCES)]


def draw_image(axes: Axes, frame: Frame, result: Extraction) -> Any:
    """Draw the 2D spectrum with region, traces, apertures and rejected pixels.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    frame : Frame
        The frame, dispersion along x.
    result : Extraction
        What was found in it.

    Returns
    -------
    AxesImage
        For a colour bar.
    """
    pixels = np.where(frame.good, frame.flux, np.nan)
    lower, upper = robust_limits(pixels)
    image = axes.imshow(
        pixels, origin="lower", aspect="auto", cmap="Greys", vmin=lower, vmax=upper, interpolation="nearest"
    )
    axes.set_facecolor("#f3e6d8")  # pixels without data
    columns = np.arange(frame.n_disp)
    for k in range(result.n_source):
        name = f"source {k + 1}" if result.n_source > 1 else "source"
        axes.plot(columns, result.centre[k], color=_colour(k), lw=1.2, label=f"trace of {name}")
        for n, edge in enumerate((result.boxcar.lower, result.boxcar.upper)):
            values = np.broadcast_to(np.atleast_2d(edge), result.flux.shape)[k]
            first = not k and not n
            axes.plot(columns, values, color=_colour(k), lw=0.8, ls="--", label="boxcar aperture" if first else None)
    _draw_region(axes, frame, result)
    y, x = np.nonzero(result.rejected)
    if x.size:
        axes.plot(x, y, ls="", marker="x", ms=3.5, mew=0.8, color=_OTHER, label=f"rejected ({x.size} pixels)")
    axes.set_xlim(-0.5, frame.n_disp - 0.5)
    axes.set_ylim(-0.5, frame.n_cross - 0.5)
    axes.set_xlabel("dispersion (pixel)")
    axes.set_ylabel("cross-dispersion (pixel)")
    return image


def _draw_region(axes: Axes, frame: Frame, result: Extraction) -> None:
    from matplotlib.patches import Polygon, Rectangle

    region = result.resolved.region
    style: dict[str, Any] = {"fill": False, "ec": "#B8860B", "lw": 1.2, "label": "region"}
    cross = (-0.5, frame.n_cross - 0.5) if region.cross is None else region.cross
    disp = (-0.5, frame.n_disp - 0.5) if region.disp is None else region.disp
    if region.polygon is not None:
        axes.add_patch(Polygon(np.array(region.polygon), closed=True, **style))
        style.pop("label")
    if region.cross is not None or region.disp is not None:
        axes.add_patch(Rectangle((disp[0], cross[0]), disp[1] - disp[0], cross[1] - cross[0], **style))


def draw_kernel(axes: Axes, residual_axes: Axes, frame: Frame, result: Extraction) -> None:
    """Draw the coadded slice, its fit with the components, and what the fit leaves.

    Parameters
    ----------
    axes, residual_axes : Axes
        Where to draw the slice, and the residual below it.
    frame : Frame
        Gives the unit.
    result : Extraction
        Its `kernel` is drawn.
    """
    kernel = result.kernel
    factor, unit = readable(kernel.data, frame.unit)
    rows = kernel.rows
    style: dict[str, Any] = {"fmt": "o", "ms": 3.5, "lw": 1, "color": "black", "zorder": 3}
    axes.errorbar(rows, factor * kernel.data, factor * kernel.error, label="slice", **style)
    axes.plot(rows, factor * kernel.model, color=_OTHER, lw=1.5, label="fit")
    for k, component in enumerate(kernel.components):
        shown = component + kernel.background
        name = f"source {k + 1}" if len(kernel.components) > 1 else "source"
        axes.plot(rows, factor * shown, color=_colour(k), lw=1, ls="--", label=name)
    axes.plot(rows, factor * kernel.background, color=_BOXCAR, lw=1, ls=":", label="background")
    first, last = kernel.columns
    width = float(np.nanmedian(result.fwhm)) if np.isfinite(result.fwhm).any() else np.nan
    shape = f"{result.resolved.profile.kind}, FWHM {width:.2f} px"
    axes.set_title(f"kernel slice, columns {first} to {last}\n{shape}", fontsize=9, loc="left")
    axes.set_ylabel(label("mean per column", unit))
    axes.legend(fontsize=8, frameon=False, loc="best")
    axes.tick_params(labelbottom=False)

    residual_axes.axhline(0.0, color=_NOISE, lw=0.8)
    with np.errstate(invalid="ignore", divide="ignore"):
        pull = (kernel.data - kernel.model) / kernel.error
    residual_axes.plot(rows, pull, "o", ms=3, color="black")
    biggest = float(np.nanmax(np.abs(pull))) if np.isfinite(pull).any() else 1.0
    residual_axes.set_ylim(-1.15 * max(biggest, 3.0), 1.15 * max(biggest, 3.0))
    residual_axes.set_ylabel("residual (σ)")
    residual_axes.set_xlabel("cross-dispersion (pixel)")


def spectrum_limits(flux: FloatArray, uncertainty: FloatArray) -> tuple[float, float]:
    """Limits of a flux axis: every significant value is inside, wild values with wild errors are not.

    Parameters
    ----------
    flux, uncertainty : ndarray
        Spectra in one unit, any shape.

    Returns
    -------
    tuple of float
        Lower and upper limit.
    """
    good = np.isfinite(flux) & np.isfinite(uncertainty)
    if not good.any():
        return -1.0, 1.0
    f, s = flux[good], uncertainty[good]
    typical = float(np.median(s))
    # a bright line has a large error too, but is significant
    f = f[(s <= 5 * typical) | (f > 10 * s)]
    upper = max(float(np.max(f)), 4 * typical)
    lower = min(float(np.percentile(f, 1.0)), -3 * typical)
    pad = 0.06 * (upper - lower)
    return (lower - pad, upper + pad) if upper > lower else (lower - 1.0, upper + 1.0)


def draw_spectrum(
    axes: Axes, result: Extraction, others: Sequence[Comparison | None] = (), *, ratio_axes: Axes | None = None
) -> None:
    """Draw the spectra with their 1 sigma band, the boxcar, and another spectrum with the ratio.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    result : Extraction
        The spectra.
    others : sequence of Comparison or None, optional
        One a source: what to draw beside it.
    ratio_axes : Axes, optional
        Where to draw the ratios.
    """
    x = result.wavelength.value
    factor, unit = readable(result.flux, result.unit)
    for k in range(result.n_source):
        name = f"source {k + 1}" if result.n_source > 1 else "optimal"
        flux, sigma = factor * result.flux[k], factor * result.uncertainty[k]
        boxcar = factor * np.atleast_2d(result.boxcar.flux)[k]
        axes.plot(x, boxcar, color=_BOXCAR, lw=0.6, alpha=0.8, label="boxcar" if not k else None, zorder=1)
        axes.fill_between(x, flux - sigma, flux + sigma, color=_colour(k), alpha=0.3, lw=0, step="mid", zorder=2)
        axes.plot(x, flux, color=_colour(k), lw=0.9, drawstyle="steps-mid", label=name, zorder=3)
    for other in others:
        if other is not None:
            axes.plot(x, factor * other.flux, color=_OTHER, lw=0.7, alpha=0.85, label=other.label, zorder=2)
    axes.axhline(0.0, color=_NOISE, lw=0.6)
    low, high = spectrum_limits(factor * result.flux, factor * result.uncertainty)
    axes.set_ylim(low, high + 0.1 * (high - low))  # room for the legend
    good = x[np.isfinite(x)]
    if good.size:
        axes.set_xlim(float(good.min()), float(good.max()))
    axes.set_ylabel(label("flux", unit))
    axes.legend(fontsize=8, frameon=False, ncol=4, loc="upper left")
    below = axes
    if ratio_axes is not None:
        _draw_ratio(ratio_axes, result, others)
        axes.tick_params(labelbottom=False)
        below = ratio_axes
    below.set_xlabel(label("wavelength" if result.wavelength.unit != "pix" else "column", result.wavelength.unit))


def _draw_ratio(axes: Axes, result: Extraction, others: Sequence[Comparison | None]) -> None:
    """Other over optimal, in bins of equal number of columns: the sums' ratio, with the error of the other."""
    x = result.wavelength.value
    axes.axhline(1.0, color=_NOISE, lw=0.8)
    top, bottom = 2.0, 0.0
    for k, other in enumerate(others):
        if other is None:
            continue
        flux, sigma = result.flux[k], result.uncertainty[k]
        good = np.flatnonzero(np.isfinite(flux) & np.isfinite(other.flux) & (sigma > 0) & np.isfinite(x))
        for part in np.array_split(good, 40):
            weight = 1.0 / sigma[part] ** 2 if part.size else np.zeros(0)
            total = np.sum(weight * flux[part])
            # a ratio of what is not there says nothing
            if not part.size or total < 5 * np.sqrt(weight.sum()):
                continue
            ratio = float(np.sum(weight * other.flux[part]) / total)
            error = float(np.sqrt(weight.sum()) / total)
            axes.errorbar(np.mean(x[part]), ratio, error, fmt="o", ms=3, lw=0.8, color=_colour(k))
            top, bottom = max(top, 1.1 * ratio), min(bottom, 1.3 * ratio)
    axes.set_ylim(max(bottom, -2.0), min(top, 5.0))
    axes.set_ylabel("other / optimal")


def summary_figure(
    frame: Frame, result: Extraction, others: Sequence[Comparison | None] = (), *, title: str | None = None
) -> Figure:
    """Draw the summary of an extraction.

    Parameters
    ----------
    frame : Frame
        The frame that was extracted.
    result : Extraction
        What was found.
    others : sequence of Comparison or None, optional
        One a source: another spectrum to be drawn with the ratio.
    title : str, optional
        Title; absent: file, slit and source.

    Returns
    -------
    Figure
        Not attached to any window.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9.5), layout="constrained")
    FigureCanvasAgg(figure)
    compared = any(other is not None for other in others)
    grid = figure.add_gridspec(2, 1, height_ratios=(1.0, 1.6))
    image_axes = figure.add_subplot(grid[0])
    image = draw_image(image_axes, frame, result)
    bar = figure.colorbar(image, ax=image_axes, pad=0.01, fraction=0.03)
    bar.set_label(label("pixel value", frame.unit))
    image_axes.legend(fontsize=8, ncol=6, loc="lower left", bbox_to_anchor=(0.0, 1.0), frameon=False, borderaxespad=0.1)

    lower = grid[1].subgridspec(1, 2, width_ratios=(1.0, 2.3))
    left = lower[0].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.02)
    kernel_axes = figure.add_subplot(left[0])
    residual_axes = figure.add_subplot(left[1], sharex=kernel_axes)
    draw_kernel(kernel_axes, residual_axes, frame, result)
    if compared:
        right = lower[1].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.02)
        spectrum_axes = figure.add_subplot(right[0])
        draw_spectrum(spectrum_axes, result, others, ratio_axes=figure.add_subplot(right[1], sharex=spectrum_axes))
    else:
        spectrum_axes = figure.add_subplot(lower[1])
        draw_spectrum(spectrum_axes, result)
    figure.suptitle(_title(result) if title is None else title, fontsize=11, parse_math=False)
    return figure


def _title(result: Extraction) -> str:
    meta = result.meta
    named = (("file", "{}"), ("slit", "slit {}"), ("source_name", "{}"))
    known = [text.format(meta[key]) for key, text in named if meta.get(key) is not None]
    return " · ".join(known) if known else "optextract"


def save_summary(
    frame: Frame,
    result: Extraction,
    path: str | Path,
    others: Sequence[Comparison | None] = (),
    *,
    title: str | None = None,
    dpi: float = 110.0,
) -> Path:
    """Write the summary figure as PNG, whole or not at all.

    Parameters
    ----------
    frame, result, others, title
        See `summary_figure`.
    path : str or Path
        File to write; an existing one is replaced.
    dpi : float, optional
        Resolution in pixels per inch.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    summary_figure(frame, result, others, title=title).savefig(part, format="png", dpi=dpi)
    part.replace(path)
    return path
