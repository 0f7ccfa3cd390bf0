"""What injection and recovery says: one injection, a certificate of many, its figures and its words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["HONEST", "Certificate", "Injection", "combine"]

FloatArray = NDArray[np.float64]

#: Pulls outside this range are called wrong, unless their own error allows for more.
HONEST = (0.9, 1.1)

#: A source counts as found where its trace is within so many pixels of the truth.
_NEAR = 1.0


@dataclass(frozen=True, eq=False)
class Injection:
    """One source of known flux, and what was found.

    Attributes
    ----------
    level : float
        S/N per column asked for.
    row : float
        Median row of its trace.
    flux : float
        Injected flux per column, in the spectrum's unit.
    pull : ndarray, shape (n,)
        (found - injected) / error in the columns that have a flux.
    bias, bias_error : float
        Relative error of the mean flux, and its 1 sigma error, with the background's in all columns at once.
    offset : float
        Found minus true row.
    """

    level: float
    row: float
    flux: float
    pull: FloatArray
    bias: float
    bias_error: float
    offset: float

    @property
    def found(self) -> bool:
        """Whether the extraction went to the right place."""
        return abs(self.offset) <= _NEAR


@dataclass(frozen=True, eq=False)
class Certificate:
    """What injection and recovery says of a frame and a recipe.

    Attributes
    ----------
    injections : tuple of Injection
        One by one.
    place : str
        "source-free rows", or "own rows" where there are none and the source's model was subtracted.
    name : str
        What was validated.
    """

    injections: tuple[Injection, ...]
    place: str
    name: str = ""

    @property
    def levels(self) -> tuple[float, ...]:
        """The S/N levels, ascending."""
        return tuple(sorted({one.level for one in self.injections}))

    def at(self, level: float) -> dict[str, float]:
        """Figures of one level.

        Returns
        -------
        dict
            ``n``, ``completeness`` and its error, ``bias`` (weighted mean over the sources found) and its error,
            ``pull_mean``, ``pull_rms`` and its error.
        """
        here = [one for one in self.injections if one.level == level]
        good = [one for one in here if one.found and one.pull.size]
        share = len(good) / len(here) if here else np.nan
        figures = {
            "snr": level,
            "n": float(len(here)),
            "completeness": share,
            # Wilson's interval, which does not shrink to zero at 0 and 1
            "completeness_error": float(np.sqrt(share * (1 - share) / len(here) + 0.25 / len(here) ** 2)),
        }
        pull = np.concatenate([one.pull for one in good]) if good else np.zeros(0)
        weight = np.array([one.bias_error**-2 for one in good])
        rms = _rms(pull)
        return {
            **figures,
            "bias": float((weight * [one.bias for one in good]).sum() / weight.sum()) if good else np.nan,
            "bias_error": float(weight.sum() ** -0.5) if good else np.nan,
            "pull_mean": float(pull.mean()) if pull.size else np.nan,
            "pull_rms": rms,
            "pull_rms_error": rms / np.sqrt(2 * pull.size) if pull.size else np.nan,
        }

    @property
    def pull_rms(self) -> tuple[float, float]:
        """Pull rms over all levels, and its error; the levels share their noise, so they do not add to it."""
        per_level = [self.at(level) for level in self.levels]
        known = [one for one in per_level if np.isfinite(one["pull_rms"])]
        if not known:
            return np.nan, np.nan
        return float(np.mean([one["pull_rms"] for one in known])), float(np.mean([o["pull_rms_error"] for o in known]))

    @property
    def honest(self) -> bool:
        """Whether the errors match the scatter: pull rms in `HONEST`, or within 3 of its own errors of it."""
        rms, error = self.pull_rms
        return bool(HONEST[0] - 3 * error <= rms <= HONEST[1] + 3 * error)

    def words(self) -> tuple[str, ...]:
        """Return the certificate as sentences."""
        lines = []
        rms, error = self.pull_rms
        if not np.isfinite(rms):
            return (f"None of {len(self.injections)} injected sources was found.",)
        told = f"pull rms {rms:.2f} +- {error:.2f}"
        if self.honest:
            lines.append(f"The errors are honest: {told}.")
        elif rms > 1:
            lines.append(f"The errors are {rms:.2f} times too small: {told}.")
        else:
            lines.append(f"The errors are {1 / rms:.2f} times too large: {told}.")
        for level in self.levels:
            one = self.at(level)
            if np.isfinite(one["bias"]) and abs(one["bias"]) > max(0.01, 3 * one["bias_error"]):
                lines.append(
                    f"At S/N {level:g} per column the flux is off by {100 * one['bias']:+.1f} "
                    f"+- {100 * one['bias_error']:.1f} %."
                )
            if one["completeness"] < 1:
                lines.append(f"At S/N {level:g} per column {100 * one['completeness']:.0f} % of the sources are found.")
        return tuple(lines)

    def table(self) -> Table:
        """Return the figures of each level, one row each."""
        from astropy.table import Table

        rows = [self.at(level) for level in self.levels]
        table = Table(rows=rows) if rows else Table(names=["snr"])
        table.meta = {"name": self.name, "place": self.place, "words": list(self.words())}
        return table


def _rms(pull: FloatArray) -> float:
    """Root mean square, one part in a thousand left out on either side."""
    if not pull.size:
        return np.nan
    low, high = np.percentile(pull, [0.1, 99.9])
    kept = pull[(pull >= low) & (pull <= high)] if pull.size > 2000 else pull
    return float(np.sqrt(np.mean(kept**2)))


def combine(certificates: Iterable[Certificate], name: str = "") -> Certificate:
    """Return one certificate of all injections of several.

    Parameters
    ----------
    certificates : iterable of Certificate
        Of several frames.
    name : str, optional
        What it is called.

    Returns
    -------
    Certificate
    """
    several = list(certificates)
    places = dict.fromkeys(one.place for one in several)
    return Certificate(tuple(one for c in several for one in c.injections), " and ".join(places), name)
