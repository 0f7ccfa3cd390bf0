"""Bad pixels and variances of a file's images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError

__all__ = ["JWST_BITS", "Variances", "bad_pixels", "jwst_bits", "variances"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Bits of a JWST DQ image (stdatamodels.jwst.datamodels.dqflags.pixel); a test holds the two together.
JWST_BITS = {
    "DO_NOT_USE": 0, "SATURATED": 1, "JUMP_DET": 2, "DROPOUT": 3, "OUTLIER": 4, "PERSISTENCE": 5, "AD_FLOOR": 6,
    "CHARGELOSS": 7, "UNRELIABLE_ERROR": 8, "NON_SCIENCE": 9, "DEAD": 10, "HOT": 11, "WARM": 12, "LOW_QE": 13,
    "RC": 14, "TELEGRAPH": 15, "NONLINEAR": 16, "BAD_REF_PIXEL": 17, "NO_FLAT_FIELD": 18, "NO_GAIN_VALUE": 19,
    "NO_LIN_CORR": 20, "NO_SAT_CHECK": 21, "UNRELIABLE_BIAS": 22, "UNRELIABLE_DARK": 23, "UNRELIABLE_SLOPE": 24,
    "UNRELIABLE_FLAT": 25, "OPEN": 26, "ADJ_OPEN": 27, "FLUX_ESTIMATED": 28, "MSA_FAILED_OPEN": 29,
    "OTHER_BAD_PIXEL": 30, "REFERENCE_PIXEL": 31,
}  # fmt: skip


class Variances(NamedTuple):
    """Total variance and its parts (None and {} where unknown), pixels whose variance is nonsense, words and notes."""

    total: FloatArray | None
    parts: dict[str, FloatArray]
    bad: BoolArray
    source: str
    notes: list[str]


def variances(flux: FloatArray, images: Mapping[str, FloatArray]) -> Variances:
    """Variance of each pixel from ERR and VAR_*; none is made up where both are missing.

    Parameters
    ----------
    flux : ndarray, shape (n_cross, n_disp)
        Pixel values.
    images : mapping of str to ndarray
        Those of ERR, VAR_POISSON, VAR_RNOISE and VAR_FLAT that the file has.
    """
    notes: list[str] = []
    bad = np.zeros(flux.shape, dtype=bool)
    seen = np.isfinite(flux) & (flux != 0)

    def usable(name: str) -> FloatArray | None:
        image = images.get(name)
        if image is None:
            return None
        finite = np.isfinite(image) & seen
        if not finite.any() or not (image[finite] != 0).any():
            if name == "ERR":  # a component of zero is one that the pipeline did not compute
                notes.append("ERR is zero or not finite wherever there are data: not used.")
            return None
        negative = finite & (image < 0)
        if negative.any():
            notes.append(f"{name} is negative in {int(negative.sum())} pixels: masked.")
        np.logical_or(bad, negative, out=bad)
        return np.where(image < 0, np.nan, image)

    error = usable("ERR")
    parts = {}
    for name, key in (("VAR_POISSON", "poisson"), ("VAR_RNOISE", "rnoise"), ("VAR_FLAT", "flat")):
        part = usable(name)
        if part is not None:
            # JWST's ERR leaves out a component that is undefined in a pixel, so that the others still add up to it
            undefined = seen & ~np.isfinite(part) & (np.isfinite(error) & (error > 0) if error is not None else False)
            if undefined.any():
                notes.append(f"{name} is not finite in {int(undefined.sum())} pixels that have an ERR: zero there.")
            parts[key] = np.where(undefined, 0.0, part)
    if error is not None:
        with_parts = f", with components {', '.join(parts)}" if parts else ""
        return Variances(error**2, parts, bad, f"ERR squared{with_parts}", notes)
    if parts:
        return Variances(None, parts, bad, f"the sum of VAR ({', '.join(parts)})", notes)
    weight = "; WHT is a relative weight, used as inverse variance only if noise.variance: weight asks for it"
    notes.append(f"The file has no variance{weight if 'WHT' in images else ''}.")
    return Variances(None, {}, bad, "none", notes)


def bad_pixels(flux: FloatArray, images: Mapping[str, FloatArray], bad: BoolArray) -> BoolArray:
    """Pixels that hold no measurement: not finite, of negative variance, or zero in SCI, ERR and WHT alike."""
    mask = ~np.isfinite(flux) | bad
    empty = flux == 0
    for name in ("ERR", "WHT"):
        if name in images:
            mask |= ~np.isfinite(images[name])
            empty &= images[name] == 0
    if "ERR" in images or "WHT" in images:
        mask |= empty
    if "WHT" in images:
        mask |= images["WHT"] == 0  # nothing was drizzled onto it
    return mask


def jwst_bits(dq: NDArray[Any], names: tuple[str, ...]) -> tuple[BoolArray, list[str]]:
    """Pixels in which any of the named bits of a JWST DQ image is set, and what there is to say.

    Raises
    ------
    ReadError
        If the image is not of integers, or a name is unknown.
    """
    if dq.dtype.kind not in "iu":
        raise ReadError(f"DQ must be an image of integers. Got {dq.dtype.name} instead.")
    unknown = [name for name in names if name not in JWST_BITS]
    if unknown:
        raise ReadError(
            f"The 'dq_bits' parameter of input must be named from {', '.join(JWST_BITS)}. Got {unknown[0]!r} instead."
        )
    bits = np.uint32(sum(1 << JWST_BITS[name] for name in dict.fromkeys(names)))
    flagged = (dq.astype(np.int64).astype(np.uint32) & bits) != 0
    return flagged, [f"{int(flagged.sum())} pixels are masked by DQ ({', '.join(names)})."] if names else []
