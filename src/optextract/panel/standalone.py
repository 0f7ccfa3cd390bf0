"""The standalone app: Jdaviz in a browser window of its own, with the panel open and the files loaded."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy import units as u

from ..errors import OptextractError, bad_value
from ..report.units import readable

if TYPE_CHECKING:
    from ..batch import Review

__all__ = ["LAYOUTS", "main", "make_app", "sample", "show_results", "wait_for_host"]

#: The generalised app, and the older app that is going to be removed from Jdaviz 5.2.
LAYOUTS = ("jdaviz", "specviz2d")
#: The server ends when the last page has been closed for this long; a page that is loaded again comes back sooner.
GRACE_SECONDS = float(os.environ.get("OPTEXTRACT_APP_GRACE", "15"))

#: Between the images and what is extracted from them.
PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)
_wanted: dict[str, Any] = {"files": (), "layout": LAYOUTS[0], "review": None}
#: Set where the host has been imported: the browser fetches the page meanwhile.
_imported = threading.Event()


def sample(folder: str | Path) -> Path:
    """Write a simulated NIRSpec spectrum to look at, and return its path."""
    from ..simulate import make_scene, write_s2d

    path = Path(folder) / "sample_s2d.fits"
    write_s2d(make_scene("emission"), path)
    return path


def make_app(files: Sequence[str], layout: str, review: Review | None = None) -> Any:
    """Return a Jdaviz helper with the files loaded; `show_results` does the rest.

    A file that cannot be loaded is told by the host's message bar; the others are loaded all the same.

    Parameters
    ----------
    files : sequence of str
        Files of any format that `optextract.read` knows.
    layout : str
        One of `LAYOUTS`.
    review : optextract.batch.Review, optional
        Spectra of a run to go through, in place of files.
    """
    import warnings

    import jdaviz
    from jdaviz.core.events import SnackbarMessage

    from .loader import load_file
    from .register import register

    register()
    if layout == "specviz2d":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it is what was asked for
            helper = jdaviz.Specviz2d()
    else:
        helper = jdaviz.new_app()
    for path in files:
        try:
            load_file(helper._app, path, extract=False)
        except (OptextractError, OSError) as error:
            helper._app.hub.broadcast(
                SnackbarMessage(f"{path}: {error}", color="error", sender=helper._app, traceback=error)
            )
    if review is not None:
        _panel(helper).start_review(review)
    return helper


def show_results(helper: Any) -> None:
    """Show the default extraction of what was loaded, and open the panel: to be called once the images are seen.

    Parameters
    ----------
    helper : jdaviz helper
        What `make_app` has returned.
    """
    from .loader import show_default
    from .source import KEY

    if not _panel(helper).review:  # a review shows what the run has found
        for label in [data.label for data in helper._app.data_collection if KEY in data.meta]:
            show_default(helper._app, label)
    _show_readable_unit(helper)
    _panel(helper).open_in_tray(scroll_to=False)


def _panel(helper: Any) -> Any:
    from .register import NAME

    return helper._app.get_tray_item_from_name(NAME)


def _show_readable_unit(helper: Any) -> None:
    """Let the viewers show flux in the unit that is easy to read: the host takes MJy where an image is in MJy/sr."""
    conversion = helper.plugins.get("Unit Conversion")
    result = next((d for d in helper._app.data_collection if d.ndim == 1 and "flux" in map(str, d.components)), None)
    if conversion is None or result is None:
        return
    flux = result.get_component("flux")
    unit = readable(flux.data, u.Unit(flux.units))[1].to_string()
    if unit in conversion.flux_unit.choices:
        conversion.flux_unit = unit


def main(
    files: Sequence[str | Path] = (),
    layout: str | None = None,
    *,
    theme: str = "light",
    port: int = 0,
    browser: bool = True,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the app until its last page is closed, or Ctrl-C.

    Parameters
    ----------
    files : sequence of path, optional
        Files to load; without any a simulated sample is.
    layout : str, optional
        ``jdaviz`` (the generalised app) or ``specviz2d``.
    theme : str, optional
        ``light``, ``dark`` or ``auto``.
    port : int, optional
        0 takes a free one.
    browser : bool, optional
        Open a page in the default browser.
    announce : callable, optional
        Called with the address of the page; it is logged in any case.

    Raises
    ------
    OptextractError
        If there is no such layout or file.
    """
    layout = LAYOUTS[0] if layout is None else layout
    if layout not in LAYOUTS:
        raise bad_value("layout", "app", f"one of {', '.join(LAYOUTS)}", layout)
    for path in files:
        if not Path(path).is_file():
            raise bad_value("files", "app", "existing files", str(path))
    with tempfile.TemporaryDirectory(prefix="optextract-") as folder:
        paths = [str(Path(path).resolve()) for path in files] if files else [str(sample(folder))]
        _wanted.update(files=tuple(paths), layout=layout, review=None)
        _serve(theme, port, browser, announce)


def _serve(theme: str, port: int, browser: bool, announce: Callable[[str], None] | None) -> None:
    # the file dialog of the host's loaders starts where the command was given
    os.environ["JDAVIZ_START_DIR"] = os.path.abspath(".")
    os.environ["SOLARA_APP"] = "optextract.panel._page"
    import solara.server.settings
    import solara.server.starlette

    solara.server.settings.theme.variant = solara.server.settings.ThemeVariant(theme)
    solara.server.settings.theme.loader = "plain"
    solara.server.settings.main.mode = "production"
    # A page that draws for long on a busy machine answers no ping in time: the server would drop it, and solara gives
    # the session up if the page does not find it again within seconds. A page that is closed ends its own connection.
    server = solara.server.starlette.ServerStarlette(host="localhost", port=port, ws_ping_interval=None)
    server.serve_threaded()
    server.wait_until_serving()
    _log.info("serving at %s", server.base_url)
    if announce is not None:
        announce(server.base_url)
    _Pages.server = server
    if browser:
        webbrowser.open(server.base_url)
    try:
        _import_host()
        server.join()
    except KeyboardInterrupt:
        pass
    finally:
        server.signal_stop()
        server.join()


def _import_host() -> None:
    """Import what the page needs, and compile the loops where that was not done."""
    try:
        import jdaviz.solara

        # the host ends the process with os._exit when a page is closed, even to be loaded again
        jdaviz.solara.on_kernel_start()
        from .. import warm
        from . import loader  # noqa: F401
        from .register import register

        register()
        cold = not warm.is_warm()
    finally:
        _imported.set()
    if cold:  # once after an installation this takes a minute: here, and not at the first touch of a control
        warm.warm()


def wait_for_host() -> None:
    """Come back when the host has been imported; for the page.

    Nothing of a page may run before: reacton looks into modules that are being imported (pandas), and fails there.
    """
    _imported.wait()


class _Pages:
    """Counts the pages that are open; the server ends with the last one."""

    server: Any = None
    _open = 0
    _lock = threading.Lock()

    @classmethod
    def opened(cls) -> Callable[[], None]:
        """Count a page in; what is returned counts it out."""
        with cls._lock:
            cls._open += 1
        return cls.closed

    @classmethod
    def closed(cls) -> None:
        """Count a page out, and end the server if none comes back."""
        with cls._lock:
            cls._open -= 1
        timer = threading.Timer(GRACE_SECONDS, cls._end)
        timer.daemon = True
        timer.start()

    @classmethod
    def _end(cls) -> None:
        with cls._lock:
            if cls._open == 0 and cls.server is not None:
                cls.server.signal_stop()
