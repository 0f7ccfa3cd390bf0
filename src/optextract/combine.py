"""Nods in the detector frame: subtracted from each other, extracted apart, and combined without resampling.

Each exposure keeps its own pixels, trace and wavelengths. What is common is a grid of wavelength bins: an extracted
column is the mean of the spectrum over the interval that its pixel covers, so all exposures together are a linear
system for the bins, ``f_x = sum_k A_xk s_k``, solved by least squares with the columns' own errors. Data are never
interpolated, errors hold no drizzle covariance, and the residuals say whether the exposures agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from .errors import FrameError, OptextractError, bad_value
from .frame import VARIANCE_PARTS, Frame
from .noise import robust_rms
from .results import Extraction, freeze

if TYPE_CHECKING:
    from astropy.table import QTable
    from specutils import Spectrum

__all__ = ["Agreement", "Combined", "combine", "subtract_nods"]

FloatArray = NDArray[np.float64]

_SMALLEST = 0.2  # nods closer than this (pixel) are one position
_LINE = 5.0  # sigma above the continuum


def subtract_nods(frames: Sequence[Frame], positions: ArrayLike | None = None) -> tuple[Frame, ...]:
    """Subtract from each exposure the mean of those at other nod positions, pixel by pixel in the detector frame.

    Parameters
    ----------
    frames : sequence of Frame
        Exposures of one slit on the same detector pixels, all of one shape (n_cross, n_disp) and unit.
    positions : array_like, shape (n_frame,), optional
        Cross-dispersion position of the source in each, pixel; absent: their planned traces (or positions).

    Returns
    -------
    tuple of Frame
        Differences in the same order. Their variance holds the subtracted exposures'
        (``meta['nod_noise'] = 'included'``), a pixel that is bad in one of several subtracted exposures is made up for
        by the others, ``nod_offsets`` and ``nod_depths`` tell of the negative traces.

    Raises
    ------
    FrameError
        If shapes, units or wavelengths differ, a variance is missing, or the positions are unknown or all the same.
    """
    frames = tuple(frames)
    if len(frames) < 2:
        raise bad_value("frames", "subtract_nods", "two or more frames", len(frames), FrameError)
    _check_alike(frames)
    place = _positions(frames, positions)
    out = []
    for index, frame in enumerate(frames):
        others = [k for k in range(len(frames)) if abs(place[k] - place[index]) > _SMALLEST]
        if not others:
            rule = "different for each frame from those of some others"
            raise bad_value("positions", "subtract_nods", rule, tuple(np.round(place, 2)), FrameError)
        out.append(_difference(frame, [frames[k] for k in others], place[others] - place[index]))
    return tuple(out)


def _check_alike(frames: tuple[Frame, ...]) -> None:
    first = frames[0]
    for number, frame in enumerate(frames):
        if frame.shape != first.shape:
            raise bad_value("frames", "subtract_nods", f"all of shape {first.shape}", f"{frame.shape}", FrameError)
        if frame.unit != first.unit:
            raise bad_value("frames", "subtract_nods", f"all in {first.unit}", str(frame.unit), FrameError)
        if frame.variance is None and not frame.variance_parts:
            raise bad_value("frames", "subtract_nods", "with a variance", f"frame {number} without", FrameError)
        if (frame.wavelength is None) != (first.wavelength is None):
            raise bad_value("frames", "subtract_nods", "all with wavelengths, or none", f"frame {number}", FrameError)
        if frame.wavelength is not None and first.wavelength is not None:
            one = np.atleast_2d(first.wavelength.value)
            two = np.atleast_2d(frame.wavelength.to_value(first.wavelength.unit))
            step = np.nanmedian(np.abs(np.diff(one, axis=1)))
            away = float(np.nanmax(np.abs(two - one))) / step if one.shape == two.shape else np.inf
            if not away < 0.05:
                rule = "of the same wavelength in the same pixel (to 0.05 pixel)"
                raise bad_value("frames", "subtract_nods", rule, f"frame {number}, {away:.2f} pixel away", FrameError)


def _positions(frames: tuple[Frame, ...], positions: ArrayLike | None) -> FloatArray:
    if positions is not None:
        place = np.asarray(positions, float)
        if place.shape != (len(frames),) or not np.isfinite(place).all():
            raise bad_value("positions", "subtract_nods", f"{len(frames)} finite numbers", positions, FrameError)
        return place
    found = []
    for number, frame in enumerate(frames):
        trace = frame.meta.get("planned_trace")
        value = np.nanmedian(trace) if trace is not None else frame.meta.get("planned_cross")
        if value is None or not np.isfinite(value):
            rule = "given where a frame has no planned position"
            raise bad_value("positions", "subtract_nods", rule, f"none, and frame {number} has none", FrameError)
        found.append(float(value))
    return np.array(found)


def _variance(frame: Frame) -> FloatArray:
    total = frame.variance if frame.variance is not None else np.sum(list(frame.variance_parts.values()), axis=0)
    return np.where(frame.good, total, 0.0)


def _difference(frame: Frame, others: list[Frame], offsets: FloatArray) -> Frame:
    good = np.array([other.good for other in others])
    count = good.sum(axis=0)
    share = np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0)
    mean = np.where(good, np.array([other.flux for other in others]), 0.0).sum(axis=0) * share
    mask = frame.mask | (count == 0)

    def added(own: FloatArray, theirs: list[FloatArray]) -> FloatArray:
        spread = np.where(good, np.nan_to_num(np.array(theirs)), 0.0).sum(axis=0) * share**2
        return np.where(mask, np.nan, np.where(frame.good, np.nan_to_num(own), 0.0) + spread)

    parts = {
        name: added(frame.variance_parts[name], [other.variance_parts[name] for other in others])
        for name in VARIANCE_PARTS
        if all(name in one.variance_parts for one in (frame, *others))
    }
    near: dict[float, list[float]] = {}
    for offset in offsets:
        key = next((k for k in near if abs(k - offset) < _SMALLEST), float(offset))
        near.setdefault(key, []).append(float(offset))
    told = [(float(np.mean(same)), -len(same) / len(others)) for same in near.values()]
    meta = {
        **frame.meta,
        "nod_offsets": tuple(offset for offset, _ in told),
        "nod_depths": tuple(depth for _, depth in told),
        "nod_noise": "included",
        "nod_count": len(told) + 1,
        "notes": (
            *frame.meta.get("notes", ()),
            f"The mean of {len(others)} exposures at other nod positions was subtracted in the detector frame; "
            "their noise is in the variance.",
        ),
    }
    return frame.replace(
        flux=np.where(mask, np.nan, frame.flux - mean),
        variance=added(_variance(frame), [_variance(other) for other in others]),
        variance_parts=parts,
        mask=mask,
        meta=meta,
    )


@dataclass(frozen=True)
class Agreement:
    """How well exposures agree with their common spectrum.

    Attributes
    ----------
    chi2 : float
        Sum of squared residuals over the errors, empirical scale included.
    freedom : float
        Degrees of freedom: columns less what they determine of the spectrum (one minus the leverage of each).
    n : int
        Number of columns.
    """

    chi2: float
    freedom: float
    n: int

    @property
    def reduced(self) -> float:
        """chi2 per degree of freedom; NaN without any."""
        return self.chi2 / self.freedom if self.freedom > 0 else float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class Combined:
    """One spectrum from several exposures.

    Attributes
    ----------
    wavelength : Quantity, shape (n,)
        Middle of each bin.
    edges : Quantity, shape (n + 1,)
        Edges of the bins, increasing.
    flux, uncertainty : ndarray, shape (n,)
        Mean of the spectrum over each bin and its 1 sigma error in `unit`; NaN in bins that no column constrains.
    covariance : ndarray, shape (n, n)
        Full covariance; 0 for bins without flux.
    unit : Unit
        Unit of `flux`.
    scales : tuple of float
        Empirical factor that each exposure's errors were multiplied by.
    all, lines, continuum : Agreement
        Residuals of all columns, of those on emission lines, and of the others.
    ratios : tuple of (float, float)
        Flux of each exposure relative to the combined spectrum, and its error.
    residual : tuple of ndarray
        Of each exposure per column: flux minus the combined spectrum over the column's pixel, over its error.
    method : str
        "joint" or "overlap".
    rejected : int
        Columns that were left out as outliers.
    """

    wavelength: u.Quantity
    edges: u.Quantity
    flux: FloatArray
    uncertainty: FloatArray
    covariance: FloatArray
    unit: u.UnitBase
    scales: tuple[float, ...]
    all: Agreement
    lines: Agreement
    continuum: Agreement
    ratios: tuple[tuple[float, float], ...]
    residual: tuple[FloatArray, ...]
    method: str
    rejected: int
    provenance: Mapping[str, Any]

    def words(self) -> tuple[str, ...]:
        """Return the figures as sentences."""
        scale = ", ".join(f"{value:.2f}" for value in self.scales)
        lines = [
            f"{len(self.scales)} exposures on {int(np.isfinite(self.flux).sum())} bins ({self.method}); errors were "
            f"multiplied by {scale}.",
            f"chi2 per degree of freedom {self.all.reduced:.2f} ({self.all.freedom:.0f}); on lines "
            f"{self.lines.reduced:.2f} ({self.lines.freedom:.0f}), off lines {self.continuum.reduced:.2f} "
            f"({self.continuum.freedom:.0f}).",
        ]
        flux = ", ".join(f"{value:.3f} +- {error:.3f}" for value, error in self.ratios)
        return (*lines, f"Each exposure's flux over the combined one: {flux}.")

    def table(self) -> QTable:
        """Return wavelength, flux and error as a table, the figures in its meta."""
        from astropy.table import QTable

        meta = {"words": list(self.words()), "scales": list(self.scales), "method": self.method, **self.provenance}
        columns = {
            "wavelength": self.wavelength,
            "flux": u.Quantity(self.flux, self.unit),
            "uncertainty": u.Quantity(self.uncertainty, self.unit),
        }
        return QTable(columns, meta=meta)

    def to_spectrum(self) -> Spectrum:
        """Return the spectrum as a `specutils.Spectrum`; bins without flux are masked."""
        from astropy.nddata import StdDevUncertainty
        from specutils import Spectrum

        return Spectrum(
            flux=u.Quantity(self.flux, self.unit),
            spectral_axis=self.wavelength,
            uncertainty=StdDevUncertainty(self.uncertainty, unit=self.unit),
            mask=~np.isfinite(self.flux),
            meta={"words": self.words(), **self.provenance},
        )

    def __repr__(self) -> str:
        return f"<Combined: {len(self.scales)} exposures, {len(self.flux)} bins in {self.unit}>"


def pixel_edges(wavelength: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper wavelength of each pixel from those of the pixel centres, shape (n,); NaN where unknown."""
    n = len(wavelength)
    if n < 2:
        raise bad_value("wavelength", "pixel_edges", "of two columns or more", n)
    middle = 0.5 * (wavelength[1:] + wavelength[:-1])
    left = np.concatenate([[np.nan], middle])
    right = np.concatenate([middle, [np.nan]])
    # beside an edge or a gap the pixel is as wide on that side as on the other
    left = np.where(np.isfinite(left), left, 2 * wavelength - right)
    right = np.where(np.isfinite(right), right, 2 * wavelength - left)
    return np.minimum(left, right), np.maximum(left, right)


def _overlap(low: FloatArray, high: FloatArray, edges: FloatArray) -> FloatArray:
    """Part of each pixel that lies in each bin, shape (n_pixel, n_bin); rows of pixels that stick out sum to less."""
    inside = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    return np.clip(inside, 0.0, None) / (high - low)[:, None]


def _response(low: FloatArray, high: FloatArray, edges: FloatArray) -> FloatArray:
    """Mean over each pixel of a spectrum known by its means over bins, shape (n_pixel, n_bin).

    Within a bin the spectrum is a line whose slope is that between the two neighbours' means, so that the mean of the
    bin is kept (van Leer 1977): a flat bin would make two exposures disagree wherever the spectrum is not flat.
    """
    part = _overlap(low, high, edges)
    n = len(edges) - 1
    if n < 3:
        return part
    middle = 0.5 * (edges[1:] + edges[:-1])
    centre = 0.5 * (np.minimum(high[:, None], edges[1:]) + np.maximum(low[:, None], edges[:-1])) - middle
    lever = np.where(part > 0, part * centre, 0.0)
    out = part.copy()
    for k in range(1, n - 1):
        slope = lever[:, k] / (middle[k + 1] - middle[k - 1])
        out[:, k + 1] += slope
        out[:, k - 1] -= slope
    return out


def combine(
    results: Sequence[Extraction],
    *,
    edges: u.Quantity | None = None,
    method: Literal["joint", "overlap"] = "joint",
    scale: Literal["auto", "scatter", "none"] | float | Sequence[float] = "auto",
    source: int = 0,
    lines: ArrayLike | None = None,
    clip: float | None = None,
) -> Combined:
    """Combine extractions of several exposures on a common wavelength grid.

    Parameters
    ----------
    results : sequence of Extraction
        One for each exposure, in units that convert to each other.
    edges : Quantity, shape (n + 1,), optional
        Edges of the bins; absent: bins as wide as the pixels of the first exposure. Wider bins are solved for in parts
        of about a pixel and averaged, with their covariance.
    method : {"joint", "overlap"}, optional
        joint: least squares for the bins from the columns, unbiased, neighbouring bins anticorrelated. overlap: mean of
        the columns weighted with inverse variance and overlap, which smooths by up to a pixel, neighbouring bins
        correlated. Either way the covariance is exact.
    scale : "auto", "scatter", "none", float or sequence of float, optional
        Factor on the errors of each exposure. auto: the pull of its own source-free spectra (of pixels, where it has
        too few for spectra) where that is above 1. scatter: the robust scatter of its columns about the common spectrum
        off lines, where that is above 1; how the exposures agree on lines is then a test, off lines it is not.
    source : int, optional
        Which source of each extraction.
    lines : array_like of float, shape (m, 2), optional
        Wavelength ranges of emission lines in the grid's unit; absent: bins 5 sigma above the running median.
    clip : float, optional
        Leave out columns whose residual exceeds this many sigma, in up to 3 rounds; absent: none is left out.

    Returns
    -------
    Combined

    Raises
    ------
    OptextractError
        If there are no results, no such source, no wavelengths, or units that do not convert.
    """
    results = tuple(results)
    if not results:
        raise bad_value("results", "combine", "one extraction or more", 0)
    if method not in ("joint", "overlap"):
        raise bad_value("method", "combine", "joint or overlap", method)
    unit, wave_unit = results[0].unit, results[0].wavelength.unit
    if not wave_unit.is_equivalent(u.um, u.spectral()):
        raise bad_value("results", "combine", "with wavelengths", f"columns numbered in {wave_unit}")
    scales = _scales(results, scale, source)
    data, error, low, high, owner = _gather(results, scales, source, unit, wave_unit)
    wide = _edges(results, edges, wave_unit)
    bins = wide if method == "overlap" else _split(wide, float(np.median((high - low)[np.isfinite(data)])))
    middle = 0.5 * (bins[1:] + bins[:-1])
    inside = (low >= bins[0] - 1e-9) & (high <= bins[-1] + 1e-9)
    use = np.isfinite(data) & (error > 0) & inside
    if isinstance(scale, str) and scale == "scatter":
        scales = _scatter(data, error, low, high, bins, use, owner, lines)
        error = error * np.array(scales)[owner]
    rejected = 0
    for _ in range(4):
        solved = _solve(data, error, low, high, bins, use, method)
        pull = np.where(use, (data - solved.model) / error, np.nan)
        if clip is None:
            break
        free = np.sqrt(np.clip(1.0 - solved.leverage, 0.05, 1.0))
        outlier = use & (np.abs(np.nan_to_num(pull)) > clip * free)
        if not outlier.any():
            break
        rejected += int(outlier.sum())
        use = use & ~outlier
    on = _on_lines(middle, solved.flux, solved.uncertainty, lines)
    on_line = (_overlap(low, high, bins) @ on.astype(float)) > 0

    def agreement(which: NDArray[np.bool_]) -> Agreement:
        chosen = which & use
        freedom = float((1.0 - solved.leverage[chosen]).sum())
        return Agreement(float((pull[chosen] ** 2).sum()), freedom, int(chosen.sum()))

    flux, covariance = (solved.flux, solved.covariance) if len(wide) == len(bins) else _averaged(solved, bins, wide)
    names = [result.provenance.get("file") for result in results]
    return Combined(
        wavelength=u.Quantity(0.5 * (wide[1:] + wide[:-1]), wave_unit),
        edges=u.Quantity(wide, wave_unit),
        flux=freeze(flux),
        uncertainty=freeze(np.where(np.isfinite(flux), np.sqrt(np.diag(covariance)), np.nan)),
        covariance=freeze(covariance),
        unit=unit,
        scales=scales,
        all=agreement(np.ones_like(use)),
        lines=agreement(on_line),
        continuum=agreement(~on_line),
        ratios=tuple(_ratio(data, error, solved.model, use & (owner == k)) for k in range(len(results))),
        residual=tuple(freeze(pull[owner == k]) for k in range(len(results))),
        method=method,
        rejected=rejected,
        provenance=MappingProxyType({"files": tuple(str(name) for name in names)}),
    )


def _scales(results: tuple[Extraction, ...], scale: Any, source: int) -> tuple[float, ...]:
    for result in results:
        if not 0 <= source < result.n_source:
            raise bad_value("source", "combine", f"between 0 and {result.n_source - 1}", source)
    if isinstance(scale, str):
        if scale not in ("auto", "scatter", "none"):
            raise bad_value("scale", "combine", "auto, scatter, none or positive numbers", scale)
        if scale != "auto":
            return (1.0,) * len(results)
        found = []
        for result in results:
            pulls = result.quality["pull"]
            pull = float(pulls["profile"] if np.isfinite(pulls["profile"]) else pulls["pixel"])
            pull /= float(result.quality["noise_scale"])
            found.append(max(pull, 1.0) if np.isfinite(pull) else 1.0)
        return tuple(found)
    values = np.asarray(scale, float)
    values = np.full(len(results), float(values)) if values.ndim == 0 else values
    if values.shape != (len(results),) or not (np.isfinite(values) & (values > 0)).all():
        raise bad_value("scale", "combine", f"auto, scatter, none or {len(results)} positive numbers", scale)
    return tuple(float(value) for value in values)


def _scatter(
    data: FloatArray, error: FloatArray, low: FloatArray, high: FloatArray, bins: FloatArray, use: NDArray[np.bool_],
    owner: NDArray[np.intp], lines: ArrayLike | None,
) -> tuple[float, ...]:  # fmt: skip
    """Robust scatter of each exposure's columns about the joint spectrum off lines over its errors; 1 or more."""
    solved = _solve(data, error, low, high, bins, use, "joint")
    on = _on_lines(0.5 * (bins[1:] + bins[:-1]), solved.flux, solved.uncertainty, lines)
    quiet = use & ((_overlap(low, high, bins) @ on.astype(float)) == 0) & (solved.leverage < 0.9)
    found = []
    for k in range(int(owner.max()) + 1):
        chosen = quiet & (owner == k)
        pull = (data - solved.model)[chosen] / (error * np.sqrt(1.0 - solved.leverage))[chosen]
        found.append(max(1.0, robust_rms(pull)) if pull.size >= 20 else 1.0)
    return tuple(found)


def _gather(
    results: tuple[Extraction, ...], scales: tuple[float, ...], source: int, unit: u.UnitBase, wave_unit: u.UnitBase
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, NDArray[np.intp]]:
    """Flux, scaled error and wavelength interval of every column of every exposure, and which exposure it is of."""
    data, error, low, high, owner = [], [], [], [], []
    for k, (result, factor) in enumerate(zip(results, scales, strict=True)):
        try:
            flux_factor = result.unit.to(unit)
            waves = result.wavelength.to_value(wave_unit, u.spectral())
        except u.UnitConversionError as problem:
            raise OptextractError(f"The extractions cannot be combined: {problem}") from problem
        lower, upper = pixel_edges(waves)
        seen = np.isfinite(lower) & np.isfinite(upper) & (upper > lower)
        data.append(np.where(seen, result.flux[source] * flux_factor, np.nan))
        error.append(np.where(seen, result.uncertainty[source] * flux_factor * factor, np.nan))
        low.append(np.where(seen, lower, 0.0))
        high.append(np.where(seen, upper, 1.0))
        owner.append(np.full(len(waves), k))
    return tuple(np.concatenate(v) for v in (data, error, low, high, owner))  # type: ignore[return-value]


def _edges(results: tuple[Extraction, ...], edges: Any, wave_unit: u.UnitBase) -> FloatArray:
    if edges is not None:
        try:
            bins = np.asarray(u.Quantity(edges).to_value(wave_unit, u.spectral()), float)
        except u.UnitConversionError as problem:
            raise OptextractError(f"The 'edges' parameter of combine must be wavelengths: {problem}") from problem
        if bins.ndim != 1 or len(bins) < 2 or not (np.diff(bins) > 0).all():
            raise bad_value("edges", "combine", "two or more increasing wavelengths", edges)
        return bins
    first = results[0].wavelength.to_value(wave_unit, u.spectral())
    good = np.isfinite(first)
    lower, upper = pixel_edges(first[good])
    order = np.argsort(lower)
    bins = np.concatenate([lower[order], upper[order][-1:]])
    ends = [pixel_edges(r.wavelength.to_value(wave_unit, u.spectral())) for r in results]
    least = min(float(np.nanmin(lower)) for lower, _ in ends)
    most = max(float(np.nanmax(upper)) for _, upper in ends)
    while bins[0] > least:
        bins = np.concatenate([[2 * bins[0] - bins[1]], bins])
    while bins[-1] < most:
        bins = np.concatenate([bins, [2 * bins[-1] - bins[-2]]])
    return bins


def _split(edges: FloatArray, pixel: float) -> FloatArray:
    """Each bin in equal parts of about a pixel."""
    parts = np.maximum(np.round(np.diff(edges) / pixel).astype(int), 1)
    inner = [np.linspace(a, b, n + 1)[:-1] for a, b, n in zip(edges[:-1], edges[1:], parts, strict=True)]
    return np.concatenate([*inner, edges[-1:]])


def _averaged(solved: _Solved, bins: FloatArray, wide: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means over wider bins that the narrow ones nest in, where half of their width or more is known."""
    owner = np.searchsorted(wide, 0.5 * (bins[1:] + bins[:-1])) - 1
    share = (owner == np.arange(len(wide) - 1)[:, None]) * np.diff(bins) * np.isfinite(solved.flux)
    total = share.sum(axis=1)
    known = total > 0.5 * np.diff(wide)
    share = share / np.where(total > 0, total, 1.0)[:, None]
    flux = np.where(known, share @ np.nan_to_num(solved.flux), np.nan)
    covariance = share @ solved.covariance @ share.T
    covariance[~known] = 0.0
    covariance[:, ~known] = 0.0
    return flux, covariance


@dataclass(frozen=True, eq=False)
class _Solved:
    flux: FloatArray
    uncertainty: FloatArray
    covariance: FloatArray
    model: FloatArray
    leverage: FloatArray


def _solve(
    data: FloatArray,
    error: FloatArray,
    low: FloatArray,
    high: FloatArray,
    bins: FloatArray,
    use: NDArray[np.bool_],
    method: str,
) -> _Solved:
    n = len(bins) - 1
    part = _overlap(low, high, bins)
    weight = np.where(use, 1.0 / np.where(use, error, 1.0) ** 2, 0.0)
    # a bin counts where pixels cover half of its width or more: what lies beyond the data is not made up
    covered = ((part * (high - low)[:, None])[use].sum(axis=0) / np.diff(bins)) > 0.5
    values = np.where(use, data, 0.0)
    covariance = np.zeros((n, n))
    flux = np.full(n, np.nan)
    if method == "joint":
        design = _response(low, high, bins)
        matrix = (design * weight[:, None]).T @ design
        lost = use & (part[:, ~covered].sum(axis=1) > 0.5)
        keep = covered & (np.diag(matrix) > 0)
        weight = np.where(lost, 0.0, weight)
        design = design[:, keep]
        matrix = (design * weight[:, None]).T @ design
        inverse = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True)
        solution = inverse @ (design.T @ (weight * values))
        covariance[np.ix_(keep, keep)] = inverse
        flux[keep] = solution
        model = design @ solution
        leverage = np.einsum("xk,kl,xl->x", design, inverse, design) * weight
    else:
        total = (part * weight[:, None]).sum(axis=0)
        keep = covered & (total > 0)
        linear = (part * weight[:, None])[:, keep] / total[keep]
        flux[keep] = linear.T @ values
        spread = np.where(use, error, 0.0) ** 2
        covariance[np.ix_(keep, keep)] = (linear * spread[:, None]).T @ linear
        shares = part[:, keep] / np.maximum(part[:, keep].sum(axis=1), 1e-300)[:, None]
        model = shares @ flux[keep]
        leverage = np.einsum("xk,xk->x", shares, linear)
    uncertainty = np.where(np.isfinite(flux), np.sqrt(np.diag(covariance)), np.nan)
    return _Solved(flux, uncertainty, covariance, model, np.clip(leverage, 0.0, 1.0))


def _on_lines(middle: FloatArray, flux: FloatArray, error: FloatArray, lines: ArrayLike | None) -> NDArray[np.bool_]:
    """Bins that hold an emission line: those named, else those that stand out of the running median."""
    on = np.zeros(len(middle), dtype=bool)
    if lines is not None:
        ranges = np.asarray(lines, float).reshape(-1, 2)
        for low, high in ranges:
            on |= (middle >= low) & (middle <= high)
        return on
    half = 12
    level = np.array([
        np.nanmedian(flux[max(k - half, 0) : k + half + 1]) if np.isfinite(flux[max(k - half, 0) : k + half + 1]).any()
        else np.nan for k in range(len(flux))
    ])  # fmt: skip
    with np.errstate(invalid="ignore"):
        peak = np.nan_to_num((flux - level) / error) > _LINE
    for step in (-2, -1, 0, 1, 2):  # the wings of a line belong to it
        on |= np.roll(peak, step)
    return on


def _ratio(data: FloatArray, error: FloatArray, model: FloatArray, use: NDArray[np.bool_]) -> tuple[float, float]:
    weight = np.where(use, 1.0 / np.where(use, error, 1.0) ** 2, 0.0)
    power = float((weight * model**2).sum())
    if power <= 0:
        return float("nan"), float("nan")
    return float((weight * np.where(use, data, 0.0) * model).sum() / power), float(1.0 / np.sqrt(power))
