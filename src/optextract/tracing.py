"""Bins for the global fit of trace and width: medians at first, then means that follow the S/N."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .bins import Binned, edges_by_signal, edges_uniform, in_runs, mean_bins, median_bins, split_moving
from .choose import Choice, choose_geometry
from .compiled import contiguous, gather, search
from .filters import BIN_CLIP, filter_kernel
from .frame import Frame
from .geometry import evaluate
from .halves import divided
from .layers import Swept
from .locate import Start
from .profiles import Gaussian
from .recipe import Recipe
from .robust import median
from .solve import known_of
from .stripes import find_stripes
from .window import Window

__all__ = ["first_choice", "refine"]

FloatArray = NDArray[np.float64]

_BIN_SNR = 5.0
_ROUGH = 0.1  # tolerance of the first fit: the second one starts from it
_STEPS = 2  # at the degrees that were chosen before, ahead of the highest ones
_LINE_SNR = 4.0  # of a bin that shows an emission line
_BRIGHT_SNR = 8.0  # of a column that may be fitted by itself
_ABOVE = 3.0  # times the S/N of the columns around it: it belongs to a line
_RUN = 3  # columns side by side that stand out: a hit has fewer, or another profile
_SPREAD, _WIDEST = 0.4, 2.5  # of what a neighbour of the brightest pixel holds of it, for a FWHM up to this
_MOST_BRIGHT = 90
_BRIGHT_CAP = 100.0  # S/N that one column can add to what lines promise
_PROMISE = 4.0  # times the squared S/N of the medians: what lines must bring to be looked at by themselves
_MOST_BINS = 80
_LEAST_SEEN = 0.3  # of each profile on good pixels, for its column and its light to count
_COMPARED = 9  # columns, an odd number, in which two traces are compared
_MOST_MOVE = 0.15  # of the FWHM: how far a trace may move within a bin


def first_choice(frame: Frame, window: Window, start: Start, recipe: Recipe) -> tuple[Choice, NDArray[np.intp]]:
    """Fit trace and width to medians of bins, which no cosmic ray moves; to the bins with lines where only those show.

    Parameters
    ----------
    frame : Frame
        The frame, for whether it is rectified.
    window : Window
        The pixels that take part.
    start : Start
        Where the fit starts.
    recipe : Recipe
        The settings.

    Returns
    -------
    choice : Choice
        The fit.
    stripes : ndarray of int
        Rows of the window that no light explains.
    """
    if recipe.sources.find == "lines":
        edges = start.detection.edges
        binned = mean_bins(window.data, window.weight, np.zeros_like(window.data), edges)
        bright = start.detection.bin_snr > _LINE_SNR
        binned = Binned(binned.data, binned.weight * bright[:, None], binned.column, binned.edges)
    else:
        centre, fwhm = evaluate(start.geometry, window.columns)
        edges = _first_edges(window, start, centre[0], fwhm[0], recipe)
        alone = _bright_columns(window, centre[0], fwhm[0], edges)
        # the median of one column is the column itself, its flux is free, and its bad pixels are simply not there
        edges = np.unique(np.concatenate([edges, alone, alone + 1])) if len(alone) else edges
        binned = median_bins(window.data, window.weight, edges)
    choice = choose_geometry(
        binned,
        divided(binned, start.geometry, start.problem) if _may_be_halves(start, recipe) else start.geometry,
        start.problem,
        recipe,
        rectified=frame.meta.get("rectified") is True and not start.detection.bends,
        from_data=start.from_data,
        tolerance=_ROUGH,
    )
    return choice, find_stripes(binned, choice)


def _may_be_halves(start: Start, recipe: Recipe) -> bool:
    """Whether more than one source was asked for, and nobody said where."""
    geometry, problem, asked = start.geometry, start.problem, recipe.sources
    free = problem.free_centre and problem.free_width and geometry.given is None and not problem.nods
    told = asked.number == "auto" or asked.find == "lines" or any(item.centre.value is not None for item in asked.items)
    return free and start.from_data and not told and geometry.n_source > 1 and len(geometry.log_fwhm) == 1


def _first_edges(
    window: Window, start: Start, centre: FloatArray, fwhm: FloatArray, recipe: Recipe
) -> NDArray[np.intp]:
    bins = recipe.trace.bins
    if isinstance(bins, int):
        return edges_uniform(window.n_disp, bins)
    if isinstance(bins, tuple):
        edges = np.round(np.array(bins) - window.column).astype(np.intp)
        return np.unique(np.clip(np.concatenate([[0], edges, [window.n_disp]]), 0, window.n_disp))
    # the S/N of a detection is capped per bin: it says little of a bright source, for which medians of 16 columns do
    capped = 0.7 * BIN_CLIP * np.sqrt(len(start.detection.bin_snr))
    most = window.n_disp // 16 + 1
    count = most if start.detection.snr > capped else int(min(max((start.detection.snr / _BIN_SNR) ** 2, 1), most))
    return split_moving(edges_uniform(window.n_disp, count), centre, 2 * _MOST_MOVE * fwhm)


def _bright_columns(window: Window, centre: FloatArray, fwhm: FloatArray, edges: NDArray[np.intp]) -> NDArray[np.intp]:
    """Columns of lines, which medians of many columns do not see, where they hold much of what there is to fit to.

    A column counts where two neighbours or more stand out with it: a hit does so in one column, or is no profile, which
    costs its bin the weight.
    """
    snr, middle, stands = np.empty(window.n_disp), np.empty(len(edges) - 1), np.empty(window.n_disp, dtype=bool)
    rows = np.round(centre).astype(np.intp)
    kernel = filter_kernel(round(median(fwhm), 1))
    search.along_path(contiguous(window.data), contiguous(window.weight), rows, kernel, snr)
    if not gather.lines_above(snr, edges, _BRIGHT_SNR, _ABOVE, middle, stands):
        return np.zeros(0, dtype=np.intp)
    stands[stands] = _spreads(window, np.flatnonzero(stands), rows, fwhm)
    lines = np.flatnonzero(in_runs(stands, _RUN))
    promised = (np.minimum(snr[lines], _BRIGHT_CAP) ** 2).sum()
    if promised < _PROMISE * (np.diff(edges) * np.minimum(middle, _BRIGHT_CAP) ** 2).sum():
        return np.zeros(0, dtype=np.intp)
    return np.sort(lines[np.argsort(-snr[lines], kind="stable")[:_MOST_BRIGHT]])


def _spreads(window: Window, columns: NDArray[np.intp], rows: NDArray[np.intp], fwhm: FloatArray) -> NDArray[np.bool_]:
    """Whether the brightest pixel near the trace has a neighbour as bright as a profile makes it: a hit has none."""
    width = np.minimum(fwhm[columns], _WIDEST)
    shape, edge, zero = Gaussian(), np.array(0.5), np.array(0.0)
    usual = shape.fraction(edge, edge + 1, zero, width) / shape.fraction(-edge, edge, zero, width)
    wide = np.empty(len(columns), dtype=bool)
    gather.spreads(
        contiguous(window.data), contiguous(window.weight), columns, rows, contiguous(fwhm), _SPREAD * usual, wide
    )
    return wide


def refine(frame: Frame, window: Window, start: Start, choice: Choice, swept: Swept, recipe: Recipe) -> Choice:
    """Fit trace and width again, on cleaned pixels in bins that follow the S/N.

    Parameters
    ----------
    frame : Frame
        The frame, for whether it is rectified.
    window : Window
        The pixels that take part.
    start : Start
        What is free.
    choice : Choice
        The first trace and width.
    swept : Swept
        Background, outliers and weights that were found with them.
    recipe : Recipe
        The settings.

    Returns
    -------
    Choice
        The refined one, or the first where nothing is free or the refined one is elsewhere.
    """
    if not (start.problem.free_centre or start.problem.free_width):
        return choice
    problem = start.problem
    better = choose_geometry(
        _second_bins(window, swept),
        choice.fit.geometry,
        replace(
            problem,
            nods=problem.nods if swept.nod_mode == "model" else (),
            shape=choice.fit.shape if recipe.profile.kind != "auto" else problem.shape,
        ),
        recipe,
        rectified=frame.meta.get("rectified") is True and not start.detection.bends,
        from_data=start.from_data,
        noise=swept.slow,
        most_steps=_STEPS,
    )
    # a first fit that stands where it could not go on, as bounds of the width may have it, is no measure
    sure = better.fit.converged and not choice.fit.converged
    return better if sure or _agrees(window, choice, better) else choice


def _agrees(window: Window, first: Choice, second: Choice) -> bool:
    """Whether the refined trace is where the robust one was: it may be sharper, not another one."""
    column = np.linspace(0, window.n_disp - 1, _COMPARED)
    (before, wide), (after, width) = (evaluate(c.fit.geometry, column) for c in (first, second))
    moved = np.sort(np.abs(after - before) / wide, axis=1)[:, _COMPARED // 2]
    return bool((moved < 0.5).all() and (np.abs(np.log(width / wide)) < 0.7).all())


def _second_bins(window: Window, swept: Swept) -> Binned:
    """Means of the cleaned pixels in bins that gather the same S/N."""
    n_disp, n_profile, n_cross = swept.profiles.shape
    pixels = (
        contiguous(window.data),
        contiguous(swept.background),
        contiguous(swept.kept),
        contiguous(swept.profiles),
    )
    coefficients, whole = np.empty((n_disp, n_profile)), np.empty(n_disp, dtype=bool)
    flux, strength = np.empty(n_disp), np.empty(n_disp)
    covariance = known_of(swept.kept, swept.profiles, swept.known).covariance
    gather.light_of_columns(*pixels, covariance, len(swept.centre), _LEAST_SEEN, coefficients, whole, flux, strength)
    # no column counts for more than a bin: one cosmic ray must not take the bins from all others
    edges = edges_by_signal(strength, _BIN_SNR**2, _MOST_BINS, most=_BIN_SNR**2)
    edges = split_moving(edges, swept.centre[0], _MOST_MOVE * swept.fwhm[0])
    n_bin = len(edges) - 1
    mean, inverse, column = np.empty((n_bin, n_cross)), np.empty((n_bin, n_cross)), np.empty(n_bin)
    gather.means_of_light(*pixels, coefficients, whole, flux, edges, mean, inverse, column)
    return Binned(mean, inverse, column, edges)
