"""Scene: a frame of which everything is known, and the smallest error that any extraction of it can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, stdtr

from optextract.errors import bad_value
from optextract.frame import Frame
from optextract.results import freeze

from . import _noise

__all__ = ["Line", "Scene", "Truth", "cramer_rao", "pixel_profile", "scene"]

FloatArray = NDArray[np.float64]
#: A quantity that runs along dispersion: a number, polynomial coefficients in t = -1 ... 1, or a function of t.
Run = float | Sequence[float] | Callable[[FloatArray], FloatArray]

_FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))


@dataclass(frozen=True)
class Line:
    """One emission line.

    Attributes
    ----------
    column : float
        Centre, dispersion pixel.
    fwhm : float
        Width along dispersion, pixel.
    snr : float
        S/N that the line alone has in its peak column.
    spatial : float
        FWHM across dispersion relative to that of the continuum.
    source : int
        The source that it belongs to.
    """

    column: float
    fwhm: float
    snr: float
    spatial: float = 1.0
    source: int = 0


@dataclass(frozen=True, eq=False)
class Truth:
    """Everything that is known about a scene; arrays are read-only.

    Attributes
    ----------
    flux, continuum : ndarray, shape (n_source, n_disp)
        Total flux (the profile over an infinite window sums to 1), and its part without the lines, in the frame's
        `flux_unit`.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Trace and width of the continuum, pixel.
    profile : ndarray, shape (n_source, n_cross, n_disp)
        Profile integrated over each pixel.
    background, negatives, model : ndarray, shape (n_cross, n_disp)
        Background, the nods' negative traces, and the whole noise-free image.
    variance : ndarray, shape (n_cross, n_disp)
        True variance of a pixel, which need not be what the frame says.
    bad : ndarray of bool, shape (n_cross, n_disp)
        Pixels without information: cosmic rays, NaN, zero weight, the detector gap.
    cosmic : ndarray of bool, shape (n_cross, n_disp)
        Those of them that the frame does not tell.
    gain, read_noise : float
        Electrons per unit of flux, and electrons per pixel.
    line_flux : ndarray, shape (n_line,)
        Total flux of each line.
    lines : tuple of Line
        As asked for.
    """

    flux: FloatArray
    continuum: FloatArray
    centre: FloatArray
    fwhm: FloatArray
    profile: FloatArray
    background: FloatArray
    negatives: FloatArray
    model: FloatArray
    variance: FloatArray
    bad: NDArray[np.bool_]
    cosmic: NDArray[np.bool_]
    gain: float
    read_noise: float
    line_flux: FloatArray
    lines: tuple[Line, ...] = ()

    @property
    def n_source(self) -> int:
        """Number of sources."""
        return self.flux.shape[0]


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame, and the truth about it.

    Attributes
    ----------
    frame : Frame
        What an observer has; its meta holds what a file would tell and nothing else of the truth.
    truth : Truth
        What an observer does not have.
    name : str
        Name of the scene.
    seed : int
        Seed of the noise.
    settings : mapping
        The arguments of `scene` that built it.
    """

    frame: Frame
    truth: Truth
    name: str
    seed: int
    settings: Mapping[str, Any]

    @property
    def meta(self) -> Mapping[str, Any]:
        """The frame's meta."""
        return self.frame.meta

    def redrawn(self, seed: int) -> Scene:
        """Return the same scene with other noise, cosmic rays and bad pixels."""
        return scene(name=self.name, seed=seed, **self.settings)

    def calibrated(self, jy_per_electron: float = 1e-9, pixel_area_sr: float = 5.03e-13) -> Scene:
        """Return the scene in MJy/sr, its truth in Jy, as a flux-calibrated file holds it.

        Parameters
        ----------
        jy_per_electron : float, optional
            Flux density in Jy of a spectrum of one unit of the present frame.
        pixel_area_sr : float, optional
            Solid angle of a pixel, steradian.

        Returns
        -------
        Scene
            A new scene. Gain and read noise are left out of the frame's meta, as such files leave them out.
        """
        factor = jy_per_electron / (1e6 * pixel_area_sr)
        frame, truth = self.frame, self.truth
        meta = {key: value for key, value in self.meta.items() if key not in ("gain", "read_noise")}
        meta["pixel_area_sr"] = pixel_area_sr
        variance = None if frame.variance is None else frame.variance * factor**2
        images = ("background", "negatives", "model")
        fluxes = ("flux", "continuum", "line_flux")
        scaled: dict[str, Any] = {name: freeze(getattr(truth, name) * factor) for name in images}
        scaled.update({name: freeze(getattr(truth, name) * jy_per_electron) for name in fluxes})
        return replace(
            self,
            frame=frame.replace(
                flux=frame.flux * factor,
                variance=variance,
                variance_parts={name: part * factor**2 for name, part in frame.variance_parts.items()},
                unit=u.MJy / u.sr,
                meta=meta,
            ),
            truth=replace(truth, variance=freeze(truth.variance * factor**2), gain=truth.gain / factor, **scaled),
        )


def pixel_profile(
    rows: ArrayLike, centre: ArrayLike, fwhm: ArrayLike, kind: str = "gaussian", index: float = 2.5
) -> FloatArray:
    """Integrate a unit profile over pixels.

    Parameters
    ----------
    rows : array_like, shape (n_cross,)
        Pixel centres.
    centre, fwhm : array_like, shape (n_disp,)
        Position and width in each column, pixel.
    kind : {'gaussian', 'moffat'}, optional
        Shape. The Moffat's integral is Student's t distribution with ``2 * index - 1`` degrees of freedom.
    index : float, optional
        Moffat index.

    Returns
    -------
    ndarray, shape (n_cross, n_disp)
        Fraction of the light in each pixel; over infinitely many rows a column sums to 1.

    Raises
    ------
    OptextractError
        If `kind` is another one.
    """
    edges = np.asarray(rows, dtype=float)[:, None] + np.array([-0.5, 0.5])[:, None, None]
    offset = edges - np.atleast_1d(np.asarray(centre, dtype=float))
    width = np.atleast_1d(np.asarray(fwhm, dtype=float))
    if kind == "gaussian":
        lower, upper = ndtr(offset / (width * _FWHM_TO_SIGMA))
    elif kind == "moffat":
        core = width / (2.0 * np.sqrt(2.0 ** (1.0 / index) - 1.0))
        dof = 2.0 * index - 1.0
        lower, upper = stdtr(dof, offset * np.sqrt(dof) / core)
    else:
        raise bad_value("kind", "pixel_profile", "'gaussian' or 'moffat'", kind)
    return np.asarray(upper - lower)


def _run(value: Run, t: FloatArray) -> FloatArray:
    if callable(value):
        return np.asarray(value(t), dtype=float)
    return np.asarray(np.polynomial.polynomial.polyval(t, np.atleast_1d(np.asarray(value, dtype=float))), dtype=float)


def _flux_for_snr(snr: float, profile: FloatArray, variance: FloatArray) -> float:
    """Flux whose matched-filter S/N is `snr`, its own Poisson noise included; shapes (n_cross,)."""
    if snr == 0:
        return 0.0

    def excess(log_flux: float) -> float:
        flux = np.exp(log_flux)
        return float(np.log(flux * np.sqrt(np.sum(profile**2 / (variance + flux * profile))) / snr))

    return float(np.exp(brentq(excess, -30.0, 60.0)))


def scene(
    *,
    name: str = "custom",
    seed: int = 0,
    shape: tuple[int, int] = (25, 1298),
    snr: float = 20.0,
    counts: float | None = None,
    slope: float = 0.2,
    lines: Sequence[Line] = (),
    profile: Literal["gaussian", "moffat"] = "gaussian",
    index: float = 2.5,
    fwhm: Run = (1.45, 0.35),
    centre: Run = (11.8, 0.15),
    separation: float | None = None,
    ratio: float = 0.7,
    background: Run = (4.0, 2.0, -1.0),
    background_gradient: float = 0.25,
    sky: float = 30.0,
    gain: float = 1.0,
    read_noise: float = 6.0,
    variance: Literal["true", "data"] = "true",
    cosmic_rate: float = 0.0,
    nan_fraction: float = 0.0,
    zero_fraction: float = 0.0,
    gap: tuple[int, int] | None = None,
    nod_step: int = 0,
    nod_noise: Literal["omitted", "included"] = "omitted",
    planned_sigma: float | None = None,
    dispaxis: Literal[1, 2] = 1,
    rectified: bool = True,
    wavelength: tuple[float, float] = (2.87, 5.27),
    sources: int = 1,
) -> Scene:
    """Build a scene, in electrons unless `gain` says otherwise.

    Parameters
    ----------
    name : str, optional
        Label of the scene.
    seed : int, optional
        Seed of everything random.
    shape : tuple of int, optional
        (n_cross, n_disp).
    snr : float, optional
        Matched-filter S/N of the continuum in the middle column of one exposure, with the true variance; 0: none.
    counts : float, optional
        Level of the continuum in electrons per column, instead of `snr`.
    slope : float, optional
        The continuum is its level times ``1 + slope * t``, t = -1 ... 1 along dispersion.
    lines : sequence of Line, optional
        Emission lines.
    profile, index : optional
        Shape across dispersion, see `pixel_profile`.
    fwhm, centre, background : float, sequence or callable, optional
        Width and position in pixels, and background in electrons per pixel: a number, coefficients of a polynomial in
        t, or a function of t.
    separation, ratio : float, optional
        Distance of a second source in pixels (absent: one source), and its flux over that of the first.
    background_gradient : float, optional
        The background is multiplied by ``1 + background_gradient * v``, v = -1 ... 1 across dispersion.
    sky : float, optional
        Background that was subtracted already and left its Poisson noise, electrons per pixel.
    gain, read_noise : float, optional
        Electrons per unit of the frame; electrons per pixel.
    variance : {'true', 'data'}, optional
        Whether the frame's Poisson variance is the true one or was estimated from the pixel itself.
    cosmic_rate, nan_fraction, zero_fraction : float, optional
        Fraction of pixels where a cosmic ray starts (each takes one to five pixels), is NaN, has no weight.
    gap : tuple of int, optional
        First and last column of a detector gap (NaN).
    nod_step : int, optional
        Rows between the positions of a three-nod pattern; 0: no nods.
    nod_noise : {'omitted', 'included'}, optional
        Whether the frame's variance holds the noise of the nods' subtraction.
    planned_sigma : float, optional
        The header tells a planned position that is off by a normal deviate of this width, pixel.
    dispaxis : {1, 2}, optional
        Dispersion axis of the file; the frame itself is horizontal always.
    rectified : bool, optional
        What the file tells about that.
    wavelength : tuple of float, optional
        First and last wavelength in um.
    sources : {0, 1}, optional
        0: an empty frame.

    Returns
    -------
    Scene
        Frame and truth.
    """
    settings = {key: value for key, value in locals().items() if key not in ("name", "seed")}
    rng = np.random.default_rng(seed)
    n_cross, n_disp = shape
    t = np.linspace(-1.0, 1.0, n_disp)
    rows = np.arange(n_cross, dtype=float)
    middle = n_disp // 2

    width = _run(fwhm, t)
    first = _run(centre, t)
    offsets = [] if sources == 0 else [0.0] if separation is None else [0.0, separation]
    ratios = (1.0, ratio)
    centres = np.array([first + offset for offset in offsets]).reshape(len(offsets), n_disp)
    continuum_profile = np.array([pixel_profile(rows, c, width, profile, index) for c in centres])
    continuum_profile = continuum_profile.reshape(len(offsets), n_cross, n_disp)

    across = np.linspace(-1.0, 1.0, n_cross)[:, None]
    back = _run(background, t)[None, :] * (1.0 + background_gradient * across)
    floor = np.maximum(sky + back, 0.0) + read_noise**2

    level = 0.0
    if offsets:
        level = _flux_for_snr(snr, continuum_profile[0, :, middle], floor[:, middle]) if counts is None else counts
    continuum = np.array([level * ratios[k] * (1.0 + (slope if k == 0 else -slope) * t) for k in range(len(offsets))])
    continuum = continuum.reshape(len(offsets), n_disp)

    light = continuum_profile * continuum[:, None, :]
    flux = continuum.copy()
    line_flux = []
    for line in lines:
        wide = pixel_profile(rows, centres[line.source], width * line.spatial, profile, index)
        column = int(np.clip(round(line.column), 0, n_disp - 1))
        peak = _flux_for_snr(line.snr, wide[:, column], floor[:, column])
        along = pixel_profile(np.arange(n_disp), line.column, line.fwhm)[:, 0]
        spectrum = peak * along / along.max()
        light[line.source] += wide * spectrum
        flux[line.source] += spectrum
        line_flux.append(peak / along.max())
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = np.where(flux[:, None, :] != 0, light / flux[:, None, :], continuum_profile)

    drawn = _noise.draw(
        rng,
        light.sum(axis=0),
        back,
        sky=sky,
        read_noise=read_noise,
        nod_step=nod_step,
        nod_noise=nod_noise,
        data_derived=variance == "data",
    )
    unit_gain = gain * drawn.exposures
    image = drawn.image.copy()
    cosmic = _noise.cosmic_rays(rng, image, cosmic_rate, np.sqrt(drawn.variance))
    dead = _noise.blemishes(rng, image, nan_fraction, zero_fraction, gap)

    poisson, rnoise = drawn.poisson.copy(), drawn.rnoise.copy()
    poisson[dead], rnoise[dead] = 0.0, 0.0
    meta: dict[str, Any] = {
        "gain": unit_gain,
        "read_noise": read_noise * np.sqrt(drawn.exposures),
        "dispaxis": dispaxis,
        "rectified": rectified,
        "slit": "1",
        "source_name": f"SIM_{name}",
        "source_id": 1,
        "instrument": "NIRSPEC",
        "pixel_scale_arcsec": 0.1032,
    }
    if nod_step:
        meta.update(
            nod_offsets=tuple(float(offset) for offset in _noise.nod_offsets(nod_step)),
            nod_depths=_noise.NOD_DEPTHS,
            nod_count=drawn.exposures,
            nod_noise=nod_noise,
        )
    if planned_sigma is not None:
        meta["planned_cross"] = float(np.median(first) + planned_sigma * rng.standard_normal())

    scale = 1.0 / gain
    frame = Frame(
        image * scale,
        variance=(poisson + rnoise) * scale**2,
        variance_parts={"poisson": poisson * scale**2, "rnoise": rnoise * scale**2},
        wavelength=np.linspace(*wavelength, n_disp) * u.um,
        unit=u.electron if gain == 1.0 else u.dimensionless_unscaled,
        meta=meta,
    )
    truth = Truth(
        flux=freeze(flux * scale),
        continuum=freeze(continuum * scale),
        centre=freeze(centres),
        fwhm=freeze(np.broadcast_to(width, centres.shape)),
        profile=freeze(whole),
        background=freeze(back * scale),
        negatives=freeze(drawn.negatives * scale),
        model=freeze((light.sum(axis=0) + drawn.negatives + back) * scale),
        variance=freeze(drawn.variance * scale**2),
        bad=freeze(cosmic | dead),
        cosmic=freeze(cosmic & ~dead),
        gain=unit_gain,
        read_noise=float(meta["read_noise"]),
        line_flux=freeze(np.array(line_flux) * scale),
        lines=tuple(lines),
    )
    return Scene(frame=frame, truth=truth, name=name, seed=seed, settings=MappingProxyType(settings))


def cramer_rao(scene: Scene) -> FloatArray:
    """Return the smallest 1 sigma error that an unbiased spectrum of the scene can have.

    The true variance of each pixel, profile, background and bad pixels are taken as known and the fluxes of the other
    sources as free. Correlations between pixels and the light in a nod's negative traces are not used.

    Parameters
    ----------
    scene : Scene
        Frame and truth.

    Returns
    -------
    ndarray, shape (n_source, n_disp)
        In the frame's `flux_unit`; infinite where no good pixel is left.
    """
    truth = scene.truth
    weight = np.where(truth.bad, 0.0, 1.0 / truth.variance)
    bound = np.full(truth.flux.shape, np.inf)
    if truth.n_source == 0:
        return bound
    fisher = np.einsum("iyx,yx,jyx->xij", truth.profile, weight, truth.profile)
    known = np.linalg.det(fisher) > 1e-12 * np.prod(np.diagonal(fisher, axis1=1, axis2=2), axis=1)
    inverse = np.linalg.inv(fisher[known])
    bound[:, known] = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2)).T * scene.frame.flux_scale
    return bound
