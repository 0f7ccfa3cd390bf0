"""What the report shows of one spectrum, small enough that thousands of them fit into one page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optextract.frame import Frame
from optextract.results import Extraction

from .compare import Comparison
from .units import readable, robust_limits, words

__all__ = ["card_of", "packed"]

FloatArray = NDArray[np.float64]

_IMAGE_COLUMNS = 240
_SPECTRUM_POINTS = 640
_ROWS = 64
_NOTHING = -32768


def packed(values: FloatArray) -> dict[str, Any]:
    """Numbers as 16-bit integers between their extremes, base64; NaN becomes the smallest integer.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Any numbers; what is not finite is shown as missing.

    Returns
    -------
    dict
        ``low`` and ``step`` of ``value = low + step * (integer + 32767)``, and ``data``.
    """
    good = np.isfinite(values)
    low = float(values[good].min()) if good.any() else 0.0
    high = float(values[good].max()) if good.any() else 0.0
    step = (high - low) / 65534 if high > low else 1.0
    code = np.full(values.shape, _NOTHING, dtype="<i2")
    code[good] = np.round((values[good] - low) / step).astype(np.int64) - 32767
    return {"low": _short(low), "step": _short(step, 9), "data": base64.b64encode(code.tobytes()).decode("ascii")}


def _short(value: float, digits: int = 6) -> float:
    return float(f"{value:.{digits}g}")


def _edges(n: int, most: int) -> NDArray[np.intp]:
    """Edges of at most `most` bins of whole columns."""
    return np.unique(np.linspace(0, n, min(n, most) + 1).round().astype(np.intp))


def _binned(values: FloatArray, edges: NDArray[np.intp]) -> FloatArray:
    """Mean of what is finite in each bin along the last axis."""
    good = np.isfinite(values)
    total = np.add.reduceat(np.where(good, values, 0.0), edges[:-1], axis=-1)
    count = np.add.reduceat(good, edges[:-1], axis=-1, dtype=np.int64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _binned_error(values: FloatArray, edges: NDArray[np.intp]) -> FloatArray:
    """1 sigma error of that mean, for independent columns."""
    good = np.isfinite(values)
    total = np.add.reduceat(np.where(good, values, 0.0) ** 2, edges[:-1], axis=-1)
    count = np.add.reduceat(good, edges[:-1], axis=-1, dtype=np.int64)
    return np.where(count > 0, np.sqrt(total) / np.maximum(count, 1), np.nan)


def _image(pixels: FloatArray) -> dict[str, Any]:
    """Grey levels 0 to 254, 255 for pixels without data, row by row from the bottom."""
    across, along = _edges(pixels.shape[0], _ROWS), _edges(pixels.shape[1], _IMAGE_COLUMNS)
    small = _binned(_binned(pixels, along).T, across).T
    lower, upper = robust_limits(small)
    level = np.clip((np.nan_to_num(small) - lower) / (upper - lower), 0.0, 1.0) * 254
    code = np.where(np.isfinite(small), np.round(level), 255).astype(np.uint8)
    return {
        "rows": code.shape[0],
        "columns": code.shape[1],
        "low": _short(lower, 2),
        "high": _short(upper, 2),
        "data": base64.b64encode(code.tobytes()).decode("ascii"),
    }


def _rounded(values: Any, digits: int = 5) -> list[float | None]:
    return [None if not np.isfinite(v) else _short(float(v), digits) for v in np.asarray(values, dtype=float)]


def card_of(frame: Frame, result: Extraction, others: Sequence[Comparison | None] = ()) -> dict[str, Any]:
    """Reduce an extraction to what a card shows.

    Parameters
    ----------
    frame : Frame
        The frame.
    result : Extraction
        The extraction.
    others : sequence of Comparison or None, optional
        Another spectrum of each source.

    Returns
    -------
    dict
        Plain values for JSON; arrays as in `packed`, some 20 kB.
    """
    n_cross, n_disp = frame.shape
    spectrum = _edges(n_disp, _SPECTRUM_POINTS)
    trace = _edges(n_disp, 60)
    factor, unit = readable(result.flux, result.unit)
    pixel_factor, pixel_unit = readable(result.kernel.data, frame.unit)
    box_flux = np.broadcast_to(np.atleast_2d(result.boxcar.flux), result.flux.shape)
    lower = np.broadcast_to(np.atleast_2d(result.boxcar.lower), result.flux.shape)
    upper = np.broadcast_to(np.atleast_2d(result.boxcar.upper), result.flux.shape)
    region = result.resolved.region
    kernel = result.kernel
    sources = []
    for k in range(result.n_source):
        other = others[k] if k < len(others) else None
        sources.append(
            {
                "centre": _rounded(_binned(result.centre[k], trace), 4),
                "lower": _rounded(_binned(lower[k], trace), 4),
                "upper": _rounded(_binned(upper[k], trace), 4),
                "flux": packed(factor * _binned(result.flux[k], spectrum)),
                "error": packed(factor * _binned_error(result.uncertainty[k], spectrum)),
                "boxcar": packed(factor * _binned(box_flux[k], spectrum)),
                "x1d": None if other is None else packed(factor * _binned(other.flux, spectrum)),
                "component": _rounded(pixel_factor * (kernel.components[k] + kernel.background)),
            }
        )
    return {
        "shape": [n_cross, n_disp],
        "image": _image(np.where(frame.good, frame.flux, np.nan)),
        "pixel_unit": words(frame.unit),
        "region": {
            "cross": None if region.cross is None else list(region.cross),
            "disp": None if region.disp is None else list(region.disp),
            "polygon": None if region.polygon is None else [list(corner) for corner in region.polygon],
        },
        "columns": _rounded(_binned(np.arange(n_disp, dtype=float), trace), 5),
        "wavelength": packed(_binned(np.asarray(result.wavelength.value, dtype=float), spectrum)),
        "wavelength_unit": words(result.wavelength.unit),
        "flux_unit": words(unit),
        "per_point": _short(float(np.mean(np.diff(spectrum))), 3),
        "kernel": {
            "rows": _rounded(kernel.rows),
            "data": _rounded(pixel_factor * kernel.data),
            "error": _rounded(pixel_factor * kernel.error, 3),
            "model": _rounded(pixel_factor * kernel.model),
            "background": _rounded(pixel_factor * kernel.background),
            "unit": words(pixel_unit),
            "columns": list(kernel.columns),
        },
        "profile": str(result.resolved.profile.kind),
        "sources": sources,
    }
