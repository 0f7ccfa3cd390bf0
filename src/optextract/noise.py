"""The variance: where it comes from, whether it follows its own pixels, and what source-free ones say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from .compiled import contiguous
from .compiled.follow import follow_sums, last_alone
from .compiled.pulls import blank_pulls, peak_pulls, pixel_pulls, pulls_along
from .errors import FrameError, RecipeError, bad_value
from .frame import Frame
from .recipe import Noise
from .robust import MAD

__all__ = [
    "HONEST",
    "STILL",
    "Variance",
    "choose_variance",
    "data_derived_slope",
    "nod_factor",
    "pulls",
    "sections",
    "source_pull",
]

FloatArray = NDArray[np.float64]

HONEST = (0.8, 1.25)  # pulls of which nothing is said
STILL = 1e-2  # a pull that tells of values that repeat, and not of errors a hundred times too large
_OUTLYING, _FEWEST = 5.0, 30  # sigma of residuals that tell nothing of the variance, and pixels that tell too little
_ENOUGH = 600  # columns that tell the scatter of a source
_UNCOUNTED = 0.01  # of the pixels
_TELL = 1000  # pixels that tell of nearly all frames that their variance is not their counts
_SECTIONS = 8
_LEAST_FREE = 0.1  # a pixel that alone carries its flux cannot be judged by the others


@dataclass(frozen=True, eq=False)
class Variance:
    """The variance that an extraction uses.

    Attributes
    ----------
    total : ndarray, shape (n_cross, n_disp)
        Variance of each pixel.
    parts : mapping of str to ndarray
        Independent components, where they are known; they need not sum to `total`.
    kind : str
        What was chosen, as the recipe names it.
    words : str
        Where it came from, in words.
    warnings : tuple of str
        What a reader of the errors must know.
    """

    total: FloatArray
    parts: Mapping[str, FloatArray]
    kind: str
    words: str
    warnings: tuple[str, ...] = ()


def choose_variance(frame: Frame, noise: Noise) -> Variance:
    """Return the variance that the recipe asks for.

    Automatic: the frame's variance; else the sum of its parts; else gain and read noise where both are known; else the
    drizzle weights, with a warning. Never ones.

    Parameters
    ----------
    frame : Frame
        The frame.
    noise : Noise
        The recipe's section.

    Returns
    -------
    Variance

    Raises
    ------
    FrameError
        If the frame has no variance and none can be made, or lacks what the recipe asks for.
    """
    kind: str = noise.variance
    gain: Any = noise.gain if noise.gain is not None else frame.meta.get("gain")
    read_noise: Any = noise.read_noise if noise.read_noise is not None else frame.meta.get("read_noise")
    weight: Any = frame.meta.get("weight")
    available = {
        "variance": frame.variance is not None,
        "parts": len(frame.variance_parts) > 0,
        "gain": gain is not None and read_noise is not None,
        "weight": weight is not None,
    }
    if kind == "auto":
        found = [name for name, there in available.items() if there]
        if not found:
            raise FrameError(
                "The frame must have a variance. Got none: give Frame a 'variance' or 'variance_parts', or choose "
                "noise.variance: 'gain' (with noise.gain and noise.read_noise), 'weight' (a frame with a weight image) "
                "or 'empirical' (from the scatter of the data)."
            )
        kind = found[0]
    elif kind != "empirical" and not available[kind]:
        have = [name for name, there in available.items() if there]
        raise bad_value("noise.variance", "Recipe", f"one that the frame has ({have} or 'empirical')", kind, FrameError)
    parts = dict(frame.variance_parts)
    if kind == "variance" and frame.variance is not None:
        words = str(frame.meta.get("variance_source", "the frame's variance"))
        return Variance(frame.variance, parts, kind, words, _uncounted(frame.flux, frame.variance, frame.good))
    if kind == "parts":
        return Variance(np.sum(list(parts.values()), axis=0), parts, kind, "the sum of " + ", ".join(parts))
    if kind == "gain":
        rnoise = np.full(frame.shape, (read_noise / gain) ** 2)
        poisson = np.clip(np.nan_to_num(frame.flux), 0, None) / gain
        if read_noise == 0:
            poisson = _expected(poisson, frame.good, 1.0 / gain**2)
        made = {"poisson": poisson, "rnoise": rnoise}
        return Variance(poisson + rnoise, made, kind, f"gain {gain:g} and read noise {read_noise:g}")
    if kind == "weight":
        with np.errstate(divide="ignore", invalid="ignore"):
            total = np.where(weight > 0, 1.0 / (weight * noise.weight_scale**4), np.inf)
        warning = (
            "The variance is 1/WHT: drizzle weights are relative and hold read noise at best, so errors are a guess."
        )
        return Variance(total, {}, kind, "1 / (WHT s^4)", (warning,))
    return _empirical(frame)


def _expected(poisson: FloatArray, good: NDArray[np.bool_], one: float) -> FloatArray:
    """Variances of counts without read noise, none of them zero: a pixel that has counted nothing is not a bad one.

    It takes the mean of ten neighbours of its row to either side, and at least that of a row with one count, `one`.
    """
    row = {"size": 21, "axis": 1, "mode": "constant"}
    seen = uniform_filter1d(np.where(good, poisson, 0.0), **row)
    part = uniform_filter1d(good.astype(float), **row)
    mean = np.divide(seen, part, out=np.zeros(seen.shape), where=part > 0.5 / 21)
    least = one / np.maximum(good.sum(axis=1, keepdims=True), 1)
    return np.where(good & (poisson == 0), np.maximum(mean, least), poisson)


def _uncounted(flux: FloatArray, variance: FloatArray, good: NDArray[np.bool_]) -> tuple[str, ...]:
    """Say where pixels are bad for nothing but having counted nothing: the others then count too much."""
    few = slice(None, None, max(flux.size // _TELL, 1))
    if good.all() or not _proportional(variance.ravel()[few], flux.ravel()[few], good.ravel()[few]):
        return ()
    empty = np.count_nonzero((flux == 0) & (variance == 0))
    if empty < _UNCOUNTED * flux.size or not _proportional(variance, flux, good):
        return ()
    return (
        f"The variance is the counts themselves: {empty} pixels that have counted nothing have none and are left out, "
        "which biases faint fluxes. Give counts without a variance, with noise.variance: gain, noise.gain and "
        "noise.read_noise.",
    )


def _proportional(variance: FloatArray, flux: FloatArray, where: Any) -> bool:
    """Whether the variance is the same multiple of the flux everywhere."""
    counts, spread = flux[where], variance[where]
    if not counts.size:
        return True  # none says that it is not
    if counts[0] == 0:
        return False
    ratio = spread[0] / counts[0]
    return bool(np.all(np.abs(spread - ratio * counts) <= 1e-6 * spread))


def _empirical(frame: Frame) -> Variance:
    """Variance of each row from differences of neighbouring columns: blind to anything smooth along dispersion."""
    values = np.where(frame.good, frame.flux, np.nan)
    with np.errstate(invalid="ignore"):
        steps = np.abs(np.diff(values, axis=1))
    total = np.full(frame.shape, np.nan)
    usable = np.isfinite(steps).sum(axis=1) >= 10
    if not usable.any():
        raise FrameError(
            "The 'noise.variance' parameter of Recipe must be possible for the frame. Got 'empirical', but no row has "
            "10 pairs of good neighbours to measure a scatter on."
        )
    sigma = MAD * np.nanmedian(steps[usable], axis=1) / np.sqrt(2)
    total[usable] = sigma[:, None] ** 2
    total[~usable] = np.median(sigma) ** 2
    warning = (
        "The variance is empirical (scatter of neighbouring columns, one value per row): photon noise of lines is not "
        "in it."
    )
    return Variance(total, {}, "empirical", "scatter of neighbouring columns", (warning,))


def nod_factor(frame: Frame) -> float:
    """Factor on the variance for the subtraction of the mean of the other nods: 1 + 1 / (n - 1).

    Parameters
    ----------
    frame : Frame
        The frame, for how many nods were combined.

    Returns
    -------
    float

    Raises
    ------
    RecipeError
        If the frame does not tell how many nods were combined.
    """
    count = frame.meta.get("nod_count")
    if count is None or count < 2:
        raise bad_value(
            "noise.nod_term",
            "Recipe",
            "false where the frame does not tell its number of nods (2 or more)",
            count,
            RecipeError,
        )
    return 1.0 + 1.0 / (count - 1.0)


def data_derived_slope(
    variance: FloatArray, flux: FloatArray, model: FloatArray, good: NDArray[np.bool_]
) -> tuple[float, float]:
    """How far a variance follows the noise of its own pixel.

    A Poisson variance that was computed from the noisy pixel correlates with that pixel's residual; one that was
    computed from a model does not. The slope is that of variance on residual where the model is positive.

    Parameters
    ----------
    variance, flux, model : ndarray
        Variance, pixel values and smooth model of them, of one shape.
    good : ndarray of bool
        Pixels to use.

    Returns
    -------
    slope : float
        Change of variance per unit of residual (1 / gain for pure photon noise).
    significance : float
        Slope over its error.
    """
    # below zero a Poisson variance is often cut off; as far above the model as below it, because noisy pixels, whose
    # variance is large for other reasons, would otherwise be those of positive residuals
    matrix, vector = np.empty((4, 4)), np.empty(4)
    followed, values, meant = (contiguous(image).ravel() for image in (variance, flux, model))
    # the smooth part of the variance follows the model: it is taken out before the residual's part is looked at
    count, clip, square = follow_sums(
        followed, values, meant, np.ascontiguousarray(good).ravel(), _OUTLYING * MAD, matrix, vector
    )
    if count < _FEWEST:
        return 0.0, 0.0
    slope, explained = last_alone(matrix, vector)
    if abs(slope) * clip < 1e-6 * float(vector[0]) / count:  # rounding, of a variance that is all the same
        return 0.0, 0.0
    error = float(np.sqrt(max(square - explained, 0.0) / max(count - 4, 1) / matrix[-1, -1]))
    # without an error where the variance is made of these terms and nothing else
    return slope, slope / error if error > 0 else float(np.copysign(np.inf, slope))


def sections(n_disp: int) -> NDArray[np.intp]:
    """Edges of the eighths of the columns in which `pulls` looks at the errors."""
    return np.arange(_SECTIONS + 1) * n_disp // _SECTIONS


def pulls(
    residual: FloatArray,
    weight: FloatArray,
    profile: FloatArray,
    clear: NDArray[np.bool_],
    fitted: tuple[FloatArray, FloatArray] | None = None,
    n_bins: tuple[int, ...] = (5, 10, 20),
) -> dict[str, Any]:
    """Scatter of source-free pixels over their stated error.

    Parameters
    ----------
    residual, weight : ndarray, shape (n_disp, n_cross)
        Data minus model, and inverse variance (zero where masked).
    profile : ndarray, shape (n_disp, n_cross)
        The source's profile: a spectrum is extracted with it where no source is.
    clear : ndarray of bool, shape (n_disp, n_cross)
        Pixels free of sources.
    fitted : tuple of ndarray, optional
        Background terms, shape (n_term, n_cross), and the covariance of their coefficients, (n_disp, n_term, n_term),
        where these pixels decided them in each column: they scatter less about them than their errors say.
    n_bins : tuple of int, optional
        Columns to bin the source-free spectra over.

    Returns
    -------
    dict
        ``pixel``, ``profile`` and ``bin5``... pulls (NaN where there is too little to measure on); ``n``, pixels, and
        ``n_bin10``, sums of ten columns; ``along``, the rms pull of pixels and their number in each
        eighth of the columns.
    """
    result: dict[str, Any] = {"pixel": float("nan"), "profile": float("nan"), "along": ()}
    result |= {f"bin{n}": float("nan") for n in n_bins} | {"n": 0, "n_bin10": 0}
    residual, weight, clear = contiguous(residual), contiguous(weight), np.ascontiguousarray(clear)
    basis, covariance = fitted if fitted is not None else (np.empty((0, 0)), np.empty((0, 0, 0)))
    basis, covariance = contiguous(basis), contiguous(covariance)
    pixel, result["n"] = pixel_pulls(residual, weight, clear, basis, covariance, _LEAST_FREE)
    if result["n"] < 100:
        return result
    edges, most = sections(len(residual)), _OUTLYING * max(pixel, 1.0)
    here, many = np.empty(_SECTIONS), np.empty(_SECTIONS, dtype=np.intp)
    pulls_along(residual, weight, clear, basis, covariance, _LEAST_FREE, edges, most, here, many)
    result["along"] = tuple(zip(here.tolist(), many.tolist(), strict=True))
    widths = np.array((1, *n_bins), dtype=np.intp)
    found, number = np.empty(len(widths)), np.empty(len(widths), dtype=np.intp)
    blank_pulls(residual, weight, contiguous(profile), clear, basis, covariance, _LEAST_FREE, widths, found, number)
    names = ("profile", *(f"bin{n}" for n in n_bins))
    result |= {"pixel": pixel, **dict(zip(names, found.tolist(), strict=True))}
    if 10 in n_bins and np.isfinite(result["bin10"]):
        result["n_bin10"] = int(number[1 + n_bins.index(10)])
    return result


def source_pull(
    residual: FloatArray, weight: FloatArray, profile: FloatArray, covariance: FloatArray, centre: FloatArray
) -> tuple[float, int]:
    """Scatter of the pixels at a source's peak over their stated error.

    Parameters
    ----------
    residual, weight : ndarray, shape (n_disp, n_cross)
        Data minus model, and inverse variance (zero where masked).
    profile : ndarray, shape (n_disp, n_cross)
        The source's profile.
    covariance : ndarray, shape (n_disp,)
        Variance of its flux: each pixel is judged by what the others say of the flux.
    centre : ndarray, shape (n_disp,)
        Row of the trace.

    Returns
    -------
    pull : float
        NaN with fewer than 100 pixels.
    n : int
        Number of pixels.
    """
    pull, n = peak_pulls(
        contiguous(residual),
        contiguous(weight),
        contiguous(profile),
        contiguous(covariance),
        contiguous(centre),
        max(len(centre) // _ENOUGH, 1),
        _LEAST_FREE,
    )
    return (pull if n >= 100 else float("nan")), n
