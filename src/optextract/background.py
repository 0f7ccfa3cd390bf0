"""Background under the sources: per column, or smooth along dispersion, chosen by the evidence.

Both are solved with the sources' fluxes eliminated in each column, so that nothing of the source enters the background
and the background's covariance can be carried into the fluxes. A smooth background has a few coefficients, Legendre
polynomials along cross-dispersion times Legendre polynomials (and steps at detector gaps) along dispersion, and costs
next to nothing in noise; one that is free in each column costs 3 to 60 %.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .beneath import VARIES, common_mode, disagreement, least_disagreement, raised_columns, sky_varies
from .compiled import contiguous
from .compiled.final import background_variance, spread_along
from .compiled.sky import free_pixels, spread, wings
from .kernel import cross_basis
from .recipe import Background
from .reduced import Reduced, reduced_by
from .robust import median
from .smooth import assemble, assemble_all, drops_of, find_gaps, slow_noise, solve_symmetric
from .solve import Known, invert_normal
from .trace import information_criterion

__all__ = ["BackgroundFit", "fit_background"]

FloatArray = NDArray[np.float64]

_MAX_CROSS, _MAX_ALONG = 2, 8
_ALIKE, _SLOWLY_ALIKE = 6.0, 4.0  # sigma by which both sides of the sources vary together: columns, means of a few
_LEAST_CLEAR = 5  # source-free pixels in the median column that can carry the background by themselves
_WORTH = 1.25  # mean drop of chi2, in units of that by a term that only noise sees
_QUARTER_DROP = 0.1015  # lower quartile of that: columns without lines tell it


@dataclass(frozen=True, eq=False)
class BackgroundFit:
    """The background and how it was chosen.

    Attributes
    ----------
    image : ndarray, shape (n_disp, n_cross)
        The background in each pixel.
    degree : int
        Degree along cross-dispersion; -1 for none.
    along : str
        "column" or "smooth".
    along_degree : int
        Degree along dispersion of a smooth background.
    n_parameters : int
        Number of coefficients.
    test : dict
        The figures that the choice rests on.
    basis : ndarray, shape (n_background, n_cross)
        Terms along cross-dispersion.
    dispersion_basis : ndarray, shape (n_disp, n_along) or None
        Terms along dispersion of a smooth background.
    covariance : ndarray
        Of the coefficients: (n_background n_along, same) if smooth, (n_disp, n_background, n_background) if per column.
    rows : ndarray of bool, shape (n_cross,) or None
        The rows near the sources, if only these were used.
    reduced : Reduced or None
        The normal equations that a smooth background solves.
    """

    image: FloatArray
    degree: int
    along: str
    along_degree: int
    n_parameters: int
    test: dict[str, float | str]
    basis: FloatArray
    dispersion_basis: FloatArray | None
    covariance: FloatArray
    rows: NDArray[np.bool_] | None = None
    reduced: Reduced | None = None

    @property
    def untold(self) -> NDArray[np.bool_]:
        """Columns whose pixels do not tell a background that is free in each column, shape (n_disp,)."""
        if self.degree < 0 or self.dispersion_basis is not None:
            return np.zeros(len(self.image), dtype=bool)
        return np.asarray(self.covariance[:, 0, 0] <= 0)

    def in_columns(self) -> FloatArray:
        """Covariance of the coefficients of `basis` in each column, shape (n_disp, n_background, n_background)."""
        if self.dispersion_basis is None:
            return self.covariance if self.degree >= 0 else np.zeros((len(self.image), 0, 0))
        out = np.empty((len(self.image), len(self.basis), len(self.basis)))
        spread_along(contiguous(self.dispersion_basis), contiguous(self.covariance), out)
        return out

    def variance(self) -> FloatArray:
        """Variance of the image, shape (n_disp, n_cross); NaN in a column that does not determine it."""
        return self._spread(self.in_columns(), False)

    def uncertainty(self, in_columns: FloatArray) -> FloatArray:
        """The root of `variance`, from what `in_columns` gives."""
        return self._spread(in_columns, True)

    def _spread(self, in_columns: FloatArray, root: bool) -> FloatArray:
        out = np.empty(self.image.shape)
        every = self.degree >= 0 and self.dispersion_basis is None
        background_variance(contiguous(self.basis), contiguous(in_columns), every, root, out)
        return out


def fit_background(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    settings: Background,
    rows: NDArray[np.bool_],
    clear: NDArray[np.bool_],
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    like: BackgroundFit | None = None,
    near: tuple[NDArray[np.bool_], ...] = (),
    known: Known | None = None,
) -> BackgroundFit:
    """Fit the background beneath the sources.

    Where enough pixels are free of sources, they alone decide: next to a bright source, a profile that is not quite
    right would otherwise pass for background. The sources' wings in them are subtracted.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources and their negative twins.
    settings : Background
        The recipe's section.
    rows : ndarray of bool, shape (n_cross,)
        Rows that may carry background.
    clear : ndarray of bool, shape (n_disp, n_cross)
        Pixels free of sources.
    sides : tuple of ndarray of bool, each of shape (n_cross,)
        Source-free rows below and above, for the test of a smooth background.
    like : BackgroundFit, optional
        A fit to nearly the same pixels, whose choices hold here too: the evidence is weighed once.
    near : tuple of ndarray of bool, each of shape (n_cross,), optional
        Rows near the sources, the nearest first: used alone where a background that is free in each column does not fit
        both them and the others.
    known : Known, optional
        What is known of the profiles for these weights.

    Returns
    -------
    BackgroundFit
    """
    if settings.degree == "none":
        return _nothing(data, {"choice": "none, as asked for"})
    if like is not None and like.rows is not None:
        rows = rows & like.rows
    if near:
        # far off a tilted sky line is in other columns, and the two sides have little in common
        sides = sides[0] & near[0], sides[1] & near[0]
    data, weight, profiles = contiguous(data), contiguous(weight), contiguous(profiles)
    apart, surrounded = _free(weight, rows, clear, sides)
    if not surrounded:
        # the clear rows would have to be extrapolated under the source: let all rows speak, and ask them for less
        return _fit_once(data, weight * rows, profiles, settings, sides, like, highest=1, known=known)
    # the wings come off with the fluxes of the pixels near the sources; again where that needs the background
    light, nothing = np.empty(data.shape), profiles[:, :0]
    most, heaviest = wings(data, weight, profiles, apart, light)
    faint = most * np.sqrt(heaviest) < 0.01
    values = data if faint else data - light
    fit = _fit_once(values, apart, nothing, settings, sides, like)
    for _ in range(0 if faint else 2):
        wings(data - fit.image, weight, profiles, apart, light)
        values = data - light
        fit = _fit_once(values, apart, nothing, settings, sides, like)
    if like is not None or fit.along != "column":
        return fit
    near = tuple(part for part in near if _free(weight, rows & part, clear, sides)[1])
    return _near_if_unlike(values, apart, profiles, fit, near) if near else fit


def _near_if_unlike(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    fit: BackgroundFit,
    near: tuple[NDArray[np.bool_], ...],
) -> BackgroundFit:
    """The fit to rows near the sources, where that to all rows says something else beneath them.

    The fits to fewer rows, with every term, are the judges: noisy, but less biased. The fit to the most rows that
    agrees with all of them has the least noise.
    """
    nothing, most = profiles[:, :0], least_disagreement(len(data))

    def fit_to(rows: NDArray[np.bool_], degree: int | None = None) -> BackgroundFit:
        if degree is None:
            degree = _column_degree(reduced_by(data, weight * rows, nothing, cross_basis(data.shape[1], _MAX_CROSS)), 0)
        return replace(_per_column(data, weight * rows, nothing, degree, fit.test), rows=rows)

    judges = [fit_to(rows, _MAX_CROSS) for rows in near]

    def unlike(other: BackgroundFit, number: int) -> float:
        return max(
            disagreement((judge.image, other.image), (judge.variance(), other.variance()), profiles[:, 0])
            for judge in judges[:number]
        )

    amount = unlike(fit, len(near))
    if amount < most:
        return replace(fit, test={**fit.test, "near_disagreement": amount})
    fits = ((number, fit_to(near[number - 1])) for number in range(len(near), 0, -1))
    chosen = next((other for number, other in fits if unlike(other, number) < most), judges[0])
    words = f"{fit.test['choice']}, from rows near the sources: all rows together do not fit beneath them"
    return replace(chosen, test={**fit.test, "near_disagreement": amount, "choice": words})


def _free(
    weight: FloatArray,
    rows: NDArray[np.bool_],
    clear: NDArray[np.bool_],
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> tuple[FloatArray, bool]:
    """Weights of source-free pixels, and whether those on both sides are enough to carry the background between."""
    apart, per_row = np.empty(weight.shape), np.empty(weight.shape[1])
    usable, free = np.empty((2, len(weight) + 1))
    n_seen = free_pixels(weight, rows, clear, apart, usable, free, per_row)
    beside = [float(per_row[side].sum()) for side in sides]
    if any(side.any() for side in sides) and min(beside) < 1.5 * n_seen:
        return apart, False
    free = free[:n_seen]
    return apart, median(free) >= _LEAST_CLEAR and median(free / usable[:n_seen]) >= 0.4


def _fit_once(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    settings: Background,
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    like: BackgroundFit | None = None,
    highest: int = _MAX_CROSS,
    known: Known | None = None,
) -> BackgroundFit:
    """Fit to the pixels of non-zero weight, the fluxes of `profiles` eliminated."""
    if like is not None:
        return _fit_like(data, weight, profiles, like)
    asked = settings.degree
    highest = highest if asked == "auto" else int(asked)
    highest = min(highest, max(int(np.count_nonzero(_told(weight))) - profiles.shape[1] - 1, 0))
    basis = cross_basis(data.shape[1], highest)
    reduced = reduced_by(data, weight, profiles, basis, known)
    if settings.along == "column":
        return _per_column(
            data, weight, profiles, 0 if asked == "auto" else highest, {"choice": "per column, as asked for"}
        )
    raised = raised_columns(data, weight, sides)
    usual, told = weight, reduced
    if len(raised):  # they tell nothing of what is smooth
        usual = weight.copy()
        usual[raised] = 0.0
        told = reduced_by(data, usual, profiles, basis)
    smooth = _choose_smooth(data, told, basis, settings, highest)
    if settings.along == "smooth":
        return _with_columns(smooth, reduced, raised)
    common = common_mode(data, usual, smooth.image, sides)
    if common.get("significance", 0.0) >= _ALIKE or common.get("slow_significance", 0.0) >= _SLOWLY_ALIKE:
        test: dict[str, float | str] = {
            **smooth.test,
            **common,
            "choice": "per column: the rows on both sides vary together",
        }
        degree = max(smooth.degree, 0)
        if asked == "auto":
            degree = _column_degree(reduced, degree)
        return _per_column(data, weight, profiles, degree, test)
    if (
        not common
        and profiles.shape[1]
        and (varies := sky_varies(data, weight, profiles, reduced, smooth.image)) > VARIES
    ):
        test = {**smooth.test, "varies": varies, "choice": "per column: a smooth background fits no column"}
        return _per_column(data, weight, profiles, max(smooth.degree, 0), test)
    smooth = replace(smooth, test={**smooth.test, **common})
    return _with_columns(smooth, reduced, raised)


def _with_columns(fit: BackgroundFit, reduced: Reduced, columns: NDArray[np.intp]) -> BackgroundFit:
    """The smooth fit with terms of their own for the few columns that are off in all rows."""
    if not len(columns):
        return fit
    n_disp = len(reduced.used)
    alone = np.zeros((n_disp, len(columns)))
    alone[columns, np.arange(len(columns))] = 1.0
    smooth = np.ones((n_disp, 1)) if fit.dispersion_basis is None else fit.dispersion_basis
    terms, n = np.concatenate([smooth, alone], axis=1), max(fit.degree, 0) + 1
    basis = reduced.basis[:n]
    solution, covariance = solve_symmetric(
        *assemble(replace(reduced, matrix=reduced.matrix[:, :n, :n], vector=reduced.vector[:, :n]), terms)
    )
    image = _image(terms @ solution.reshape(n, -1).T, basis)
    words = f"{fit.test['choice']}, and {len(columns)} columns by themselves"
    test = {**fit.test, "raised_columns": float(len(columns)), "choice": words}
    return replace(
        fit,
        image=image,
        degree=n - 1,
        n_parameters=n * terms.shape[1],
        test=test,
        basis=basis,
        dispersion_basis=terms,
        covariance=covariance,
        reduced=reduced,
    )


def _fit_like(data: FloatArray, weight: FloatArray, profiles: FloatArray, like: BackgroundFit) -> BackgroundFit:
    """Fit the terms that another fit chose."""
    if like.degree < 0:
        return _nothing(data, like.test)
    if like.dispersion_basis is None:
        return replace(_per_column(data, weight, profiles, like.degree, like.test), rows=like.rows)
    reduced = reduced_by(data, weight, profiles, like.basis, before=like.reduced)
    matrix, vector = assemble(reduced, like.dispersion_basis)
    solution, covariance = solve_symmetric(matrix, vector)
    image = _image(like.dispersion_basis @ solution.reshape(len(like.basis), -1).T, like.basis)
    return replace(like, image=image, covariance=covariance, reduced=reduced)


def _nothing(data: FloatArray, test: dict[str, float | str]) -> BackgroundFit:
    zero = np.zeros_like(data)
    return BackgroundFit(zero, -1, "smooth", 0, 0, test, np.zeros((0, data.shape[1])), None, np.zeros((0, 0)))


def _choose_smooth(
    data: FloatArray, reduced: Reduced, basis: FloatArray, settings: Background, highest: int
) -> BackgroundFit:
    used = np.flatnonzero(reduced.used)
    if not len(used):
        return _nothing(data, {"choice": "none: no pixel is free of the sources"})
    most = min(_MAX_ALONG, max(len(used) // 20, 0)) if settings.along_degree == "auto" else int(settings.along_degree)
    gaps = find_gaps(reduced.used)
    along, matrix, vector = assemble_all(reduced, most, gaps)
    n_along = along.shape[1]
    n_poly = most + 1

    def subset(degree: int, order: int, steps: bool) -> NDArray[np.intp]:
        """Coefficients of a model, ordered so that a lower order along dispersion is a leading part."""
        columns = [*(range(n_poly, n_along) if steps else ()), *range(order + 1)]
        return np.array([i * n_along + p for p in columns for i in range(degree + 1)], dtype=np.intp)

    degrees = range(-1, highest + 1) if settings.degree == "auto" else [highest]
    orders = range(most + 1) if settings.along_degree == "auto" else [most]
    noise = slow_noise(reduced, along, matrix, vector)
    # what one more coefficient costs
    each = information_criterion(0.0, 1, max(len(used) * 2.0 / noise**2, 2.0))
    best: tuple[float, int, int, bool] | None = None
    for degree in degrees:
        for steps in (False, True) if gaps and degree >= 0 else (False,):
            drops = drops_of(matrix, vector, subset(degree, most, steps)) if degree >= 0 else []
            for order in orders if degree >= 0 else [0]:
                n_free = (degree + 1) * (order + 1 + (len(gaps) if steps else 0))
                drop = drops[n_free - 1] if n_free else 0.0
                criterion = n_free * each - drop / noise**2
                if best is None or criterion < best[0]:
                    best = (criterion, degree, order, steps)
    assert best is not None  # the loops run at least once
    _, degree, order, steps = best
    test: dict[str, float | str] = {"slow_noise": noise, "bic_gain": -best[0]}
    if degree < 0:
        return _nothing(data, {**test, "choice": "none: the clean rows do not reject zero"})
    index = np.sort(subset(degree, order, steps))
    solution, covariance = solve_symmetric(matrix[np.ix_(index, index)], vector[index])
    terms = np.ascontiguousarray(along[:, [*range(order + 1), *(range(n_poly, n_along) if steps else ())]])
    basis = basis[: degree + 1]
    image = _image(terms @ solution.reshape(degree + 1, -1).T, basis)
    test["choice"] = f"smooth, degree {degree} across and {order} along dispersion" + (
        ", stepping at gaps" if steps else ""
    )
    return BackgroundFit(image, degree, "smooth", order, len(index), test, basis, terms, covariance, reduced=reduced)


def _image(level: FloatArray, basis: FloatArray) -> FloatArray:
    """The background in each pixel from what each term counts in each column, shape (n_disp, n_background)."""
    image = np.empty((len(level), basis.shape[1]))
    spread(contiguous(level), contiguous(basis), image)
    return image


def _told(weight: FloatArray) -> NDArray[np.bool_]:
    """Rows with any weight, shape (n_cross,)."""
    # a product with ones is several times faster than to look along the axis
    return np.asarray(np.ones(len(weight)) @ weight > 0)


def _per_column(
    data: FloatArray, weight: FloatArray, profiles: FloatArray, degree: int, test: dict[str, float | str]
) -> BackgroundFit:
    basis = cross_basis(data.shape[1], degree)
    told = np.flatnonzero(_told(weight))
    if len(told):
        # beyond the rows that tell of it a polynomial goes anywhere: it is held at its last value
        basis = np.ascontiguousarray(basis[:, np.clip(np.arange(data.shape[1]), told[0], told[-1])])
    reduced = reduced_by(data, weight, profiles, basis)
    inverse, seen = invert_normal(reduced.matrix)
    coefficients = np.einsum("xbc,xc->xb", inverse, reduced.vector)
    image = _image(coefficients, basis)
    n_parameters = int(seen.sum())
    return BackgroundFit(image, degree, "column", 0, n_parameters, test, basis, None, inverse)


def _column_degree(reduced: Reduced, lowest: int) -> int:
    """Degree of a background that is free in each column: a tilted sky line has a slope in its own columns only.

    A term costs each column the variance that it adds to the flux, and saves it the square of the bias that it takes
    out. At a mean drop of chi2 of two both are the same (Akaike); somewhat below it the scatter hardly grows, and the
    errors are true.
    """

    def explained(degree: int) -> FloatArray:
        vector = reduced.vector[reduced.used, : degree + 1]
        inverse, _ = invert_normal(reduced.matrix[reduced.used, : degree + 1, : degree + 1])
        return np.asarray(np.einsum("xb,xbc,xc->x", vector, inverse, vector), dtype=float)

    highest = reduced.matrix.shape[1] - 1
    before = explained(lowest)
    for degree in range(lowest + 1, highest + 1):
        after = explained(degree)
        drop = after - before
        if not drop.size or drop.mean() < _WORTH * max(1.0, np.quantile(drop, 0.25) / _QUARTER_DROP):
            return degree - 1
        before = after
    return highest
