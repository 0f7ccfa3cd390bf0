"""Figures of an extraction that can be compared across a batch, and a score that ranks what needs a look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optextract.frame import Frame
from optextract.report.compare import Comparison
from optextract.results import Extraction, Flag

__all__ = ["CRITERIA", "Criterion", "Rating", "figures_of", "rate"]


_WINDOW = 11  # columns whose median is the level that a spike stands on


@dataclass(frozen=True)
class Criterion:
    """One thing that can be wrong with a spectrum.

    Attributes
    ----------
    figure : str
        The figure that is looked at.
    good, bad : float
        Up to `good` it costs nothing, from `bad` on the whole `weight`, in between in proportion.
    weight : float
        Points of the score.
    words : str
        What is said where it costs anything, with the figure as ``{value}``.
    """

    figure: str
    good: float
    bad: float
    weight: float
    words: str

    def points(self, value: float) -> float:
        """Points that a value costs; a figure that is not known costs nothing."""
        if not math.isfinite(value):
            return 0.0
        return self.weight * min(max((value - self.good) / (self.bad - self.good), 0.0), 1.0)


#: The score is the sum of these points, at most 100; 0 is a spectrum that nothing speaks against, 100 one that failed.
CRITERIA: tuple[Criterion, ...] = (
    Criterion("invisibility", 0.1, 0.5, 30.0, "hardly any source: total S/N {snr_total:.1f}"),
    Criterion("pull_excess", 1.0, 2.0, 20.0, "errors do not match the noise: source-free pull {pull:.2f}"),
    Criterion("jump", 1.5, 4.0, 20.0, "{jump:.1f} px from the planned position"),
    Criterion("chi2", 1.5, 4.0, 15.0, "the model does not fit: chi2 {chi2:.1f}"),
    Criterion("trace_excess", 3.0, 8.0, 15.0, "the trace scatters by {trace_rms:.2f} px"),
    Criterion("lost_fraction", 0.1, 0.5, 15.0, "{lost_percent:.0f} % of the columns have no flux"),
    Criterion("boxcar_excess", 3.0, 10.0, 15.0, "optimal over boxcar flux is {optimal_over_boxcar:.2f}"),
    Criterion("masked_fraction", 0.2, 0.6, 10.0, "{masked_percent:.0f} % of the pixels are bad"),
    Criterion("loss_against_boxcar", 0.05, 0.3, 10.0, "noisier than a plain sum: S/N {gain:.2f} of the boxcar's"),
    Criterion("spike", 10.0, 30.0, 15.0, "one column alone stands {spike:.0f} sigma out of its neighbours: {spike_at}"),
    Criterion("rejection_effect", 0.02, 0.1, 10.0, "rejection changes the flux by {rejection_percent:.1f} %"),
    Criterion("x1d_excess", 0.1, 0.5, 10.0, "the x1d has {x1d_ratio:.2f} of the flux"),
    Criterion("fwhm_drift", 2.0, 4.0, 10.0, "the width changes by a factor of {fwhm_drift:.1f} along the trace"),
    Criterion("prior_shape", 0.0, 1.0, 5.0, "trace and width are not from this data"),
    Criterion("second_source", 0.0, 1.0, 15.0, "two sources fit better than one"),
    Criterion("blended", 0.0, 1.0, 5.0, "sources too close for the data in {blended_percent:.0f} % of the columns"),
    Criterion("n_warnings", 0.0, 4.0, 10.0, "warnings of the fit: {n_warnings:.0f}"),
)


@dataclass(frozen=True)
class Rating:
    """How much a spectrum needs a look.

    Attributes
    ----------
    score : float
        0 (nothing speaks against it) to 100.
    flags : tuple of str
        What costs points, in words, most expensive first.
    """

    score: float
    flags: tuple[str, ...]


def _number(value: Any) -> float:
    """A finite or NaN float of anything that quality holds; the first of a tuple."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else math.nan
    return math.nan if value is None else float(value)


def figures_of(
    frame: Frame, result: Extraction, others: Sequence[Comparison | None] = ()
) -> dict[str, float | int | str]:
    """Return the figures of one extraction, of its first source where it has several.

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
        Plain numbers and words, for JSON and tables; NaN where a figure does not exist.
    """
    quality = result.quality
    usable = np.isfinite(result.flux[0])
    expected = frame.good.any(axis=0)
    pull = quality.get("pull", {})
    matched = _number(pull.get("profile"))
    seen = np.isfinite(result.centre[0])
    middle = float(np.median(result.centre[0][seen])) if seen.any() else math.nan
    fwhm = result.fwhm[0][np.isfinite(result.fwhm[0])]
    planned = frame.meta.get("planned_cross")
    errors = result.trace.centre_error
    typical = float(np.nanmedian(errors)) if np.isfinite(errors).any() else math.nan
    ratio, ratio_error = _over_boxcar(result)
    other = others[0] if others else None
    peak, where = _peak(result)
    spike, spike_at = _spike(result)
    flags = result.flags[:, usable] if usable.any() else result.flags
    return {
        "n_source": result.n_source,
        "snr_total": _number(quality.get("snr_total")),
        "snr_median": _number(quality.get("snr_median")),
        "snr_peak": peak,
        "peak_at": where,
        "spike": spike,
        "spike_at": spike_at,
        "efficiency": _number(quality.get("efficiency")),
        "gain": _number(quality.get("gain")),
        "chi2": _number(quality.get("chi2")),
        "pull": matched if math.isfinite(matched) else _number(pull.get("pixel")),
        "pull_pixel": _number(pull.get("pixel")),
        "pull_bin10": _number(pull.get("bin10")),
        "trace_rms": float(result.trace.rms),
        "trace_error": typical,
        "centre": middle,
        "fwhm": float(np.median(fwhm)) if fwhm.size else math.nan,
        "fwhm_drift": float(fwhm.max() / fwhm.min()) if fwhm.size and fwhm.min() > 0 else math.nan,
        "jump": abs(middle - float(planned)) if planned is not None else math.nan,
        "masked_fraction": float(frame.mask.mean()),
        "lost_fraction": float((expected & ~usable).sum() / max(int(expected.sum()), 1)),
        "n_rejected": int(result.rejected.sum()),
        "rejection_effect": abs(_number(quality.get("rejection_effect")) - 1.0),
        "optimal_over_boxcar": ratio,
        "optimal_over_boxcar_error": ratio_error,
        "x1d_ratio": math.nan if other is None else other.ratio,
        "x1d_ratio_error": math.nan if other is None else other.ratio_error,
        "prior_shape": float(bool((flags & Flag.PRIOR_SHAPE).any())),
        "blended": float(np.mean((flags & Flag.BLENDED) > 0)) if flags.size else 0.0,
        "n_warnings": len(quality.get("warnings", ())),
        "second_source": float(bool(quality.get("second_source", False))),
        "profile": str(result.resolved.profile.kind),
        "unit": str(result.unit),
    }


def _peak(result: Extraction) -> tuple[float, str]:
    """Highest S/N of a column of the first source, and where it is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = result.flux[0] / result.uncertainty[0]
    if not np.isfinite(snr).any():
        return math.nan, "no column"
    column = int(np.nanargmax(snr))
    return float(snr[column]), _place(result, column)


def _place(result: Extraction, column: int) -> str:
    """A column by its wavelength, where it has one."""
    wavelength = result.wavelength[column]
    if not np.isfinite(wavelength.value) or wavelength.unit == "pix":
        return f"column {column}"
    return f"{wavelength.value:.4g} {wavelength.unit}"


def _spike(result: Extraction) -> tuple[float, str]:
    """By how many sigma one column stands out alone, of all sources, and where; 0 where none does.

    No line is so narrow that the columns beside it hold less than a tenth of it: at a FWHM of 1.2 pixels, narrower than
    any spectrograph's, they hold a quarter.
    """
    worst, where = 0.0, "no column"
    for flux, sigma in zip(result.flux, result.uncertainty, strict=True):
        columns = np.flatnonzero(np.isfinite(flux) & (sigma > 0))
        if columns.size < _WINDOW:
            continue
        near = np.lib.stride_tricks.sliding_window_view(np.pad(flux[columns], _WINDOW // 2, mode="edge"), _WINDOW)
        excess = (flux[columns] - np.median(near, axis=1)) / sigma[columns]
        beside = np.maximum(np.abs(excess[:-2]), np.abs(excess[2:]))
        middle = excess[1:-1]
        # neighbours that were lost say nothing
        alone = (columns[2:] - columns[:-2] == 2) & (beside < 0.1 * middle + 2.0)
        best = int(np.argmax(np.where(alone, middle, 0.0)))
        if alone[best] and middle[best] > worst:
            worst, where = float(middle[best]), _place(result, int(columns[best + 1]))
    return worst, where


def _over_boxcar(result: Extraction) -> tuple[float, float]:
    """Optimal over boxcar flux, both total, and its error, where the boxcar misses no pixel and holds one source."""
    if result.n_source > 1:
        return math.nan, math.nan
    box = result.boxcar
    lower, upper = np.atleast_2d(box.lower)[0], np.atleast_2d(box.upper)[0]
    flux, error = np.atleast_2d(box.flux)[0], np.atleast_2d(box.uncertainty)[0]
    rows = np.arange(result.profile.shape[1])[:, None]
    part = np.clip(np.minimum(rows + 0.5, upper) - np.maximum(rows - 0.5, lower), 0.0, 1.0)
    inside = (part * np.nan_to_num(result.profile[0])).sum(axis=0)
    whole = np.atleast_2d(box.n_pixels)[0] > upper - lower - 0.01
    good = whole & np.isfinite(result.flux[0]) & (error > 0) & (inside > 0.1)
    weight = np.where(good, (inside / np.where(good, error, 1.0)) ** 2, 0.0)
    optimal = np.where(good, result.flux[0], 0.0)
    total = np.where(good, flux / np.where(good, inside, 1.0), 0.0)
    bottom, power = float((weight * optimal * total).sum()), float((weight * optimal**2).sum())
    if bottom <= 0 or power <= 0:
        return math.nan, math.nan
    return power / bottom, math.sqrt(power) / bottom


def _derived(figures: Mapping[str, Any]) -> dict[str, float]:
    """Figures that criteria look at, from those that are reported."""

    def get(name: str) -> float:
        return _number(figures.get(name))

    pull, ratio = get("pull"), get("optimal_over_boxcar")
    # a disagreement counts in percent of the flux, and only where its error allows to say so
    apart = abs(ratio - 1.0)
    tolerance = max(0.02, 3 * get("optimal_over_boxcar_error")) if math.isfinite(ratio) else math.nan
    scatter = max(get("trace_error"), 0.05) if math.isfinite(get("trace_error")) else 0.05
    x1d = abs(get("x1d_ratio") - 1.0)
    return {
        "invisibility": 1.0 / max(get("snr_total"), 1e-3) if math.isfinite(get("snr_total")) else 1.0,
        "pull_excess": max(pull / 1.25, 0.8 / pull) if pull > 0 else math.nan,
        "trace_excess": get("trace_rms") / scatter,
        "boxcar_excess": 3.0 * apart / tolerance,
        "loss_against_boxcar": 1.0 - get("gain"),
        "x1d_excess": x1d - 3 * get("x1d_ratio_error") if math.isfinite(x1d) else math.nan,
        "lost_percent": 100 * get("lost_fraction"),
        "masked_percent": 100 * get("masked_fraction"),
        "rejection_percent": 100 * get("rejection_effect"),
        "blended_percent": 100 * get("blended"),
    }


def rate(figures: Mapping[str, Any]) -> Rating:
    """Score the figures of an extraction.

    Parameters
    ----------
    figures : mapping
        From `figures_of`.

    Returns
    -------
    Rating
        The sum of the points of `CRITERIA`, at most 100, and the reasons.
    """
    values: dict[str, Any] = {**figures, **_derived(figures)}
    found = []
    for criterion in CRITERIA:
        points = criterion.points(_number(values.get(criterion.figure)))
        # less than half a point is no reason to look
        if points >= 0.5:
            found.append((points, criterion.words.format(**values)))
    found.sort(key=lambda item: -item[0])
    return Rating(score=round(min(sum(p for p, _ in found), 100.0), 2), flags=tuple(words for _, words in found))
