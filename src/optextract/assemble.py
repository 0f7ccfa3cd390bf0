"""From the stages' findings to the frozen Extraction."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .aperture import wavelength_along
from .candidates import compare_profiles, slice_model
from .choose import Choice
from .frame import Frame
from .geometry import evaluate, terms_of
from .layers import Final, Layers, check_noise, solve_final
from .locate import Start
from .matched import matched_boxcar
from .noise import Variance
from .quality import figures
from .recipe import Recipe
from .resolve import resolved
from .results import Extraction, Flag, KernelSlice, TraceFit, freeze
from .solve import condition, normal_equations, propagate
from .window import Window

__all__ = ["assemble", "make_flags", "window_factor"]

FloatArray = NDArray[np.float64]

_BLEND_CONDITION = 100.0


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
    factor = final.total_fraction if kind == "region" else np.ones_like(final.total_fraction)
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
    flags = np.zeros(final.good_fraction.shape, dtype=np.uint32)
    seen = np.any(layers.kept > 0, axis=1)
    flags[~seen] |= np.uint32(Flag.NO_DATA)
    lost = ~(final.good_fraction >= least) | ~np.isfinite(np.einsum("xtt->xt", final.solution.covariance)[:, :n_source])
    flags[lost & seen[:, None]] |= np.uint32(Flag.LOW_PROFILE)
    short = final.total_fraction - final.good_fraction > 0.02
    flags[short & ~lost] |= np.uint32(Flag.PARTIAL_PROFILE)
    hit = ((layers.sources > 0.02) & layers.rejected.pixels[:, None, :]).any(axis=2)
    flags[hit] |= np.uint32(Flag.REJECTED_PIXELS)
    flags[layers.rejected.restored] |= np.uint32(Flag.RESTORED_PIXELS)
    flags[layers.rejected.alone] |= np.uint32(Flag.LONE_COLUMN)
    flags[final.total_fraction < 0.98] |= np.uint32(Flag.EDGE)
    if n_source > 1:
        matrix, _, _ = normal_equations(np.zeros_like(layers.kept), layers.kept, layers.sources)
        flags[condition(matrix) > _BLEND_CONDITION] |= np.uint32(Flag.BLENDED)
    if not start.from_data:
        flags |= np.uint32(Flag.PRIOR_SHAPE)
    for offset in nods:
        for other in range(n_source):
            for k in range(n_source):
                gap = np.abs(layers.centre[k] - layers.centre[other] - offset)
                near = gap < 0.75 * (layers.fwhm[k] + layers.fwhm[other])
                flags[near, k] |= np.uint32(Flag.NEGATIVE_NOD)
    return flags, lost | ~seen[:, None]


def assemble(
    frame: Frame,
    recipe: Recipe,
    window: Window,
    variance: Variance,
    start: Start,
    choice: Choice,
    layers: Layers,
    scale: float,
    factor: float,
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
    factor : float
        Factor that the variance was multiplied with.

    Returns
    -------
    Extraction
    """
    n_source = len(layers.centre)
    final = solve_final(layers, window.data)
    kind, refers = window_factor(frame, recipe, final)
    nods = choice.fit.geometry.moved(start.problem.nods)
    flags, lost = make_flags(layers, final, start, nods, recipe.flux.min_profile)
    coefficients = final.solution.coefficients[:, :n_source]
    factor_flux = scale * refers
    flux = np.where(lost, np.nan, coefficients * factor_flux)
    covariance = final.covariance * factor_flux[:, :, None] * factor_flux[:, None, :]
    covariance[lost] = np.nan
    covariance.swapaxes(1, 2)[lost] = np.nan
    rescale = check_noise(layers, final, recipe.noise)
    covariance = covariance * rescale.factor**2
    uncertainty = np.sqrt(np.einsum("xkk->xk", covariance))
    centre = window.along(layers.centre + window.row)
    wavelength = wavelength_along(frame, np.where(np.isfinite(centre[0]), centre[0], np.nanmedian(centre[0])))
    full_flags = np.full((n_source, frame.n_disp), int(Flag.NO_DATA), dtype=np.uint32)
    full_flags[:, window.column : window.column + window.n_disp] = flags.T
    full_flags[:, ~np.isfinite(wavelength.value)] |= np.uint32(Flag.NO_WAVELENGTH)
    components = _components(window, variance, factor * rescale.factor**2)
    parts = _parts(window, components, layers, final, factor_flux, lost)
    box = matched_boxcar(frame, recipe, window, layers, nods, scale, wavelength, components)
    kernel = _kernel_slice(window, start, choice)
    trace = _trace(window, start, choice, layers)
    profile = np.zeros((n_source, *frame.shape))
    rows = slice(window.row, window.row + window.n_cross)
    shown = layers.sources / np.where(kind == "region", final.total_fraction, 1.0)[:, :, None]
    profile[:, rows, window.column : window.column + window.n_disp] = shown.transpose(1, 2, 0)
    # where rejection left too little of the profile, the flux without it is what remains to be looked at
    enough = final.unrejected_fraction >= recipe.flux.min_profile
    unrejected = np.where(enough, final.unrejected * factor_flux, np.nan)
    model = final.light + layers.background.image
    quality = figures(
        frame,
        recipe,
        window,
        layers,
        start,
        choice,
        variance,
        final,
        flux,
        uncertainty,
        box,
        unrejected,
        kind,
        rescale,
        trace,
    )
    return Extraction(
        flux=freeze(window.along(flux.T)),
        uncertainty=freeze(window.along(uncertainty.T)),
        unit=frame.flux_unit,
        wavelength=wavelength,
        variance_parts=MappingProxyType({name: freeze(window.along(part.T)) for name, part in parts.items()}),
        covariance=freeze(np.moveaxis(window.along(np.moveaxis(covariance, 0, 2)), 2, 0)),
        flags=freeze(full_flags),
        centre=freeze(centre),
        fwhm=freeze(window.along(layers.fwhm)),
        profile=freeze(profile),
        model=freeze(window.spread(model)),
        background=freeze(window.spread(layers.background.image)),
        background_uncertainty=freeze(window.spread(np.sqrt(layers.background.variance()))),
        residual=freeze(window.spread(np.where(window.weight > 0, window.data - model, np.nan))),
        rejected=freeze(window.spread(layers.rejected.pixels, False)),
        flux_unrejected=freeze(window.along(unrejected.T)),
        boxcar=box,
        kernel=kernel,
        trace=trace,
        quality=quality,
        recipe=recipe,
        resolved=resolved(frame, recipe, window, start, choice, layers, variance, box, kind, quality),
        provenance=_provenance(frame),
        meta=frame.meta,
    )


def _components(window: Window, variance: Variance, factor: float) -> dict[str, FloatArray]:
    """Variance components of the window's pixels, (n_disp, n_cross); zero where one is not known."""
    parts = {}
    for name, image in variance.parts.items():
        part = window.part(image) * factor
        part[~np.isfinite(part)] = 0.0
        parts[name] = part
    return parts


def _parts(
    window: Window,
    components: Mapping[str, FloatArray],
    layers: Layers,
    final: Final,
    factor_flux: FloatArray,
    lost: NDArray[np.bool_],
) -> dict[str, FloatArray]:
    """Variance components through the same weights, (n_disp, n_source)."""
    n_source = factor_flux.shape[1]
    inverse = np.where(np.isfinite(final.solution.covariance), final.solution.covariance, 0.0)
    parts = {}
    for name, values in components.items():
        if name == "poisson" and layers.slope > 0:
            light = final.light + layers.background.image
            values = np.maximum(values - layers.slope * (np.maximum(window.data, 0) - np.maximum(light, 0)), 0.0)
        spread = propagate(layers.kept, layers.profiles, inverse, values, n_source) * factor_flux**2
        parts[name] = np.where(lost, np.nan, spread)
    return parts


def _kernel_slice(window: Window, start: Start, choice: Choice) -> KernelSlice:
    """The slice, with the chosen profile fitted to it and the candidates beside it."""
    cut = start.cut
    centre, fwhm = evaluate(choice.fit.geometry, np.array([cut.centre_column]))
    positions = tuple(float(c) for c in centre[:, 0])
    nods = choice.fit.geometry.moved(start.problem.nods)
    problem = replace(
        start.problem, index_shape=None, prior_centre=None, prior_fwhm=None, nods=nods, prior_spacing=None
    )
    terms = terms_of(
        choice.fit.shape.at(cut.binned.column), centre, fwhm, problem.nods, problem.background, window.n_cross
    )
    model, background, components = slice_model(cut, terms, len(positions), len(problem.background))
    weight = cut.binned.weight[0]
    seen = weight > 0
    error = np.divide(1.0, np.sqrt(weight), out=np.full(len(weight), np.nan), where=seen)
    compare = partial(compare_profiles, cut, positions, float(fwhm[0, 0]), problem, choice.fit.shape)
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


def _trace(window: Window, start: Start, choice: Choice, layers: Layers) -> TraceFit:
    fit = choice.fit
    column = choice.columns
    n_source = len(layers.centre)
    at = np.clip(np.round(column).astype(int), 0, window.n_disp - 1)
    shift, shift_error, width, width_error = fit.local.T
    seen = np.isfinite(shift_error) & (shift_error < 2.0)
    centre = np.full((n_source, len(column)), np.nan)
    centre_error, fwhm, fwhm_error = centre.copy(), centre.copy(), centre.copy()
    centre[:, seen] = layers.centre[:, at[seen]] + window.row + np.clip(shift[seen], -3, 3)
    centre_error[:, seen] = shift_error[seen]
    sure = np.isfinite(width_error) & (width_error < 1.0)
    fwhm[:, sure] = layers.fwhm[:, at[sure]] * np.exp(np.clip(width[sure], -1, 1))
    fwhm_error[:, sure] = layers.fwhm[:, at[sure]] * width_error[sure]
    weight = 1 / shift_error[seen] ** 2
    rms = float(np.sqrt((weight * shift[seen] ** 2).sum() / weight.sum())) if seen.any() else float("nan")
    geometry = fit.geometry
    given = geometry.given is not None
    coefficients = np.repeat(geometry.centre[None, :], n_source, axis=0)
    coefficients[:, 0] += np.concatenate([[0.0], geometry.offsets]) + window.row * (not given)
    widths = np.broadcast_to(geometry.log_fwhm, (n_source, geometry.log_fwhm.shape[1]))
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
