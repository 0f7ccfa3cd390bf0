"""Traces that are known before the fit: the recipe's, the file's, a template's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import RecipeError, bad_value
from .finder import Detection
from .frame import Frame
from .recipe import FileRef, Recipe
from .templates import Placed
from .window import Window

__all__ = ["given_trace", "image_trace", "planned_trace", "row_of"]

FloatArray = NDArray[np.float64]


def given_trace(recipe: Recipe, frame: Frame) -> FloatArray | None:
    """Look up the recipe's own trace.

    Parameters
    ----------
    recipe : Recipe
        The settings.
    frame : Frame
        The frame, for its number of columns.

    Returns
    -------
    ndarray, shape (n_disp,), or None
        One frame row per column.

    Raises
    ------
    RecipeError
        If it has not one finite value per column.
    """
    given = recipe.trace.given
    if given is None:
        return None
    values = np.asarray(_load_trace(given) if isinstance(given, FileRef) else given, dtype=float)
    if values.shape != (frame.n_disp,) or not np.isfinite(values).all():
        raise bad_value(
            "trace.given",
            "Recipe",
            f"{frame.n_disp} finite numbers, one per column",
            f"shape {values.shape}",
            RecipeError,
        )
    return values


def _load_trace(ref: FileRef) -> FloatArray:
    path = ref.resolve()
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix in (".ecsv", ".fits"):
        from astropy.table import Table

        table = Table.read(path)
        return np.asarray(table["centre"] if "centre" in table.colnames else table.columns[0], dtype=float)
    return np.loadtxt(path)


def planned_trace(frame: Frame, recipe: Recipe) -> FloatArray | None:
    """Look up the curve that the file predicts for a source in an unrectified frame.

    Parameters
    ----------
    frame : Frame
        The frame, for what its file tells.
    recipe : Recipe
        The settings, for whether it is to be used.

    Returns
    -------
    ndarray, shape (n_disp,), or None
        One frame row per column.
    """
    path = frame.meta.get("planned_trace")
    if path is None or not recipe.sources.planned:
        return None
    path = np.asarray(path, dtype=float)
    seen = np.isfinite(path)
    if path.shape != (frame.n_disp,) or not seen.any():
        return None
    return np.interp(np.arange(frame.n_disp), np.flatnonzero(seen), path[seen])


def image_trace(placed: Placed, window: Window, number: int) -> FloatArray:
    """Find the trace of a profile image.

    Parameters
    ----------
    placed : Placed
        The template.
    window : Window
        The pixels that take part.
    number : int
        Number of sources.

    Returns
    -------
    ndarray, shape (n_disp,)
        One frame row per column.

    Raises
    ------
    RecipeError
        If there is more than one source.
    """
    if number > 1:
        raise bad_value("sources.number", "Recipe", "1 with a profile image as template", number, RecipeError)
    assert placed.centre is not None
    column = np.arange(window.shape[1]) - window.column
    return np.interp(column, np.arange(window.n_disp), placed.centre) + window.row


def row_of(window: Window, detection: Detection, path: FloatArray | None) -> FloatArray:
    """Tell the frame row of the source in each column of the frame, as far as it is known before the fit.

    Parameters
    ----------
    window : Window
        The pixels that take part.
    detection : Detection
        The source as it was found.
    path : ndarray, shape (n_disp,), optional
        A trace that is known.

    Returns
    -------
    ndarray, shape (n_disp,)
    """
    if path is not None:
        return path
    column = np.arange(window.shape[1]) - window.column
    return np.interp(column, detection.column, detection.row) + window.row
