"""The methods side by side: from a scene to one spectrum a source, with its error where the method has one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import notebook
import numpy as np
from astropy import units as u
from astropy.modeling.models import Polynomial1D
from astropy.nddata import NDData, VarianceUncertainty

import optextract as ox
from optextract.simulate import Scene

FloatArray = np.ndarray
Spectrum = tuple[FloatArray, FloatArray | None]

#: What a user would set for a scene, because no file tells it.
ASKED: Mapping[str, dict] = MappingProxyType(
    {"blend": {"sources": {"number": 2}}, "lines": {"sources": {"find": "lines"}}}
)


@dataclass(frozen=True)
class Method:
    """One way to extract.

    Attributes
    ----------
    name : str
        As in the tables.
    words : str
        What it does, for the page.
    run : callable
        From a scene to a list of (flux, error or None), by position; a method that knows one source returns one.
    """

    name: str
    words: str
    run: Callable[[Scene], list[Spectrum]]


def _ours(**fields) -> Callable[[Scene], list[Spectrum]]:
    def run(scene: Scene) -> list[Spectrum]:
        recipe = ox.Recipe(**{**ASKED.get(scene.name, {}), **fields})
        result = ox.extract(scene.frame, recipe)
        order = np.argsort(np.nanmedian(result.centre, axis=1))
        return [(result.flux[k], result.uncertainty[k]) for k in order]

    return run


def _our_boxcar(scene: Scene) -> list[Spectrum]:
    result = ox.extract(scene.frame, ox.Recipe(**ASKED.get(scene.name, {})))
    order = np.argsort(np.nanmedian(result.centre, axis=1))
    return [(result.boxcar.flux[k], result.boxcar.uncertainty[k]) for k in order]


def _notebook(*, in_weights: bool) -> Callable[[Scene], list[Spectrum]]:
    return lambda scene: [(notebook.extract(scene.frame, in_weights=in_weights), None)]


def image_of(frame: ox.Frame, *, filled: bool = False) -> NDData:
    """The frame as specreduce takes it; filled: masked pixels hold the row's median and a million-fold variance."""
    flux = np.where(frame.good, frame.flux, np.nan)
    variance = np.where(frame.good, frame.variance, 1.0)
    mask = np.array(frame.mask)
    if filled:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            row = np.nan_to_num(np.nanmedian(flux, axis=1))[:, None]
        flux = np.where(mask, row, flux)
        variance = np.where(mask, 1e6 * np.median(variance), variance)
        mask = np.zeros_like(mask)
    return NDData(flux, uncertainty=VarianceUncertainty(variance), mask=mask, unit=u.DN)


def _specreduce(make: Callable) -> Callable[[Scene], list[Spectrum]]:
    def run(scene: Scene) -> list[Spectrum]:
        return [with_specreduce(scene.frame, make)]

    return run


def with_specreduce(frame: ox.Frame, make: Callable) -> Spectrum:
    """FitTrace, two-sided background, extraction: the settings that did best of those tried."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _chain(image_of(frame), make, frame)
        except ValueError:  # it refuses frames with masked pixels in many columns
            return _chain(image_of(frame, filled=True), make, frame)


def _chain(image: NDData, make: Callable, frame: ox.Frame) -> Spectrum:
    from specreduce.background import Background
    from specreduce.tracing import FitTrace

    model = Polynomial1D(1 if frame.meta.get("rectified") is True else 3)
    trace = FitTrace(image, bins=20, peak_method="gaussian", trace_model=model)
    clean = Background.two_sided(image, trace, separation=6, width=4).sub_image(image)
    clean = NDData(
        clean.data, uncertainty=image.uncertainty, mask=image.mask | ~np.isfinite(clean.data), unit=image.unit
    )
    found = make(clean, trace)()
    error = None
    if found.uncertainty is not None:
        error = np.sqrt(found.uncertainty.represent_as(VarianceUncertainty).array)
    return np.asarray(found.flux.value, dtype=float), error


def horne_gaussian(image: NDData, trace):
    from specreduce.extract import HorneExtract

    return HorneExtract(image, trace)


def horne_interpolated(image: NDData, trace):
    from specreduce.extract import HorneExtract

    return HorneExtract(image, trace, spatial_profile="interpolated_profile")


def boxcar(image: NDData, trace):
    from specreduce.extract import BoxcarExtract

    return BoxcarExtract(image, trace, width=5)


METHODS = (
    Method("optextract", "defaults (for the blend: two sources; for the lines: look for lines)", _ours()),
    Method(
        "optextract, Gaussian",
        "profile fixed to a Gaussian, no empirical correction",
        _ours(profile={"kind": "gaussian", "empirical": False}),
    ),
    Method(
        "optextract, background per column",
        "a constant, free in each column",
        _ours(background={"degree": 0, "along": "column"}),
    ),
    Method("optextract, no rejection", "outliers stay", _ours(rejection={"mode": False})),
    Method("optextract, boxcar", "the matched plain sum over 3 FWHM, not corrected for what lies outside", _our_boxcar),
    Method(
        "notebook",
        "STScI's notebook in our own words: point-sampled Gaussian of a coadded slice, its polynomial taken off",
        _notebook(in_weights=False),
    ),
    Method(
        "notebook as printed",
        "the same with the polynomial left inside the weights",
        _notebook(in_weights=True),
    ),
    Method(
        "specreduce Horne, Gaussian",
        "FitTrace (20 bins, Gaussian peaks), two-sided background, HorneExtract with its defaults",
        _specreduce(horne_gaussian),
    ),
    Method(
        "specreduce Horne, interpolated",
        "the same with spatial_profile='interpolated_profile'",
        _specreduce(horne_interpolated),
    ),
    Method("specreduce boxcar", "the same with BoxcarExtract, 5 pixels", _specreduce(boxcar)),
)
