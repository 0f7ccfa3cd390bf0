"""Where sources are and how wide, for any column; what a fit of it needs and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.fit import centres_and_widths
from .compiled.places import fill_places
from .profiles import Shape
from .recipe import Parameter

__all__ = ["Fit", "Geometry", "Problem", "asked_of", "evaluate", "terms_of"]

FloatArray = NDArray[np.float64]

_FREE = Parameter()


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the sources are and how wide, for any column.

    Attributes
    ----------
    domain : tuple of float
        Columns mapped to -1 and 1.
    centre : ndarray, shape (degree + 1,)
        Legendre coefficients of the first source's centre, row of the fitted window.
    offsets : ndarray, shape (n_source - 1,)
        Distance of the further sources from the first, pixel.
    log_fwhm : ndarray, shape (n_width, fwhm_degree + 1)
        Legendre coefficients of log FWHM: one row common to all sources, or one each.
    given : ndarray, shape (n_disp,), optional
        A centre per column that the polynomial is added to.
    spacing : float
        Factor on the offsets of the negative nods: a file's pixel scale tells them to a few per cent.
    """

    domain: tuple[float, float]
    centre: FloatArray
    offsets: FloatArray
    log_fwhm: FloatArray
    given: FloatArray | None = None
    spacing: float = 1.0

    def moved(self, nods: tuple[float, ...]) -> tuple[float, ...]:
        """Offsets of the negative nods, as fitted."""
        return tuple(offset * self.spacing for offset in nods)

    @property
    def n_source(self) -> int:
        """Number of sources."""
        return len(self.offsets) + 1

    def mapped(self, column: FloatArray) -> FloatArray:
        """Columns on [-1, 1]."""
        low, high = self.domain
        return (2 * np.asarray(column, dtype=float) - low - high) / max(high - low, 1.0)

    def padded(self, degree: int, width_degree: int) -> Geometry:
        """The same geometry with coefficients added (zero) or cut.

        Parameters
        ----------
        degree, width_degree : int
            Of the polynomials of centre and width.

        Returns
        -------
        Geometry
        """
        n_width, n_each = self.log_fwhm.shape
        centre, width = np.zeros(degree + 1), np.zeros((n_width, width_degree + 1))
        n, m = min(degree + 1, len(self.centre)), min(width_degree + 1, n_each)
        centre[:n], width[:, :m] = self.centre[:n], self.log_fwhm[:, :m]
        return Geometry(self.domain, centre, self.offsets, width, self.given, self.spacing)


def evaluate(geometry: Geometry, column: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centre and FWHM of each source.

    Parameters
    ----------
    geometry : Geometry
        Where the sources are.
    column : ndarray, shape (n_column,)
        Columns of the window, fractions included.

    Returns
    -------
    centre, fwhm : ndarray, shape (n_source, n_column)
        Row of the window, and pixel.
    """
    given = np.zeros(0)
    if geometry.given is not None:
        given = np.interp(column, np.arange(len(geometry.given)), geometry.given)
    centre, fwhm = np.empty((2, geometry.n_source, len(column)))
    centres_and_widths(
        contiguous(column),
        *geometry.domain,
        contiguous(geometry.centre),
        contiguous(geometry.offsets),
        contiguous(geometry.log_fwhm),
        given,
        centre,
        fwhm,
    )
    return centre, fwhm


@dataclass(frozen=True, eq=False)
class Problem:
    """What a fit needs beside its start: the shape, nods, background rows and what is free.

    Attributes
    ----------
    shape : Shape
        The profile.
    nods : tuple of float
        Offsets of negative traces from each source; their depths are free in every bin.
    background : ndarray, shape (n_background, n_cross)
        Background terms along cross-dispersion, free in every bin.
    free_centre, free_width : bool
        Whether the polynomials of centre and width move.
    free_offsets : tuple of bool
        Which of the further sources' offsets move; empty: all.
    index_shape : callable, optional
        From a shape index to the shape, where the index is free.
    centre_bounds, fwhm_bounds, index_bounds : tuple of float
        Limits (rows, pixels, index) of the mean over the columns.
    fwhm_extremes : tuple of float, optional
        Limits of the FWHM in any column; absent: those of its mean.
    prior_centre, prior_fwhm : tuple of float, optional
        Mean and 1 sigma of a prior on the mean centre (row) and on the mean log FWHM.
    prior_bend, prior_taper : float, optional
        1 sigma, about zero, of each higher coefficient of the centre (pixel) and of log FWHM: they keep faint sources
        from wandering.
    max_degree : int, optional
        Highest degree of a polynomial added to a given trace; absent: a constant.
    prior_spacing : float, optional
        1 sigma of the factor on the nods' offsets about one; absent: they are as told.
    bends, tapers : tuple of Parameter
        What is asked of the higher coefficients of the centre (pixel) and of log FWHM, from the first degree on.
    spacing_bounds : tuple of float
        Limits of the factor on the nods' offsets.
    rows : tuple of Parameter
        What is asked of the row of each source, as far as something is, at the column `at`.
    at : float
        Column of the window.
    """

    shape: Shape
    nods: tuple[float, ...] = ()
    background: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    free_centre: bool = True
    free_width: bool = True
    free_offsets: tuple[bool, ...] = ()
    index_shape: Callable[[float], Shape] | None = None
    centre_bounds: tuple[float, float] = (-np.inf, np.inf)
    fwhm_bounds: tuple[float, float] = (0.5, np.inf)
    fwhm_extremes: tuple[float, float] | None = None
    index_bounds: tuple[float, float] = (1.5, 12.0)
    prior_centre: tuple[float, float] | None = None
    prior_fwhm: tuple[float, float] | None = None
    prior_bend: float | None = None
    prior_taper: float | None = 0.25
    max_degree: int | None = None
    prior_spacing: float | None = None
    bends: tuple[Parameter, ...] = ()
    tapers: tuple[Parameter, ...] = ()
    spacing_bounds: tuple[float, float] = (0.85, 1.15)
    rows: tuple[Parameter, ...] = ()
    at: float = 0.0


def asked_of(terms: tuple[Parameter, ...], count: int) -> tuple[Parameter, ...]:
    """What is asked of each coefficient of a polynomial: of the zeroth nothing, and nothing beyond the terms.

    Parameters
    ----------
    terms : tuple of Parameter
        What is asked of the coefficients from the first degree on.
    count : int
        Number of coefficients, the zeroth included.

    Returns
    -------
    tuple of Parameter, of length `count`
    """
    return (_FREE, *terms, *[_FREE] * count)[:count]


@dataclass(frozen=True, eq=False)
class Fit:
    """Outcome of a fit.

    Attributes
    ----------
    geometry : Geometry
        The solution.
    shape : Shape
        The profile, with its fitted index.
    chi2 : float
        Weighted sum of squared residuals of the bins.
    n_data, n_linear, n_parameters : int
        Numbers of good binned pixels, of linear and of nonlinear parameters.
    hessian : ndarray
        Curvature of chi2 / 2 in the free parameters: centre, width, offsets, spacing, index in this order.
    amplitude : ndarray, shape (n_bin, n_source)
        Flux of each source in each bin.
    amplitude_error : ndarray, shape (n_bin, n_source)
        Its 1 sigma error.
    local : ndarray, shape (n_bin, 4)
        Of the first source in each bin by itself: shift from the trace and its error, change of log FWHM and its error.
    converged : bool
        False where the steps ran out.
    """

    geometry: Geometry
    shape: Shape
    chi2: float
    n_data: int
    n_linear: int
    n_parameters: int
    hessian: FloatArray
    amplitude: FloatArray
    amplitude_error: FloatArray
    local: FloatArray
    converged: bool


def terms_of(
    shape: Shape, centre: FloatArray, fwhm: FloatArray, nods: tuple[float, ...], background: FloatArray, n_cross: int
) -> FloatArray:
    """Linear terms of each column: sources, their negative nods, background.

    Parameters
    ----------
    shape : Shape
        The profile, at the columns.
    centre, fwhm : ndarray, shape (n_source, n_column)
        Row of the window, and pixel.
    nods : tuple of float
        Offsets of negative traces from each source, pixel.
    background : ndarray, shape (n_background, n_cross)
        Background terms, the same in each column.
    n_cross : int
        Rows of the window.

    Returns
    -------
    ndarray, shape (n_column, n_term, n_cross)
    """
    n_source, n_column = centre.shape
    n_term = n_source * (1 + len(nods)) + len(background)
    terms = np.empty((n_column, n_term, n_cross))
    shape = shape.fast()
    slot = n_source * (1 + len(nods))
    terms[:, slot:] = background
    if shape.table is not None and shape.table[-1] <= 0:
        fill_places(terms, np.array([0.0, *nods]), contiguous(centre), contiguous(fwhm), *shape.table[:-1])
        return terms
    slot = 0
    for offset in (0.0, *nods):
        for source in range(n_source):
            shape.fill(terms, slot, centre[source] + offset, fwhm[source])
            slot += 1
    return terms
