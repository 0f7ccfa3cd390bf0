"""Background, outliers and revised variance for a given trace; then the profile, corrected from the data.

A sweep with the rough trace goes first: the trace is refined on pixels without outliers, a smooth background must not
be fitted to cosmic rays, nor cosmic rays be looked for above a background that is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .background import BackgroundFit, fit_background
from .beneath import near_rows
from .choose import Choice
from .coherent import with_ends
from .compiled import contiguous
from .compiled.scatter import above, leave_out, pixel_scatter, row_scatter
from .empirical import correct_profile
from .errors import RecipeError, bad_value
from .frame import Frame
from .geometry import Geometry, evaluate, terms_of
from .layers import Layers, Swept
from .locate import Start
from .misfit import UNKNOWN, measure_misfit
from .noise import Variance
from .profiles import Shape
from .recipe import Recipe, Rejection
from .reject import Rejected, columns_of, reject
from .revise import find_slope, model_light, revised_variance
from .robust import MAD, median
from .rough import rough_background
from .solve import Known, Solution, known_of, solve_columns
from .twins import clear_of, free_rows, mask_or_model
from .window import Window

__all__ = ["clean", "polish", "rejection_mode", "sweep"]

FloatArray = NDArray[np.float64]

_SMOOTH = 5  # columns to either side over which the light in a revised variance is averaged
_KNOTS, _KNOTS_FINE = 0.3, 0.15  # FWHM between the points of an empirical correction
_WIDER = 1.3
_PIXELS, _FEWEST = 10_000, 50  # that tell a scatter to a percent, and that tell one at all
_SLOW, _FEWEST_MEANS = 20, 30  # columns whose mean tells of correlated noise, and means that tell a scatter
_TWINS_APART = 2.5  # FWHM between a source and its negative twin
_ROUNDS = 3  # of the revised variance and the model that it is made of
_FIRST_FLOOR = 0.05  # while the trace is rough, a core that does not quite fit is no outlier
_SPARE_SNR, _SPARE_LIGHT = 20.0, 0.01  # where a pipeline's own rejection is trusted: S/N, and part of the profile


@dataclass(frozen=True, eq=False)
class _Model:
    """Profiles of all columns (sources, then their negative twins), the sources' own, and their trace and width."""

    profiles: FloatArray
    sources: FloatArray
    centre: FloatArray
    fwhm: FloatArray


def _model(window: Window, geometry: Geometry, shape: Shape, nods: tuple[float, ...]) -> _Model:
    centre, fwhm = evaluate(geometry, window.columns)
    profiles = terms_of(shape.at(window.columns), centre, fwhm, nods, np.zeros((0, window.n_cross)), window.n_cross)
    return _Model(profiles, contiguous(profiles[:, : len(centre)]), centre, fwhm)


def _laid_out(
    window: Window, start: Start, choice: Choice, recipe: Recipe
) -> tuple[_Model, str, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Model, mode of the nods, linear terms, weights without masked nods, and pixels free of sources for a trace."""
    nods = choice.fit.geometry.moved(start.problem.nods)
    model = _model(window, choice.fit.geometry, choice.fit.shape, nods)
    mode, nod_pixels = mask_or_model(window, model.centre, model.fwhm, recipe.nods.mode, nods)
    profiles = _compose(model.profiles, model.sources, mode, recipe)
    weight = np.where(nod_pixels, 0.0, window.weight) if mode == "mask" else window.weight
    clear = clear_of(window, model.centre, model.fwhm, nods)
    if recipe.background.rows is not None:
        clear &= _asked_rows(window, recipe)
    return model, mode, profiles, weight, clear


def sweep(frame: Frame, window: Window, start: Start, choice: Choice, recipe: Recipe) -> Swept:
    """Find outliers above a rough background, for a trace that is rough as well.

    Parameters
    ----------
    frame : Frame
        The frame, for whether its outliers are rejected already.
    window : Window
        The pixels that take part.
    start : Start
        Nods, and background terms of the fit.
    choice : Choice
        Trace, width and shape.
    recipe : Recipe
        The settings.

    Returns
    -------
    Swept

    Raises
    ------
    RecipeError
        If ``nods.depths`` do not fit the frame.
    """
    model, mode, profiles, weight, clear = _laid_out(window, start, choice, recipe)
    near = near_rows(model.centre, model.fwhm, window.n_cross)
    rough = rough_background(window, weight, choice, start, clear, near)
    noise = _pixel_noise(window, rough, weight, clear)
    found, known = _reject(frame, window, weight, profiles, model, choice, rough, noise, recipe, _FIRST_FLOOR)
    kept = _without(weight, found.pixels)
    kept = _without_lines(kept, found)
    slow = _slow_noise(window, rough, kept, clear)
    return Swept(profiles, model.centre, model.fwhm, rough, found, kept, mode, slow, known)


def clean(
    frame: Frame,
    window: Window,
    variance: Variance,
    start: Start,
    choice: Choice,
    recipe: Recipe,
    swept: Swept,
) -> Layers:
    """Find background, outliers and revised variance for a given trace.

    Parameters
    ----------
    frame : Frame
        The frame, for whether its outliers are rejected already.
    window : Window
        The pixels that take part.
    variance : Variance
        The chosen variance, for its parts.
    start : Start
        Nods, and background terms of the fit.
    choice : Choice
        Trace, width and shape.
    recipe : Recipe
        The settings.
    swept : Swept
        What the sweep with the rough trace found.

    Returns
    -------
    Layers

    Raises
    ------
    RecipeError
        If ``nods.depths`` or ``background.rows`` do not fit the frame.
    """
    model, mode, profiles, weight, clear = _laid_out(window, start, choice, recipe)
    kept = _without(weight, swept.rejected.pixels)
    known = known_of(kept, profiles) if profiles.shape[1] > 1 else None  # one alone is solved as quickly
    background = _background(window, kept, profiles, model, clear, recipe, known=known)
    slope, clipped = find_slope(window, variance, profiles, background, kept, recipe.noise, known)
    if slope > 0:
        usable = weight > 0
        # the first model was weighted with the variance that is to be replaced, and is low where that is: go round
        for _ in range(_ROUNDS):
            light = model_light(window, profiles, background, kept, smooth=_SMOOTH) + background.image
            weight = usable / revised_variance(window, light, slope, clipped)
            kept = _without(weight, swept.rejected.pixels)
            background = _background(window, kept, profiles, model, clear, recipe)
    if background.rows is not None:
        clear = clear & background.rows  # the others tell how badly it fits there, and nothing of the noise
    noise = _pixel_noise(window, background.image, kept, clear)
    found, known = _reject(
        frame,
        window,
        weight,
        profiles,
        model,
        choice,
        background.image,
        noise,
        recipe,
        0.0,
        known if slope <= 0 else None,
    )
    kept = _without(weight, found.pixels)
    profiles = _mixed(profiles, found)
    if (found.pixels != swept.rejected.pixels).any():
        background = _background(window, kept, profiles, model, clear, recipe, background)
    slow = _slow_noise(window, background.image, kept, clear)
    sources = _mixed(model.sources, found)
    return Layers(
        profiles,
        sources,
        model.profiles,
        model.centre,
        model.fwhm,
        background,
        found,
        weight,
        kept,
        clear,
        mode,
        noise,
        slow,
        slope,
        None if found.mixed else known,
    )


def _compose(profiles: FloatArray, sources: FloatArray, mode: str, recipe: Recipe) -> FloatArray:
    """Linear terms of sources and negative twins: twins free, part of their source where depths are given, or none."""
    n_source = sources.shape[1]
    if mode != "model":
        return sources
    depths = recipe.nods.depths
    if depths is None:
        return profiles
    twins = profiles[:, n_source:].reshape(len(profiles), -1, n_source, profiles.shape[2])
    if len(depths) != twins.shape[1]:
        raise bad_value("nods.depths", "Recipe", f"one for each of the {twins.shape[1]} offsets", depths, RecipeError)
    return sources + np.einsum("o,xosy->xsy", np.array(depths), twins)


def polish(frame: Frame, window: Window, start: Start, choice: Choice, layers: Layers, recipe: Recipe) -> Layers:
    """Correct the profile from the data where the S/N carries it, then background and outliers once more.

    Parameters
    ----------
    frame : Frame
        The frame, for whether its outliers are rejected already.
    window : Window
        The pixels that take part.
    start : Start
        Nods, and whether the data carry a shape at all.
    choice : Choice
        Trace, width and shape.
    layers : Layers
        What the last round found.
    recipe : Recipe
        The settings.

    Returns
    -------
    Layers
        With corrected profiles, or as they were.
    """
    wanted = recipe.profile.empirical if recipe.profile.kind != "spline" else True
    if wanted is False or not start.from_data:
        return layers
    nods = choice.fit.geometry.moved(start.problem.nods)
    modelled = layers.nod_mode == "model" and recipe.nods.depths is None
    if wanted == "auto" and modelled and min(np.abs(nods)) < _TWINS_APART * median(layers.fwhm):
        return layers  # between twins of free depth a correction of the wings and the depths are one and the same
    n_source = len(layers.centre)
    model = _Model(layers.model, layers.model[:, :n_source], layers.centre, layers.fwhm)
    offsets = (0.0, *nods) if modelled else (0.0,)
    count = n_source * len(offsets)
    correction = correct_profile(
        window.data - layers.background.image,
        _without_lines(layers.kept, layers.rejected),
        model.profiles[:, :count],
        np.concatenate([model.centre + offset for offset in offsets]),
        np.concatenate([model.fwhm for _ in offsets]),
        n_source,
        noise=max(layers.noise, layers.slow),
        step=_KNOTS_FINE if recipe.profile.kind == "spline" else _KNOTS,
    )
    if wanted == "auto" and not correction.significant:
        return layers
    better = model.profiles.copy()
    better[:, :count] = correction.profiles
    profiles = _compose(better, better[:, :n_source], layers.nod_mode, recipe)
    before = layers.background
    like = before if before.rows is not None else None  # its rows are those that are clear
    background = _background(window, layers.kept, profiles, model, layers.clear, recipe, like)
    found, known = _reject(
        frame, window, layers.weight, profiles, model, choice, background.image, layers.noise, recipe, 0.0
    )
    return replace(
        layers,
        profiles=_mixed(profiles, found),
        sources=_mixed(better[:, :n_source], found),
        background=background,
        rejected=found,
        kept=_without(layers.weight, found.pixels),
        known=None if found.mixed else known,
        empirical=True,
    )


def _without(weight: FloatArray, pixels: NDArray[np.bool_]) -> FloatArray:
    """Weights without outliers."""
    out = np.empty(weight.shape)
    leave_out(contiguous(weight), pixels, out)
    return out


def _without_lines(weight: FloatArray, found: Rejected) -> FloatArray:
    """Weights without lines that differ from their continuum: trace and profile are the continuum's."""
    line = found.apart.copy()
    line[list(found.mixed)] = True
    if not line.any():
        return weight
    # their faint ends are beside it as well
    out = weight.copy()
    out[with_ends(line)] = 0.0
    return out


def _mixed(profiles: FloatArray, found: Rejected) -> FloatArray:
    """Profiles, with those of continuum and line together where a line lies beside its continuum."""
    if not found.mixed:
        return profiles
    out = profiles.copy()
    out[list(found.mixed), 0] = list(found.mixed.values())
    return out


def _background(
    window: Window,
    weight: FloatArray,
    profiles: FloatArray,
    model: _Model,
    clear: NDArray[np.bool_],
    recipe: Recipe,
    like: BackgroundFit | None = None,
    known: Known | None = None,
) -> BackgroundFit:
    rows = _asked_rows(window, recipe)
    always_clear = free_rows(clear)
    index = np.arange(window.n_cross)
    below = always_clear & (index < model.centre.min())
    above = always_clear & (index > model.centre.max())
    asked = recipe.background
    free = asked.rows is None and asked.degree == "auto" and asked.along == "auto"
    near = near_rows(model.centre, model.fwhm, window.n_cross) if free else ()
    return fit_background(window.data, weight, profiles, asked, rows, clear, (below, above), like, near, known)


def _asked_rows(window: Window, recipe: Recipe) -> NDArray[np.bool_]:
    """Rows that may carry background: those of the recipe's windows, or all."""
    windows = recipe.background.rows
    if windows is None:
        return np.ones(window.n_cross, dtype=bool)
    index = np.arange(window.n_cross) + window.row
    rows = np.any([(index >= low) & (index <= high) for low, high in windows], axis=0)
    if not rows.any():
        raise bad_value("background.rows", "Recipe", "windows that hold a row of the region", windows, RecipeError)
    return np.asarray(rows)


def _pixel_noise(window: Window, background: FloatArray, weight: FloatArray, clear: NDArray[np.bool_]) -> float:
    """Empirical factor on the errors from source-free pixels, for thresholds only; between 1 and 5."""
    n, middle = pixel_scatter(contiguous(window.data), contiguous(background), contiguous(weight), clear, _PIXELS)
    return min(max(MAD * middle, 1.0), 5.0) if n >= _FEWEST else 1.0


def _slow_noise(window: Window, background: FloatArray, weight: FloatArray, clear: NDArray[np.bool_]) -> float:
    """Empirical factor on the errors of many columns of a row: drizzled pixels and bad skies are correlated."""
    n, middle = row_scatter(contiguous(window.data), contiguous(background), contiguous(weight), clear, _SLOW)
    return min(max(MAD * middle, 1.0), 20.0) if n >= _FEWEST_MEANS else 1.0


def rejection_mode(frame: Frame, settings: Rejection) -> str | bool:
    """What the automatic rejection comes to for a frame.

    Parameters
    ----------
    frame : Frame
        The frame, for whether its outliers are rejected already.
    settings : recipe.Rejection
        The recipe's section.

    Returns
    -------
    str or bool
        "spare" where the pipeline has rejected before us, else True; what the recipe says where that is not "auto".
    """
    if settings.mode != "auto":
        return settings.mode
    return "spare" if frame.meta.get("outliers_rejected") is True else True


def _reject(
    frame: Frame,
    window: Window,
    weight: FloatArray,
    profiles: FloatArray,
    model: _Model,
    choice: Choice,
    background: FloatArray,
    noise: float,
    recipe: Recipe,
    least_floor: float,
    known: Known | None = None,
) -> tuple[Rejected, Known | None]:
    """Outliers, and what is known of the profiles for the weights of all pixels."""
    settings = recipe.rejection
    if settings.mode is False:
        given = UNKNOWN if settings.floor == "auto" else settings.floor
        none = np.zeros(len(weight), dtype=bool)
        return Rejected(np.zeros(weight.shape, dtype=bool), none, none, {}, none, none, given), None
    data = np.empty(window.data.shape)
    above(contiguous(window.data), contiguous(background), contiguous(weight), data)
    n_source, sparing = len(model.centre), rejection_mode(frame, settings) == "spare"
    plain = solve_columns(data, weight, profiles, known)
    misfit = measure_misfit(data, weight, profiles, plain, model.centre, model.fwhm, noise)
    floor = max(misfit.floor if settings.floor == "auto" else settings.floor, least_floor)
    sources = model.sources if profiles is model.profiles else profiles[:, :n_source]
    tolerance = misfit.tolerance(sources, floor)
    found = reject(
        data,
        weight,
        profiles,
        partial(_changes, window, model, choice),
        partial(_displaced, window, model, choice),
        plain,
        tolerance,
        threshold=settings.threshold,
        noise=noise,
        rough=least_floor > 0,
        restoring=not sparing,
    )
    found = replace(found, floor=floor)
    if sparing:
        found = _spare_bright(data, weight, profiles, found, n_source, plain)
    if settings.grow:
        pixels = found.pixels.copy()
        for step in range(1, settings.grow + 1):
            pixels[step:] |= found.pixels[:-step]
            pixels[:-step] |= found.pixels[step:]
        found = replace(found, pixels=pixels & (weight > 0))
    return found, Known(weight, plain.covariance)


def _spare_bright(
    data: FloatArray, weight: FloatArray, profiles: FloatArray, found: Rejected, n_source: int, plain: Solution
) -> Rejected:
    """Undo rejections where the pipeline has rejected before us and the source is bright even without those pixels."""
    at = np.flatnonzero(columns_of(found.pixels))
    if not len(at):
        return found
    pixels, terms = found.pixels[at], profiles[at]
    with_all = _highest_snr(plain, n_source)
    snr = with_all.copy()
    snr[at] = _highest_snr(solve_columns(data[at], weight[at] * ~pixels, terms), n_source)
    # the flank of a line may lose its core to a tilted line and look faint: it stands beside a bright column
    bright = snr > _SPARE_SNR
    beside = bright[at] | bright[np.maximum(at - 1, 0)] | bright[np.minimum(at + 1, len(bright) - 1)]
    spared = np.where(beside & (with_all[at] > _SPARE_SNR), with_all[at], snr[at]) > _SPARE_SNR
    # negative twins fit no better than their source: without the core of one, wings decide that are the source's too
    back = pixels & spared[:, None] & (np.abs(terms).max(axis=1) > _SPARE_LIGHT)
    left, restored = found.pixels.copy(), found.restored.copy()
    left[at] &= ~back
    restored[at] |= back.any(axis=1)
    return replace(found, pixels=left, restored=restored)


def _highest_snr(solution: Solution, n_source: int) -> FloatArray:
    """S/N of the source that has most of it, in each column."""
    snr = [solution.coefficients[:, k] / np.sqrt(solution.covariance[:, k, k]) for k in range(n_source)]
    return snr[0] if n_source == 1 else np.max(snr, axis=0)


def _changes(window: Window, model: _Model, choice: Choice, columns: NDArray[np.intp]) -> FloatArray:
    """What errors of the first source's profile look like, per unit flux, shift by a FWHM and e-fold of the width.

    The third is the finite change to a profile a third wider: beyond what the derivative describes.
    """
    shape = choice.fit.shape.fast().at(window.columns[columns])
    centre, fwhm = model.centre[0][columns], model.fwhm[0][columns]
    profile, shift, width = shape.derivatives(window.n_cross, centre, fwhm)
    wider = (shape.integrate(window.n_cross, centre, _WIDER * fwhm) - profile) / np.log(_WIDER)
    return np.stack([shift * fwhm[:, None], width, wider], axis=1)


def _displaced(
    window: Window,
    model: _Model,
    choice: Choice,
    columns: NDArray[np.intp],
    shift: FloatArray,
    log_width: FloatArray,
) -> FloatArray:
    """Profile of the first source elsewhere: the columns, one after the other for each shift (FWHM) and width."""
    centre, fwhm = model.centre[0][columns], model.fwhm[0][columns]
    place = centre + shift[:, None] * fwhm
    width = fwhm * np.exp(log_width)[:, None]
    shape = choice.fit.shape.fast().at(np.tile(window.columns[columns], len(shift)))
    return shape.integrate(window.n_cross, place.ravel(), width.ravel())
