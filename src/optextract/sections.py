"""Sources that show in part of the columns: the slice, a median of many columns, hides what is in less than half.

Nothing here is asked where nods were subtracted: a twin that is a little off in one section looks like a source.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from .across import fits_better, misfit_of
from .bins import Binned, edges_uniform, median_bins
from .compiled import contiguous
from .compiled.order import any_beyond
from .kernel import Slice
from .placing import another_source, place_sources
from .searching import Placement, is_explained
from .straight import straightened

__all__ = ["another_in_a_section", "place_in_sections", "sections_of", "unexplained_sections"]

FloatArray = NDArray[np.float64]

_NUMBER = 12  # sections
_LEAST = 8  # columns of one
_WIDTHS, _EXACT = (0.6, 1.7), 0.005  # of the slice's FWHM: between what a section's is looked for, and how well
_TELLS = 6.0  # sigma of a pixel that a model leaves in a section


def sections_of(data: FloatArray, weight: FloatArray, bend: FloatArray | None = None) -> tuple[Slice, ...]:
    """Coadd the columns of each of a dozen sections.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    bend : ndarray, shape (n_disp,), optional
        Rows by which the traces are off a straight row: moved back by whole ones.

    Returns
    -------
    tuple of Slice
    """
    bins = _binned(data, weight) if bend is None else _binned(*straightened(data, weight, bend))
    edges = bins.edges.tolist()
    return tuple(
        Slice(
            Binned(bins.data[b : b + 1], bins.weight[b : b + 1], bins.column[b : b + 1], bins.edges[b : b + 2]),
            (edges[b], edges[b + 1] - 1),
            edges[b + 1] - edges[b],
        )
        for b in range(len(edges) - 1)
    )


def _edges(n_disp: int) -> NDArray[np.intp]:
    return edges_uniform(n_disp, max(1, min(_NUMBER, n_disp // _LEAST)))


def _binned(data: FloatArray, weight: FloatArray) -> Binned:
    return median_bins(data, weight, _edges(len(data)))


def unexplained_sections(residual: FloatArray, weight: FloatArray) -> list[int]:
    """Tell in which sections a model leaves more than noise.

    Parameters
    ----------
    residual, weight : ndarray, shape (n_disp, n_cross)
        What the model leaves of all pixels, and their inverse variances (zero where bad).

    Returns
    -------
    list of int
        Which ones of `sections_of`.
    """
    if not any_beyond(contiguous(residual), contiguous(weight), _edges(len(residual)), _TELLS):
        return []
    left = _binned(residual, weight)
    return np.flatnonzero((np.abs(left.data) * np.sqrt(left.weight) > _TELLS).any(axis=1)).tolist()


def another_in_a_section(
    sections: tuple[Slice, ...],
    positions: tuple[float, ...],
    fwhm: float,
    fwhm_bounds: tuple[float, float],
) -> tuple[float, float, tuple[int, int]] | None:
    """Look for one source more in each section by itself.

    Parameters
    ----------
    sections : tuple of Slice
        From `sections_of`, or some of them.
    positions : tuple of float
        Rows of the sources so far.
    fwhm : float
        Their FWHM, pixel.
    fwhm_bounds : tuple of float
        Limits of the FWHM, pixel.

    Returns
    -------
    row : float
        Of the new source.
    evidence : float
        For it: see `optextract.placing.another_source`.
    columns : tuple of int
        First and last column of the section that shows it best.

    None in place of these where no section shows one.
    """
    best = None
    for cut in sections:
        seen = another_source(cut, positions, fwhm, (), fwhm_bounds)
        if seen is not None and np.isfinite(seen[1]) and (best is None or seen[1] > best[1]):
            rows = np.array(seen[0].positions)
            away = np.abs(rows[:, None] - np.array(positions)).min(axis=1)
            best = float(rows[away.argmax()]), seen[1], cut.columns
    return best


def place_in_sections(
    sections: tuple[Slice, ...],
    cut: Slice,
    placed: Placement,
    fwhm_bounds: tuple[float, float],
) -> Placement:
    """Take the last source from the section that shows it, where the slice does not show it.

    Parameters
    ----------
    sections : tuple of Slice
        From `sections_of`.
    cut : Slice
        The kernel slice.
    placed : Placement
        Two sources or more, as the slice shows them.
    fwhm_bounds : tuple of float
        Limits of the FWHM, pixel.

    Returns
    -------
    Placement
        The same where it explains all sections, or better than what any of them shows.
    """
    now = [_misfit(each, placed.positions, placed.fwhm) for each in sections]
    if all(is_explained(each, misfit) for each, misfit in zip(sections, now, strict=True)):
        return placed
    fewer = place_sources(cut, placed.positions[0], placed.fwhm, len(placed.positions) - 1, (), fwhm_bounds)
    seen = another_in_a_section(sections, fewer.positions, fewer.fwhm, fwhm_bounds)
    if seen is None:
        return placed
    positions = (*fewer.positions, seen[0])
    misfit = sum(_misfit(each, positions, fewer.fwhm) for each in sections)
    if not fits_better(sections, sum(now), misfit):
        return placed
    return Placement(positions, fewer.fwhm, misfit, placed.shape)


def _misfit(cut: Slice, positions: tuple[float, ...], fwhm: float) -> float:
    """Chi2 of sources on a section at the width that is best there: with wavelength it changes."""
    best = misfit_of(cut, positions, fwhm, ())
    if is_explained(cut, best):
        return best
    low, high = _WIDTHS
    found = minimize_scalar(
        lambda width: misfit_of(cut, positions, width, ()),
        bounds=(low * fwhm, high * fwhm),
        method="bounded",
        options={"xatol": _EXACT * fwhm},
    )
    return min(best, float(found.fun))
