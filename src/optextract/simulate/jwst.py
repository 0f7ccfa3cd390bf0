"""Scenes as JWST NIRSpec s2d files: stdatamodels, gwcs in the ASDF extension, the cards that readers look for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from optextract.errors import FrameError, bad_value

from .scene import Scene

__all__ = ["write_s2d", "write_truth"]

#: Shutter pitch along the slit in arcsec per unit of the slit frame, and the row scale of SMACS 6355 in those units.
_SLIT_UNIT_ARCSEC = 0.4649
_RA, _DEC = 110.8446, -73.4351


def _wcs(scene: Scene) -> Any:
    """Return a gwcs like that of a resampled slit: pixels to slit frame to sky and wavelength (m)."""
    import gwcs
    from astropy import coordinates as coord
    from astropy.modeling.models import (
        AffineTransformation2D,
        Const1D,
        Identity,
        Linear1D,
        Mapping,
        Scale,
        Tabular1D,
    )
    from gwcs import coordinate_frames as cf

    n_cross, n_disp = scene.frame.shape
    vertical = scene.meta["dispaxis"] == 2
    metres = scene.frame.wavelength.to_value(u.m)  # type: ignore[union-attr]
    slope = -scene.meta["pixel_scale_arcsec"] / _SLIT_UNIT_ARCSEC
    wave = Tabular1D(np.arange(n_disp, dtype=float), metres, bounds_error=False, fill_value=np.nan)
    cross = Linear1D(slope=slope, intercept=-slope * (n_cross - 1) / 2)
    order = (1, 0, 1) if vertical else (0, 1, 0)
    to_slit = Mapping(order) | Const1D(0.0) & cross & wave
    degree = _SLIT_UNIT_ARCSEC / 3600.0
    to_sky = AffineTransformation2D(
        matrix=np.array([[degree / np.cos(np.deg2rad(_DEC)), 0.0], [0.0, degree]]), translation=[_RA, _DEC]
    ) & Scale(1e6)

    detector = cf.Frame2D(name="detector", axes_order=(0, 1), unit=(u.pix, u.pix))
    slit = cf.Frame2D(
        name="slit_spatial",
        axes_order=(0, 1),
        unit=("", ""),
        axes_names=("x_slit", "y_slit"),
        axes_type=("SPATIAL", "SPATIAL"),
    )
    spectral_m = cf.SpectralFrame(axes_order=(2,), unit=(u.m,), axes_names=("wavelength",), name="spectral_m")
    slit_frame = cf.CompositeFrame([slit, spectral_m], name="slit_frame")
    sky = cf.CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=coord.ICRS())
    spectral = cf.SpectralFrame(name="spectral", axes_order=(2,), unit=(u.um,), axes_names=("wavelength",))
    world = cf.CompositeFrame([sky, spectral], name="world")
    wcs = gwcs.WCS([(detector, to_slit), (slit_frame, to_sky | Identity(3)), (world, None)])
    # pipeline boxes are in (x, y) order of the file
    across, along = (-0.5, n_cross - 0.5), (-0.5, n_disp - 0.5)
    wcs.bounding_box = (across, along) if vertical else (along, across)
    return wcs


def _fill_slit(slit: Any, scene: Scene, *, name: str, number: int, source_type: str, bunit: str) -> None:
    """Put one scene into a SlitModel or into one slit of a MultiSlitModel."""
    frame = scene.frame
    vertical = scene.meta["dispaxis"] == 2
    dead = ~frame.good

    def image(values: Any, fill: float = 0.0) -> Any:
        filled = np.where(np.isfinite(values) & ~dead, values, fill).astype(np.float32)
        return np.ascontiguousarray(filled.T if vertical else filled)

    parts: Any = frame.variance_parts
    # missing pixels are SCI = ERR = WHT = 0 in the pipeline's products
    slit.data = image(frame.flux)
    slit.err = image(np.sqrt(frame.variance))  # type: ignore[arg-type]
    with np.errstate(divide="ignore"):
        slit.wht = image(1.0 / parts["rnoise"])
    slit.var_poisson = image(parts["poisson"])
    slit.var_rnoise = image(parts["rnoise"])
    slit.var_flat = image(np.zeros(frame.shape))
    exposures = int(scene.meta.get("nod_count", 1))
    context = np.where(dead, 0, 2**exposures - 1).astype(np.int32)
    slit.con = np.ascontiguousarray((context.T if vertical else context)[None])
    slit.name = name
    slit.slitlet_id = number
    slit.source_id = int(scene.meta["source_id"])
    slit.source_name = str(scene.meta["source_name"])
    slit.source_alias = str(scene.meta["source_id"])
    slit.source_type = source_type
    slit.stellarity = 1.0 if source_type == "POINT" else 0.0
    slit.source_xpos = 0.0
    slope = -scene.meta["pixel_scale_arcsec"] / _SLIT_UNIT_ARCSEC
    planned = scene.meta.get("planned_cross")
    if planned is not None:
        slit.source_ypos = float(slope * (planned - (frame.n_cross - 1) / 2))
        slit.source_ra, slit.source_dec = _RA, _DEC + slit.source_ypos * _SLIT_UNIT_ARCSEC / 3600.0
    slit.shutter_state = "1x111"
    slit.xstart, slit.ystart = 1, 1
    slit.ysize, slit.xsize = slit.data.shape
    slit.meta.wcs = _wcs(scene)
    slit.meta.wcsinfo.dispersion_direction = scene.meta["dispaxis"]
    slit.meta.bunit_data = bunit
    slit.meta.bunit_err = bunit
    slit.meta.photometry.pixelarea_steradians = scene.meta["pixel_area_sr"]
    slit.meta.photometry.pixelarea_arcsecsq = (scene.meta["pixel_area_sr"] * u.sr).to_value(u.arcsec**2)
    slit.meta.photometry.conversion_megajanskys = 1.0


def _fits_wcs(info: Any, scene: Scene, axes: int) -> None:
    """Approximate FITS WCS of the SCI header, as some versions of the pipeline write it."""
    frame = scene.frame
    wavelength = frame.wavelength.to_value(u.um)  # type: ignore[union-attr]
    middle = frame.n_disp // 2
    step = float(np.gradient(wavelength)[middle])
    pixel = scene.meta["pixel_scale_arcsec"] / 3600.0
    info.wcsaxes = axes
    vertical = scene.meta["dispaxis"] == 2
    disp, cross = float(middle + 1), (frame.n_cross + 1) / 2
    info.crpix1, info.crpix2 = (cross, disp) if vertical else (disp, cross)
    info.crval1, info.crval2 = _RA, _DEC
    info.ctype1, info.ctype2 = "RA---TAN", "DEC--TAN"
    info.cunit1, info.cunit2 = "deg", "deg"
    info.cdelt1, info.cdelt2 = pixel, pixel
    info.pc1_1, info.pc1_2, info.pc2_1, info.pc2_2 = -1.0, 0.0, 0.0, 1.0
    if axes == 3:
        info.ctype3, info.cunit3 = "WAVE", "um"
        info.crpix3, info.crval3, info.cdelt3 = disp, float(wavelength[middle]), step
        info.pc3_1, info.pc3_2, info.pc3_3 = (0.0, 1.0, 0.0) if vertical else (1.0, 0.0, 0.0)
        info.pc1_3, info.pc2_3 = 0.0, 0.0


def _fill_primary(model: Any, frame_meta: Any, *, target: str) -> None:
    """Cards of the primary header."""
    meta = model.meta
    meta.telescope = "JWST"
    meta.instrument.name, meta.instrument.detector = "NIRSPEC", "MULTIPLE"
    meta.instrument.filter, meta.instrument.grating = "F290LP", "G395M"
    meta.exposure.type = "NRS_MSASPEC"
    meta.exposure.exposure_time = 8753.3
    meta.target.proposer_name = target
    meta.target.catalog_name = target
    meta.program.title = "simulated frames with known truth"
    meta.observation.program_number = "99999"
    meta.observation.observation_number = "001"
    meta.observation.visit_number = "001"
    meta.observation.date, meta.observation.time = "2026-01-01", "00:00:00.000"
    meta.calibration_software_version = "simulated"
    meta.cal_step.photom = "COMPLETE"
    meta.cal_step.resample = "COMPLETE"
    meta.resample.pixfrac, meta.resample.pixel_scale_ratio = 1.0, 1.0
    meta.resample.pointings = int(frame_meta.get("nod_count", 1))
    if "nod_count" in frame_meta:
        meta.cal_step.bkg_subtract = "COMPLETE"
        meta.dither.nod_type = "3-SHUTTER-SLITLET"
        meta.dither.total_points = frame_meta["nod_count"]


def _nod_table(frame_meta: Any) -> Any:
    """Table of the combined exposures' headers, of which readers use the offsets."""
    from astropy.io import fits

    arcsec = frame_meta["nod_offsets"][1] * frame_meta["pixel_scale_arcsec"]
    offsets = np.array([36.9, 36.9 - arcsec, 36.9 + arcsec])
    columns = [
        fits.Column("FILENAME", "39A", array=[f"jw99999001001_03103_0000{k}_nrs1_cal.fits" for k in (1, 2, 3)]),
        fits.Column("NOD_TYPE", "17A", array=["3-SHUTTER-SLITLET"] * 3),
        fits.Column("PATT_NUM", "J", array=[1, 2, 3]),
        fits.Column("NUMDTHPT", "J", array=[3, 3, 3]),
        fits.Column("XOFFSET", "D", array=[15.2476] * 3),
        fits.Column("YOFFSET", "D", array=offsets),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="HDRTAB")
    table.header["EXTVER"] = 1
    return table


def write_s2d(
    scenes: Scene | Sequence[Scene],
    path: str | Path,
    *,
    wcsaxes: int | None = None,
    source_type: str = "POINT",
    bunit: str | None = None,
    target: str = "SIMULATED",
    slits: Sequence[str] | None = None,
    jy_per_electron: float = 1e-9,
    overwrite: bool = False,
) -> Path:
    """Write one scene (SlitModel) or several (MultiSlitModel) as a NIRSpec s2d file.

    Parameters
    ----------
    scenes : Scene or sequence of Scene
        What to write; scenes in electrons are calibrated to MJy/sr first.
    path : str or Path
        File to write.
    wcsaxes : {None, 2, 3}, optional
        Axes of the FITS WCS in the SCI header; None: the header has none, as in many real products.
    source_type : {'POINT', 'EXTENDED'}, optional
        SRCTYPE.
    bunit : str, optional
        Another BUNIT than that of the pixels, as real files have.
    target : str, optional
        TARGNAME and TARGPROP.
    slits : sequence of str, optional
        SLTNAME of each scene; absent: 1, 2, ...
    jy_per_electron : float, optional
        Flux density of one electron per column, Jy.
    overwrite : bool, optional
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptextractError
        If a parameter breaks its rule.
    FrameError
        If the file exists and `overwrite` is not set.
    """
    from astropy.io import fits
    from stdatamodels.jwst import datamodels

    path = Path(path)
    if wcsaxes not in (None, 2, 3):
        raise bad_value("wcsaxes", "write_s2d", "None, 2 or 3", wcsaxes)
    if path.exists() and not overwrite:
        raise FrameError(f"{path} exists; pass overwrite=True to replace it")
    several = not isinstance(scenes, Scene)
    todo = [_in_jansky(one, jy_per_electron) for one in ([scenes] if isinstance(scenes, Scene) else scenes)]
    if not todo:
        raise bad_value("scenes", "write_s2d", "one scene or more", scenes)
    names = [str(number) for number in range(1, len(todo) + 1)] if slits is None else list(slits)
    if len(names) != len(todo):
        raise bad_value("slits", "write_s2d", f"one name for each of the {len(todo)} scenes", slits)

    model = datamodels.MultiSlitModel() if several else datamodels.SlitModel()
    _fill_primary(model, todo[0].meta, target=target)
    for number, one in enumerate(todo, start=1):
        unit = ("MJy/sr" if one.frame.unit == u.MJy / u.sr else str(one.frame.unit)) if bunit is None else bunit
        if several:
            model.slits.append(datamodels.SlitModel().instance)
        slit = model.slits[-1] if several else model
        _fill_slit(slit, one, name=names[number - 1], number=number, source_type=source_type, bunit=unit)
        if wcsaxes is not None:
            _fits_wcs(slit.meta.wcsinfo, one, wcsaxes)
    model.save(str(path))
    model.close()
    nods = [one for one in todo if "nod_offsets" in one.meta]
    if nods:
        with fits.open(path, mode="append") as hdus:
            hdus.append(_nod_table(nods[0].meta))
    return path


def _in_jansky(scene: Scene, jy_per_electron: float) -> Scene:
    return scene.calibrated(jy_per_electron) if scene.frame.unit == u.electron else scene


def write_truth(scene: Scene, path: str | Path, *, jy_per_electron: float = 1e-9) -> Path:
    """Write what is true of a scene as an ECSV table: wavelength, and flux, centre and FWHM of each source.

    Parameters
    ----------
    scene : Scene
        As given to `write_s2d`.
    path : str or Path
        File to write; an existing one is replaced.
    jy_per_electron : float, optional
        As given to `write_s2d`.

    Returns
    -------
    Path
        The file.
    """
    one = _in_jansky(scene, jy_per_electron)
    table = QTable({"wavelength": one.frame.wavelength})
    for k in range(one.truth.n_source):
        table[f"flux_{k}"] = one.truth.flux[k] * one.frame.flux_unit
        table[f"centre_{k}"] = one.truth.centre[k] * u.pix
        table[f"fwhm_{k}"] = one.truth.fwhm[k] * u.pix
    table.meta = {"scene": scene.name, "seed": scene.seed, "n_source": one.truth.n_source}
    path = Path(path)
    table.write(path, format="ascii.ecsv", overwrite=True)
    return path
