"""Extractions of several exposures on one wavelength grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from ..errors import OptextractError, bad_value
from ..results import Extraction, freeze
from ._grid import averaged, overlap, pixel_edges, solve, split
from ._result import Agreement, Combined

__all__ = ["combine"]

FloatArray = NDArray[np.float64]

_LINE = 5.0  # sigma above the continuum


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
    bins = wide if method == "overlap" else split(wide, float(np.median((high - low)[np.isfinite(data)])))
    middle = 0.5 * (bins[1:] + bins[:-1])
    inside = (low >= bins[0] - 1e-9) & (high <= bins[-1] + 1e-9)
    use = np.isfinite(data) & (error > 0) & inside
    if isinstance(scale, str) and scale == "scatter":
        scales = _scatter(data, error, low, high, bins, use, owner, lines)
        error = error * np.array(scales)[owner]
    rejected = 0
    for _ in range(4):
        solved = solve(data, error, low, high, bins, use, method)
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
    on_line = (overlap(low, high, bins) @ on.astype(float)) > 0

    def agreement(which: NDArray[np.bool_]) -> Agreement:
        chosen = which & use
        freedom = float((1.0 - solved.leverage[chosen]).sum())
        return Agreement(float((pull[chosen] ** 2).sum()), freedom, int(chosen.sum()))

    flux, covariance = (solved.flux, solved.covariance) if len(wide) == len(bins) else averaged(solved, bins, wide)
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
        provenance=_provenance(results),
    )


def _provenance(results: tuple[Extraction, ...]) -> Mapping[str, Any]:
    """What went in, by what recipes, and the identity of the first."""
    first = results[0]
    told = {name: first.meta[name] for name in ("slit", "source_name", "source_type") if name in first.meta}
    return MappingProxyType(
        {
            "files": tuple(str(result.provenance.get("file")) for result in results),
            "paths": tuple(str(result.meta["path"]) for result in results if result.meta.get("path") is not None),
            "sha256": tuple(str(result.meta.get("sha256", "")) for result in results),
            "recipes": tuple(result.resolved.to_yaml(full=True) for result in results),
            "versions": MappingProxyType(dict(first.provenance.get("versions", {}))),
            "header": MappingProxyType(dict(first.meta.get("header", {}))),
            "air_wavelength": first.meta.get("air_wavelength"),
            **told,
        }
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
    from ..robust import robust_rms  # loads numba, which the panel's start must not wait for

    solved = solve(data, error, low, high, bins, use, "joint")
    on = _on_lines(0.5 * (bins[1:] + bins[:-1]), solved.flux, solved.uncertainty, lines)
    quiet = use & ((overlap(low, high, bins) @ on.astype(float)) == 0) & (solved.leverage < 0.9)
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
