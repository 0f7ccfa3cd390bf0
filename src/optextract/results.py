"""What the stages found, frozen: flags, kernel slice, trace, boxcar and the whole Extraction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from .errors import bad_value
from .recipe import Recipe

if TYPE_CHECKING:
    from specutils import Spectrum

__all__ = ["Boxcar", "Candidate", "Extraction", "Flag", "KernelSlice", "TraceFit", "freeze"]

FloatArray = NDArray[np.float64]


class Flag(IntFlag):
    """Named bits of `Extraction.flags`, one integer per source and column."""

    NO_DATA = 1  #: no good pixel in the column, or outside the region
    LOW_PROFILE = 2  #: less of the profile on good pixels than the recipe's minimum; flux is NaN
    PARTIAL_PROFILE = 4  #: part of the profile lies on bad pixels; flux is unbiased, its error larger
    REJECTED_PIXELS = 8  #: a pixel of the profile was rejected as an outlier
    RESTORED_PIXELS = 16  #: rejected core pixels were restored: a profile mismatch, not an outlier
    BLENDED = 32  #: sources too close for the data: errors inflated through their covariance
    PRIOR_SHAPE = 64  #: trace and width come from the prior or the kernel, not from this data
    EDGE = 128  #: part of the profile lies outside the region
    NO_WAVELENGTH = 256  #: the column has no wavelength
    NEGATIVE_NOD = 512  #: a negative nod trace overlaps the profile
    LONE_COLUMN = 1024  #: far brighter than both neighbours, as a feature of one column or a hit on all of the profile
    NO_BACKGROUND = 2048  #: no good pixel tells the background of the column; flux is NaN

    @classmethod
    def words(cls, value: int) -> tuple[str, ...]:
        """Names of the bits that are set in `value`."""
        return tuple(str(flag.name) for flag in cls if value & flag)


def freeze(array: Any, dtype: type | None = None) -> NDArray[Any]:
    """Make an array read-only.

    Parameters
    ----------
    array : array_like
        Values of any shape; left as they are.
    dtype : type, optional
        Type of the values.

    Returns
    -------
    ndarray
        A read-only view, or a copy where the type must change.
    """
    frozen = np.asarray(array, dtype=dtype).view()
    frozen.setflags(write=False)
    return frozen


@dataclass(frozen=True, eq=False)
class Candidate:
    """One profile that was tried on the kernel slice.

    Attributes
    ----------
    kind : str
        Name of the profile.
    chi2, bic : float
        Weighted sum of squared residuals, and the Bayesian information criterion.
    n_parameters : int
        Number of fitted parameters, background included.
    fwhm : float
        FWHM in pixels.
    curve : ndarray, shape (n_row,)
        The fitted slice, sources and background.
    """

    kind: str
    chi2: float
    bic: float
    n_parameters: int
    fwhm: float
    curve: FloatArray


@dataclass(frozen=True, eq=False)
class KernelSlice:
    """The coadded cross-dispersion slice and its fit, per column of the frame, in the frame's unit.

    Attributes
    ----------
    rows : ndarray, shape (n_row,)
        Cross-dispersion pixel of each value.
    data, error : ndarray, shape (n_row,)
        Coadded slice (NaN where no pixel was good) and its 1 sigma error.
    model, background : ndarray, shape (n_row,)
        The fit, and its background alone.
    components : ndarray, shape (n_source, n_row)
        Each source alone.
    columns : tuple of int
        First and last column of the slice (inclusive).
    n_columns : int
        Number of columns that took part.
    centres : tuple of float
        Cross-dispersion position of each source at the slice's centre column.
    compare : callable
        Makes `candidates`: three more fits, which an extraction that nobody looks at need not wait for.
    """

    rows: FloatArray
    data: FloatArray
    error: FloatArray
    model: FloatArray
    background: FloatArray
    components: FloatArray
    columns: tuple[int, int]
    n_columns: int
    centres: tuple[float, ...]
    compare: Callable[[], tuple[Candidate, ...]] = tuple

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Profiles fitted to the slice for comparison, best first; made when first asked for."""
        return self.compare()


@dataclass(frozen=True, eq=False)
class TraceFit:
    """Global fit of position and width along dispersion.

    Attributes
    ----------
    columns : ndarray, shape (n_bin,)
        Centre column of each bin.
    centre, centre_error, fwhm, fwhm_error : ndarray, shape (n_source, n_bin)
        What each bin by itself says (NaN where it says nothing), in pixels.
    degree, fwhm_degree : int
        Degrees of the fitted Legendre polynomials; -1 for a given trace.
    coefficients, fwhm_coefficients : ndarray, shape (n_source, degree + 1)
        Legendre coefficients of centre and of log FWHM over the columns mapped to [-1, 1].
    rms : float
        Weighted rms of the bins' centres about the trace, pixel.
    from_data : bool
        False where the shape comes from the prior or the kernel because the data cannot constrain it.
    """

    columns: FloatArray
    centre: FloatArray
    centre_error: FloatArray
    fwhm: FloatArray
    fwhm_error: FloatArray
    degree: int
    fwhm_degree: int
    coefficients: FloatArray
    fwhm_coefficients: FloatArray
    rms: float
    from_data: bool = True


@dataclass(frozen=True, eq=False)
class Boxcar:
    """Plain sum between two cross-dispersion edges.

    Attributes
    ----------
    flux, uncertainty : ndarray, shape (n_disp,) or (n_source, n_disp)
        Sum and its 1 sigma error in `unit`; NaN where no pixel of the aperture is good.
    variance_parts : mapping of str to ndarray
        Each variance component through the same sum.
    flags : ndarray of uint32
        `Flag` bits.
    lower, upper : ndarray
        Edges of the aperture, pixel (pixel i covers i - 0.5 to i + 0.5).
    n_pixels : ndarray
        Good pixels (fractional) in the aperture.
    wavelength : Quantity, shape (n_disp,)
        As in the extraction.
    unit : Unit
        Unit of `flux`.
    """

    flux: FloatArray
    uncertainty: FloatArray
    variance_parts: Mapping[str, FloatArray]
    flags: NDArray[np.uint32]
    lower: FloatArray
    upper: FloatArray
    n_pixels: FloatArray
    wavelength: u.Quantity
    unit: u.UnitBase


@dataclass(frozen=True, eq=False, repr=False)
class Extraction:
    """Everything that one extraction found; nothing in it can be changed.

    Attributes
    ----------
    flux, uncertainty : ndarray, shape (n_source, n_disp)
        Spectrum and its 1 sigma error in `unit`; NaN where flagged as unusable.
    unit : Unit
        Unit of `flux`.
    wavelength : Quantity, shape (n_disp,)
        Wavelength along the trace of the first source, or column number in pixel.
    variance_parts : mapping of str to ndarray, shape (n_source, n_disp)
        Variance components through the same weights, where the frame has them.
    covariance : ndarray, shape (n_disp, n_source, n_source)
        Covariance of the sources' fluxes, background included.
    flags : ndarray of uint32, shape (n_source, n_disp)
        Bits of `Flag`.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Trace and width in pixels.
    profile : ndarray, shape (n_source, n_cross, n_disp)
        Normalised cross-dispersion profile integrated over each pixel.
    model, background, background_uncertainty, residual : ndarray, shape (n_cross, n_disp)
        In the frame's own unit; NaN outside the region.
    rejected : ndarray of bool, shape (n_cross, n_disp)
        Pixels rejected as outliers.
    flux_unrejected : ndarray, shape (n_source, n_disp)
        The flux with no pixel rejected; also where rejection leaves too little of the profile for `flux`.
    boxcar : Boxcar
        Matched plain sum after the background, arrays of shape (n_source, n_disp).
    kernel : KernelSlice
        The slice that sources were found in.
    trace : TraceFit
        The global fit of position and width.
    quality : mapping
        Named figures, and under ``warnings`` what the fit has to say in words.
    recipe, resolved : Recipe
        As asked for, and with every "auto" replaced by what was chosen.
    provenance : mapping
        Software versions and identity of the input.
    meta : mapping
        The frame's `meta`.
    """

    flux: FloatArray
    uncertainty: FloatArray
    unit: u.UnitBase
    wavelength: u.Quantity
    variance_parts: Mapping[str, FloatArray]
    covariance: FloatArray
    flags: NDArray[np.uint32]
    centre: FloatArray
    fwhm: FloatArray
    profile: FloatArray
    model: FloatArray
    background: FloatArray
    background_uncertainty: FloatArray
    residual: FloatArray
    rejected: NDArray[np.bool_]
    flux_unrejected: FloatArray
    boxcar: Boxcar
    kernel: KernelSlice
    trace: TraceFit
    quality: Mapping[str, Any]
    recipe: Recipe
    resolved: Recipe
    provenance: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def n_source(self) -> int:
        """Number of sources."""
        return self.flux.shape[0]

    def to_spectrum(self, source: int = 0) -> Spectrum:
        """Return one source as a `specutils.Spectrum`.

        Columns without a wavelength are left out. The mask is True where the flux is NaN; the meta holds the source's
        number and name, the recipe, the flags and the provenance.

        Parameters
        ----------
        source : int, optional
            Index of the source.

        Returns
        -------
        specutils.Spectrum
            With `~astropy.nddata.StdDevUncertainty`.

        Raises
        ------
        OptextractError
            If there is no such source.
        """
        from astropy.nddata import StdDevUncertainty
        from specutils import Spectrum

        if not 0 <= source < self.n_source:
            raise bad_value("source", "Extraction.to_spectrum", f"between 0 and {self.n_source - 1}", source)
        keep = np.isfinite(self.wavelength.value)
        flux = self.flux[source, keep]
        named = self.resolved.sources.items[source].name if source < len(self.resolved.sources.items) else None
        meta = {
            "source": source,
            "source_name": self.meta.get("source_name") if named is None else named,
            "flags": np.array(self.flags[source, keep]),
            "recipe": self.resolved.to_yaml(full=True),
            "provenance": dict(self.provenance),
            "header": dict(self.meta.get("header", {})),
        }
        return Spectrum(
            flux=u.Quantity(flux, self.unit),
            spectral_axis=self.wavelength[keep],
            uncertainty=StdDevUncertainty(self.uncertainty[source, keep], unit=self.unit),
            mask=~np.isfinite(flux),
            meta=meta,
        )

    @classmethod
    def read(cls, path: str | Path) -> Extraction:
        """Read a full result back from ASDF, as `optextract.write` wrote it.

        Raises
        ------
        ReadError
            If the file is not an ASDF written by optextract.
        """
        from .io.asdf import read_extraction

        return read_extraction(path)

    def __repr__(self) -> str:
        good = int(np.isfinite(self.flux).sum())
        return (
            f"<Extraction: {self.n_source} source(s), {self.flux.shape[1]} columns, {good} good values in {self.unit}>"
        )
