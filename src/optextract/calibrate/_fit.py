"""The flux scale: a low-order correction in log wavelength that brings a spectrum to its photometry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy import units as u
from numpy.polynomial.legendre import legvander
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import OptextractError, bad_value
from ..results import Extraction, freeze
from ._photometry import Band, Photometry, band_weights

__all__ = ["Calibration", "calibrate", "calibrate_spectrum"]

FloatArray = NDArray[np.float64]

_COVERED = 0.99
_FAINT = 10.0


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """Correction ``C`` of a spectrum, ``C = sum_k a_k P_k(x)``, Legendre polynomials of log wavelength on the domain.

    Attributes
    ----------
    bands : tuple of str
        Bands that took part.
    pivot : ndarray, shape (n_band,)
        Their pivot wavelengths, micron.
    flux, error : ndarray, shape (n_band,)
        Catalogue, Jy.
    synthetic, synthetic_error : ndarray, shape (n_band,)
        The uncorrected spectrum through each band, Jy.
    coefficients, covariance : ndarray, shape (degree + 1,), (degree + 1, degree + 1)
        a_k and their full covariance, of photometry and spectrum together.
    domain : tuple of float
        Wavelengths (micron) that x = -1 and +1 stand for.
    chi2, freedom : float, int
        Of the bands about the corrected spectrum.
    wavelength : ndarray, shape (n_disp,)
        Of each column, micron; NaN where it has none.
    scale, scale_error : ndarray, shape (n_disp,)
        C and its 1 sigma error in each column.
    calibrated, uncertainty : ndarray, shape (n_disp,)
        Flux times C, and the error of the flux times C, in `unit`. The error of C, common to all columns, is not in it.
    unit : Unit
        Unit of the flux.
    refused : mapping of str to str
        Bands that were left out, and why.
    warnings : tuple of str
        What a user of the correction must know.
    """

    bands: tuple[str, ...]
    pivot: FloatArray
    flux: FloatArray
    error: FloatArray
    synthetic: FloatArray
    synthetic_error: FloatArray
    coefficients: FloatArray
    covariance: FloatArray
    domain: tuple[float, float]
    chi2: float
    freedom: int
    wavelength: FloatArray
    scale: FloatArray
    scale_error: FloatArray
    calibrated: FloatArray
    uncertainty: FloatArray
    unit: u.UnitBase
    refused: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""
        return len(self.coefficients) - 1

    def at(self, wavelength: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """C and its 1 sigma error at wavelengths (micron)."""
        basis = _basis(np.asarray(wavelength, float), self.domain, self.degree)
        return basis @ self.coefficients, np.sqrt(np.einsum("xk,kl,xl->x", basis, self.covariance, basis))

    def interval(self, wavelength: ArrayLike, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Lower and upper end of the central confidence interval of C at wavelengths (micron)."""
        if not 0 < level < 1:
            raise bad_value("level", "Calibration.interval", "between 0 and 1", level)
        value, error = self.at(wavelength)
        width = stats.norm.ppf(0.5 + 0.5 * level) * error
        return value - width, value + width

    def words(self) -> tuple[str, ...]:
        """Return the figures as sentences."""
        middle = float(np.sqrt(self.domain[0] * self.domain[1]))
        (value,), (error,) = self.at([middle])
        lines = [
            f"Photometry in {', '.join(self.bands)} asks for a factor {value:.3f} +- {error:.3f} at {middle:.2f} um "
            f"(degree {self.degree} in log wavelength, chi2 {self.chi2:.1f} for {self.freedom} degrees of freedom)."
        ]
        lines += [f"{band} was left out: {why}." for band, why in self.refused.items()]
        return (*lines, *self.warnings)

    def __repr__(self) -> str:
        return f"<Calibration: {', '.join(self.bands)}, degree {self.degree}, chi2 {self.chi2:.1f} / {self.freedom}>"


def _basis(wavelength: FloatArray, domain: tuple[float, float], degree: int) -> FloatArray:
    low, high = np.log(domain[0]), np.log(domain[1])
    x = (2 * np.log(np.where(wavelength > 0, wavelength, np.nan)) - low - high) / (high - low)
    return legvander(x, degree)


def calibrate(
    result: Extraction,
    photometry: Sequence[Photometry],
    bands: Iterable[Band],
    *,
    degree: int = 1,
    source: int = 0,
    error_scale: float = 1.0,
    uncovered: Literal["raise", "skip"] = "raise",
) -> Calibration:
    """Fit the correction that brings an extraction to its photometry.

    Parameters
    ----------
    result : Extraction
        The spectrum, in a flux density per frequency.
    photometry : sequence of Photometry
        Catalogue, see `read_catalogue`.
    bands : iterable of Band
        Filter curves, see `load_band`; found by name.
    degree : int, optional
        Of the polynomial in log wavelength; 0: one factor.
    source : int, optional
        Which source.
    error_scale : float, optional
        Factor on the spectrum's errors, such as the pull of source-free pixels over 10 columns.
    uncovered : {"raise", "skip"}, optional
        What to do with bands that the spectrum does not cover: refuse, naming them, or leave them out and say so.

    Returns
    -------
    Calibration

    Raises
    ------
    OptextractError
        If a curve is missing, a band is not covered, there are fewer bands than coefficients, or units do not convert.
    """
    if not 0 <= source < result.n_source:
        raise bad_value("source", "calibrate", f"between 0 and {result.n_source - 1}", source)
    if not result.wavelength.unit.is_equivalent(u.um, u.spectral()):
        raise bad_value("result", "calibrate", "with wavelengths", f"columns numbered in {result.wavelength.unit}")
    wavelength = result.wavelength.to_value(u.um, u.spectral())
    return calibrate_spectrum(
        wavelength, result.flux[source], result.uncertainty[source], result.unit, photometry, bands,
        degree=degree, error_scale=error_scale, uncovered=uncovered,
    )  # fmt: skip


def calibrate_spectrum(
    wavelength: FloatArray,
    flux: FloatArray,
    uncertainty: FloatArray,
    unit: u.UnitBase,
    photometry: Sequence[Photometry],
    bands: Iterable[Band],
    *,
    degree: int = 1,
    error_scale: float = 1.0,
    uncovered: Literal["raise", "skip"] = "raise",
) -> Calibration:
    """Do as `calibrate`, for plain arrays of shape (n_disp,), wavelength in micron; NaN where there is no flux."""
    if uncovered not in ("raise", "skip"):
        raise bad_value("uncovered", "calibrate", "raise or skip", uncovered)
    if isinstance(degree, bool) or not isinstance(degree, int) or not 0 <= degree <= 5:
        raise bad_value("degree", "calibrate", "a whole number from 0 to 5", degree)
    try:
        factor = u.Unit(unit).to(u.Jy)
    except u.UnitConversionError as problem:
        raise bad_value("result", "calibrate", "in a flux density per frequency", str(unit)) from problem
    good = np.flatnonzero(np.isfinite(wavelength) & np.isfinite(flux) & (uncertainty > 0))
    if good.size < 3:
        raise bad_value("result", "calibrate", "with a flux in three columns or more", int(good.size))
    good = good[np.argsort(wavelength[good])]
    waves = wavelength[good]
    values, variance = flux[good] * factor, (uncertainty[good] * factor * error_scale) ** 2
    chosen, weights, refused = _cover(waves, photometry, bands, uncovered)
    if len(chosen) < degree + 1:
        rule = f"at most {len(chosen) - 1} for {len(chosen)} bands that the spectrum covers"
        raise bad_value("degree", "calibrate", rule, degree)
    domain = (float(waves[0]), float(waves[-1]))
    basis = _basis(waves, domain, degree)
    measured = np.array([p.flux for p, _ in chosen])
    error = np.array([p.error for p, _ in chosen])
    synthetic = weights @ values
    through = np.sqrt(np.maximum((weights**2) @ variance, 0.0))
    design = weights @ (values[:, None] * basis)
    coefficients, covariance, chi2 = _solve(design, measured, error, weights, variance, basis)
    scale_basis = _basis(wavelength, domain, degree)
    scale = scale_basis @ coefficients
    scale_error = np.sqrt(np.einsum("xk,kl,xl->x", scale_basis, covariance, scale_basis))
    pivot = np.array([band.pivot for _, band in chosen])
    return Calibration(
        bands=tuple(p.band for p, _ in chosen),
        pivot=freeze(pivot),
        flux=freeze(measured),
        error=freeze(error),
        synthetic=freeze(synthetic),
        synthetic_error=freeze(through),
        coefficients=freeze(coefficients),
        covariance=freeze(covariance),
        domain=domain,
        chi2=chi2,
        freedom=len(chosen) - degree - 1,
        wavelength=freeze(wavelength),
        scale=freeze(scale),
        scale_error=freeze(scale_error),
        calibrated=freeze(flux * scale),
        uncertainty=freeze(uncertainty * np.abs(scale)),
        unit=u.Unit(unit),
        refused=refused,
        warnings=_doubts(chosen, synthetic, through, scale[good], chi2, len(chosen) - degree - 1, pivot, domain),
    )


def _cover(
    waves: FloatArray, photometry: Sequence[Photometry], bands: Iterable[Band], uncovered: str
) -> tuple[list[tuple[Photometry, Band]], FloatArray, dict[str, str]]:
    """Measurements with their bands, what each column counts in each, and what was left out."""
    curves = {band.name.lower(): band for band in bands}
    chosen: list[tuple[Photometry, Band]] = []
    rows, refused = [], {}
    for item in photometry:
        band = curves.get(item.band.lower())
        if band is None:
            known = ", ".join(sorted(b.name for b in curves.values()))
            raise bad_value("bands", "calibrate", f"with a curve for each measurement (there are {known})", item.band)
        weights, covered = band_weights(waves, band)
        # a hole in the spectrum is no coverage, although a line can be drawn across it
        holes = np.diff(waves) > 3.5 * _local_step(waves)
        for k in np.flatnonzero(holes):
            covered -= _between(band, waves[k], waves[k + 1])
        if covered < _COVERED:
            refused[item.band] = f"the spectrum covers {100 * max(covered, 0.0):.0f} % of its photons"
            continue
        chosen.append((item, band))
        rows.append(weights / weights.sum())
    if refused and (uncovered == "raise" or not chosen):
        said = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise OptextractError(f"Bands must be covered by the spectrum ({waves[0]:.3f} to {waves[-1]:.3f} um). {said}.")
    return chosen, np.array(rows), refused


def _local_step(waves: FloatArray) -> FloatArray:
    """Typical step around each step: the median of nine."""
    steps = np.diff(waves)
    padded = np.pad(steps, 4, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)


def _between(band: Band, low: float, high: float) -> float:
    """Part of a band's photons between two wavelengths."""
    x = np.union1d(band.wavelength, np.clip([low, high], band.wavelength[0], band.wavelength[-1]))
    density = np.interp(x, band.wavelength, band.throughput) / x
    inside = (x >= low) & (x <= high)
    if inside.sum() < 2:
        return 0.0
    return float(np.trapezoid(density[inside], x[inside]) / np.trapezoid(density, x))


def _solve(
    design: FloatArray,
    measured: FloatArray,
    error: FloatArray,
    weights: FloatArray,
    variance: FloatArray,
    basis: FloatArray,
) -> tuple[FloatArray, FloatArray, float]:
    """Generalised least squares; the spectrum's own noise, times the correction, joins the catalogue's errors.

    The noise of a spectrum through a band multiplies the coefficients, so that their normal matrix is too large by the
    covariance of the design; it is taken out (Fuller 1987).
    """
    matrix = np.diag(error**2)
    coefficients = np.zeros(basis.shape[1])
    for _ in range(6):
        inverse = np.linalg.inv(matrix)
        noise = np.einsum("bi,bc,ci,i,ik,il->kl", weights, inverse, weights, variance, basis, basis, optimize=True)
        normal = design.T @ inverse @ design
        freed = normal - noise
        # where the noise is as large as the signal nothing is to be gained by it
        normal = freed if np.linalg.eigvalsh(freed)[0] > 0.5 * np.linalg.eigvalsh(normal)[0] else normal
        before, coefficients = coefficients, np.linalg.solve(normal, design.T @ inverse @ measured)
        spread = variance * (basis @ coefficients) ** 2
        matrix = np.diag(error**2) + (weights * spread) @ weights.T
        if np.allclose(before, coefficients, rtol=1e-10, atol=0):
            break
    inverse = np.linalg.inv(matrix)
    covariance = np.asarray(np.linalg.inv(design.T @ inverse @ design), dtype=float)
    left = measured - design @ coefficients
    return coefficients, covariance, float(left @ inverse @ left)


def _doubts(
    chosen: list[tuple[Photometry, Band]], synthetic: FloatArray, through: FloatArray, scale: FloatArray, chi2: float,
    freedom: int, pivot: FloatArray, domain: tuple[float, float],
) -> tuple[str, ...]:  # fmt: skip
    said = []
    faint = [p.band for (p, _), s, e in zip(chosen, synthetic, through, strict=True) if not s > _FAINT * e]
    if faint:
        said.append(f"The spectrum has a S/N below {_FAINT:.0f} through {', '.join(faint)}.")
    if (scale <= 0).any():
        said.append("The correction is zero or negative in part of the spectrum: lower the degree.")
    if freedom > 0 and stats.chi2.sf(chi2, freedom) < 0.001:
        said.append(f"The bands scatter more than their errors allow (chi2 {chi2:.1f} for {freedom}).")
    if len(chosen) > 1 and (domain[0] < 0.9 * pivot.min() or domain[1] > 1.1 * pivot.max()):
        said.append(
            f"Beyond {pivot.min():.2f} to {pivot.max():.2f} um, the bands' pivots, the correction is extrapolated."
        )
    return tuple(said)
