"""PSF templates from files: recognised by what they hold.

Layouts
-------
PSF cube or image of STPSF, WebbPSF or POPPY (``calc_datacube``, ``calc_psf``)
    An image HDU of shape (n_wave, n_y, n_x) or (n_y, n_x) with PIXELSCL (arcsec per sample of that HDU). The wavelength
    of plane i, in metre, is WVLN0000 ... (100 planes and more) or WAVELN00 ... (fewer); NWAVES is their number. Of the
    HDUs OVERSAMP, DET_SAMP, OVERDIST and DET_DIST (EXTNAME) the oversampled one with distortion is taken first. The
    card OVERSAMP counts samples per detector pixel. Dispersion runs along x unless DISPAXIS = 2 or the caller says so.
Table of effective PSFs (msaexp's for NIRSpec; what `save_template` writes)
    Image HDUs PROF of shape (n_position, n_wave, n_size), YSLIT (positions in detector pixel), WAVE (micron) and SIGMA
    (1 sigma of the source in pixel): the flux in a pixel whose centre lies YSLIT from the source.
Profile image
    An HDU PROFILE, or the only image of a FITS or ``.npy`` file, of the frame's shape (n_cross, n_disp): the profile
    itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from ..errors import RecipeError, bad_value
from ..profiles import Gaussian
from ._shape import Curves, TemplateShape

__all__ = ["Interpolation", "Template", "load_template"]

FloatArray = NDArray[np.float64]
Interpolation = Literal["linear", "cubic"]

_POSITIVE = "finite, with a positive sum at each wavelength"
_BEST = ("OVERDIST", "OVERSAMP", "DET_DIST", "DET_SAMP")


@dataclass(frozen=True, eq=False)
class Template:
    """Cross-dispersion profile of a point source at some wavelengths, known by its cumulative distribution.

    Attributes
    ----------
    position : ndarray, shape (n_node,)
        Uniform cross-dispersion positions relative to the source, in `unit`.
    cumulative : ndarray, shape (n_wave, n_node)
        Fraction of the flux below each position, from 0 to 1.
    wavelength : ndarray, shape (n_wave,)
        In micron, increasing; NaN alone where the template is the same at all wavelengths.
    unit : {"arcsec", "pixel"}
        Unit of `position`; pixels are those of the frame.
    words : str
        What it is.
    """

    position: FloatArray
    cumulative: FloatArray
    wavelength: FloatArray
    unit: Literal["arcsec", "pixel"]
    words: str

    @property
    def changes(self) -> bool:
        """Whether it changes with wavelength."""
        return len(self.wavelength) > 1

    def weights(self, wavelength: ArrayLike, interpolation: Interpolation = "linear") -> FloatArray:
        """What each plane counts at the wavelengths (micron), shape (n, n_wave); beyond the ends the end plane counts.

        Raises
        ------
        RecipeError
            If a wavelength is not finite, or cubic interpolation is asked of fewer than four planes.
        """
        values = np.atleast_1d(np.asarray(wavelength, float))
        n = len(self.wavelength)
        if interpolation not in ("linear", "cubic"):
            raise bad_value("interpolation", "Template", "linear or cubic", interpolation, RecipeError)
        if n == 1:
            return np.ones((len(values), 1))
        if not np.isfinite(values).all():
            raise bad_value("wavelength", "Template", "finite", wavelength, RecipeError)
        inside = np.clip(values, self.wavelength[0], self.wavelength[-1])
        if interpolation == "cubic":
            if n < 4:
                rule = f"linear for {n} planes (cubic needs 4)"
                raise bad_value("interpolation", "Template", rule, "cubic", RecipeError)
            return CubicSpline(self.wavelength, np.eye(n))(inside)
        low = np.clip(np.searchsorted(self.wavelength, inside, side="right") - 1, 0, n - 2)
        part = (inside - self.wavelength[low]) / (self.wavelength[low + 1] - self.wavelength[low])
        out = np.zeros((len(values), n))
        rows = np.arange(len(values))
        out[rows, low] = 1 - part
        out[rows, low + 1] = part
        return out

    def _per_pixel(self, pixel_scale: float | None) -> float:
        """Factor from `unit` to frame pixels."""
        if self.unit == "pixel":
            return 1.0
        if pixel_scale is None or not np.isfinite(pixel_scale) or pixel_scale <= 0:
            rule = "a positive number of arcsec per pixel for a template in arcsec"
            raise bad_value("pixel_scale", "Template", rule, pixel_scale, RecipeError)
        return 1.0 / float(pixel_scale)

    def shape(
        self,
        wavelength: ArrayLike,
        pixel_scale: float | None = None,
        interpolation: Interpolation = "linear",
        broaden: bool = True,
    ) -> TemplateShape:
        """The template as a profile on columns of known wavelength.

        Parameters
        ----------
        wavelength : array_like, shape (n_column,)
            Wavelength of each column, micron.
        pixel_scale : float, optional
            Arcsec per frame pixel across dispersion; needed for a template in arcsec.
        interpolation : {"linear", "cubic"}, optional
            Between the template's wavelengths.
        broaden : bool, optional
            Let the FWHM of a fit broaden it.

        Raises
        ------
        RecipeError
            If a value breaks its rule.
        """
        factor = self._per_pixel(pixel_scale)
        weights = self.weights(wavelength, interpolation)
        step = float(self.position[1] - self.position[0]) * factor
        curves = Curves(float(self.position[0]) * factor, step, self.cumulative)
        values = np.atleast_1d(np.asarray(wavelength, float))
        middle = self.weights([float(np.median(values))], interpolation)
        return TemplateShape(curves, weights, _equivalent_fwhm(curves, middle), broaden)

    def image(
        self,
        n_cross: int,
        centre: ArrayLike,
        wavelength: ArrayLike,
        *,
        pixel_scale: float | None = None,
        fwhm: float | None = None,
        interpolation: Interpolation = "linear",
    ) -> FloatArray:
        """Profile of every pixel along a trace, shape (n_cross, n_disp): each column sums to the part inside the rows.

        Parameters
        ----------
        n_cross : int
            Rows.
        centre : float or array_like, shape (n_disp,)
            The trace, pixel.
        wavelength : array_like, shape (n_disp,)
            Micron.
        pixel_scale, interpolation
            As for `shape`.
        fwhm : float, optional
            FWHM at the middle wavelength after broadening, pixel; absent: not broadened.
        """
        shape = self.shape(wavelength, pixel_scale, interpolation, broaden=fwhm is not None)
        n = len(np.atleast_1d(wavelength))
        place = np.broadcast_to(np.asarray(centre, float), (n,))
        width = np.full(n, shape.native if fwhm is None else float(fwhm))
        return shape.at(np.arange(n, dtype=float)).integrate(n_cross, place, width).T


def _equivalent_fwhm(curves: Curves, weights: FloatArray) -> float:
    """FWHM (pixel) of the Gaussian that fits best after both are integrated over pixels; wings hardly count."""
    grid = curves.grid(weights @ curves.spectrum, np.zeros(1))
    node = curves.start + curves.step * np.arange(grid.cumulative.shape[1])
    low, middle, high = np.interp([0.25, 0.5, 0.75], np.maximum.accumulate(grid.cumulative[0]), node)
    rough = max(1.75 * float(high - low), 0.3)
    offset = np.linspace(-4, 4, 161) * max(rough, 0.5)
    value = grid.evaluate(np.stack([offset + middle - 0.5, offset + middle + 0.5]).reshape(1, -1))
    curve = value[0, len(offset) :] - value[0, : len(offset)]

    def misfit(log_fwhm: float) -> float:
        width = np.exp(log_fwhm)
        trial = Gaussian().fraction(offset - 0.5, offset + 0.5, np.zeros(1), np.array([width]))
        return -float((trial @ curve) ** 2 / (trial @ trial))

    limits = (np.log(0.2 * rough), np.log(4.0 * rough))
    return float(np.exp(minimize_scalar(misfit, bounds=limits, method="bounded", options={"xatol": 1e-6}).x))


def from_samples(samples: FloatArray, step: float, wavelength: FloatArray, unit: Any, words: str) -> Template:
    """Template of fluxes in adjoining cells of size `step`, shape (n_wave, n_cell), centred on the grid's middle."""
    total = samples.sum(axis=1)
    if not np.isfinite(samples).all() or not (total > 0).all():
        raise bad_value("template", "load_template", _POSITIVE, words, RecipeError)
    n = samples.shape[1]
    cumulative = np.concatenate([np.zeros((len(samples), 1)), np.cumsum(samples, axis=1)], axis=1) / total[:, None]
    order = np.argsort(wavelength)
    if len(wavelength) > 1 and not (np.diff(wavelength[order]) > 0).all():
        raise bad_value("template", "load_template", "of planes of different wavelengths", words, RecipeError)
    position = (np.arange(n + 1) - 0.5 * n) * step
    return Template(position, cumulative[order], wavelength[order], unit, words)


def from_effective(profile: FloatArray, position: FloatArray, wavelength: FloatArray, words: str) -> Template:
    """Template of effective PSFs E, the flux in a pixel whose centre lies at a position; shape (n_position, n_wave).

    ``C(y) = E(y - 1/2) + E(y - 3/2) + ...`` is their cumulative distribution, exactly: the flux in a pixel anywhere
    comes out as tabulated.
    """
    step = np.diff(position)
    per_pixel = 1.0 / float(step.mean()) if len(step) else 0.0
    if len(step) < 2 or np.ptp(step) > 1e-6 or abs(per_pixel - round(per_pixel)) > 1e-3:
        rule = "uniform, with a whole number of positions a pixel"
        raise bad_value("YSLIT", "load_template", rule, words, RecipeError)
    if not np.isfinite(profile).all() or not (profile.sum(axis=0) > 0).all():
        raise bad_value("PROF", "load_template", _POSITIVE, words, RecipeError)
    n = round(per_pixel)
    phases = -(-len(profile) // n) * n
    padded = np.zeros((phases, profile.shape[1]))
    padded[: len(profile)] = profile
    folded = padded.reshape(-1, n, profile.shape[1])
    total = folded.sum(axis=0)  # the sum over pixels of each phase: all the flux that the table holds
    running = np.cumsum(folded, axis=0) / np.where(total > 0, total, 1.0)
    cumulative = running.reshape(phases, profile.shape[1])
    # E(y) at the node y counts below y + 1/2
    cumulative = np.concatenate([np.zeros((1, profile.shape[1])), cumulative, np.ones((1, profile.shape[1]))])
    nodes = position[0] + 0.5 + np.arange(-1, phases + 1) / n
    order = np.argsort(wavelength)
    return Template(nodes, np.ascontiguousarray(cumulative.T[order]), wavelength[order], "pixel", words)


def load_template(
    path: str | Path,
    *,
    source_size: float = 0.0,
    dispersion: Literal["x", "y"] | None = None,
    frame_shape: tuple[int, int] | None = None,
) -> Template | FloatArray:
    """Read a PSF template; the layouts are listed at the head of this module and in the documentation.

    Parameters
    ----------
    path : path
        FITS or ``.npy`` file.
    source_size : float, optional
        1 sigma of the source along the slit in pixel, for a table that has sizes; interpolated linearly.
    dispersion : {"x", "y"}, optional
        Axis of a PSF image that dispersion runs along, and that is summed over; absent: DISPAXIS, else x.
    frame_shape : tuple of int, optional
        Shape (n_cross, n_disp) that a profile image must have; absent: any.

    Returns
    -------
    Template or ndarray
        The template; of a profile image the array of shape (n_cross, n_disp).

    Raises
    ------
    RecipeError
        If the file is none of these, or its content breaks a rule; the message says what was looked for.
    """
    path = Path(path)
    if dispersion not in (None, "x", "y"):
        raise bad_value("dispersion", "load_template", "'x', 'y' or absent", dispersion, RecipeError)
    try:
        status = path.stat()
    except OSError as error:
        raise RecipeError(f"the template {path} cannot be read: {error}") from error
    return _load(str(path), status.st_mtime_ns, status.st_size, float(source_size), dispersion, frame_shape)


@lru_cache(maxsize=8)
def _load(
    name: str, modified: int, size: int, source_size: float, dispersion: str | None, shape: tuple[int, int] | None
) -> Template | FloatArray:  # `modified` and `size` are there to tell a file that has changed
    path = Path(name)
    if path.suffix == ".npy":
        try:
            return _profile_image(np.load(path, allow_pickle=False), path.name, shape)
        except (OSError, ValueError) as error:
            if isinstance(error, RecipeError):
                raise
            raise RecipeError(f"the template {path} cannot be read: {error}") from error
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            images = [(str(hdu.name), hdu.header, hdu.data) for hdu in hdus if hdu.is_image and hdu.data is not None]
    except (OSError, ValueError, TypeError) as error:
        raise RecipeError(f"the template {path} cannot be read as FITS: {error}") from error
    named = {title: data for title, _, data in images}
    if {"PROF", "YSLIT", "WAVE"} <= named.keys():
        return _table(named, source_size, path.name)
    scaled = [(title, header, data) for title, header, data in images if "PIXELSCL" in header and data.ndim in (2, 3)]
    if scaled:
        rank = {title: k for k, title in enumerate(_BEST)}
        best = min(scaled, key=lambda item: rank.get(item[0], len(rank)))
        return _psf_images(best[1], np.asarray(best[2], float), path.name, dispersion)
    flat = [data for title, _, data in images if title == "PROFILE"]
    flat = flat if flat else [data for _, _, data in images if data.ndim == 2]
    if len(flat) == 1:
        return _profile_image(np.asarray(flat[0], float), path.name, shape)
    listed = ", ".join(f"{title or 'an unnamed image'} {data.shape}" for title, _, data in images)
    raise RecipeError(
        f"The template {path} is not understood. Tried: a table of effective PSFs (HDUs PROF, YSLIT and WAVE), PSF "
        "images with PIXELSCL (STPSF calc_datacube), a profile image (HDU PROFILE, or a single image). Found "
        f"{listed if listed else 'no image'}."
    )


def _profile_image(image: FloatArray, name: str, shape: tuple[int, int] | None) -> FloatArray:
    if image.ndim != 2 or (shape is not None and image.shape != shape):
        rule = "a 2D image" if shape is None else f"a profile image of the frame's shape (n_cross, n_disp) = {shape}"
        raise bad_value("template", "Profile", rule, f"{name} of shape {image.shape}", RecipeError)
    out = np.nan_to_num(np.array(image, dtype=float), nan=0.0, posinf=0.0, neginf=0.0)
    out.flags.writeable = False
    return out


def _table(named: Mapping[str, Any], size: float, name: str) -> Template:
    profile = np.asarray(named["PROF"], float)
    position, wavelength = np.asarray(named["YSLIT"], float), np.asarray(named["WAVE"], float)
    sizes = np.asarray(named["SIGMA"], float) if "SIGMA" in named else np.zeros(1)
    if profile.shape != (len(position), len(wavelength), len(sizes)):
        raise bad_value("PROF", "load_template", "of shape (YSLIT, WAVE, SIGMA)", profile.shape, RecipeError)
    if not sizes[0] <= size <= sizes[-1]:
        rule = f"between {sizes[0]:g} and {sizes[-1]:g} pixel, the sizes of {name}"
        raise bad_value("source_size", "load_template", rule, size, RecipeError)
    low = int(np.clip(np.searchsorted(sizes, size, side="right") - 1, 0, max(len(sizes) - 2, 0)))
    chosen = profile[:, :, low]
    if len(sizes) > 1:
        part = (size - sizes[low]) / (sizes[low + 1] - sizes[low])
        chosen = chosen * (1 - part) + profile[:, :, low + 1] * part
    words = f"effective PSFs of {name}" + (f", source size {size:g} pixel" if len(sizes) > 1 else "")
    return from_effective(chosen, position, wavelength, words)


def _psf_images(header: Any, data: FloatArray, name: str, dispersion: str | None) -> Template:
    cube = data if data.ndim == 3 else data[None]
    n = len(cube)
    keys: list[str] = []
    for pattern in ("WVLN{:04d}", "WAVELN{:02d}"):
        if pattern.format(0) in header:
            keys = [pattern.format(k) for k in range(n)]
    if n == 1 and not keys:
        wavelength = np.array([np.nan])
    else:
        missing = [key for key in keys if key not in header] if keys else ["WVLN0000"]
        if missing:
            rule = f"a cube of {n} planes with the wavelength of each in metre (WVLN0000 ... or WAVELN00 ...)"
            raise bad_value("template", "Profile", rule, f"{name} without {missing[0]}", RecipeError)
        wavelength = np.array([float(header[key]) for key in keys]) * u.m.to(u.um)
    step = header["PIXELSCL"]
    if not isinstance(step, int | float) or not step > 0:
        raise bad_value("PIXELSCL", "load_template", "a positive number of arcsec", step, RecipeError)
    along = {1: "x", 2: "y"}.get(header.get("DISPAXIS"), "x") if dispersion is None else dispersion
    samples = cube.sum(axis=2 if along == "x" else 1)
    over = header.get("DET_SAMP", header.get("OVERSAMP", 1))
    words = f"{n} monochromatic PSFs of {name}, {over} samples a detector pixel, summed along {along}"
    return from_samples(samples, float(step), wavelength, "arcsec", words)
