"""A night's worth of files: what a batch has to cope with, and the truth about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optextract.errors import FrameError, bad_value

from .jwst import write_s2d, write_truth
from .named import make_scene
from .scene import Line, Scene

__all__ = ["Member", "survey", "write_survey"]


@dataclass(frozen=True, eq=False)
class Member:
    """One file of a survey.

    Attributes
    ----------
    name : str
        Stem of its name.
    kind : str
        What it is: continuum, emission, moffat, cosmic, gap, vertical, nods, blend, empty, corrupt or nan.
    scene : Scene
        What it shows, or would show if it were whole.
    wcsaxes : int or None
        Axes of the FITS WCS in its SCI header.
    """

    name: str
    kind: str
    scene: Scene
    wcsaxes: int | None


#: Kinds that stand among the plain ones, each so many times in 79 files.
_SPECIAL = {"blend": 6, "emission": 10, "moffat": 4, "cosmic": 6, "gap": 6, "vertical": 4, "nods": 4, "empty": 2}


def _kinds(number: int) -> list[str]:
    special = [kind for kind, count in _SPECIAL.items() for _ in range(count)] + ["corrupt", "nan"]
    plain = max(number - len(special), 0)
    # spread through the list, so that no worker has all of a kind
    order = np.random.default_rng(79).permutation(plain + len(special))
    kinds = ["continuum"] * plain + special
    return [kinds[k] for k in order][:number]


def survey(number: int = 79, seed: int = 0) -> Iterator[Member]:
    """Yield the members of a survey: S/N 1 to 200 per column, blends, lines, nods, gaps, two empty, two useless.

    Parameters
    ----------
    number : int, optional
        How many.
    seed : int, optional
        Seed of everything random.

    Yields
    ------
    Member
        One after another, so that only one is in memory.
    """
    if number < 1:
        raise bad_value("number", "survey", "1 or more", number)
    rng = np.random.default_rng([seed, 79])
    levels = 10 ** rng.uniform(0.0, 2.3, number)
    for k, kind in enumerate(_kinds(number)):
        changes: dict[str, Any] = {"planned_sigma": 0.1}
        if kind in ("continuum", "moffat", "cosmic", "gap", "vertical", "corrupt", "nan"):
            changes["snr"] = float(levels[k])
        if kind == "moffat":
            changes["snr"] = float(max(levels[k], 20.0))
        if kind == "blend":
            changes.update(snr=float(max(levels[k], 10.0)), separation=float(rng.uniform(2.0, 5.0)))
        if kind == "emission":
            column = float(rng.uniform(200, 1000))
            changes["lines"] = tuple(Line(column + d, 2.6, s * float(rng.uniform(5, 60))) for d, s in ((0, 1), (23, 3)))
        base = kind if kind in ("moffat", "cosmic", "gap", "vertical", "nods", "blend", "emission", "empty") else "mid"
        scene = make_scene(base, int(rng.integers(1 << 30)), **changes)
        yield Member(f"sim{k:03d}", kind, scene, (None, 2, 3)[k % 3] if kind != "nods" else None)


def write_survey(
    folder: str | Path, number: int = 79, seed: int = 0, *, overwrite: bool = False
) -> list[tuple[Path, Member]]:
    """Write a survey: ``<name>_s2d.fits``, ``truth/<name>.ecsv``, and ``overrides.csv``, which tells of the blends.

    Parameters
    ----------
    folder : str or Path
        Where to; made if it does not exist.
    number, seed
        See `survey`.
    overwrite : bool, optional
        Replace existing files.

    Returns
    -------
    list of (Path, Member)
        The files and what they are.

    Raises
    ------
    FrameError
        If a file exists and `overwrite` is not set.
    """
    folder = Path(folder)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    table = folder / "overrides.csv"
    if table.exists() and not overwrite:
        raise FrameError(f"{table} exists; pass overwrite=True to replace it")
    written = []
    for member in survey(number, seed):
        scene, path = member.scene, folder / f"{member.name}_s2d.fits"
        if member.kind == "nan":
            scene = _without_data(scene)
        write_s2d(scene, path, wcsaxes=member.wcsaxes, target=member.name.upper(), overwrite=overwrite)
        if member.kind == "corrupt":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        write_truth(member.scene, folder / "truth" / f"{member.name}.ecsv")
        written.append((path, member))
    blends = [path.name for path, member in written if member.kind == "blend"]
    table.write_text("file,sources\n" + "".join(f"{name},2\n" for name in blends), encoding="utf-8")
    return written


def _without_data(scene: Scene) -> Scene:
    """The scene with every pixel bad."""
    from dataclasses import replace

    return replace(scene, frame=scene.frame.replace(flux=np.full(scene.frame.shape, np.nan)))
