"""How far a spectrum is from the truth of its scene, in units of the smallest error that it could have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optextract.errors import bad_value

from .scene import Scene, cramer_rao

__all__ = ["Score", "score", "summarise"]

FloatArray = NDArray[np.float64]

_FAR = 5.0  # sigma of the bound beyond which a value is lost
_LEAST_PROFILE = 0.5


@dataclass(frozen=True, eq=False)
class Score:
    """One spectrum against the truth, or several together.

    Attributes
    ----------
    scale : ndarray, shape (n_spectrum,)
        Flux over true flux of each spectrum, weighted with the bound; NaN where the truth holds no light.
    scale_error : ndarray, shape (n_spectrum,)
        What the bound says of its error.
    deviation : ndarray, shape (n_value,)
        ``(flux - scale * truth) / bound``: what is left after the spectrum's own scale is noise. Outliers (5 sigma of
        the values' own scatter) are left out here and in `pull`.
    pull : ndarray, shape (n_value,)
        ``(flux - truth) / uncertainty``, where there is an uncertainty.
    lost, judged : int
        Values that are NaN or more than 5 sigma off although half of the profile or more is good, of so many.
    """

    scale: FloatArray
    scale_error: FloatArray
    deviation: FloatArray
    pull: FloatArray
    lost: int
    judged: int

    @property
    def bias(self) -> float:
        """Mean fractional error of the flux."""
        return float(np.mean(self.scale) - 1.0)

    @property
    def bias_error(self) -> float:
        """Error of `bias`: from the scatter between spectra where there are three or more, else from the bound."""
        n = len(self.scale)
        if n < 3:
            return float(np.sqrt((self.scale_error**2).sum()) / n)
        return float(np.std(self.scale, ddof=1) / np.sqrt(n))

    @property
    def scatter(self) -> float:
        """Scatter over the Cramer-Rao bound, after each spectrum's own scale; about zero where there is no light."""
        return float(np.sqrt(np.mean(self.deviation**2))) if self.deviation.size else float("nan")

    @property
    def pull_mean(self) -> float:
        """Mean of error over stated error."""
        return float(np.mean(self.pull)) if self.pull.size else float("nan")

    @property
    def pull_rms(self) -> float:
        """Root mean square of error over stated error, about zero."""
        return float(np.sqrt(np.mean(self.pull**2))) if self.pull.size else float("nan")

    @property
    def lost_fraction(self) -> float:
        """Part of the columns that are lost."""
        return self.lost / self.judged if self.judged else float("nan")


def score(scene: Scene, flux: ArrayLike, uncertainty: ArrayLike | None = None, source: int = 0) -> Score:
    """Compare a spectrum of one source with the truth.

    Parameters
    ----------
    scene : Scene
        The scene.
    flux, uncertainty : array_like, shape (n_disp,)
        Spectrum and its 1 sigma error in the scene's unit; the error may be absent.
    source : int, optional
        Which of the scene's sources it is of.

    Returns
    -------
    Score

    Raises
    ------
    OptextractError
        If the spectrum has another number of columns than the scene.
    """
    values = np.asarray(flux, dtype=float)
    truth = scene.truth.flux[source]
    if values.shape != truth.shape:
        raise bad_value("flux", "score", f"of shape {truth.shape}", f"shape {values.shape}")
    bound = cramer_rao(scene)[source]
    good_part = np.where(scene.truth.bad, 0.0, scene.truth.profile[source]).sum(axis=0)
    judged = np.isfinite(bound) & (good_part >= _LEAST_PROFILE)
    seen = judged & np.isfinite(values)
    with np.errstate(invalid="ignore"):
        lost = judged & ~(np.abs(values - truth) <= _FAR * bound)
    weight = np.where(seen, 1.0 / np.where(seen, bound, 1.0) ** 2, 0.0)
    lit = bool((weight * truth**2).sum() > 0)
    scale = _weighted_median(values, truth, weight * truth**2) if lit else 1.0
    away = np.where(seen, (values - scale * truth) / np.where(seen, bound, 1.0), np.inf)
    usual = max(1.0, 1.4826 * float(np.median(np.abs(away[seen])))) if seen.any() else 1.0
    near = np.abs(away) <= _FAR * usual
    weight = weight * near
    power = float((weight * truth**2).sum())
    scale_error = np.nan
    if lit and power > 0:
        scale = float((weight * truth * np.nan_to_num(values)).sum()) / power
        scale_error = power**-0.5
    pull = np.array([])
    if uncertainty is not None:
        sigma = np.asarray(uncertainty, dtype=float)
        use = near & (sigma > 0)
        pull = (values - truth)[use] / sigma[use]
    return Score(
        scale=np.array([scale if lit else np.nan]),
        scale_error=np.array([scale_error]),
        deviation=((values - scale * truth) / bound)[near],
        pull=pull,
        lost=int(lost.sum()),
        judged=int(judged.sum()),
    )


def _weighted_median(values: FloatArray, truth: FloatArray, weight: FloatArray) -> float:
    """Ratio of values to truth that half of the weight lies below."""
    use = weight > 0
    ratio = values[use] / truth[use]
    order = np.argsort(ratio)
    total = np.cumsum(weight[use][order])
    return float(ratio[order][np.searchsorted(total, 0.5 * total[-1])])


def summarise(scores: list[Score]) -> Score:
    """Put several scores of equal scenes together.

    Parameters
    ----------
    scores : list of Score
        Of scenes that differ in their noise only.

    Returns
    -------
    Score

    Raises
    ------
    OptextractError
        If there is none.
    """
    if not scores:
        raise bad_value("scores", "summarise", "at least one score", scores)
    names = ("scale", "scale_error", "deviation", "pull")
    joined = {name: np.concatenate([getattr(s, name) for s in scores]) for name in names}
    return Score(**joined, lost=sum(s.lost for s in scores), judged=sum(s.judged for s in scores))
