"""An extraction beside another spectrum of the same source, in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from optextract.errors import OptextractError, bad_value
from optextract.frame import Frame
from optextract.results import Extraction

__all__ = ["Comparison", "compare", "find_aperture"]

FloatArray = NDArray[np.float64]

_BRIGHT, _ENOUGH = 5.0, 20  # S/N, and columns of it that decide by themselves


@dataclass(frozen=True, eq=False)
class Comparison:
    """Another spectrum on the extraction's columns, and what differs.

    Attributes
    ----------
    label : str
        What the other spectrum is.
    flux, uncertainty : ndarray, shape (n_disp,)
        The other spectrum in the extraction's unit; NaN where it has no value.
    ratio, ratio_error : float
        Factor from the extraction to the other spectrum by least squares over the columns that both have, outliers
        left out, and its 1 sigma error.
    median_ratio, median_error : float
        Median over the columns where the extraction has S/N of 5 or more, and its error from their scatter.
    n_columns, n_bright : int
        Columns that both have, and those of S/N 5 or more.
    error_ratio : float
        Median of the other's 1 sigma error, brought to the extraction's flux scale, over the extraction's.
    aperture : tuple of float or None
        Rows (lower and upper edge, pixel) that the other spectrum is said to be the sum of.
    enclosed : float
        Median fraction of the extraction's profile inside that aperture; NaN without one.
    negative : float
        Flux of the nods' negative traces inside that aperture over the source's flux, as the header predicts it.
    """

    label: str
    flux: FloatArray
    uncertainty: FloatArray
    ratio: float
    ratio_error: float
    median_ratio: float
    median_error: float
    n_columns: int
    n_bright: int
    error_ratio: float
    aperture: tuple[float, float] | None = None
    enclosed: float = np.nan
    negative: float = 0.0

    def words(self) -> tuple[str, ...]:
        """Return the comparison as sentences."""
        if not self.n_columns:
            return (f"{self.label}: no column in common",)
        scale = f"{self.ratio:.3f} +- {self.ratio_error:.3f} of the optimal flux"
        lines = [f"{self.label}: {scale} ({self.n_columns} columns)"]
        if self.n_bright:
            median = f"{self.median_ratio:.3f} +- {self.median_error:.3f}"
            lines.append(f"median ratio {median} over the {self.n_bright} columns of S/N >= 5")
        if np.isfinite(self.error_ratio):
            lines.append(f"its error at equal flux is {self.error_ratio:.2f} times the optimal one")
        if self.aperture is not None and np.isfinite(self.enclosed):
            lower, upper = self.aperture
            inside, missed = 100 * self.enclosed, 100 * (1 - self.enclosed)
            lines.append(
                f"its aperture, rows {lower:.1f} to {upper:.1f}, holds {inside:.0f} % of the fitted profile: "
                f"it misses {missed:.0f} % of the source"
            )
            if self.negative < -0.005:
                lines.append(
                    f"negative nod traces in that aperture take away another {-100 * self.negative:.0f} %, "
                    f"so {100 * (self.enclosed + self.negative):.0f} % of the flux is expected in it"
                )
        return tuple(lines)


def _on_columns(wavelength: FloatArray, own: FloatArray, values: FloatArray) -> FloatArray:
    """Values at the wavelengths of the extraction's columns: as they are where the grids agree, else interpolated."""
    if own.shape == wavelength.shape:
        both = np.isfinite(own) & np.isfinite(wavelength)
        step = np.nanmedian(np.abs(np.diff(wavelength))) if wavelength.size > 1 else 1.0
        if both.any() and np.all(np.abs(own - wavelength)[both] < 0.01 * step):
            return values
    good = np.isfinite(own) & np.isfinite(values)
    if not good.any():
        return np.full(wavelength.shape, np.nan)
    order = np.argsort(own[good])
    return np.interp(wavelength, own[good][order], values[good][order], left=np.nan, right=np.nan)


def _enclosed(result: Extraction, source: int, aperture: tuple[float, float]) -> float:
    """Fraction of the fitted profile between two edges, median over columns."""
    profile = np.nan_to_num(result.profile[source])
    rows = np.arange(profile.shape[0])
    part = np.clip(np.minimum(rows + 0.5, aperture[1]) - np.maximum(rows - 0.5, aperture[0]), 0.0, 1.0)
    used = profile.sum(axis=0) > 0
    return float(np.median((part[:, None] * profile).sum(axis=0)[used])) if used.any() else np.nan


def _negative(result: Extraction, source: int, aperture: tuple[float, float]) -> float:
    """Depth of each predicted negative trace times the fraction of it inside the aperture, summed."""
    offsets, depths = result.meta.get("nod_offsets", ()), result.meta.get("nod_depths", ())
    parts = (
        depth * _enclosed(result, source, (aperture[0] - offset, aperture[1] - offset))
        for offset, depth in zip(offsets, depths, strict=False)
    )
    return float(sum(part for part in parts if np.isfinite(part)))


def _scale(ours: FloatArray, ours_sigma: FloatArray, other: FloatArray, spread: FloatArray) -> tuple[float, float]:
    """Factor from the extraction to the other spectrum by least squares, columns 5 robust deviations off left out."""
    # the noise in f^2 is only in part in f g, even where the pixels are the same: faint columns would lower the ratio
    bright = ours >= _BRIGHT * ours_sigma
    usable = bright if bright.sum() >= _ENOUGH else np.ones(ours.shape, dtype=bool)
    use = usable
    ratio = error = np.nan
    for _ in range(5):
        weight = 1.0 / ours_sigma[use] ** 2
        power = float(np.sum(weight * ours[use] ** 2))
        if power <= 0:
            return np.nan, np.nan
        ratio = float(np.sum(weight * ours[use] * other[use]) / power)
        # both hold the noise of the same pixels, so that of their product is taken from the other's error alone
        error = float(np.sqrt(np.sum((weight * ours[use] * spread[use]) ** 2)) / power)
        pull = (other - ratio * ours) / np.hypot(spread, ratio * ours_sigma)
        width = max(1.0, 1.4826 * float(np.median(np.abs(pull))))
        keep = usable & (np.abs(pull) < 5 * width)
        if np.array_equal(keep, use):
            break
        use = keep
    return ratio, error


def find_aperture(frame: Frame, flux: FloatArray) -> tuple[float, float] | None:
    """Find the rows that a plain-sum spectrum of a frame is the sum of.

    Headers do not tell the aperture, but a plain sum is linear in the rows, so least squares over the columns gives
    back the weight of each row, exactly.

    Parameters
    ----------
    frame : Frame
        The frame that the spectrum was summed from.
    flux : ndarray, shape (n_disp,)
        The spectrum in the frame's `flux_unit`, column by column.

    Returns
    -------
    tuple of float or None
        Lower and upper edge, pixel (pixel i covers i - 0.5 to i + 0.5); None where the spectrum is no such sum.
    """
    pixels = np.where(frame.good, frame.flux, 0.0) * frame.flux_scale
    used = np.isfinite(flux) & frame.good.any(axis=0)
    scale = float(np.max(np.abs(flux[used]))) if used.any() else 0.0
    if scale == 0.0 or used.sum() < 2 * frame.n_cross:
        return None
    weight, *_ = np.linalg.lstsq(pixels[:, used].T / scale, flux[used] / scale, rcond=None)
    residual = pixels[:, used].T @ weight - flux[used]
    if float(np.max(np.abs(residual))) > 1e-5 * scale or np.any(weight < -1e-4) or np.any(weight > 1 + 1e-4):
        return None
    inside = np.flatnonzero(weight > 1e-4)
    first, last = int(inside[0]), int(inside[-1])
    if np.any(np.abs(weight[first + 1 : last] - 1.0) > 1e-3):
        return None
    if first == last:
        return first - 0.5, first - 0.5 + float(weight[first])
    return float(first + 0.5 - weight[first]), float(last - 0.5 + weight[last])


def compare(
    result: Extraction,
    other: Mapping[str, Any],
    *,
    source: int = 0,
    label: str = "other spectrum",
    aperture: tuple[float, float] | None = None,
) -> Comparison:
    """Compare an extraction with another spectrum.

    Parameters
    ----------
    result : Extraction
        The extraction.
    other : mapping
        ``wavelength``, ``flux`` and, where known, ``uncertainty`` as Quantity arrays of one shape (n,).
    source : int, optional
        Which source of the extraction.
    label : str, optional
        What the other spectrum is called.
    aperture : tuple of float, optional
        Cross-dispersion edges that the other spectrum was summed between, pixel.

    Returns
    -------
    Comparison
        The other spectrum on the extraction's columns, and figures.

    Raises
    ------
    OptextractError
        If there is no such source, or the units cannot be compared.
    """
    if not 0 <= source < result.n_source:
        raise bad_value("source", "compare", f"between 0 and {result.n_source - 1}", source)
    try:
        flux = u.Quantity(other["flux"]).to_value(result.unit)
        error = other.get("uncertainty")
        sigma = np.full(flux.shape, np.nan) if error is None else u.Quantity(error).to_value(result.unit)
        own = u.Quantity(other["wavelength"]).to_value(result.wavelength.unit)
    except u.UnitConversionError as problem:
        raise OptextractError(f"{label} cannot be compared: {problem}") from problem
    columns = np.asarray(result.wavelength.value)
    flux, sigma = _on_columns(columns, own, flux), _on_columns(columns, own, sigma)
    # the pipeline writes 0 with error 0 (or NaN) where it has no data
    missing = (flux == 0) & ~(sigma > 0)
    flux, sigma = np.where(missing, np.nan, flux), np.where(missing, np.nan, sigma)

    ours, ours_sigma = result.flux[source], result.uncertainty[source]
    good = np.isfinite(ours) & np.isfinite(flux) & (ours_sigma > 0)
    ratio = ratio_error = median = median_error = error_ratio = np.nan
    bright = np.zeros(0)
    if good.any():
        spread = np.where(sigma > 0, sigma, ours_sigma)
        ratio, ratio_error = _scale(ours[good], ours_sigma[good], flux[good], spread[good])
        bright = (flux / ours)[good & (ours >= _BRIGHT * ours_sigma)]
        if bright.size:
            median = float(np.median(bright))
            median_error = float(1.2533 * 1.4826 * np.median(np.abs(bright - median)) / np.sqrt(bright.size))
        known = good & (sigma > 0)
        if known.any() and np.isfinite(ratio) and ratio > 0:
            error_ratio = float(np.median(sigma[known] / ours_sigma[known]) / ratio)
    return Comparison(
        label=label,
        flux=flux,
        uncertainty=sigma,
        ratio=ratio,
        ratio_error=ratio_error,
        median_ratio=median,
        median_error=median_error,
        n_columns=int(good.sum()),
        n_bright=int(bright.size),
        error_ratio=error_ratio,
        aperture=aperture,
        enclosed=np.nan if aperture is None else _enclosed(result, source, aperture),
        negative=0.0 if aperture is None else _negative(result, source, aperture),
    )
