"""The page that solara serves: the host's own page, with our app in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jdaviz
import jdaviz.solara
import solara
import solara.lab

from . import standalone

# The host ends the process with os._exit when a page is closed, even to be loaded again: ours ends with the last page.
jdaviz.solara.on_kernel_start()


@solara.lab.on_kernel_start
def _opened() -> Any:
    if "dummy" in solara.get_kernel_id():  # solara's own, while this module is being imported
        return None
    return standalone._Pages.opened()


@solara.component
def Page() -> None:
    """Show the app."""
    solara.Style(Path(jdaviz.__file__).parent / "solara.css")
    solara.Title("Jdaviz: Optimal Extraction")
    solara.use_memo(jdaviz.solara.create_shared_widgets, [])
    app, set_app = solara.use_state(None)

    def build() -> None:
        # in an effect, so that the widgets of the app's own solara components do not end up outside it
        set_app(standalone.make_app(**standalone._wanted)._app)

    solara.use_effect(build, [])
    solara.Column(children=[app] if app is not None else [])
