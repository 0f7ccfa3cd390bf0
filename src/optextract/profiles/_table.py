"""Profiles known by a table of their cumulative distribution: Moffat, Voigt, any curve."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from ..compiled import contiguous, profile
from ..compiled.profile import Table
from ..errors import RecipeError, bad_value
from ._shape import FWHM_SIGMA, Gaussian, Shape

__all__ = [
    "MIN_MOFFAT_INDEX",
    "MOFFAT_INDICES",
    "Moffat",
    "Tabulated",
    "Voigt",
    "moffat_between",
    "tabulate",
    "tabulated_gaussian",
]

FloatArray = NDArray[np.float64]

#: Below this index a Moffat's wings hold so much flux that no fit window contains them.
MIN_MOFFAT_INDEX = 1.5
#: Limits of a fitted Moffat index; close to the upper one, the automatic choice stays with the Gaussian. Below the
#: lower one up to a percent of the flux lies beyond five FWHM, where wings and background are one and the same.
MOFFAT_INDICES = (2.0, 12.0)


class Tabulated(Shape):
    """Profile known by its cumulative distribution and density on a uniform grid, joined by cubic Hermite pieces.

    Parameters
    ----------
    name : str
        What it is called.
    u : ndarray, shape (n,)
        Uniform grid in units of FWHM.
    cdf, pdf : ndarray, shape (n,)
        Values there; the density is the derivative of the cumulative distribution, which makes the pieces smooth.
    tail : float, optional
        Exponent p of ``1 - cdf ~ u^-p`` beyond the grid; absent: nothing lies beyond.
    index : float, optional
        Shape parameter, for the record.
    """

    def __init__(
        self,
        name: str,
        u: FloatArray,
        cdf: FloatArray,
        pdf: FloatArray,
        tail: float | None = None,
        index: float | None = None,
    ) -> None:
        self.name = name
        self.index = index
        self._low, self._high = float(u[0]), float(u[-1])
        self._step = (self._high - self._low) / (len(u) - 1)
        self._cdf, self._pdf = np.asarray(cdf, float), np.asarray(pdf, float)
        slope = self._pdf * self._step
        rise = np.diff(self._cdf)
        self._cubics = np.stack(
            [self._cdf[:-1], slope[:-1], 3 * rise - 2 * slope[:-1] - slope[1:], slope[:-1] + slope[1:] - 2 * rise],
            axis=1,
        )
        self._tail = tail
        self.reach = np.inf if tail is not None else max(-self._low, self._high)
        self._cells: Table = (self._cubics, self._low, self._high, -1.0 if tail is None else float(tail))
        self.table = self._cells

    def _pieces(self, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """Position within its cell, and the cell's cubic ``y + t (a + t (b + t c))``, for each u."""
        s = (np.clip(u, self._low, self._high) - self._low) / self._step
        i = np.minimum(s.astype(np.intp), len(self._cdf) - 2)
        y, a, b, c = self._cubics[i.ravel()].T
        return s - i, y.reshape(u.shape), a.reshape(u.shape), b.reshape(u.shape), c.reshape(u.shape)

    def cdf(self, u: FloatArray) -> FloatArray:
        """Fraction of the flux below `u`."""
        t, y, a, b, c = self._pieces(u)
        return self._beyond(u, y + t * (a + t * (b + t * c)))

    def pdf(self, u: FloatArray) -> FloatArray:
        """Density at `u`."""
        t, _, a, b, c = self._pieces(u)
        return self._beyond_density(u, (a + t * (2 * b + t * (3 * c))) / self._step)

    def both(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`cdf` and `pdf` at once, each a new array."""
        t, y, a, b, c = self._pieces(u)
        cumulative = self._beyond(u, y + t * (a + t * (b + t * c)))
        return cumulative, self._beyond_density(u, (a + t * (2 * b + t * (3 * c))) / self._step)

    def _beyond(self, u: FloatArray, out: FloatArray) -> FloatArray:
        """Put the tails into cumulative values."""
        if self._tail is not None:
            below, above = u < self._low, u > self._high
            if below.any():
                out[below] = self._cdf[0] * (u[below] / self._low) ** -self._tail
            if above.any():
                out[above] = 1 - (1 - self._cdf[-1]) * (u[above] / self._high) ** -self._tail
        return out

    def _beyond_density(self, u: FloatArray, out: FloatArray) -> FloatArray:
        """Put the tails into densities."""
        outside = (u < self._low) | (u > self._high)
        if outside.any():
            if self._tail is None:
                out[outside] = 0.0
            else:
                v = u[outside]
                edge = np.where(v < 0, self._low, self._high)
                mass = np.where(v < 0, self._cdf[0], 1 - self._cdf[-1])
                out[outside] = mass * self._tail / np.abs(v) * (v / edge) ** -self._tail
        return out

    def integrate(self, n_cross: int, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Fraction of the flux in each pixel, shape (n_disp, n_cross)."""
        out = np.empty((len(centre), 1, n_cross))
        self.fill(out, 0, contiguous(centre), contiguous(fwhm))
        return out[:, 0]

    def derivatives(
        self, n_cross: int, centre: FloatArray, fwhm: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Profile and its derivatives with respect to centre and log FWHM, each of shape (n_disp, n_cross)."""
        profile, shift, width = (np.empty((len(centre), 1, n_cross)) for _ in range(3))
        self.fill_derivatives(profile, shift, width, 0, contiguous(centre), contiguous(fwhm))
        return profile[:, 0], shift[:, 0], width[:, 0]

    def fill(self, terms: FloatArray, slot: int, centre: FloatArray, fwhm: FloatArray) -> None:
        """Write the integrals over each pixel into ``terms[:, slot]``."""
        profile.fill_table(terms, slot, contiguous(centre), contiguous(fwhm), *self._cells)

    def fill_derivatives(
        self,
        terms: FloatArray,
        shifts: FloatArray,
        widths: FloatArray,
        slot: int,
        centre: FloatArray,
        fwhm: FloatArray,
    ) -> None:
        """Write integrals and their derivatives into the slot of each array."""
        profile.fill_table_derivatives(terms, shifts, widths, slot, contiguous(centre), contiguous(fwhm), *self._cells)


class Moffat(Shape):
    """Moffat profile collapsed to one dimension, ``(1 + (u / a)^2)^-index``.

    It is Student's t with ``2 index - 1`` degrees of freedom, so that its integral over a pixel is exact.

    Parameters
    ----------
    index : float
        The exponent beta; 1.5 or more.

    Raises
    ------
    RecipeError
        If `index` is smaller.
    """

    name = "moffat"

    def __init__(self, index: float) -> None:
        if not (np.isfinite(index) and index >= MIN_MOFFAT_INDEX):
            raise bad_value("index", "Moffat", f"at least {MIN_MOFFAT_INDEX}", index, RecipeError)
        self._set(index)

    def _set(self, index: float) -> None:
        self.index = self._beta = float(index)
        self._nu = 2.0 * self._beta - 1.0
        self._alpha = 0.5 / np.sqrt(2.0 ** (1.0 / self._beta) - 1.0)  # half width at half maximum is 1/2
        self._stretch = np.sqrt(self._nu) / self._alpha
        self._norm = np.exp(special.gammaln(self._beta) - special.gammaln(self._beta - 0.5)) / (
            np.sqrt(np.pi) * self._alpha
        )

    def cdf(self, u: FloatArray) -> FloatArray:
        """Fraction of the flux below `u`."""
        return special.stdtr(self._nu, u * self._stretch)

    def pdf(self, u: FloatArray) -> FloatArray:
        """Density at `u`."""
        return self._norm * (1.0 + (u / self._alpha) ** 2) ** -self._beta

    def fast(self) -> Shape:
        """Return a tabulated twin: Student's t takes 15 times as long as the normal distribution."""
        return _tabulated_moffat(self._beta)


@lru_cache(maxsize=1)
def tabulated_gaussian() -> Tabulated:
    """Normal distribution in pieces of 1/128 FWHM: good to 2e-10, and quicker than the error function."""
    exact = Gaussian()
    u = np.arange(-_GAUSSIAN_NODES, _GAUSSIAN_NODES + 1) / 128.0
    return Tabulated("gaussian", u, exact.cdf(u), exact.pdf(u))


_GAUSSIAN_NODES = 340  # to 2.7 FWHM, 6.3 sigma: what lies beyond is as small as what the pieces are wrong by
_MOFFAT_GRID = np.linspace(-40.0, 40.0, 5121)
_MOFFAT_STEP = 0.0225  # of 1 / index: cubic interpolation between such nodes is good to 1e-7


@lru_cache(maxsize=64)
def _tabulated_moffat(index: float) -> Tabulated:
    exact = Moffat(index)
    return Tabulated(
        "moffat", _MOFFAT_GRID, exact.cdf(_MOFFAT_GRID), exact.pdf(_MOFFAT_GRID), tail=2 * index - 1, index=index
    )


@lru_cache(maxsize=64)
def _moffat_node(node: int) -> tuple[FloatArray, FloatArray]:
    exact = Moffat.__new__(Moffat)
    exact._set(1.0 / (node * _MOFFAT_STEP))  # the outermost nodes lie just beyond the least index allowed
    return exact.cdf(_MOFFAT_GRID), exact.pdf(_MOFFAT_GRID)


@lru_cache(maxsize=32)
def moffat_between(index: float) -> Tabulated:
    """Moffat profile for fits that try many indices.

    Interpolated by cubics in ``1 / index`` between tables of the exact one, which takes 15 times as long; good to 1e-7.

    Parameters
    ----------
    index : float
        The index, `MIN_MOFFAT_INDEX` or more.

    Returns
    -------
    Tabulated
        Unit area and unit FWHM.
    """
    q = 1.0 / max(index, MIN_MOFFAT_INDEX) / _MOFFAT_STEP
    first = max(int(q) - 1, 1)
    t = q - first
    weights = (
        -(t - 1) * (t - 2) * (t - 3) / 6,
        t * (t - 2) * (t - 3) / 2,
        -t * (t - 1) * (t - 3) / 2,
        t * (t - 1) * (t - 2) / 6,
    )
    nodes = [_moffat_node(first + k) for k in range(4)]
    cdf = np.sum([w * c for w, (c, _) in zip(weights, nodes, strict=True)], axis=0)
    pdf = np.sum([w * p for w, (_, p) in zip(weights, nodes, strict=True)], axis=0)
    return Tabulated("moffat", _MOFFAT_GRID, cdf, pdf, tail=2 * index - 1, index=index)


@lru_cache(maxsize=16)
def Voigt(fraction: float) -> Tabulated:
    """Voigt profile with the Lorentzian's part `fraction` of the FWHM.

    Parameters
    ----------
    fraction : float
        Lorentzian FWHM over total FWHM, between 0 and 1.

    Returns
    -------
    Tabulated
        The profile, its widths after Olivero and Longbothum (1977), rescaled to a FWHM of exactly one.

    Raises
    ------
    RecipeError
        If `fraction` lies outside 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise bad_value("index", "Voigt", "a Lorentzian fraction between 0 and 1", fraction, RecipeError)
    lorentz = fraction
    gauss = np.sqrt(max((1 - 0.5346 * lorentz) ** 2 - 0.2166 * lorentz**2, 0.0))

    def density(v: FloatArray) -> FloatArray:
        return special.voigt_profile(v, gauss / FWHM_SIGMA, lorentz / 2)

    return tabulate("voigt", density, reach=40.0, tail=1.0 if fraction > 0 else None, index=fraction)


def tabulate(
    name: str, density: Callable[[FloatArray], FloatArray], reach: float, tail: float | None, index: float | None = None
) -> Tabulated:
    """Normalise a curve of known centre 0 and FWHM about 1, and scale it to a FWHM of exactly 1."""
    n = 5121
    v = np.linspace(-reach, reach, n)
    middle = 0.5 * (v[1:] + v[:-1])
    values, between = density(v), density(middle)
    step = v[1] - v[0]
    cdf = np.concatenate([[0.0], np.cumsum((values[:-1] + 4 * between + values[1:]) * step / 6)])
    outside = 0.0 if tail is None else (values[0] + values[-1]) * reach / tail / 2
    total = cdf[-1] + 2 * outside
    half = 0.5 * values.max()
    above = values >= half
    left = int(np.argmax(above))
    right = n - 1 - int(np.argmax(above[::-1]))
    if left == 0 or right == n - 1 or not above[left : right + 1].all():
        raise bad_value("model", "Profile", "a curve with one peak", name, RecipeError)

    def over(x: float) -> float:
        return float(density(np.array([x]))[0]) - half

    # between the samples the curve itself is asked: a linear crossing is wrong by 1e-5
    fwhm = brentq(over, v[right], v[right + 1], xtol=1e-12) - brentq(over, v[left - 1], v[left], xtol=1e-12)
    return Tabulated(name, v / fwhm, (cdf + outside) / total, values / total * fwhm, tail=tail, index=index)
