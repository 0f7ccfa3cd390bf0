"""Injection and recovery: sources of known flux in the user's own frame, extracted by the user's own recipe.

What is injected is the fitted profile, moved by whole rows along the trace, with a constant flux and, where the nods
leave them, its negative twins. Where the extraction finds that the variance follows the pixels (its slope is Poisson
noise), the injected light gets the noise that this slope means; elsewhere it carries none of its own, and the figures
are about the noise that the frame has. Everything that the extraction does takes part: finding, background, trace and
width, rejection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from optextract.errors import OptextractError, bad_value
from optextract.frame import Frame
from optextract.pipeline import extract
from optextract.profiles import make_shape
from optextract.recipe import Recipe
from optextract.results import Extraction

from .certificate import Certificate, Injection

__all__ = ["LEVELS", "validate"]

FloatArray = NDArray[np.float64]

#: S/N per column of the injected sources.
LEVELS = (1.0, 3.0, 10.0, 30.0)


def validate(
    frame: Frame,
    recipe: Recipe | None = None,
    *,
    levels: Sequence[float] = LEVELS,
    places: int = 8,
    where: Literal["auto", "free", "own"] = "auto",
    result: Extraction | None = None,
    name: str = "",
) -> Certificate:
    """Inject sources of known flux into a frame and extract them.

    Parameters
    ----------
    frame : Frame
        The frame.
    recipe : Recipe, optional
        The recipe; positions of its sources move along with what is injected.
    levels : sequence of float, optional
        S/N per column of what is injected.
    places : int, optional
        At most so many positions, apart from each other by more than the profile's width.
    where : {'auto', 'free', 'own'}, optional
        ``free``: source-free rows; ``own``: the source's rows, where its smooth model is subtracted; ``auto``: free, or
        own where there are no free rows.
    result : Extraction, optional
        The extraction of that frame by that recipe, if it is at hand.
    name : str, optional
        What the certificate is called.

    Returns
    -------
    Certificate
        Bias, pull and completeness against S/N.

    Raises
    ------
    OptextractError
        If there is no row to inject into, or a parameter breaks its rule.
    """
    recipe = Recipe() if recipe is None else recipe
    if not len(levels) or not all(level > 0 for level in levels):
        raise bad_value("levels", "validate", "positive numbers", levels)
    if places < 1:
        raise bad_value("places", "validate", "1 or more", places)
    if where not in ("auto", "free", "own"):
        raise bad_value("where", "validate", "'auto', 'free' or 'own'", where)
    first = extract(frame, recipe) if result is None else result
    empty = _without_sources(frame, first, own=False)
    steps = _free_steps(empty, first, places) if where != "own" else []
    if where == "auto" and len(steps) < 2:
        # one place beside nothing but edges says little of the place that the source is in
        steps = []
    if not steps and where == "free":
        raise OptextractError("there are no source-free rows to inject into; where='own' uses the source's own")
    if not steps:
        empty = _without_sources(frame, first, own=True)
    place = "source-free rows" if steps else "own rows, after subtracting the source's smooth model"
    found = []
    for step in steps if steps else [0]:
        profile = _moved(np.nan_to_num(first.profile[0]), step)
        image = _with_twins(frame, first, 0, step)
        sigma = _error(frame, first, profile)
        moved = _moved_recipe(recipe, first, step)
        if not steps:
            # a variance that follows the light which was taken away says nothing of how it was made
            moved = moved.updated(noise={"revise": False})
        for level in levels:
            flux = level * float(np.median(sigma[np.isfinite(sigma)]))
            found.append(_inject(empty, moved, first, image, flux, level, step))
    return Certificate(tuple(found), place, name)


def _half_width(result: Extraction) -> float:
    """Half of the window that a source needs, pixel."""
    return max(2.0, 1.5 * float(np.nanmax(result.fwhm)))


def _free_steps(empty: Frame, result: Extraction, places: int) -> list[int]:
    """Whole rows by which the trace can be moved to where no source and no negative trace is."""
    half = _half_width(result)
    region = result.resolved.region
    low, high = (-0.5, empty.n_cross - 0.5) if region.cross is None else region.cross
    trace = result.centre[0][np.isfinite(result.centre[0])]
    free = []
    for step in range(-empty.n_cross, empty.n_cross):
        first, last = float(trace.min()) + step, float(trace.max()) + step
        if first - half >= low and last + half <= high and _usable(empty, result, step):
            free.append(step)
    chosen: list[int] = []
    for step in sorted(free, key=abs):
        if all(abs(step - other) >= max(2, int(np.ceil(half))) for other in chosen):
            chosen.append(step)
    return sorted(chosen[:places])


def _usable(frame: Frame, result: Extraction, step: int) -> bool:
    """Whether nearly all of the profile falls on good pixels there, in nearly all of the columns that have a flux."""
    profile = _moved(np.nan_to_num(result.profile[0]), step)
    seen = (profile * frame.good).sum(axis=0) > 0.9 * np.nan_to_num(result.profile[0]).sum(axis=0)
    usable = np.isfinite(result.flux[0])
    return bool(seen[usable].mean() > 0.9) if usable.any() else False


def _moved(image: FloatArray, step: int) -> FloatArray:
    """An image moved by whole rows; what comes in is zero."""
    out = np.zeros_like(image)
    if step > 0:
        out[step:] = image[:-step]
    elif step < 0:
        out[:step] = image[-step:]
    else:
        out[:] = image
    return out


def _without_sources(frame: Frame, result: Extraction, *, own: bool) -> Frame:
    """The frame without its sources.

    Their pixels and those of their negative twins are masked, and the faint wings beyond are subtracted; or, where the
    pixels are needed, a smooth model of sources and twins is subtracted.
    """
    offsets = [offset for offset, _ in _twins_of(frame, result)]
    if not own:
        light = np.nan_to_num(result.model - result.background)
        variance = _variance(frame)
        bright = light**2 > 0.1 * variance if variance is not None else light > 0.001 * np.nanmax(light)
        mask = frame.mask | _near(frame, result, (0.0, *offsets)) | bright
        return frame.replace(flux=frame.flux - light, mask=mask)
    mask = np.array(frame.mask)
    light = np.zeros(frame.shape)
    for k in range(result.n_source):
        # the fitted flux holds the noise of its own pixels: subtracting it would take that noise away as well
        flux = result.flux[k]
        good = np.isfinite(flux)
        filled = np.interp(np.arange(flux.size), np.flatnonzero(good), flux[good])
        level = median_filter(filled, size=min(51, 2 * (flux.size // 4) + 1), mode="nearest")
        # lines are not smooth: their columns take no part
        mask[:, good & (np.abs(flux - level) > 5 * result.uncertainty[k])] = True
        light += _with_twins(frame, result, k, 0) * level / frame.flux_scale
    return frame.replace(flux=frame.flux - light, mask=mask)


def _twins_of(frame: Frame, result: Extraction) -> list[tuple[float, float]]:
    """Offset and depth of each negative trace that the extraction reckons with."""
    nods = result.resolved.nods
    if nods.mode == "ignore" or nods.offsets is None:
        return []
    told = dict(zip(frame.meta.get("nod_offsets", ()), frame.meta.get("nod_depths", ()), strict=False))
    if nods.depths is not None:
        return list(zip(nods.places, nods.depths, strict=True))
    if all(offset in told for offset in nods.offsets):
        return [(place, float(told[offset])) for place, offset in zip(nods.places, nods.offsets, strict=True)]
    return [(place, _fitted_depth(frame, result, place)) for place in nods.places]


def _fitted_depth(frame: Frame, result: Extraction, offset: float) -> float:
    """Depth of a negative trace by least squares on what the sources leave."""
    flux = np.nan_to_num(result.flux[0]) / frame.flux_scale
    twin = _profile_at(result, 0, offset) * flux
    left = np.nan_to_num(result.residual + result.model - result.background) - np.nan_to_num(result.profile[0]) * flux
    power = float((twin**2).sum())
    return float(min((twin * left).sum() / power, 0.0)) if power > 0 else 0.0


def _profile_at(result: Extraction, source: int, offset: float) -> FloatArray:
    """Profile of a source moved by any offset; exact for whole rows and for profiles given by a formula."""
    image = np.nan_to_num(result.profile[source])
    whole = int(np.floor(offset))
    part = offset - whole
    if part == 0.0:
        return _moved(image, whole)
    settings = result.resolved.profile
    if settings.kind in ("gaussian", "moffat", "voigt") and not settings.empirical:
        shape = make_shape(settings.kind, settings.index.value)
        seen = np.isfinite(result.centre[source])
        moved = np.zeros_like(image)
        centre, fwhm = result.centre[source, seen] + offset, result.fwhm[source, seen]
        moved[:, seen] = shape.integrate(image.shape[0], centre, fwhm).T
        return moved
    return (1 - part) * _moved(image, whole) + part * _moved(image, whole + 1)


def _with_twins(frame: Frame, result: Extraction, source: int, step: int) -> FloatArray:
    """Profile of a source with its negative twins, moved by whole rows."""
    image = _moved(np.nan_to_num(result.profile[source]), step)
    for offset, depth in _twins_of(frame, result):
        image = image + depth * _moved(_profile_at(result, source, offset), step)
    return image


def _near(frame: Frame, result: Extraction, offsets: Iterable[float]) -> NDArray[np.bool_]:
    """Pixels within a half width of traces at these offsets from the sources."""
    rows = np.arange(frame.n_cross)[:, None]
    half = _half_width(result)
    near = np.zeros(frame.shape, dtype=bool)
    for offset in offsets:
        for centre in result.centre:
            near |= np.abs(rows - (centre + offset)) <= half
    return near


def _variance(frame: Frame) -> FloatArray | None:
    """The frame's variance, or the sum of its parts; None where it has neither."""
    if frame.variance is not None:
        return frame.variance
    return sum(frame.variance_parts.values(), np.zeros(frame.shape)) if frame.variance_parts else None


def _error(frame: Frame, result: Extraction, profile: FloatArray) -> FloatArray:
    """1 sigma error of a faint source with that profile, per column, by the frame's own variance."""
    variance = _variance(frame)
    if variance is None:
        # the recipe makes a variance of something else: what it found for the source will do for a scale
        return np.asarray(result.uncertainty[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(frame.good, 1.0 / variance, 0.0)
        return np.asarray(frame.flux_scale / np.sqrt((profile**2 * weight).sum(axis=0)))


def _moved_recipe(recipe: Recipe, result: Extraction, step: int) -> Recipe:
    """The recipe with everything that names a row of the source moved along; one source."""
    changes: dict[str, Any] = {"sources": {"number": 1, "items": ()}}
    if recipe.sources.items:
        centre = recipe.sources.items[0].centre.model_dump()
        if centre["value"] is not None:
            centre["value"] += step
        if centre["bounds"] is not None:
            centre["bounds"] = tuple(bound + step for bound in centre["bounds"])
        changes["sources"]["items"] = ({"centre": centre},)
    if recipe.trace.given is not None:
        columns = np.arange(result.centre.shape[1])
        good = np.isfinite(result.centre[0])
        changes["trace"] = {"given": tuple(np.interp(columns, columns[good], result.centre[0][good]) + step)}
    return recipe.updated(**changes)


def _inject(
    empty: Frame, recipe: Recipe, first: Extraction, image: FloatArray, flux: float, level: float, step: int
) -> Injection:
    planned = empty.meta.get("planned_cross")
    meta = dict(empty.meta) if planned is None else {**empty.meta, "planned_cross": float(planned) + step}
    frame = _lit(empty, image * flux / empty.flux_scale, float(first.quality["revised_slope"]), step, meta)
    truth = first.centre[0] + step
    found = extract(frame, recipe)
    good = np.isfinite(found.flux[0]) & np.isfinite(first.centre[0])
    offset = float(np.nanmedian(found.centre[0] - truth)) if np.isfinite(found.centre[0]).any() else np.inf
    if not good.any():
        return Injection(level, float(np.nanmedian(truth)), flux, np.zeros(0), np.nan, np.inf, offset)
    pull = (found.flux[0, good] - flux) / found.uncertainty[0, good]
    weight = found.uncertainty[0, good] ** -2.0
    mean = float((weight * found.flux[0, good]).sum() / weight.sum())
    return Injection(
        level=level,
        row=float(np.nanmedian(truth)),
        flux=flux,
        pull=pull,
        bias=mean / flux - 1.0,
        bias_error=float(np.hypot(weight.sum() ** -0.5, _background_error(found, empty.flux_scale))) / flux,
        offset=offset,
    )


def _lit(frame: Frame, light: FloatArray, slope: float, step: int, meta: dict[str, Any]) -> Frame:
    """The frame with light added and, where variance follows the pixels with that slope, the light's own noise."""
    if slope <= 0:
        return frame.replace(flux=frame.flux + light, meta=meta)
    shot = slope * np.maximum(light, 0.0)
    # the same for every level, as the frame's own noise is
    light = light + np.sqrt(shot) * np.random.default_rng([79, abs(step), step > 0]).standard_normal(light.shape)
    more = slope * np.maximum(light, 0.0)
    variance = None if frame.variance is None else frame.variance + more
    parts = {name: part + (more if name == "poisson" else 0.0) for name, part in frame.variance_parts.items()}
    return frame.replace(flux=frame.flux + light, variance=variance, variance_parts=parts, meta=meta)


def _background_error(result: Extraction, scale: float) -> float:
    """Error of the flux by that of the background, median over columns; it is common to many of them."""
    profile = result.profile[0]
    power = (profile**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.nansum(profile * result.background_uncertainty, axis=0) / power
    good = np.isfinite(error) & np.isfinite(result.flux[0])
    return float(np.median(error[good])) * scale if good.any() else 0.0
