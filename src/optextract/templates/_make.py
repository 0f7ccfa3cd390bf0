"""Templates made: from a bright source's extraction, and by STPSF; and how well wavelengths are interpolated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from ..errors import OptextractError, RecipeError, bad_value
from ..profiles import Shape, make_shape
from ..results import Extraction
from ._read import Template, load_template

__all__ = ["compare_interpolation", "make_stpsf_cube", "save_template"]

FloatArray = NDArray[np.float64]

_SAMPLES = 16  # positions a pixel of a saved template
_REACH = 12  # pixel to each side
_CORRECTION = 1e-3


def save_template(
    result: Extraction, path: str | Path, *, source: int = 0, planes: int = 12, overwrite: bool = False
) -> Path:
    """Save the fitted profile of a bright source as the template for fainter ones of the same configuration.

    Parameters
    ----------
    result : Extraction
        Extraction of the bright source.
    path : path
        FITS file to write, in the layout of a table of effective PSFs (see `load_template`).
    source : int, optional
        Which source.
    planes : int, optional
        Wavelengths to save it at, spread over the columns that have a flux.
    overwrite : bool, optional
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptextractError
        If there is no such source, its shape did not come from its own data, or the file exists.
    """
    from astropy.io import fits

    if not 0 <= source < result.n_source:
        raise bad_value("source", "save_template", f"between 0 and {result.n_source - 1}", source)
    if not result.trace.from_data:
        raise bad_value(
            "result", "save_template", "of a source bright enough to have a shape of its own", "a shape from the prior"
        )
    if planes < 1:
        raise bad_value("planes", "save_template", "1 or more", planes)
    path = Path(path)
    if path.exists() and not overwrite:
        raise bad_value("path", "save_template", "a new file (overwrite replaces it)", str(path))
    good = np.flatnonzero(np.isfinite(result.flux[source]) & np.isfinite(result.wavelength.value))
    if good.size == 0:
        raise bad_value("result", "save_template", "with a flux in some column", "none")
    known = result.wavelength.unit.is_equivalent(u.um, u.spectral())
    pick = np.unique(good[np.linspace(0, good.size - 1, min(planes, good.size) if known else 1).round().astype(int)])
    if not known:
        pick = good[[good.size // 2]]
    position = np.arange(-_REACH * _SAMPLES, _REACH * _SAMPLES) / _SAMPLES
    edges = np.array_split(good, len(pick))
    table = np.stack([_effective(result, source, int(c), part, position) for c, part in zip(pick, edges, strict=True)])
    wavelength = result.wavelength[pick].to_value(u.um, u.spectral()) if known else np.array([0.0])
    primary = fits.PrimaryHDU()
    primary.header["OXTEMPL"] = (True, "PSF template written by optextract")
    primary.header["OXKIND"] = (str(result.resolved.profile.kind), "profile that was fitted")
    primary.header["OXINPUT"] = (str(result.provenance.get("file")), "frame of the bright source")
    primary.header["OXSNR"] = (float(np.nan_to_num(result.quality["snr_total"][source])), "total S/N of that source")
    images = (("PROF", table.T[:, :, None]), ("YSLIT", position), ("WAVE", wavelength), ("SIGMA", np.zeros(1)))
    hdus = fits.HDUList([primary, *(fits.ImageHDU(data, name=name) for name, data in images)])
    hdus["YSLIT"].header["BUNIT"] = "pixel"
    hdus["WAVE"].header["BUNIT"] = "um"
    part = path.with_name(path.name + ".part")
    hdus.writeto(part, overwrite=True, output_verify="exception")
    os.replace(part, path)
    return path


def _effective(
    result: Extraction, source: int, column: int, block: NDArray[np.intp], position: FloatArray
) -> FloatArray:
    """Flux in a pixel at each position: the fitted shape, corrected by what the result's profile shows."""
    shape, fwhm = _shape_at(result, column), float(result.fwhm[source, column])

    def fitted(offset: FloatArray) -> FloatArray:
        place = np.atleast_1d(offset).reshape(-1)
        bound = shape.at(np.zeros(len(place)))
        return bound.fraction(place - 0.5, place + 0.5, np.zeros(len(place)), np.full(len(place), fwhm))

    own = fitted(position)
    rows = np.arange(result.profile.shape[1])
    inside = (result.profile[source] > 0).any(axis=1)
    # where an empirical term was fitted the profile is not the shape's: their ratio against the distance says how
    offset = (rows[inside, None] - result.centre[source, block]).ravel()
    seen = result.profile[source][np.ix_(inside, block)].ravel()
    model = fitted(offset)
    use = (model > 3e-4) & np.isfinite(seen) & (np.abs(offset) < _REACH)
    if use.sum() < 8:
        return own
    cell = np.round(offset[use] * 4).astype(int)
    places = np.unique(cell)
    ratio = np.array([seen[use][cell == k].sum() / model[use][cell == k].sum() for k in places])
    if np.abs(ratio - 1).max() < _CORRECTION:
        return own
    middle = np.array([offset[use][cell == k].mean() for k in places])
    return own * np.interp(position, middle, ratio)


def _shape_at(result: Extraction, column: int) -> Shape:
    profile = result.resolved.profile
    if profile.kind != "template":
        if profile.kind == "spline":
            raise bad_value("profile.kind", "save_template", "a fitted shape or a template", profile.kind)
        return make_shape(profile.kind, profile.index.value, profile.model)
    if profile.template is None:
        raise bad_value("profile.template", "save_template", "named", None)
    found = load_template(
        profile.template.resolve(), source_size=profile.template_size, dispersion=profile.template_dispersion
    )
    if not isinstance(found, Template):
        rule = "no profile image: that is a template already"
        raise bad_value("profile.template", "save_template", rule, profile.template.path)
    wavelength = result.wavelength[np.isfinite(result.wavelength.value)].to_value(u.um, u.spectral())
    at = float(result.wavelength[column].to_value(u.um, u.spectral()))
    # the broadening is that of the middle wavelength, as in the fit
    return found.shape(
        np.concatenate([[at], wavelength]), result.meta.get("pixel_scale_arcsec"), profile.template_interpolation,
        profile.template_broaden,
    )  # fmt: skip


def compare_interpolation(template: Template, pixel: float = 1.0) -> Mapping[str, float]:
    """Error of interpolating between the template's wavelengths: every second plane predicted from the others.

    Parameters
    ----------
    template : Template
        Of seven planes or more.
    pixel : float, optional
        Pixel that profiles are integrated over, in the template's unit.

    Returns
    -------
    mapping
        ``linear`` and ``cubic``: rms of the difference over the peak of each plane.
    """
    n = len(template.wavelength)
    if n < 7:
        raise bad_value("template", "compare_interpolation", "of seven planes or more", n, RecipeError)
    keep, left = np.arange(0, n, 2), np.arange(1, n - 1, 2)
    thinned = Template(
        template.position, template.cumulative[keep], template.wavelength[keep], template.unit, template.words
    )
    step = float(template.position[1] - template.position[0])
    wide = max(1, round(pixel / step))

    def effective(cumulative: FloatArray) -> FloatArray:
        return cumulative[:, wide:] - cumulative[:, :-wide]

    truth = effective(template.cumulative[left])
    found = {}
    for how in ("linear", "cubic"):
        guess = effective(thinned.weights(template.wavelength[left], how) @ thinned.cumulative)
        found[how] = float(np.sqrt((((guess - truth) / truth.max(axis=1)[:, None]) ** 2).mean()))
    return MappingProxyType(found)


def make_stpsf_cube(
    path: str | Path,
    wavelength: ArrayLike,
    *,
    instrument: str = "NIRSpec",
    oversample: int = 4,
    fov_arcsec: float = 3.0,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Make a cube of monochromatic PSFs with STPSF and write it as `load_template` reads it.

    Parameters
    ----------
    path : path
        FITS file to write.
    wavelength : array_like, shape (n_wave,)
        Micron.
    instrument : str, optional
        Class of STPSF: NIRSpec, NIRCam, NIRISS, MIRI.
    oversample, fov_arcsec : optional
        Samples per detector pixel, and field of view.
    settings : mapping, optional
        Attributes to set on the instrument, such as ``{"filter": "CLEAR", "image_mask": None}``.
    overwrite : bool, optional
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptextractError
        If STPSF or its data are absent, the instrument is unknown, or the file exists.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise bad_value("path", "make_stpsf_cube", "a new file (overwrite replaces it)", str(path))
    waves = np.atleast_1d(np.asarray(wavelength, float))
    if waves.ndim != 1 or not (np.isfinite(waves) & (waves > 0)).all() or not (np.diff(waves) > 0).all():
        raise bad_value("wavelength", "make_stpsf_cube", "positive and increasing, in micron", wavelength)
    try:
        import stpsf
    except ImportError as error:
        raise OptextractError(
            "The package stpsf is not installed: pip install stpsf, and set STPSF_PATH to its data."
        ) from error
    except OSError as error:
        raise OptextractError(f"stpsf does not find its data (STPSF_PATH): {error}") from error
    if not hasattr(stpsf, instrument):
        raise bad_value("instrument", "make_stpsf_cube", "a class of stpsf", instrument)
    made = getattr(stpsf, instrument)()
    for name, value in ({} if settings is None else settings).items():
        if not hasattr(made, name):
            raise bad_value("settings", "make_stpsf_cube", f"attributes of stpsf.{instrument}", name)
        setattr(made, name, value)
    metres: Sequence[float] = (waves * u.um.to(u.m)).tolist()
    cube = made.calc_datacube(metres, fov_arcsec=fov_arcsec, oversample=oversample)
    part = path.with_name(path.name + ".part")
    cube.writeto(part, overwrite=True)
    os.replace(part, path)
    load_template(path)  # what cannot be read back must not be left for later to find out
    return path
