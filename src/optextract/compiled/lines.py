"""Light that runs on along dispersion, column by column: see `optextract.coherent`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first

__all__ = ["from_neighbours", "holds_line", "levels", "near_sources", "suspects"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Columns from a line in which its continuum is seen, the first and the one after the last: close by, and further off
#: for lines that are broad themselves.
_NEAR, _FAR = (3, 11), (11, 31)

_WING = 0.003  # a pixel with less of the profile than this tells nothing of the flux
_MARGIN = 2  # rows beyond in which a rotating disc may shine
_CLEAR = 3.0  # sigma of the excess in each of three columns
_FAINTEST = 0.05  # of the brightest of the three in the faintest one: a FWHM of two columns, at the edge of a column
_TOGETHER = 1.0  # least sum of both neighbours along the slit over the brightest row: it is 1.08 at a FWHM of 2 rows
_THIRD = 0.2  # least third of three rows over a pixel in them: 0.29 at a FWHM of 2 rows, 0 for a track of two rows
_ALONG = 0.9  # least sum of what the two next columns lack in a row over what this one lacks: 1.08 at a FWHM of 2
_DOUBT = 1.5  # sigma of noise that these limits leave
_BENT = 0.03  # of a line's light by which a column may differ from what the next two have in common
_SHARE = 0.4  # variance of each neighbour in what they predict: their coefficients are about 0.6


@compiled
def _levels_at(
    coefficients: FloatArray, x: int, first_term: int, end_term: int, room: FloatArray, out: FloatArray
) -> None:
    """Some terms' levels about column x, shape (n_term,): the lower one of those nearby and further off."""
    last = len(coefficients) - 1
    for t in range(first_term, end_term):
        found = np.inf
        for first, end in (_NEAR, _FAR):
            n = 0
            for k in range(first, end):
                room[n] = coefficients[max(x - k, 0), t]
                room[n + 1] = coefficients[min(x + k, last), t]
                n += 2
            level = middle_of_first(room, n)
            found = level if abs(level) <= abs(found) else found
        out[t] = found


@compiled
def levels(coefficients: FloatArray, at: NDArray[np.intp], out: FloatArray) -> None:
    """Each term's level about some columns.

    Parameters
    ----------
    coefficients : ndarray, shape (n_disp, n_term)
    at : ndarray of int, shape (n_column,)
    out : ndarray, shape (n_column, n_term)
        Filled.
    """
    room = np.empty(2 * (_FAR[1] - _FAR[0]))
    for i in range(len(at)):
        _levels_at(coefficients, at[i], 0, out.shape[1], room, out[i])


@compiled
def _near_source(terms: FloatArray, n_source: int, x: int, near: BoolArray) -> None:
    """Rows of column x that a line of a source may reach."""
    n_cross = len(near)
    for y in range(n_cross):
        light = 0.0
        for k in range(n_source):
            light = max(light, abs(terms[x, k, y]))
        near[y] = light > _WING
    for _ in range(_MARGIN):
        before = False
        for y in range(n_cross):
            own = near[y]
            near[y] = own | before | near[min(y + 1, n_cross - 1)]
            before = own


@compiled
def near_sources(terms: FloatArray, n_source: int, near: BoolArray) -> None:
    """Mark the pixels, shape (n_disp, n_cross), that a line of one of the first terms may reach."""
    for x in range(len(terms)):
        _near_source(terms, n_source, x, near[x])


@compiled
def suspects(
    terms: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    pixels: BoolArray,
    n_source: int,
    noise: float,
    at: NDArray[np.intp],
    level: FloatArray,
    seen: BoolArray,
) -> int:
    """Find columns with outliers near a source that are one of three with an excess that no single column makes.

    Parameters
    ----------
    terms : ndarray, shape (n_disp, n_profile, n_cross)
    coefficients : ndarray, shape (n_disp, n_profile)
    covariance : ndarray, shape (n_disp, n_profile, n_profile)
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Outliers.
    n_source : int
        Sources among the profiles: they come first.
    noise : float
        Factor on the errors.
    at : ndarray of int, shape (n_disp,)
        Filled up to the number that is given back, as all that follow: these columns.
    level : ndarray, shape (n_disp, n_profile)
        The terms' levels about them; that of a source is not negative.
    seen : ndarray of bool, shape (n_disp, n_cross)
        Their outliers near a source.
    """
    n_disp, _, n_cross = terms.shape
    room, near = np.empty(2 * (_FAR[1] - _FAR[0])), np.empty(n_cross, dtype=np.bool_)
    n = 0
    for x in range(1, n_disp - 1):
        hit = False
        for y in range(n_cross):
            hit |= pixels[x, y]
        if not hit:
            continue
        _near_source(terms, n_source, x, near)
        hit = False
        for y in range(n_cross):
            seen[n, y] = near[y] & pixels[x, y]
            hit |= seen[n, y]
        if not hit:
            continue
        _levels_at(coefficients, x, 0, n_source, room, level[n])
        below = 0.0
        for k in range(n_source):
            level[n, k] = max(level[n, k], 0.0)
            below += level[n, k]
        if _runs_on(coefficients, covariance, n_source, noise, below, x):
            _levels_at(coefficients, x, n_source, level.shape[1], room, level[n])
            at[n] = x
            n += 1
    return n


@compiled
def _runs_on(
    coefficients: FloatArray, covariance: FloatArray, n_source: int, noise: float, level: float, x: int
) -> bool:
    """Whether column x is one of three with an excess that no step of a single column makes."""
    for first in range(x - 2, x + 1):
        least, most, clear = np.inf, -np.inf, True
        for i in range(first, first + 3):
            if not 0 <= i < len(coefficients):
                clear = False
                continue
            excess, variance = -level, 0.0
            for k in range(n_source):
                excess += coefficients[i, k]
                variance += covariance[i, k, k]
            least, most = min(least, excess), max(most, excess)
            clear &= excess > _CLEAR * noise * np.sqrt(variance)
        if clear and least > _FAINTEST * most:
            return True
    return False


@compiled
def _is_smooth(light: FloatArray, variance: FloatArray, y: int) -> bool:
    """Whether a pixel is not sharper along the slit than an image can be."""
    together, spread = 0.0, variance[y]
    if y > 0:
        together += light[y - 1]
        spread += variance[y - 1]
    if y < len(light) - 1:
        together += light[y + 1]
        spread += variance[y + 1]
    return together > _TOGETHER * light[y] - _DOUBT * np.sqrt(spread)


@compiled
def _of_three(light: FloatArray, variance: FloatArray, y: int) -> bool:
    """Whether a pixel is one of three neighbouring rows which shine alike."""
    n = len(light)
    down, up = light[y - 1] if y > 0 else 0.0, light[y + 1] if y < n - 1 else 0.0
    lower, upper = light[y - 2] if y > 1 else 0.0, light[y + 2] if y < n - 2 else 0.0
    least = max(min(down, lower), min(up, upper), min(down, up))
    return least > _THIRD * light[y] - _DOUBT * np.sqrt(variance[y])


@compiled
def from_neighbours(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    level: FloatArray,
    tolerance: FloatArray,
    noise: float,
    above: FloatArray,
    variance: FloatArray,
    good: BoolArray,
    left: FloatArray,
    joint: FloatArray,
    wrong: FloatArray,
) -> None:
    """What is needed to explain a column by the light of the two next to it.

    Parameters
    ----------
    data, weight : ndarray, shape (n_column, 3, n_cross)
        Pixel values and inverse variances of each column and of those before and after it, in their order.
    terms : ndarray, shape (n_column, 3, n_profile, n_cross)
    level : ndarray, shape (n_column, n_profile)
        Of the continuum.
    tolerance : ndarray, shape (n_column, n_source, n_cross)
        Error of the sources' profiles.
    noise : float
        Factor on the errors.
    above, variance : ndarray, shape (n_column, 3, n_cross)
        Filled: light above the continuum, and its variance; one neighbour stands in for the other where that has none.
    good : ndarray of bool, shape (n_column, 3, n_cross)
        Filled: whether there is a value of its own.
    left : ndarray, shape (n_column, n_cross)
        Filled: inverse variances of the column, what the others predict included.
    joint : ndarray, shape (n_column, 2 + n_profile, n_cross)
        Filled: light of both neighbours, then the profiles.
    wrong : ndarray, shape (n_column, 2 + n_source, n_cross)
        Filled: tolerated errors of these.
    """
    n_column, _, n_term, n_cross = terms.shape
    smooth = np.empty((3, n_cross), dtype=np.bool_)
    for i in range(n_column):
        for k in range(3):
            for y in range(n_cross):
                value = data[i, k, y]
                for t in range(n_term):
                    value -= terms[i, k, t, y] * level[i, t]
                above[i, k, y] = value
                good[i, k, y] = weight[i, k, y] > 0
                variance[i, k, y] = noise * noise / weight[i, k, y] if good[i, k, y] else 0.0
        # where one neighbour has no data, or a hit of its own, the other one stands in for it
        for k in (0, 2):
            for y in range(n_cross):
                smooth[k, y] = _is_smooth(above[i, k], variance[i, k], y)
        for y in range(n_cross):
            for k in (0, 2):
                good[i, k, y] &= smooth[k, y]
            for this, other in ((0, 2), (2, 0)):
                if not good[i, this, y]:
                    above[i, this, y] = above[i, other, y] if good[i, other, y] else 0.0
                    variance[i, this, y] = variance[i, other, y]
            known = good[i, 1, y] and (good[i, 0, y] or good[i, 2, y])
            spread = variance[i, 1, y] + _SHARE * (variance[i, 0, y] + variance[i, 2, y])
            left[i, y] = 1.0 / spread if known else 0.0
            joint[i, 0, y], joint[i, 1, y] = above[i, 0, y], above[i, 2, y]
            # what the next columns predict is as good as the profile at least: the continuum is tolerated alike
            wrong[i, 0, y], wrong[i, 1, y] = _BENT * abs(above[i, 0, y]), _BENT * abs(above[i, 2, y])
            for t in range(n_term):
                joint[i, 2 + t, y] = terms[i, 1, t, y]
            for k in range(tolerance.shape[1]):
                wrong[i, 2 + k, y] = tolerance[i, k, y]


@compiled
def _lacks_alike(
    data: FloatArray, weight: FloatArray, terms: FloatArray, clean: FloatArray, told: BoolArray, noise: float, y: int
) -> bool:
    """Whether row y stands out from three columns' clean fits alike: not a hit on a line that has it."""
    before, this, after, doubt = 0.0, 0.0, 0.0, 0.0
    n_beside = 0
    for k in range(3):
        if not (told[k] and weight[k, y] > 0):
            if k == 1:
                return False
            continue
        value = data[k, y]
        for t in range(terms.shape[1]):
            value -= terms[k, t, y] * clean[k, t]
        doubt += noise * noise / weight[k, y]
        if k == 1:
            this = value
        else:
            n_beside += 1
            before, after = (value, after) if k == 0 else (before, value)
    if n_beside == 0:
        return False
    together = (before + after) * (2.0 / n_beside)
    return np.sign(this) * together > _ALONG * abs(this) - _DOUBT * np.sqrt(doubt)


@compiled
def holds_line(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    clean: FloatArray,
    told: BoolArray,
    noise: float,
    above: FloatArray,
    variance: FloatArray,
    good: BoolArray,
    left: FloatArray,
    neighbours: FloatArray,
    odd: BoolArray,
    seen: BoolArray,
    hit: BoolArray,
    flux: FloatArray,
    tolerance: FloatArray,
    given: BoolArray,
    as_hits: FloatArray,
    as_line: FloatArray,
) -> None:
    """Outliers that look like a line, and the weights with which both explanations of a column are to be fitted.

    Parameters
    ----------
    data, weight, terms, noise
        As for `from_neighbours`.
    clean : ndarray, shape (2, n_column, 3, n_profile)
        Coefficients of the three columns without the middle one's outliers, and of each without its own as well.
    told : ndarray of bool, shape (2, n_column, 3)
        Whether the fit saw the first source.
    above, variance, good, left
        From `from_neighbours`.
    neighbours : ndarray, shape (n_column, 2 + n_profile)
        Coefficients of its `joint`.
    odd : ndarray of bool, shape (n_column, n_cross)
        Outliers from that fit.
    seen, hit : ndarray of bool, shape (n_column, n_cross)
        Outliers near a source, and all of the column.
    flux : ndarray, shape (n_column, n_source)
        Of the sources in a fit to all pixels.
    tolerance : ndarray, shape (n_column, n_source, n_cross)
    given : ndarray of bool, shape (n_column, n_cross)
        Filled: outliers that look like a line.
    as_hits, as_line : ndarray, shape (n_column, n_cross)
        Filled: weights of a fit of the profiles without all outliers, and of one of `joint` with those given back.
    """
    n_column, n_cross = left.shape
    light = np.empty(n_cross)
    for i in range(n_column):
        for y in range(n_cross):
            predicted = neighbours[i, 0] * above[i, 0, y] + neighbours[i, 1] * above[i, 2, y]
            light[y] = predicted if odd[i, y] or not good[i, 1, y] else above[i, 1, y]
        for y in range(n_cross):
            given[i, y] = seen[i, y] and not odd[i, y] and good[i, 1, y] and (good[i, 0, y] or good[i, 2, y])
            if given[i, y]:
                alike = False
                for m in range(2):
                    alike |= _lacks_alike(data[i], weight[i], terms[i], clean[m, i], told[m, i], noise, y)
                given[i, y] = alike and _is_smooth(light, variance[i, 1], y) and _of_three(light, variance[i, 1], y)
            misfit = 0.0
            for k in range(tolerance.shape[1]):
                misfit += max(flux[i, k], 0.0) * tolerance[i, k, y]
            own = weight[i, 1, y]
            as_hits[i, y] = 0.0 if hit[i, y] else own / (noise * noise + own * misfit * misfit)
            predicted = neighbours[i, 0] * above[i, 0, y] + neighbours[i, 1] * above[i, 2, y]
            bent = _BENT * max(predicted, 0.0)
            rest = left[i, y] / (1.0 + left[i, y] * (bent * bent + misfit * misfit))
            as_line[i, y] = 0.0 if hit[i, y] and not given[i, y] else rest
