"""Templates as shapes: tabulated curves that change with wavelength, broadened by a Gaussian; and profile images.

Everything is done on the cumulative distribution C(y) of the cross-dispersion profile, y in frame pixels: a pixel holds
``C(upper edge) - C(lower edge)``, so a template moves by fractions of a pixel, and is binned to pixels of any size,
without being resampled or stretched. Broadening is a product in Fourier space. C itself is no periodic function, so
what is transformed is its difference from the integral of a narrow Gaussian, of which the broadened form is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse, special

from ..profiles import Shape

__all__ = ["Curves", "ImageShape", "TemplateShape"]

FloatArray = NDArray[np.float64]

_FWHM_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_FINEST, _COARSEST = 0.05, 0.0625  # pixel: nodes of C closer than this are thinned out, wider ones filled in
_PAD = 18.0  # pixel of nothing on each side: room for a broadening of 10 pixels FWHM


@dataclass(frozen=True, eq=False)
class _Grid:
    """Values of C, its density p and the slope of p on a uniform grid, each of shape (n_column, n_node)."""

    start: float
    step: float
    cumulative: FloatArray
    density: FloatArray
    slope: FloatArray

    def _place(self, y: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
        n = self.cumulative.shape[1]
        s = np.clip((y - self.start) / self.step, 0.0, n - 1.0)
        node = np.minimum(s.astype(np.intp), n - 2)
        return s - node, node + (np.arange(len(y)) * n)[:, None]

    def evaluate(self, y: FloatArray) -> FloatArray:
        """C at y, shape (n_column, m): cubic Hermite pieces; 0 and 1 beyond the grid."""
        t, at = self._place(y)
        low, high = self.cumulative.ravel()[at], self.cumulative.ravel()[at + 1]
        a, b = self.density.ravel()[at] * self.step, self.density.ravel()[at + 1] * self.step
        rise = high - low
        return low + t * (a + t * (3 * rise - 2 * a - b + t * (a + b - 2 * rise)))

    def derivatives(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Density and its slope at y, shape (n_column, m): cubic Hermite pieces, and lines for the slope."""
        t, at = self._place(y)
        low, high = self.density.ravel()[at], self.density.ravel()[at + 1]
        first, last = self.slope.ravel()[at], self.slope.ravel()[at + 1]
        a, b, rise = first * self.step, last * self.step, high - low
        density = low + t * (a + t * (3 * rise - 2 * a - b + t * (a + b - 2 * rise)))
        return density, first * (1 - t) + last * t


class Curves:
    """Cumulative distributions of a template's planes in Fourier space.

    Parameters
    ----------
    start, step : float
        First node and distance of nodes, frame pixel, relative to the source.
    cumulative : ndarray, shape (n_plane, n_node)
        C at the nodes, from 0 to 1.
    """

    def __init__(self, start: float, step: float, cumulative: FloatArray) -> None:
        if step < _FINEST:
            thin = int(_COARSEST / step)
            cumulative, step = np.ascontiguousarray(cumulative[:, ::thin]), step * thin
        self._sigma = max(0.5, 2.0 * step)
        pad = int(np.ceil(_PAD / step))
        node = start + step * np.arange(cumulative.shape[1])
        length = fft.next_fast_len(len(node) + 2 * pad, real=True)
        padded = np.zeros((len(cumulative), length))
        padded[:, pad : pad + len(node)] = cumulative - special.ndtr(node / self._sigma)
        self._fill = max(1, int(np.ceil(step / _COARSEST)))
        self._length = length * self._fill
        self.start, self.step = start - pad * step, step / self._fill
        self.spectrum = np.zeros((len(cumulative), self._length // 2 + 1), dtype=complex)
        found = fft.rfft(padded, axis=1)
        if self._fill > 1 and length % 2 == 0:
            found[:, -1] *= 0.5  # the highest frequency stands for two once the grid is finer
        self.spectrum[:, : found.shape[1]] = found * self._fill
        self._frequency = 2j * np.pi * np.arange(self._length // 2 + 1) / (self._length * self.step)
        self._node = self.start + self.step * np.arange(self._length)

    def grid(self, spectrum: FloatArray, variance: FloatArray) -> _Grid:
        """Broadened curves.

        Parameters
        ----------
        spectrum : ndarray of complex, shape (n, n_frequency)
            Planes, or what was interpolated between them.
        variance : ndarray, shape (n,) or (1,)
            Variance of the Gaussian that each is convolved with, pixel squared.
        """
        turn = self._frequency
        spread = spectrum * np.exp(0.5 * np.real(turn**2) * variance[:, None])
        sigma = np.sqrt(self._sigma**2 + variance)[:, None]
        u = self._node / sigma
        bell = np.exp(-0.5 * u**2) / (np.sqrt(2 * np.pi) * sigma)
        parts = [fft.irfft(spread * turn**power, n=self._length, axis=1) for power in (0, 1, 2)]
        return _Grid(self.start, self.step, parts[0] + special.ndtr(u), parts[1] + bell, parts[2] - bell * u / sigma)


class _Bound(Shape):
    """A template at given columns: see `TemplateShape`."""

    name = "template"

    def __init__(self, curves: Curves, weights: FloatArray, native: float, broaden: bool) -> None:
        self._curves, self._native, self._broaden = curves, native, broaden
        # linear interpolation takes two planes a column
        self._weights = sparse.csr_array(weights) if np.count_nonzero(weights) < 0.3 * weights.size else weights
        self._last: tuple[FloatArray, _Grid] | None = None

    def at(self, column: FloatArray) -> Shape:
        """Itself: it is bound already."""
        return self

    def _grid(self, fwhm: FloatArray) -> _Grid:
        variance = np.maximum(fwhm**2 - self._native**2, 0.0) / _FWHM_SIGMA**2
        if not self._broaden:
            variance = np.zeros_like(variance)
        if self._last is not None and np.array_equal(self._last[0], variance):
            return self._last[1]
        if np.ptp(variance) <= 1e-12 * (1.0 + variance[0]):
            planes = self._curves.grid(self._curves.spectrum, variance[:1])
            values = (np.asarray(self._weights @ v) for v in (planes.cumulative, planes.density, planes.slope))
            grid = _Grid(planes.start, planes.step, *values)
        else:
            grid = self._curves.grid(np.asarray(self._weights @ self._curves.spectrum), variance)
        self._last = (variance, grid)
        return grid

    def integrate(self, n_cross: int, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Fraction of the flux in each pixel, shape (n_column, n_cross)."""
        edges = np.arange(n_cross + 1) - 0.5
        value = self._grid(np.asarray(fwhm, float)).evaluate(edges - np.asarray(centre)[:, None])
        return np.diff(value, axis=1)

    def derivatives(
        self, n_cross: int, centre: FloatArray, fwhm: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Profile and its derivatives with respect to centre and log FWHM, each of shape (n_column, n_cross)."""
        edges = np.arange(n_cross + 1) - 0.5
        grid, place = self._grid(np.asarray(fwhm, float)), edges - np.asarray(centre)[:, None]
        value, (density, slope) = grid.evaluate(place), grid.derivatives(place)
        # dC / d sigma^2 = p' / 2 (the heat equation), and sigma^2 changes by 2 fwhm^2 / (8 ln 2) per log FWHM
        rate = (fwhm / _FWHM_SIGMA)[:, None] ** 2 * (1.0 if self._broaden else 0.0)
        return np.diff(value, axis=1), -np.diff(density, axis=1), rate * np.diff(slope, axis=1)

    def fraction(self, lower: FloatArray, upper: FloatArray, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Fraction of the flux between two edges (pixel), each of shape (..., n_column)."""
        lower, upper, centre, fwhm = np.broadcast_arrays(*(np.asarray(v, float) for v in (lower, upper, centre, fwhm)))
        out = np.empty(lower.shape)
        for index in np.ndindex(lower.shape[:-1]):
            edges = np.stack([lower[index], upper[index]], axis=1) - centre[index][:, None]
            value = self._grid(fwhm[index]).evaluate(edges)
            out[index] = value[:, 1] - value[:, 0]
        return out


class TemplateShape(Shape):
    """Profile that is tabulated at several wavelengths, on the columns of a window.

    What the fit calls FWHM is that of the template at its middle wavelength after broadening: a template of FWHM
    `native` there is convolved, at every wavelength alike, with a Gaussian of ``FWHM^2 - native^2``, and with none
    where the FWHM is `native` or less. Drizzle, pixel response and the size of the source all act like this.

    Parameters
    ----------
    curves : Curves
        The planes.
    weights : ndarray, shape (n_window, n_plane)
        What each plane counts in each column of the window.
    native : float
        FWHM of the template at its middle wavelength, pixel.
    broaden : bool, optional
        Let the FWHM broaden it; otherwise it is taken as it is.
    """

    name = "template"

    def __init__(self, curves: Curves, weights: FloatArray, native: float, broaden: bool = True) -> None:
        self._curves, self._weights = curves, weights
        self.native, self.broaden = float(native), bool(broaden)

    def at(self, column: FloatArray) -> Shape:
        """The template at columns of the window, fractions included."""
        column = np.clip(np.asarray(column, float), 0, len(self._weights) - 1)
        low = np.minimum(column.astype(np.intp), max(len(self._weights) - 2, 0))
        part = (column - low)[:, None]
        high = np.minimum(low + 1, len(self._weights) - 1)
        weights = self._weights[low] * (1 - part) + self._weights[high] * part
        return _Bound(self._curves, weights, self.native, self.broaden)

    def _middle(self) -> _Grid:
        mean = self._weights.mean(axis=0, keepdims=True)
        return self._curves.grid(mean @ self._curves.spectrum, np.zeros(1))

    def cdf(self, u: FloatArray) -> FloatArray:
        """Fraction of the flux below `u`, for the mean column, not broadened."""
        u = np.asarray(u, float)
        return self._middle().evaluate(u.reshape(1, -1) * self.native).reshape(u.shape)

    def pdf(self, u: FloatArray) -> FloatArray:
        """Density at `u`, for the mean column, not broadened."""
        u = np.asarray(u, float)
        return self._middle().derivatives(u.reshape(1, -1) * self.native)[0].reshape(u.shape) * self.native


class ImageShape(Shape):
    """Profile of every pixel of a window, taken as it is: position and width are those of the image.

    Parameters
    ----------
    image : ndarray, shape (n_window, n_cross)
        Fraction of the flux in each pixel, column-major.
    centre : ndarray, shape (n_window,)
        Where the image has its centre, row of the window: what is asked for elsewhere is moved from there.
    """

    name = "template"

    def __init__(self, image: FloatArray, centre: FloatArray) -> None:
        self._image, self.centre = image, centre

    def at(self, column: FloatArray) -> Shape:
        """The image at columns of the window; those between two columns are mixed."""
        column = np.clip(np.asarray(column, float), 0, len(self._image) - 1)
        low = np.minimum(column.astype(np.intp), max(len(self._image) - 2, 0))
        high = np.minimum(low + 1, len(self._image) - 1)
        part = column - low
        image = self._image[low] * (1 - part)[:, None] + self._image[high] * part[:, None]
        return ImageShape(image, self.centre[low] * (1 - part) + self.centre[high] * part)

    def integrate(self, n_cross: int, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Fraction of the flux in each pixel, shape (n_column, n_cross)."""
        shift = np.asarray(centre) - self.centre
        if n_cross == self._image.shape[1] and (np.abs(shift) < 1e-6).all():
            return self._image.copy()
        total = np.concatenate([np.zeros((len(self._image), 1)), np.cumsum(self._image, axis=1)], axis=1)
        edges = np.arange(n_cross + 1) - 0.5
        own = np.arange(total.shape[1]) - 0.5
        moved = [np.interp(edges - s, own, line) for s, line in zip(shift, total, strict=True)]
        return np.diff(np.array(moved), axis=1)

    def derivatives(
        self, n_cross: int, centre: FloatArray, fwhm: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Profile, its slope with respect to the centre, and zero: an image has no width to change."""
        profile = self.integrate(n_cross, centre, fwhm)
        step = 0.1
        moved = [self.integrate(n_cross, np.asarray(centre) + s, fwhm) for s in (-step, step)]
        return profile, (moved[1] - moved[0]) / (2 * step), np.zeros_like(profile)

    def fraction(self, lower: FloatArray, upper: FloatArray, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Fraction of the flux between two edges (pixel), each of shape (..., n_column)."""
        lower, upper, centre = np.broadcast_arrays(*(np.asarray(v, float) for v in (lower, upper, centre)))
        rows = np.arange(self._image.shape[1])
        shift = centre - self.centre
        top, bottom = (upper - shift)[..., None], (lower - shift)[..., None]
        part = np.clip(np.minimum(top, rows + 0.5) - np.maximum(bottom, rows - 0.5), 0, 1)
        return (part * self._image).sum(axis=-1) + 0.0 * np.asarray(fwhm)
