"""Nods subtracted from each other, pixel by pixel in the detector frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FrameError, bad_value
from ..frame import VARIANCE_PARTS, Frame

__all__ = ["subtract_nods"]

FloatArray = NDArray[np.float64]

_SMALLEST = 0.2  # nods closer than this (pixel) are one position


def subtract_nods(frames: Sequence[Frame], positions: ArrayLike | None = None) -> tuple[Frame, ...]:
    """Subtract from each exposure the mean of those at other nod positions, pixel by pixel in the detector frame.

    Parameters
    ----------
    frames : sequence of Frame
        Exposures of one slit on the same detector pixels, all of one shape (n_cross, n_disp) and unit.
    positions : array_like, shape (n_frame,), optional
        Cross-dispersion position of the source in each, pixel; absent: their planned traces (or positions).

    Returns
    -------
    tuple of Frame
        Differences in the same order. Their variance holds the subtracted exposures'
        (``meta['nod_noise'] = 'included'``), a pixel that is bad in one of several subtracted exposures is made up for
        by the others, ``nod_offsets`` and ``nod_depths`` tell of the negative traces.

    Raises
    ------
    FrameError
        If shapes, units or wavelengths differ, a variance is missing, or the positions are unknown or all the same.
    """
    frames = tuple(frames)
    if len(frames) < 2:
        raise bad_value("frames", "subtract_nods", "two or more frames", len(frames), FrameError)
    _check_alike(frames)
    place = _positions(frames, positions)
    out = []
    for index, frame in enumerate(frames):
        others = [k for k in range(len(frames)) if abs(place[k] - place[index]) > _SMALLEST]
        if not others:
            rule = "different for each frame from those of some others"
            raise bad_value("positions", "subtract_nods", rule, tuple(np.round(place, 2)), FrameError)
        out.append(_difference(frame, [frames[k] for k in others], place[others] - place[index]))
    return tuple(out)


def _check_alike(frames: tuple[Frame, ...]) -> None:
    first = frames[0]
    for number, frame in enumerate(frames):
        if frame.shape != first.shape:
            raise bad_value("frames", "subtract_nods", f"all of shape {first.shape}", f"{frame.shape}", FrameError)
        if frame.unit != first.unit:
            raise bad_value("frames", "subtract_nods", f"all in {first.unit}", str(frame.unit), FrameError)
        if frame.variance is None and not frame.variance_parts:
            raise bad_value("frames", "subtract_nods", "with a variance", f"frame {number} without", FrameError)
        if (frame.wavelength is None) != (first.wavelength is None):
            raise bad_value("frames", "subtract_nods", "all with wavelengths, or none", f"frame {number}", FrameError)
        if frame.wavelength is not None and first.wavelength is not None:
            one = np.atleast_2d(first.wavelength.value)
            two = np.atleast_2d(frame.wavelength.to_value(first.wavelength.unit))
            step = np.nanmedian(np.abs(np.diff(one, axis=1)))
            away = float(np.nanmax(np.abs(two - one))) / step if one.shape == two.shape else np.inf
            if not away < 0.05:
                rule = "of the same wavelength in the same pixel (to 0.05 pixel)"
                raise bad_value("frames", "subtract_nods", rule, f"frame {number}, {away:.2f} pixel away", FrameError)


def _positions(frames: tuple[Frame, ...], positions: ArrayLike | None) -> FloatArray:
    if positions is not None:
        place = np.asarray(positions, float)
        if place.shape != (len(frames),) or not np.isfinite(place).all():
            raise bad_value("positions", "subtract_nods", f"{len(frames)} finite numbers", positions, FrameError)
        return place
    found = []
    for number, frame in enumerate(frames):
        trace = frame.meta.get("planned_trace")
        value = np.nanmedian(trace) if trace is not None else frame.meta.get("planned_cross")
        if value is None or not np.isfinite(value):
            rule = "given where a frame has no planned position"
            raise bad_value("positions", "subtract_nods", rule, f"none, and frame {number} has none", FrameError)
        found.append(float(value))
    return np.array(found)


def _variance(frame: Frame) -> FloatArray:
    total = frame.variance if frame.variance is not None else np.sum(list(frame.variance_parts.values()), axis=0)
    return np.where(frame.good, total, 0.0)


def _difference(frame: Frame, others: list[Frame], offsets: FloatArray) -> Frame:
    good = np.array([other.good for other in others])
    count = good.sum(axis=0)
    share = np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0)
    mean = np.where(good, np.array([other.flux for other in others]), 0.0).sum(axis=0) * share
    mask = frame.mask | (count == 0)

    def added(own: FloatArray, theirs: list[FloatArray]) -> FloatArray:
        spread = np.where(good, np.nan_to_num(np.array(theirs)), 0.0).sum(axis=0) * share**2
        return np.where(mask, np.nan, np.where(frame.good, np.nan_to_num(own), 0.0) + spread)

    parts = {
        name: added(frame.variance_parts[name], [other.variance_parts[name] for other in others])
        for name in VARIANCE_PARTS
        if all(name in one.variance_parts for one in (frame, *others))
    }
    near: dict[float, list[float]] = {}
    for offset in offsets:
        key = next((k for k in near if abs(k - offset) < _SMALLEST), float(offset))
        near.setdefault(key, []).append(float(offset))
    told = [(float(np.mean(same)), -len(same) / len(others)) for same in near.values()]
    meta = {
        **frame.meta,
        "nod_offsets": tuple(offset for offset, _ in told),
        "nod_depths": tuple(depth for _, depth in told),
        "nod_noise": "included",
        "nod_count": len(told) + 1,
        "notes": (
            *frame.meta.get("notes", ()),
            f"The mean of {len(others)} exposures at other nod positions was subtracted in the detector frame; "
            "their noise is in the variance.",
        ),
    }
    return frame.replace(
        flux=np.where(mask, np.nan, frame.flux - mean),
        variance=added(_variance(frame), [_variance(other) for other in others]),
        variance_parts=parts,
        mask=mask,
        meta=meta,
    )
