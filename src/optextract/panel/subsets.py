"""From a subset drawn in one of the host's viewers to the region of a recipe, in pixels of the frame."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from glue.core.exceptions import IncompatibleAttribute
from glue.core.roi import PolygonalROI, RectangularROI
from glue.core.subset import RangeSubsetState, RoiSubsetState
from numpy.typing import NDArray

from ..errors import OptextractError
from ..frame import Frame
from ..recipe import FileRef

__all__ = ["is_cross_or_area", "is_dispersion_range", "region_of"]

#: Everything a region may hold, unset.
NOTHING: dict[str, Any] = {"cross": None, "disp": None, "polygon": None, "mask": None}


def _first_state(subset: Any) -> Any:
    state = subset.subset_state
    while getattr(state, "state1", None) is not None:
        state = state.state1
    return state


def _axis_of(state: Any) -> int | None:
    """Pixel axis of a range (0 cross-dispersion, 1 dispersion) of 2D data; None for one in wavelength or of 1D data."""
    attribute = getattr(state, "att", None)
    parent = getattr(attribute, "parent", None)
    if parent is not None and parent.ndim == 2 and attribute in parent.pixel_component_ids:
        return int(parent.pixel_component_ids.index(attribute))
    return None


def is_dispersion_range(subset: Any) -> bool:
    """Tell whether a subset is a range of wavelengths or of columns, wherever it was drawn."""
    state = _first_state(subset)
    return isinstance(state, RangeSubsetState) and _axis_of(state) != 0


def is_cross_or_area(subset: Any) -> bool:
    """Tell whether a subset limits rows: a range of rows, or any shape drawn in the 2D viewer."""
    return not is_dispersion_range(subset)


def region_of(state: Any, data: Any, frame: Frame) -> dict[str, Any]:
    """Translate a subset into fields of `Recipe.region`.

    A rectangle keeps its bounds, and a polygon its corners, to a thousandth of a pixel. Any other shape, and whatever
    is combined from several, becomes the box of its pixels if it is one, else a mask file.

    Parameters
    ----------
    state : glue.core.subset.SubsetState
        The subset.
    data : glue.core.Data
        The 2D entry that the region is for, shape (n_cross, n_disp).
    frame : Frame
        Its frame; its wavelength turns ranges of wavelength into columns.

    Returns
    -------
    dict
        Values for all of ``cross``, ``disp``, ``polygon`` and ``mask``.

    Raises
    ------
    OptextractError
        If no pixel of the frame lies inside, or a range cannot be brought into columns.
    """
    if isinstance(state, RangeSubsetState):
        axis = _axis_of(state)
        if axis is not None:
            return {**NOTHING, ("cross", "disp")[axis]: _rounded(state.lo, state.hi)}
        return {**NOTHING, "disp": _columns(_in_range(state, frame))}
    roi = state.roi if isinstance(state, RoiSubsetState) else None
    if isinstance(roi, RectangularROI) and not roi.theta:
        return {**NOTHING, "cross": _rounded(roi.ymin, roi.ymax), "disp": _rounded(roi.xmin, roi.xmax)}
    if isinstance(roi, (PolygonalROI, RectangularROI)):
        corners = roi.to_polygon() if isinstance(roi, RectangularROI) else (roi.vx, roi.vy)
        return {**NOTHING, "polygon": tuple(_rounded(x, y) for x, y in zip(*corners, strict=True))}
    return _from_mask(_mask(state, data, frame))


def _rounded(one: float, other: float) -> tuple[float, float]:
    """What a mouse can tell of two positions, to a thousandth of a pixel: more digits only hide what a recipe says."""
    return round(float(one), 3), round(float(other), 3)


def _in_range(state: Any, frame: Frame) -> NDArray[np.bool_]:
    """Columns whose wavelength lies in a range that was drawn in a 1D viewer."""
    parent = getattr(state.att, "parent", None)
    unit = u.Unit(parent.get_component(state.att).units) if parent is not None else u.dimensionless_unscaled
    if unit == u.pix or frame.wavelength is None:
        if unit != u.pix:
            raise OptextractError(
                f"the range {state.lo:g} to {state.hi:g} {unit} cannot be used: this 2D spectrum has no wavelength; "
                "draw the range in the 2D viewer"
            )
        columns = np.arange(frame.n_disp)
        return (columns >= state.lo) & (columns <= state.hi)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = frame.wavelength.to_value(unit, u.spectral())
        inside = (values >= state.lo) & (values <= state.hi)
    return inside.any(axis=0) if inside.ndim == 2 else inside


def _columns(inside: NDArray[np.bool_]) -> tuple[float, float]:
    found = np.flatnonzero(inside)
    if not found.size:
        raise OptextractError("no column of this 2D spectrum lies inside the range that was drawn")
    return found[0] - 0.5, found[-1] + 0.5


def _mask(state: Any, data: Any, frame: Frame) -> NDArray[np.bool_]:
    """Pixels inside a subset of any kind; ranges in wavelength are brought to columns by the frame's wavelength."""
    if isinstance(state, RangeSubsetState) and _axis_of(state) is None:
        return np.broadcast_to(_in_range(state, frame), frame.shape)
    if getattr(state, "state1", None) is not None:
        one = _mask(state.state1, data, frame)
        if state.state2 is None:
            return ~one
        return np.asarray(state.op(one, _mask(state.state2, data, frame)))
    try:
        return np.asarray(state.to_mask(data))
    except IncompatibleAttribute as error:
        raise OptextractError(f"the subset was drawn on other data and cannot be applied to {data.label!r}") from error


def _from_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise OptextractError("no pixel of this 2D spectrum lies inside the subset")
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if box.all():
        cross, disp = (rows[0] - 0.5, rows[-1] + 0.5), (columns[0] - 0.5, columns[-1] + 0.5)
        return {
            **NOTHING,
            "cross": cross if rows.size < mask.shape[0] else None,
            "disp": disp if columns.size < mask.shape[1] else None,
        }
    return {**NOTHING, "mask": write_mask(mask)}


def write_mask(mask: NDArray[np.bool_]) -> FileRef:
    """Write a mask that no text can hold beside the session; `export_recipe` copies it beside the recipe."""
    name = hashlib.sha256(np.packbits(mask).tobytes() + repr(mask.shape).encode()).hexdigest()[:16]
    path = Path(_folder()) / f"region_{name}.npy"
    if not path.exists():
        np.save(path, mask)
    return FileRef.of(path)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> str:
    """Folder for masks that lasts as long as the process."""
    if not _kept:
        _kept.append(tempfile.TemporaryDirectory(prefix="optextract-"))
    return _kept[0].name
