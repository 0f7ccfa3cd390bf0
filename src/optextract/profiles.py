"""Cross-dispersion profiles, integrated over each pixel.

A `Shape` is a unit-area curve of ``u = (y - centre) / FWHM``, known by its cumulative distribution. A pixel that covers
``y - 0.5`` to ``y + 0.5`` holds ``cdf(u_upper) - cdf(u_lower)``; a curve sampled at pixel centres instead is 2 to 13 %
wrong at the sampling of NIRSpec (FWHM of 1.1 to 1.7 pixels).
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from .errors import RecipeError, bad_value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MIN_MOFFAT_INDEX",
    "MOFFAT_INDICES",
    "Gaussian",
    "Moffat",
    "Shape",
    "Tabulated",
    "Voigt",
    "from_model",
    "make_shape",
    "moffat_between",
]

FloatArray = NDArray[np.float64]

#: Below this index a Moffat's wings hold so much flux that no fit window contains them.
MIN_MOFFAT_INDEX = 1.5
#: Limits of a fitted Moffat index; close to the upper one, the automatic choice stays with the Gaussian. Below the
#: lower one up to a percent of the flux lies beyond five FWHM, where wings and background are one and the same.
MOFFAT_INDICES = (2.0, 12.0)

_FWHM_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


class Shape:
    """Unit-area profile of unit FWHM, centred on zero.

    Subclasses give `cdf` and `pdf`, vectorised over ``u = (y - centre) / FWHM``, and `reach`, the largest ``|u|`` at
    which the profile differs from zero by more than rounding.
    """

    name = "shape"
    reach = np.inf
    #: value of the shape parameter (Moffat index, Voigt Lorentzian fraction); None where there is none
    index: float | None = None

    def cdf(self, u: FloatArray) -> FloatArray:
        """Fraction of the flux below `u`."""
        raise NotImplementedError

    def pdf(self, u: FloatArray) -> FloatArray:
        """Density at `u`, per unit of FWHM."""
        raise NotImplementedError

    def at(self, column: FloatArray) -> Shape:
        """The shape at given columns of the fitted window, where it changes along dispersion; here it does not."""
        return self

    def both(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`cdf` and `pdf` at once, each a new array."""
        return self.cdf(u), self.pdf(u)

    def fast(self) -> Shape:
        """Return an equal shape that is quicker on many pixels (error below 1e-7 of the peak)."""
        return self

    def _window(self, n_cross: int, centre: FloatArray, fwhm: FloatArray) -> tuple[int, int]:
        """Rows outside which the profile is zero to rounding in every column."""
        if not np.isfinite(self.reach):
            return 0, n_cross
        half = self.reach * fwhm
        low = int(np.clip(np.floor((centre - half).min() + 0.5), 0, n_cross))
        high = int(np.clip(np.ceil((centre + half).max() + 0.5), low, n_cross))
        return low, high

    def integrate(self, n_cross: int, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Fraction of the flux in each pixel.

        Parameters
        ----------
        n_cross : int
            Number of cross-dispersion pixels; pixel i covers i - 0.5 to i + 0.5.
        centre, fwhm : ndarray, shape (n_disp,)
            Position and FWHM in each column, pixel.

        Returns
        -------
        ndarray, shape (n_disp, n_cross)
            Column-major, as the solver wants it.
        """
        out = np.zeros((len(centre), n_cross))
        low, high = self._window(n_cross, centre, fwhm)
        if high > low:
            edges = np.arange(low, high + 1) - 0.5
            cumulative = self.cdf((edges - centre[:, None]) / fwhm[:, None])
            np.subtract(cumulative[:, 1:], cumulative[:, :-1], out=out[:, low:high])
        return out

    def derivatives(
        self, n_cross: int, centre: FloatArray, fwhm: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Profile and its derivatives with respect to centre and log FWHM, each of shape (n_disp, n_cross)."""
        profile, d_centre, d_width = (np.zeros((len(centre), n_cross)) for _ in range(3))
        low, high = self._window(n_cross, centre, fwhm)
        if high > low:
            edges = np.arange(low, high + 1) - 0.5
            u = (edges - centre[:, None]) / fwhm[:, None]
            cumulative, density = self.both(u)
            np.subtract(cumulative[:, 1:], cumulative[:, :-1], out=profile[:, low:high])
            d_centre[:, low:high] = (density[:, :-1] - density[:, 1:]) / fwhm[:, None]
            density *= u
            np.subtract(density[:, :-1], density[:, 1:], out=d_width[:, low:high])
        return profile, d_centre, d_width

    def fraction(self, lower: FloatArray, upper: FloatArray, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Fraction of the flux between two cross-dispersion edges (pixel); arguments broadcast."""
        return self.cdf((np.asarray(upper) - centre) / fwhm) - self.cdf((np.asarray(lower) - centre) / fwhm)


class Gaussian(Shape):
    """Normal distribution; ``FWHM = 2 sqrt(2 ln 2) sigma``."""

    name = "gaussian"
    reach = 3.4  # 8 sigma: 1e-15

    def cdf(self, u: FloatArray) -> FloatArray:
        """Fraction of the flux below `u`."""
        return special.ndtr(u * _FWHM_SIGMA)

    def pdf(self, u: FloatArray) -> FloatArray:
        """Density at `u`."""
        return np.exp(-0.5 * (u * _FWHM_SIGMA) ** 2) * (_FWHM_SIGMA / np.sqrt(2 * np.pi))


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
        return special.voigt_profile(v, gauss / _FWHM_SIGMA, lorentz / 2)

    return _tabulate("voigt", density, reach=40.0, tail=1.0 if fraction > 0 else None, index=fraction)


def _tabulate(
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


def from_model(model: Any) -> Tabulated:
    """Make a profile of any astropy 1-D model.

    The contract: one input, one output; finite and nowhere negative beyond rounding; one peak (what is above half of
    the maximum is one piece), within some 50 FWHM of zero or of the model's ``mean`` or ``x_0``; and nine tenths or
    more of the integral over 120 FWHM within 20 FWHM of the middle. Its flux is that within 20 FWHM. Its position and
    width are replaced by the fitted ones; its other parameters keep the values that the model has.

    Parameters
    ----------
    model : astropy.modeling.Model
        An instance, or a class whose defaults fit.

    Returns
    -------
    Tabulated
        The profile, scaled to a FWHM of one and centred where its flux is halved.

    Raises
    ------
    RecipeError
        If the contract is broken; the message names the clause.
    """
    instance = model() if isinstance(model, type) else model
    if not callable(instance) or getattr(instance, "n_inputs", 1) != 1 or getattr(instance, "n_outputs", 1) != 1:
        raise bad_value("model", "Profile", "a callable with one input and one output", model, RecipeError)

    def curve(x: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):  # what overflows is not finite, and is refused as such
            values = np.asarray(instance(x), dtype=float)
        if values.shape != x.shape or not np.isfinite(values).all():
            raise bad_value("model", "Profile", "finite everywhere", model, RecipeError)
        return values

    scale, centre = _rough_scale(curve, instance)
    x = centre + scale * np.linspace(-60, 60, 24001)
    values = curve(x)
    if values.min() < -1e-6 * values.max():
        raise bad_value("model", "Profile", "nowhere negative", f"{model} (minimum {values.min():.3g})", RecipeError)
    values = np.clip(values, 0, None)
    cdf = np.concatenate([[0], np.cumsum(0.5 * (values[1:] + values[:-1]))])
    centre = float(np.interp(0.5 * cdf[-1], cdf, x))
    above = np.flatnonzero(values >= 0.5 * values.max())
    fwhm = x[above[-1]] - x[above[0]]
    inside = np.interp(centre + 20 * fwhm, x, cdf) - np.interp(centre - 20 * fwhm, x, cdf)
    if inside < 0.9 * cdf[-1]:
        raise bad_value("model", "Profile", "of an integral that converges within 20 FWHM", model, RecipeError)
    return _tabulate("model", lambda v: np.clip(curve(centre + v * fwhm), 0, None), 20.0, None)


def _rough_scale(curve: Callable[[FloatArray], FloatArray], model: Any) -> tuple[float, float]:
    """Find the scale on which a model varies, and its peak, over nine decades."""
    near = 0.0
    for name in ("mean", "x_0"):  # what astropy's models call their position
        place = getattr(model, name, None)
        if place is not None and np.ndim(getattr(place, "value", place)) == 0:
            near = float(getattr(place, "value", place))
    for scale in np.logspace(-3, 6, 28):
        x = near + np.linspace(-50, 50, 2001) * scale
        values = curve(x)
        peak = values.max()
        if peak <= 0:
            continue
        above = values >= 0.5 * peak
        if 10 <= above.sum() <= 400 and not (above[0] or above[-1]):
            return float(above.sum() * (x[1] - x[0])), float(x[values.argmax()])
    raise bad_value("model", "Profile", "positive somewhere, with one peak of finite width", model, RecipeError)


def make_shape(kind: str, index: float | None = None, model: str | None = None) -> Shape:
    """Make the profile that a recipe names.

    Parameters
    ----------
    kind : {"gaussian", "moffat", "voigt", "model"}
        Which one.
    index : float, optional
        Moffat index or Voigt Lorentzian fraction.
    model : str, optional
        ``module:attr`` of an astropy 1-D model, for kind "model".

    Returns
    -------
    Shape

    Raises
    ------
    RecipeError
        If a value breaks its rule, or the model cannot be imported.
    """
    if kind == "gaussian":
        return Gaussian()
    if kind == "moffat":
        return Moffat(3.0 if index is None else index).fast()
    if kind == "voigt":
        return Voigt(0.5 if index is None else index)
    if kind == "model":
        return from_model(_import_model(model))
    rule = "gaussian, moffat, voigt or model here (a template needs its file: optextract.templates.load_template)"
    raise bad_value("kind", "Profile", rule, kind, RecipeError)


def _import_model(name: str | None) -> Any:
    module, _, attribute = ("" if name is None else name).partition(":")
    if not module or not attribute:
        raise bad_value("model", "Profile", "'module:attr'", name, RecipeError)
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise bad_value("model", "Profile", f"importable ({error})", name, RecipeError) from error
