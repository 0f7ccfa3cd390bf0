"""Named figures of an extraction, and what they mean in words."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .beneath import columns_off
from .bins import in_runs
from .choose import Choice, waves
from .compiled.figures import compare
from .frame import Frame
from .layers import Final, Layers, NoiseScale
from .locate import Start
from .misfit import unexplained
from .noise import HONEST, STILL, Variance, source_pull
from .profiles import MOFFAT_INDICES
from .recipe import Recipe
from .results import Boxcar, TraceFit
from .robust import median
from .second import second_source, several_in_words, unmodelled_in_words
from .uneven import uneven_in_words
from .window import Window

__all__ = ["figures", "nods_in_words", "noise_in_words"]

FloatArray = NDArray[np.float64]

_CLOSE = 1.01
_AT_LIMIT = 0.05  # of a Moffat's index: nearer to its lower limit it ends there
_LEAST_OFF = 5  # columns in which the background does not fit, of which more than hits must be the cause
_WAVY = 6.0  # sigma of what neighbouring bins' shifts have in common
_SPREAD = 1.17  # one sigma of a robust scatter of n values, times the root of n
_MISFIT = 0.002  # of the flux, above which the profile is questioned
_MUCH = 0.3  # of a column's flux that is missed
_ROWS, _RUN = 2, 3  # rows and neighbouring columns that a track of one pixel's width does not take at once
_POOR = 1.3  # reduced scatter of the trace fit above which its model is questioned


def figures(
    frame: Frame,
    recipe: Recipe,
    window: Window,
    layers: Layers,
    start: Start,
    choice: Choice,
    variance: Variance,
    final: Final,
    flux: FloatArray,
    uncertainty: FloatArray,
    box: Boxcar,
    inside: FloatArray,
    unrejected: FloatArray,
    flux_window: str,
    rescale: NoiseScale,
    trace: TraceFit,
) -> MappingProxyType[str, Any]:
    """Collect the figures.

    Parameters
    ----------
    frame, recipe : Frame, Recipe
        What was extracted, and how it was asked for.
    window, layers, start, choice, variance, final, trace
        What the stages found.
    flux, uncertainty, unrejected : ndarray, shape (n_source, n_column)
        Fluxes in the spectrum's unit, their errors, and the fluxes with no pixel rejected.
    box : Boxcar
        The matched plain sum.
    inside : ndarray, shape (n_source, n_disp)
        Part of each profile that it sums.
    flux_window : str
        What the flux refers to.
    rescale : NoiseScale
        Source-free pulls, and the factor that was applied because of them.

    Returns
    -------
    mapping
        ``chi2`` (reduced, region), ``pull`` (source-free pulls by kind), ``noise_scale`` (factor applied to all
        errors), ``snr_total``, ``snr_median``, ``gain`` (S/N over the matched boxcar's), ``efficiency`` (Cramer-Rao
        bound over error), ``optimal_over_boxcar`` (ratio and error), ``profile_fraction``, ``trace_rms`` (pixel),
        ``profile`` (its kind), ``empirical``, ``flux_window``, ``rejected``, ``restored``, ``misfit``,
        ``rejection_effect``, ``masked_fraction``, ``lost_columns``, ``background``, ``nods``, ``variance``,
        ``revised_slope``, ``detection_snr``, ``second_source`` (whether two would fit better than one), ``noise`` (in
        words) and ``warnings`` (tuple of sentences).
    """
    n_source = len(layers.centre)
    n_free = layers.profiles.shape[1] * final.n_seen + layers.background.n_parameters
    found = np.empty((n_source, 8))
    lost_columns = compare(
        flux,
        uncertainty,
        unrejected,
        box.flux,
        box.uncertainty,
        window.column,
        inside,
        final.inverse,
        final.covariance,
        final.good_fraction,
        found,
    )
    total, middle, gain, efficiency, fraction, effect, ratio, ratio_error = (tuple(each) for each in found.T.tolist())
    words = [*window.warnings, *start.warnings, *variance.warnings]
    of_errors = noise_in_words(rescale.pulls) + nods_in_words(frame, recipe)
    of_errors += uneven_in_words(rescale.pulls["along"], window.n_disp, window.column)
    words += of_errors
    words += _masked_away(window, start, choice, layers, final, recipe)
    words += _background_in_words(layers, final)
    words += _second_look(start, choice, trace)
    second = _second_source(window, start, choice, layers, final, recipe)
    words += second
    words += several_in_words(layers.centre, layers.fwhm, window.row, flux, uncertainty)
    columns = slice(window.column, window.column + window.n_disp)
    taken = _eaten(final.struck, flux[:, columns].T, unrejected[:, columns].T)
    words += _lines_in_words(window, start, layers, taken)
    misfit = unexplained(
        final.residual,
        layers.kept,
        final.coefficients,
        final.covariance,
        layers.centre,
        layers.fwhm,
        layers.noise,
    )
    if misfit <= _MISFIT:  # else it is told below
        words += source_in_words(layers, final, rescale.pulls["pixel"])
    if misfit > _MISFIT and recipe.profile.empirical is not False:  # who takes it as it is wants no correction
        words.append(
            f"The profile puts {100 * misfit:.1f} % of the light into the wrong pixels of all columns, and wings that "
            "reach further pass for background: the flux may be wrong by a few times that. profile.template takes "
            "the profile of a reference star."
        )
    chi2 = final.chi2 / max(final.n_good - n_free, 1)
    words += unmodelled_in_words(chi2, rescale.pulls["pixel"])
    values: dict[str, Any] = {
        "chi2": chi2,
        "pull": MappingProxyType(dict(rescale.pulls)),
        "noise_scale": rescale.factor,
        "snr_total": total,
        "snr_median": middle,
        "gain": gain,
        "efficiency": efficiency,
        "optimal_over_boxcar": tuple(zip(ratio, ratio_error, strict=True)),
        "profile_fraction": fraction,
        "trace_rms": trace.rms,
        "profile": choice.kind,
        "empirical": layers.empirical,
        "flux_window": flux_window,
        "rejected": int(np.count_nonzero(layers.rejected.pixels)),
        "restored": int(np.count_nonzero(layers.rejected.restored)),
        "misfit": misfit,
        "rejection_effect": tuple(
            _rejection_effect(effect[k], flux[k], unrejected[k]) if taken[:, k].any() else effect[k]
            for k in range(n_source)
        ),
        "masked_fraction": 1 - np.count_nonzero(window.weight > 0) / window.weight.size,
        "lost_columns": lost_columns,
        "background": MappingProxyType(
            {"degree": layers.background.degree, "along": layers.background.along, **layers.background.test}
        ),
        "nods": MappingProxyType({"mode": layers.nod_mode, "offsets": choice.fit.geometry.moved(start.problem.nods)}),
        "variance": variance.words,
        "revised_slope": layers.slope,
        "detection_snr": start.detection.snr,
        "second_source": bool(second),
        "noise": " ".join(of_errors),
        "warnings": tuple(dict.fromkeys(words)),
    }
    return MappingProxyType(values)


def _eaten(struck: NDArray[np.intp], flux: FloatArray, unrejected: FloatArray) -> NDArray[np.bool_]:
    """Columns of runs in which rejection took much of the light from several rows, shape (n_disp, n_source).

    Cosmic rays do so too, but hardly in several neighbouring columns and rows at once.
    """
    much = struck >= _ROWS
    if not much.any():
        return much
    with np.errstate(invalid="ignore"):
        much &= (np.isnan(flux) & np.isfinite(unrejected)) | (unrejected - flux > _MUCH * np.abs(unrejected))
    return in_runs(much, _RUN)


def _lines_in_words(window: Window, start: Start, layers: Layers, eaten: NDArray[np.bool_]) -> list[str]:
    """What lines that differ from the continuum's profile mean for their flux, kept or rejected."""
    if not start.from_data:
        return []  # where no source is seen, there is nothing to differ from, and nothing of it to take
    words = []
    lines = np.flatnonzero(layers.rejected.lines)
    if len(lines):
        own = np.isin(lines, list(layers.rejected.mixed)).all()
        how = "with the profile of their own light" if own else "with the continuum's profile"
        off = "a few per cent, more where it is faint" if own else "some ten per cent"
        words.append(
            f"Lines differ from the continuum's profile in {len(lines)} columns (flag RESTORED_PIXELS; columns "
            f"{lines[0] + window.column} to {lines[-1] + window.column}): their pixels are kept and weighted {how}; "
            f"their flux may be off by {off}. A region around the line has its profile, the boxcar needs none, and "
            "rejection.mode: false rejects nothing."
        )
    lost = np.flatnonzero(eaten.any(axis=1))
    if len(lost):
        words.append(
            f"Rejection took much of the light of {len(lost)} neighbouring columns (among {lost[0] + window.column} to "
            f"{lost[-1] + window.column}): cosmic rays hardly do. Compare flux_unrejected, and the flux with "
            "rejection.mode: false."
        )
    return words


def _rejection_effect(usual: float, flux: FloatArray, unrejected: FloatArray) -> float:
    """Flux without rejection over flux where runs of columns have lost their light: that of the sums, if it is one."""
    bottom = float(np.nansum(np.where(np.isfinite(unrejected), flux, np.nan)))
    return float(np.nansum(unrejected)) / bottom if bottom > 0 else usual


def noise_in_words(pulls: dict[str, Any]) -> list[str]:
    """Say what source-free pulls outside 0.8 to 1.25 mean for the errors.

    Parameters
    ----------
    pulls : dict
        As `noise.pulls` measures them.

    Returns
    -------
    list of str
        One sentence; none where the errors are honest.
    """
    one, ten = pulls["profile"], pulls["bin10"]
    if not np.isfinite(one):
        one = pulls["pixel"]
    if not np.isfinite(one):
        return ["The errors could not be checked: there are too few source-free pixels."]
    if one < STILL:
        return ["The errors could not be checked: source-free pixels do not scatter, or next to none of them do."]
    if HONEST[0] <= one <= HONEST[1]:
        if np.isfinite(ten) and ten > max(HONEST[1], one * (1.0 + 3.0 * _SPREAD / np.sqrt(pulls["n_bin10"]))):
            return [
                "The errors of neighbouring columns are correlated: that of a sum of 10 columns, such as a line's "
                f"flux, is {ten:.2f} times too small according to source-free pixels."
            ]
        return []
    amount = f"{one:.2f} times too small" if one > 1 else f"{1 / one:.2f} times too large"
    sentence = f"The errors are {amount} according to source-free pixels"
    if np.isfinite(ten):
        sentence += f"; for line fluxes (10 columns) by {ten:.2f}"
    return [sentence + "."]


def source_in_words(layers: Layers, final: Final, beside: float) -> list[str]:
    """Say where the source scatters more than its errors, and pixels beside it do not.

    Parameters
    ----------
    layers, final : Layers, Final
        Profiles and weights; residuals and covariance.
    beside : float
        Pull of source-free pixels.

    Returns
    -------
    list of str
        One sentence, or none.
    """
    if not np.isfinite(beside):
        return []
    words = []
    for k in range(len(layers.centre)):
        variance = final.inverse[:, k, k]
        pull, n = source_pull(final.residual, layers.kept, layers.sources[:, k], variance, layers.centre[k])
        usual = max(beside, 1.0)
        if np.isfinite(pull) and pull > usual * max(HONEST[1], 1.0 + 4.0 * _SPREAD / np.sqrt(n)):
            which = "the source" if len(layers.centre) == 1 else f"source {k + 1}"
            words.append(
                f"Residuals on {which} are {pull:.2f} times their errors, beside it {beside:.2f}: the variance lacks "
                "photon noise of the source, or the profile does not fit it. The errors of the flux are too small."
            )
    return words


def nods_in_words(frame: Frame, recipe: Recipe) -> list[str]:
    """Say what is known of the nod subtraction's own noise, and whether it was added.

    Parameters
    ----------
    frame : Frame
        The frame, for the number of nods and what its file says of their noise.
    recipe : Recipe
        The settings.

    Returns
    -------
    list of str
        One sentence; none where no nods were subtracted or the errors hold their noise.
    """
    count = frame.meta.get("nod_count")
    if count is None or count < 2:
        return []
    lack = np.sqrt(1.0 + 1.0 / (count - 1.0))
    held = frame.meta.get("nod_noise")
    if recipe.noise.nod_term:
        sentence = f"The noise of subtracting {count} nods from each other was added to the errors (factor {lack:.2f})."
        return [sentence + (" The file says that they held it already." if held == "included" else "")]
    if held == "included":
        return []
    if held == "omitted":
        return [f"The errors lack the noise of subtracting {count} nods (factor {lack:.2f}): noise.nod_term adds it."]
    return [
        f"The file does not tell whether its errors hold the noise of subtracting {count} nods "
        f"(factor {lack:.2f} if not): compare the source-free pulls, and set noise.nod_term if they agree."
    ]


def _background_in_words(layers: Layers, final: Final) -> list[str]:
    """Say where a background that is free in each column leans on the profile, or does not fit beside the sources."""
    fit = layers.background
    words = []
    if "varies" in fit.test:
        words.append(
            "The sky varies from column to column, and too few rows are free of the source to tell it from the source: "
            "the background is fitted together with it in each column and leans on its profile "
            "(background.along: smooth does not follow the sky)."
        )
    if fit.along == "column":
        number = columns_off(
            final.residual, layers.kept, layers.clear, layers.centre, median(layers.fwhm), layers.noise
        )
        if number >= _LEAST_OFF:
            words.append(
                f"The background beside the source does not fit in {number} columns (bent or tilted sky lines, or "
                "wings that the profile lacks), nor may it beneath it: set background.rows, region or "
                "background.degree."
            )
    return words


def _masked_away(
    window: Window, start: Start, choice: Choice, layers: Layers, final: Final, recipe: Recipe
) -> list[str]:
    """Columns whose flux the masks of negative traces have taken."""
    if layers.nod_mode != "mask":
        return []
    least = recipe.flux.min_profile
    unmasked = (layers.sources * (window.weight > 0)[:, None, :]).sum(axis=2)
    taken = ((unmasked >= least) & (final.good_fraction < least)).any(axis=1)
    if not taken.any():
        return []
    nearest = min(abs(offset) for offset in choice.fit.geometry.moved(start.problem.nods))
    return [
        f"The masks of the negative traces reach a source: {taken.sum()} of {len(taken)} columns have no flux for it "
        f"(the nearest trace is {nearest:.1f} pixels from its source, at a FWHM of {median(layers.fwhm):.1f}). "
        f"nods.mode: {'model' if recipe.nods.mode == 'auto' else 'model or auto'} keeps them."
    ]


def _second_source(
    window: Window, start: Start, choice: Choice, layers: Layers, final: Final, recipe: Recipe
) -> tuple[str, ...]:
    """Whether two sources would have been better than one."""
    if choice.fit.geometry.given is not None:
        return ()
    poor = choice.noise > _POOR
    return second_source(window, start, layers.centre, layers.fwhm, choice.fit.shape, recipe, final.model, poor)


def _second_look(start: Start, choice: Choice, trace: TraceFit) -> list[str]:
    """What the fit itself has to say."""
    words = [] if choice.fit.converged else ["The fit of trace and width did not converge."]
    if start.problem.free_width and start.from_data:
        words += _width_at_its_limit(np.exp(choice.fit.geometry.log_fwhm[:, 0]), start.problem.fwhm_bounds, choice.kind)
    index = choice.fit.shape.index
    if choice.problem.nods and choice.kind == "moffat" and index is not None and index < MOFFAT_INDICES[0] + _AT_LIMIT:
        words.append(
            f"Beside the negative traces a Moffat of the least index allowed ({index:.1f}) fits best, and there wings "
            "and background are nearly one and the same: the flux may be off by some ten per cent."
        )
    geometry = choice.fit.geometry
    if (
        start.problem.free_centre
        and start.from_data
        and geometry.given is None
        and waves(choice.fit) > _WAVY
        and np.isfinite(trace.rms)
    ):
        words.append(
            f"The trace waves by {trace.rms:.2f} pixels about its polynomial of degree {len(geometry.centre) - 1}: "
            "trace.degree or trace.given may follow it."
        )
    return words


def _width_at_its_limit(widths: FloatArray, bounds: tuple[float, float], kind: str) -> list[str]:
    """Say so where a mean FWHM ends at a limit; the lower one of a template is its own width, and an answer."""
    low, high = bounds
    words = []
    if widths.max() > high / _CLOSE:
        words.append(
            f"The FWHM, {widths.max():.1f} pixels, ends at the upper limit of its range: what was fitted may be "
            "background; profile.fwhm.bounds sets the range."
        )
    if widths.min() < low * _CLOSE and kind != "template":
        words.append(
            f"The FWHM, {widths.min():.1f} pixels, ends at the lower limit of its range: the source is narrower than "
            "the kernel slice, or what was fitted is none; profile.fwhm.bounds sets the range."
        )
    return words
