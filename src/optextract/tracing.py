"""Bins for the global fit of trace and width: medians at first, then means that follow the S/N."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from .bins import Binned, edges_by_signal, edges_uniform, mean_bins, median_bins, split_moving
from .choose import Choice, choose_geometry
from .compiled import contiguous, search
from .filters import BIN_CLIP, filter_kernel
from .frame import Frame
from .geometry import evaluate
from .layers import Swept
from .locate import Start
from .profiles import Gaussian
from .recipe import Recipe
from .robust import median
from .solve import model_of, solve_columns
from .stripes import find_stripes
from .window import Window

__all__ = ["first_choice", "refine"]

_BIN_SNR = 5.0
_ROUGH = 0.1  # tolerance of the first fit: the second one starts from it
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
        edges = _first_edges(window, start, recipe)
        alone = _bright_columns(window, start, edges)
        # the median of one column is the column itself, its flux is free, and its bad pixels are simply not there
        edges = np.unique(np.concatenate([edges, alone, alone + 1])) if len(alone) else edges
        binned = median_bins(window.data, window.weight, edges)
    choice = choose_geometry(
        binned,
        start.geometry,
        start.problem,
        recipe,
        rectified=frame.meta.get("rectified") is True and not start.detection.curved,
        from_data=start.from_data,
        tolerance=_ROUGH,
    )
    return choice, find_stripes(binned, choice)


def _first_edges(window: Window, start: Start, recipe: Recipe) -> NDArray[np.intp]:
    bins = recipe.trace.bins
    if isinstance(bins, int):
        return edges_uniform(window.n_disp, bins)
    if isinstance(bins, tuple):
        edges = np.round(np.array(bins) - window.column).astype(np.intp)
        return np.unique(np.clip(np.concatenate([[0], edges, [window.n_disp]]), 0, window.n_disp))
    # the S/N of a detection is capped per bin: it says little of a bright source, for which medians of 16 columns do
    capped = 0.7 * BIN_CLIP * np.sqrt(len(start.detection.bin_snr))
    most = window.n_disp // 16 + 1
    count = most if start.detection.snr > capped else int(np.clip((start.detection.snr / _BIN_SNR) ** 2, 1, most))
    edges = edges_uniform(window.n_disp, count)
    centre, fwhm = evaluate(start.geometry, window.columns)
    return split_moving(edges, centre[0], 2 * _MOST_MOVE * fwhm[0])


def _bright_columns(window: Window, start: Start, edges: NDArray[np.intp]) -> NDArray[np.intp]:
    """Columns of lines, which medians of many columns do not see, where they hold much of what there is to fit to.

    A column counts where two neighbours or more stand out with it: a hit does so in one column, or is no profile, which
    costs its bin the weight.
    """
    centre, fwhm = evaluate(start.geometry, window.columns)
    snr = np.empty(window.n_disp)
    rows = np.round(centre[0]).astype(np.intp)
    kernel = filter_kernel(round(median(fwhm[0]), 1))
    search.along_path(contiguous(window.data), contiguous(window.weight), rows, kernel, snr)
    if not (snr > _BRIGHT_SNR).any():
        return np.zeros(0, dtype=np.intp)
    around, per_bin = np.empty(window.n_disp), np.diff(edges)
    middle = median_bins(snr[:, None], np.ones((window.n_disp, 1)), edges).data[:, 0]
    around = np.repeat(np.maximum(middle, 0.0), per_bin)
    stands = snr > np.maximum(_BRIGHT_SNR, _ABOVE * around)
    if not stands.any():
        return np.zeros(0, dtype=np.intp)
    stands[stands] = _spreads(window, np.flatnonzero(stands), rows, fwhm[0])
    together = binary_opening(stands, np.ones(_RUN))
    lines = np.flatnonzero(together)
    promised = (np.minimum(snr[lines], _BRIGHT_CAP) ** 2).sum()
    if promised < _PROMISE * (per_bin * np.minimum(middle, _BRIGHT_CAP) ** 2).sum():
        return np.zeros(0, dtype=np.intp)
    return np.sort(lines[np.argsort(-snr[lines], kind="stable")[:_MOST_BRIGHT]])


def _spreads(
    window: Window, columns: NDArray[np.intp], rows: NDArray[np.intp], fwhm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether the brightest pixel near the trace has a neighbour as bright as a profile makes it: a hit has none."""
    data, weight = window.data[columns], window.weight[columns]
    level = np.array([median(line[good]) for line, good in zip(data, weight > 0, strict=True)])
    light = np.where(weight > 0, data - level[:, None], -np.inf)
    away = np.abs(np.arange(window.n_cross) - rows[columns][:, None])
    near = np.where(away <= np.ceil(fwhm[columns])[:, None] + 1, light, -np.inf)
    peak, each = near.argmax(axis=1), np.arange(len(columns))
    wide = np.pad(light, ((0, 0), (1, 1)), constant_values=-np.inf)
    beside = np.maximum(wide[each, peak], wide[each, peak + 2])
    width = np.minimum(fwhm[columns], _WIDEST)
    shape, edge, zero = Gaussian(), np.array(0.5), np.array(0.0)
    usual = shape.fraction(edge, edge + 1, zero, width) / shape.fraction(-edge, edge, zero, width)
    return np.asarray(beside > _SPREAD * usual * near[each, peak])


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
    problem = replace(start.problem, nods=start.problem.nods if swept.nod_mode == "model" else ())
    better = choose_geometry(
        _second_bins(window, swept),
        choice.fit.geometry,
        replace(problem, shape=choice.fit.shape if recipe.profile.kind != "auto" else problem.shape),
        recipe,
        rectified=frame.meta.get("rectified") is True and not start.detection.curved,
        from_data=start.from_data,
        noise=swept.slow,
    )
    return better if _agrees(window, choice, better) else choice


def _agrees(window: Window, first: Choice, second: Choice) -> bool:
    """Whether the refined trace is where the robust one was: it may be sharper, not another one."""
    column = np.linspace(0, window.n_disp - 1, 9)
    (before, wide), (after, width) = (evaluate(c.fit.geometry, column) for c in (first, second))
    moved = np.abs(after - before) / wide
    return bool((np.median(moved, axis=1) < 0.5).all() and (np.abs(np.log(width / wide)) < 0.7).all())


def _second_bins(window: Window, swept: Swept) -> Binned:
    n_source = len(swept.centre)
    # where only a wing is left the flux is wild, and what it would fill the gaps with is wilder
    light = np.abs(swept.profiles)
    seen = (light * (swept.kept > 0)[:, None, :]).sum(axis=2) > _LEAST_SEEN * light.sum(axis=2)
    kept = np.where(seen[:, :n_source].all(axis=1)[:, None], swept.kept, 0.0)
    data = np.where(kept > 0, window.data - swept.background, 0.0)
    solution = solve_columns(data, kept, swept.profiles)
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = solution.coefficients[:, :n_source] ** 2 / np.einsum("xtt->xt", solution.covariance)[:, :n_source]
    strength = np.maximum(np.nan_to_num(signal).max(axis=1) - 1.0, 0.0)
    # no column counts for more than a bin: one cosmic ray must not take the bins from all others
    edges = edges_by_signal(np.minimum(strength, _BIN_SNR**2), _BIN_SNR**2, _MOST_BINS)
    edges = split_moving(edges, swept.centre[0], _MOST_MOVE * swept.fwhm[0])
    light = model_of(swept.profiles, np.where(seen, solution.coefficients, 0.0))
    return mean_bins(data, kept, light, edges, solution.coefficients[:, :n_source].max(axis=1))
