"""From the stages' findings to the frozen Extraction."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .aperture import wavelength_along
from .candidates import compare_profiles, slice_model
from .choose import Choice
from .compiled import contiguous
from .compiled.products import carry, flag_columns, shares, spectra
from .frame import Frame
from .geometry import Problem, evaluate, terms_of
from .kernel import Slice
from .layers import Final, Layers, check_noise, solve_final
from .locate import Start
from .matched import Edges, edges_of, matched_boxcar
from .noise import Variance
from .profiles import Shape
from .quality import figures
from .recipe import Recipe
from .resolve import resolved
from .results import Candidate, Extraction, Flag, KernelSlice, TraceFit, freeze
from .solve import condition, normal_equations
from .window import Window

__all__ = ["assemble", "make_flags", "window_factor"]

FloatArray = NDArray[np.float64]

_BLEND_CONDITION = 30.0  # of two sources 0.2 FWHM apart
_MOST_SHIFT, _MOST_CHANGE = 3.0, 1.0  # of a bin from the trace, pixel, and of its log FWHM
_SHORT = 0.02  # part of a profile that may lack without a word
_BITS = (
    int(Flag.NO_DATA),
    int(Flag.LOW_PROFILE),
    int(Flag.PARTIAL_PROFILE),
    int(Flag.REJECTED_PIXELS),
    int(Flag.RESTORED_PIXELS),
    int(Flag.LONE_COLUMN),
    int(Flag.EDGE),
)


def window_factor(frame: Frame, recipe: Recipe, final: Final) -> tuple[str, FloatArray]:
    """Find what the flux refers to.

    Parameters
    ----------
    frame : Frame
        The frame, for the type of its source.
    recipe : Recipe
        The settings.
    final : Final
        The solution, for how much of each profile lies in the window.

    Returns
    -------
    kind : str
        "infinite" or "region".
    factor : ndarray, shape (n_disp, n_source)
        Factor on the flux of the whole profile that makes it so.
    """
    kind = recipe.flux.window
    if kind == "auto":
        extended = str(frame.meta.get("source_type", "")).upper() == "EXTENDED"
        kind = "region" if extended else "infinite"
    factor = final.total_fraction if kind == "region" else np.ones(final.total_fraction.shape)
    return kind, factor


def make_flags(
    layers: Layers, final: Final, start: Start, nods: tuple[float, ...], least: float
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Flag each column of each source.

    Parameters
    ----------
    layers : Layers
        Weights, profiles and outliers.
    final : Final
        The solution.
    start : Start
        Whether the data carry the shape.
    nods : tuple of float
        Offsets of the negative nods, as fitted.
    least : float
        Least part of a profile on good pixels for a flux to be given.

    Returns
    -------
    flags : ndarray of uint32, shape (n_disp, n_source)
        `Flag` bits.
    lost : ndarray of bool, shape (n_disp, n_source)
        Where no flux can be given.
    """
    n_source = len(layers.centre)
    flags = np.empty(final.good_fraction.shape, dtype=np.uint32)
    lost = np.empty(flags.shape, dtype=bool)
    flag_columns(
        final.good_fraction,
        final.total_fraction,
        final.inverse,
        final.struck,
        contiguous(layers.kept),
        layers.rejected.restored,
        layers.rejected.alone,
        least,
        _SHORT,
        _BITS,
        flags,
        lost,
    )
    untold = layers.background.untold
    if untold.any():
        lost[untold] = True
        flags[untold] |= np.uint32(Flag.NO_BACKGROUND)
    if n_source > 1:
        matrix, _, _ = normal_equations(np.zeros_like(layers.kept), layers.kept, layers.sources)
        flags[condition(matrix) > _BLEND_CONDITION] |= np.uint32(Flag.BLENDED)
    if not start.from_data:
        flags |= np.uint32(Flag.PRIOR_SHAPE)
    for offset in nods:
        for other in range(n_source):
            for k in range(n_source):
                gap = np.abs(layers.centre[k] - layers.centre[other] - offset) if k != other else abs(offset)
                near = gap < 0.75 * (layers.fwhm[k] + layers.fwhm[other])
                if near.any():
                    flags[near, k] |= np.uint32(Flag.NEGATIVE_NOD)
    return flags, lost


def assemble(
    frame: Frame,
    recipe: Recipe,
    window: Window,
    variance: Variance,
    start: Start,
    choice: Choice,
    layers: Layers,
    scale: float,
) -> Extraction:
    """Build the Extraction: fluxes in the spectrum's unit, images of the frame's shape, figures and words.

    Parameters
    ----------
    frame, recipe : Frame, Recipe
        What was extracted, and how it was asked for.
    window : Window
        The pixels that took part.
    variance : Variance
        The chosen variance.
    start, choice, layers : Start, Choice, Layers
        What the stages found.
    scale : float
        Factor from pixel values to the spectrum's unit.

    Returns
    -------
    Extraction
    """
    final, unit = solve_final(layers, window.data), frame.flux_unit
    kind, refers = window_factor(frame, recipe, final)
    nods = choice.fit.geometry.moved(start.problem.nods)
    flags, lost = make_flags(layers, final, start, nods, recipe.flux.min_profile)
    factor_flux = scale * refers
    rescale = check_noise(layers, final, recipe.noise)
    seen = _spectra(frame, recipe, window, final, factor_flux, lost, rescale.factor)
    seen.unrejected[:, window.column + np.flatnonzero(layers.background.untold)] = np.nan
    centre = window.along(layers.centre + window.row)
    known = np.isfinite(centre[0])
    wavelength = wavelength_along(
        frame, centre[0] if known.all() else np.where(known, centre[0], np.nanmedian(centre[0]))
    )
    full_flags = np.full((len(centre), frame.n_disp), int(Flag.NO_DATA), dtype=np.uint32)
    full_flags[:, window.column : window.column + window.n_disp] = flags.T
    without = ~np.isfinite(wavelength.value)
    if without.any():
        full_flags[:, without] |= np.uint32(Flag.NO_WAVELENGTH)
    edges = edges_of(recipe, window, layers, nods)
    parts, box_parts = _parts(window, variance, layers, final, factor_flux, lost, edges, scale, rescale.factor**2)
    box, inside = matched_boxcar(window, layers, final, edges, scale, wavelength, unit, box_parts)
    kernel = _kernel_slice(window, start, choice)
    trace = _trace(window, start, choice, layers)
    profile = layers.sources / final.total_fraction[:, :, None] if kind == "region" else layers.sources
    quality = figures(
        frame,
        recipe,
        window,
        layers,
        start,
        choice,
        variance,
        final,
        seen.flux,
        seen.uncertainty,
        box,
        inside,
        seen.unrejected,
        kind,
        rescale,
        trace,
    )
    return Extraction(
        flux=freeze(seen.flux),
        uncertainty=freeze(seen.uncertainty),
        unit=unit,
        wavelength=wavelength,
        variance_parts=MappingProxyType({name: freeze(part) for name, part in parts.items()}),
        covariance=freeze(seen.covariance),
        flags=freeze(full_flags),
        centre=freeze(centre),
        fwhm=freeze(window.along(layers.fwhm)),
        profile=freeze(window.spread(profile, 0.0)),
        model=freeze(window.spread(final.model)),
        background=freeze(window.spread(layers.background.image)),
        background_uncertainty=freeze(window.spread(layers.background.uncertainty(final.uncertain))),
        residual=freeze(window.spread(_residual(window, final.model))),
        rejected=freeze(window.spread(layers.rejected.pixels, False)),
        flux_unrejected=freeze(seen.unrejected),
        boxcar=box,
        kernel=kernel,
        trace=trace,
        quality=quality,
        recipe=recipe,
        resolved=resolved(frame, recipe, window, start, choice, layers, variance, box, kind, quality),
        provenance=_provenance(frame),
        meta=frame.meta,
    )


@dataclass(frozen=True, eq=False)
class _Spectra:
    """Fluxes, errors and fluxes with no pixel rejected, (n_source, n_column), and the covariance of each column."""

    flux: FloatArray
    uncertainty: FloatArray
    unrejected: FloatArray
    covariance: FloatArray


def _spectra(
    frame: Frame,
    recipe: Recipe,
    window: Window,
    final: Final,
    factor_flux: FloatArray,
    lost: NDArray[np.bool_],
    rescale: float,
) -> _Spectra:
    """The fluxes along the columns of the frame, in the spectrum's unit."""
    shape = (factor_flux.shape[1], frame.n_disp)
    found = _Spectra(np.empty(shape), np.empty(shape), np.empty(shape), np.empty((shape[1], shape[0], shape[0])))
    spectra(
        final.coefficients,
        final.covariance,
        final.unrejected,
        final.unrejected_fraction,
        # where rejection left too little of the profile, the flux without it is what remains to be looked at
        recipe.flux.min_profile,
        factor_flux,
        rescale,
        lost,
        window.column,
        found.flux,
        found.uncertainty,
        found.unrejected,
        found.covariance,
    )
    return found


def _parts(
    window: Window,
    variance: Variance,
    layers: Layers,
    final: Final,
    factor_flux: FloatArray,
    lost: NDArray[np.bool_],
    edges: Edges,
    scale: float,
    rescale: float,
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Variance components through the weights of the fluxes and through the plain sums, (n_source, n_column)."""
    shape = (factor_flux.shape[1], window.shape[1])
    through, summed = np.empty((2, *final.good_fraction.shape, window.n_cross))
    counted = np.empty(lost.shape, dtype=bool)
    kept, profiles = contiguous(layers.kept), contiguous(layers.profiles)
    shares(kept, profiles, final.inverse, edges.lower, edges.upper, through, summed, counted)
    parts, box_parts = {}, {}
    for name, image in variance.parts.items():
        parts[name], box_parts[name] = np.empty(shape), np.empty(shape)
        carry(
            freeze(np.ascontiguousarray(image, dtype=np.float64)),
            window.row,
            window.column,
            window.factor * rescale,
            layers.slope * rescale if name == "poisson" else 0.0,
            contiguous(window.data),
            final.model,
            through,
            factor_flux,
            lost,
            summed,
            scale,
            counted,
            parts[name],
            box_parts[name],
        )
    return parts, box_parts


def _residual(window: Window, model: FloatArray) -> FloatArray:
    """Data minus model, NaN where there are no data."""
    left = window.data - model
    np.copyto(left, np.nan, where=window.weight == 0)
    return left


def _kernel_slice(window: Window, start: Start, choice: Choice) -> KernelSlice:
    """The slice, with the chosen profile fitted to it and the candidates beside it."""
    cut = start.cut
    centre, fwhm = evaluate(choice.fit.geometry, np.array([cut.centre_column]))
    positions = tuple(float(c) for c in centre[:, 0])
    nods = choice.fit.geometry.moved(start.problem.nods)
    rows = start.problem.background
    terms = terms_of(choice.fit.shape.at(cut.binned.column), centre, fwhm, nods, rows, window.n_cross)
    model, background, components = slice_model(cut, terms, len(positions), len(rows))
    weight = cut.binned.weight[0]
    seen = weight > 0
    error = np.full(len(weight), np.nan)
    error[seen] = 1 / np.sqrt(weight[seen])
    compare = partial(_compared, cut, positions, float(fwhm[0, 0]), start.problem, nods, choice.fit.shape)
    return KernelSlice(
        rows=freeze(np.arange(window.n_cross) + float(window.row)),
        data=freeze(np.where(seen, cut.binned.data[0], np.nan)),
        error=freeze(error),
        model=freeze(model),
        background=freeze(background),
        components=freeze(components),
        columns=(cut.columns[0] + window.column, cut.columns[1] + window.column),
        n_columns=cut.n_columns,
        centres=tuple(p + window.row for p in positions),
        compare=compare,
    )


def _compared(
    cut: Slice, positions: tuple[float, ...], fwhm: float, problem: Problem, nods: tuple[float, ...], shape: Shape
) -> tuple[Candidate, ...]:
    """Profiles fitted to the slice for comparison, as the fit left the negative nods and with nothing known before."""
    plain = replace(problem, index_shape=None, prior_centre=None, prior_fwhm=None, nods=nods, prior_spacing=None)
    return compare_profiles(cut, positions, fwhm, plain, shape)


def _trace(window: Window, start: Start, choice: Choice, layers: Layers) -> TraceFit:
    fit = choice.fit
    column = choice.columns
    n_source = len(layers.centre)
    at = np.minimum(np.maximum(np.rint(column), 0.0), window.n_disp - 1.0).astype(np.intp)
    shift, shift_error, width, width_error = fit.local.T
    seen, sure = shift_error < 2.0, width_error < 1.0  # neither where it is infinite or NaN
    path, wide = layers.centre[:, at], layers.fwhm[:, at]
    moved = np.minimum(np.maximum(shift, -_MOST_SHIFT), _MOST_SHIFT)
    changed = np.exp(np.minimum(np.maximum(width, -_MOST_CHANGE), _MOST_CHANGE))
    centre = np.where(seen, path + (window.row + moved), np.nan)
    centre_error = np.where(seen, np.broadcast_to(shift_error, path.shape), np.nan)
    fwhm, fwhm_error = np.where(sure, wide * changed, np.nan), np.where(sure, wide * width_error, np.nan)
    rms = float("nan")
    if seen.any():
        weight = shift_error[seen] ** -2
        rms = float(np.sqrt(np.dot(weight, shift[seen] ** 2) / weight.sum()))
    geometry = fit.geometry
    given = geometry.given is not None
    coefficients = np.empty((n_source, len(geometry.centre)))
    coefficients[:] = geometry.centre
    coefficients[1:, 0] += geometry.offsets
    coefficients[:, 0] += window.row * (not given)
    widths = np.empty((n_source, geometry.log_fwhm.shape[1]))
    widths[:] = geometry.log_fwhm
    return TraceFit(
        columns=freeze(column + window.column),
        centre=freeze(centre),
        centre_error=freeze(centre_error),
        fwhm=freeze(fwhm),
        fwhm_error=freeze(fwhm_error),
        degree=-1 if given else len(geometry.centre) - 1,
        fwhm_degree=geometry.log_fwhm.shape[1] - 1,
        coefficients=freeze(coefficients),
        fwhm_coefficients=freeze(widths),
        rms=rms,
        from_data=start.from_data,
    )


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("optextract", "numpy", "scipy", "astropy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _provenance(frame: Frame) -> MappingProxyType[str, Any]:
    return MappingProxyType(
        {"versions": dict(_versions()), "file": frame.meta.get("file"), "slit": frame.meta.get("slit")}
    )
