"""A second look at a finished fit: whether two sources would have been better than one, and what is sure of several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .kernel import coadd, fit_slice
from .limits import width_bounds
from .locate import SECOND_EVIDENCE, Start
from .noise import HONEST
from .placing import another_source
from .profiles import Shape
from .recipe import Recipe
from .robust import median
from .searching import is_explained
from .sections import another_in_a_section, sections_of, unexplained_sections
from .straight import straightened
from .window import Window

__all__ = ["second_source", "several_in_words", "unmodelled_in_words"]

FloatArray = NDArray[np.float64]

_UNMODELLED = 1.3  # reduced chi2 over that of source-free pixels
_UNTOLD = 1.65  # chi2 that no pull of source-free pixels explains of which nothing is said
_CLOSE = 0.5  # FWHM between sources below which their light is shared by positions rather than by pixels
_SEEN, _SEEN_ALONG = 3.0, 5.0  # sigma of a source's mean flux, and of its lines, that make it one
_STILL = 0.3  # of the FWHM: what a trace may move without a slice that follows it


def second_source(
    window: Window,
    start: Start,
    centre: FloatArray,
    fwhm: FloatArray,
    shape: Shape,
    recipe: Recipe,
    model: FloatArray,
    poor: bool,
) -> tuple[str, ...]:
    """Say where two sources fit better than the one that was asked for.

    Parameters
    ----------
    window : Window
        The pixels that took part.
    start : Start
        The slice, and what was fitted to it.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Where the sources are, row of the window, and their widths, pixel.
    shape : Shape
        Their profile.
    recipe : Recipe
        The settings.
    model : ndarray, shape (n_disp, n_cross)
        The final one; sections in which it leaves more than noise are looked at.
    poor : bool
        Whether the fit of the trace is: then the slice is looked at first.

    Returns
    -------
    tuple of str
        One sentence; none where nods were subtracted, the shape is not from the data, or one source is enough.
    """
    if start.problem.nods or len(centre) > 1 or not start.from_data or start.detection.lines:
        return ()  # twins a little off look like sources
    bounds = width_bounds(recipe, window, ())
    found = _on_the_slice(window, start, centre[0], fwhm[0], shape, recipe, bounds) if poor else ""
    if not found:
        # of all pixels: rejection may have taken the whole of another source
        where = unexplained_sections(window.data - model, window.weight)
        found = _in_a_section(window, where, centre[0], float(np.median(fwhm[0])), bounds) if where else ""
    number = "2" if recipe.sources.number == "auto" else "2 or auto"
    return (f"{found} set sources.number to {number}.",) if found else ()


def several_in_words(centre: FloatArray, fwhm: FloatArray, row: int, flux: FloatArray, error: FloatArray) -> list[str]:
    """Say which of several sources are too close to each other to be told apart, and which are not seen.

    Parameters
    ----------
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Where the sources are, row of the window, and their widths, pixel.
    row : int
        First row of the window.
    flux, error : ndarray, shape (n_source, n_column)
        Spectra and their 1 sigma errors.

    Returns
    -------
    list of str
        A sentence for each pair and each source of which there is something to say; none for a single source.
    """
    words: list[str] = []
    if len(centre) == 1:
        return words
    for one in range(len(centre)):
        close = False
        for other in range(one):
            apart = median(np.abs(centre[one] - centre[other]))
            part = apart / median(0.5 * (fwhm[one] + fwhm[other]))
            if part < _CLOSE:
                close = True
                words.append(
                    f"Sources {other + 1} and {one + 1} are {apart:.2f} pixels apart, {part:.2f} of their FWHM: how "
                    "they share their light hangs on positions and a profile that the errors take as known. Their sum "
                    "is sure; one source may do."
                )
        mean, excess = _strength(flux[one], error[one])
        if not close and mean < _SEEN and (mean < 0 or excess < _SEEN_ALONG):
            words.append(
                f"Nothing is seen of source {one + 1}, at row {median(centre[one]) + row:.1f}: the mean of its flux is "
                f"{mean:.1f} times its error."
            )
    return words


def unmodelled_in_words(chi2: float, pull: float) -> list[str]:
    """Say so where the model leaves much more than noise.

    Parameters
    ----------
    chi2 : float
        Reduced, of all pixels.
    pull : float
        Of source-free pixels; NaN where there are none.

    Returns
    -------
    list of str
        One sentence, or none.
    """
    usual = max(1.0, pull**2) if np.isfinite(pull) else 1.0
    # of a pull that is told of by itself chi2 says the same again; of one that is not, somebody must
    limit = _UNMODELLED * usual if pull > HONEST[1] else min(_UNMODELLED * usual, _UNTOLD)
    if not chi2 > limit:
        return []
    noise = f"{usual:.1f} in source-free pixels" if np.isfinite(pull) else "1 if the variances are right"
    return [
        f"Reduced chi2 is {chi2:.1f}, and {noise}: something is not modelled, such as another source, negative traces "
        "or a profile that differs."
    ]


def _strength(flux: FloatArray, error: FloatArray) -> tuple[float, float]:
    """S/N of the mean flux, and sigma by which the squared S/N of the columns are above those of noise: of lines."""
    seen = np.isfinite(flux) & (error > 0)
    snr, weight = flux[seen] / error[seen], 1.0 / error[seen]
    if not len(snr):
        return 0.0, 0.0
    return float(snr @ weight / np.sqrt(weight @ weight)), float((snr @ snr - len(snr)) / np.sqrt(2.0 * len(snr)))


def _on_the_slice(
    window: Window,
    start: Start,
    centre: FloatArray,
    fwhm: FloatArray,
    shape: Shape,
    recipe: Recipe,
    bounds: tuple[float, float],
) -> str:
    """What is said of two sources that were taken for one on the kernel slice; nothing where there are none."""
    at = int(np.clip(round(start.cut.centre_column), 0, window.n_disp - 1))
    row, width = float(centre[at]), float(fwhm[at])
    cut = start.cut
    bend = _bend(centre, cut.columns, float(np.interp(cut.centre_column, window.columns, centre)), width)
    if bend is not None:
        cut = coadd(*straightened(window.data, window.weight, bend), cut.columns, recipe.kernel.combine)
    own = replace(start.problem, shape=shape.at(cut.binned.column), index_shape=None, prior_centre=None, rows=())
    if is_explained(cut, fit_slice(cut, (row,), width, own).chi2):
        return ""  # wings that the profile has are no source
    # of two that were taken for one, each is narrower than what was fitted
    seen = another_source(cut, (row,), width, (), bounds)
    if seen is None or seen[1] < SECOND_EVIDENCE:
        return ""
    rows = " and ".join(f"{place + window.row:.1f}" for place in sorted(seen[0].positions))
    return f"Two sources, at rows {rows}, fit the kernel slice better than one (chi2 lower by {seen[1]:.0f}):"


def _in_a_section(
    window: Window, where: list[int], centre: FloatArray, width: float, bounds: tuple[float, float]
) -> str:
    """What is said of a second source that some sections show; nothing where they show none."""
    row = float(centre[window.n_disp // 2])
    sections = sections_of(window.data, window.weight, _bend(centre, (0, window.n_disp - 1), row, width))
    seen = another_in_a_section(tuple(sections[b] for b in where), (row,), width, bounds)
    if seen is None or seen[1] < SECOND_EVIDENCE:
        return ""
    place, evidence, (first, last) = seen
    away = float(centre[(first + last) // 2]) - row + window.row
    return (
        f"A second source, at row {place + away:.1f}, shows in columns {first + window.column} to "
        f"{last + window.column} (chi2 lower by {evidence:.0f}): its light may be in the flux there;"
    )


def _bend(centre: FloatArray, columns: tuple[int, int], row: float, width: float) -> FloatArray | None:
    """Rows by which a trace is off a row, if it moves in these columns: on a slice along rows it is too broad then."""
    return None if np.ptp(centre[columns[0] : columns[1] + 1]) <= _STILL * width else centre - row
