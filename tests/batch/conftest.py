"""Small files of which everything is known."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.simulate import make_scene, write_s2d

#: Small, so that a batch of them takes no time.
SMALL = {"shape": (19, 160), "centre": (8.7, 0.1)}


@pytest.fixture(scope="session")
def small_files(tmp_path_factory):
    """Six single-slit files and one of three slits, read-only by agreement."""
    folder = tmp_path_factory.mktemp("inputs")
    for seed in range(6):
        scene = make_scene("mid", seed, snr=15.0 + 10 * seed, **SMALL)
        write_s2d(scene, folder / f"g{seed}_s2d.fits", target=f"G{seed}")
    scenes = [make_scene("mid", 10 + k, **SMALL) for k in range(3)]
    write_s2d(scenes, folder / "m_s2d.fits", slits=("S1", "S2", "S3"))
    return folder


@pytest.fixture
def inputs(small_files, tmp_path):
    """A copy of them that a test may damage."""
    import shutil

    folder = tmp_path / "in"
    shutil.copytree(small_files, folder)
    return folder


def _edit(path, change):
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus:
            _ = hdu.data
        change(hdus)
        hdus.writeto(path, overwrite=True, output_verify="ignore")


def _bytes(path, change):
    path.write_bytes(change(path.read_bytes()))


def _fill(*names, value):
    def change(hdus):
        for name in names:
            hdus[name].data = np.full_like(hdus[name].data, value)

    return lambda path: _edit(path, change)


def _without(*names):
    def change(hdus):
        for name in names:
            del hdus[name]

    return lambda path: _edit(path, change)


def _card(extension, keyword, value):
    def change(hdus):
        if value is None:
            hdus[extension].header.remove(keyword, ignore_missing=True)
        else:
            hdus[extension].header[keyword] = value

    return lambda path: _edit(path, change)


def _both(*changes):
    def apply(path):
        for change in changes:
            change(path)

    return apply


def _data(extension, change):
    def edit(hdus):
        hdus[extension].data = change(hdus[extension].data)

    return lambda path: _edit(path, edit)


def _raw_card(old, new):
    """Replace the text of a card in the file as it is, length unchanged."""
    return lambda path: _bytes(path, lambda b: b.replace(old, new.ljust(len(old)), 1))


def _as_table(path):
    from astropy.io import fits

    def change(hdus):
        position = hdus.index_of("SCI")
        hdus[position] = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.ones(3))], name="SCI")

    _edit(path, change)


def _folder(path):
    path.unlink()
    path.mkdir()


def _bomb(path):
    import gzip

    with gzip.open(path, "wb", compresslevel=1) as stream:
        head = b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(80)
        head += b"NAXIS   =                    0".ljust(80) + b"END".ljust(80)
        stream.write(head.ljust(2880))
        for _ in range(64):
            stream.write(bytes(8_000_000))


_ERRORS = ("ERR", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "WHT")

#: Ways to damage a file, each of which makes an extraction impossible.
DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>404 not found</html>"),
    "random": lambda path: path.write_bytes(np.random.default_rng(1).bytes(30_000)),
    "first block only": lambda path: _bytes(path, lambda b: b[:2880]),
    "cut in a header": lambda path: _bytes(path, lambda b: b[: b.index(b"EXTNAME = 'SCI") + 1000]),
    "cut in the data": lambda path: _bytes(path, lambda b: b[: b.index(b"EXTNAME = 'ERR") - 6000]),
    "a gap before the data": lambda path: _bytes(path, lambda b: b[:6000] + b[7000:]),
    "broken gzip": lambda path: _bytes(path, lambda b: b"\x1f\x8b\x08\x00" + b[4:]),
    "a bomb": _bomb,
    "a folder": _folder,
    "gone": lambda path: path.unlink(),
    "no SCI": _without("SCI"),
    "SCI of one axis": _data("SCI", lambda d: d[0]),
    "SCI of three axes": _data("SCI", lambda d: np.stack([d, d])),
    "SCI is a table": _as_table,
    "two SCI of one EXTVER": lambda path: _edit(path, lambda h: h.append(h["SCI"].copy())),
    "ERR of another shape": _data("ERR", lambda d: d[:-2]),
    "all NaN": _fill("SCI", value=np.nan),
    "all infinite": _fill("SCI", value=np.inf),
    "all zero": _both(_fill("SCI", value=0.0), _fill(*_ERRORS, value=0.0)),
    "no variance": _without(*_ERRORS),
    "variance NaN": _fill(*_ERRORS, value=np.nan),
    "unit unknown": _both(_card("SCI", "BUNIT", "furlong/fortnight"), _card(0, "S_PHOTOM", "SKIPPED")),
    "no unit": _both(_card("SCI", "BUNIT", None), _card(0, "S_PHOTOM", "SKIPPED")),
    "no pixel area": _card("SCI", "PIXAR_SR", None),
    "pixel area is a word": _raw_card(b"PIXAR_SR=             5.03E-13", b"PIXAR_SR= 'large   '"),
    "DISPAXIS 3": _card("SCI", "DISPAXIS", 3),
    "absurd NAXIS1": _raw_card(b"NAXIS1  =                  160", b"NAXIS1  =         999999999999"),
    "negative NAXIS2": _raw_card(b"NAXIS2  =                   19", b"NAXIS2  =                  -19"),
    "BITPIX 7": _raw_card(b"BITPIX  =                  -32", b"BITPIX  =                    7"),
}


@pytest.fixture(scope="session")
def damage():
    """Ways to damage a file, by name."""
    return DAMAGE
