"""The page that solara serves: the host's own page, with our app in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import solara
import solara.lab

from . import standalone


@solara.lab.on_kernel_start
def _opened() -> Any:
    if "dummy" in solara.get_kernel_id():  # solara's own, while this module is being imported
        return None
    standalone.wait_for_host()  # in a thread of this page; the browser fetches everything else meanwhile
    return standalone._Pages.opened()


@solara.component
def Page() -> None:
    """Show the app."""
    import jdaviz.solara  # not above: the page is served while it is being imported

    solara.Style(Path(jdaviz.__file__).parent / "solara.css")
    solara.Title("Jdaviz: Optimal Extraction")
    solara.use_memo(jdaviz.solara.create_shared_widgets, [])
    helper, set_helper = solara.use_state(None)

    def build() -> None:
        # in an effect, so that the widgets of the app's own solara components do not end up outside it
        set_helper(standalone.make_app(**standalone._wanted))

    async def complete() -> None:
        if helper is not None:
            # the browser draws the image first: what comes on top of it at once would keep it from that for seconds
            await asyncio.sleep(standalone.PAUSE_SECONDS)
            standalone.show_results(helper)

    solara.use_effect(build, [])
    solara.lab.use_task(complete, dependencies=[helper], prefer_threaded=False)
    solara.Column(children=[helper._app] if helper is not None else [])
