"""Mouse tools of the 2D spectrum viewer: place and drag sources, drag the columns of the kernel slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glue.config import viewer_tool
from glue.viewers.common.tool import CheckableTool

__all__ = ["TOOLS", "ColumnsTool", "SourceTool"]

#: Ids of the tools, in the order of the toolbar.
TOOLS = ("optextract:source", "optextract:columns")

_ICONS = Path(__file__).parent / "icons"


class _PanelTool(CheckableTool):
    """A tool that hands the position of the mouse, in pixels of the image, to the panel of its app."""

    events = ("click", "dragstart", "dragmove", "dragend")

    def activate(self) -> None:
        """Listen to the mouse while the tool is the active one."""
        self.viewer.add_event_callback(self.on_mouse, events=list(self.events))

    def deactivate(self) -> None:
        """Stop listening."""
        self.viewer.remove_event_callback(self.on_mouse)

    @property
    def panel(self) -> Any:
        """The panel of the app that the viewer belongs to."""
        return self.viewer.jdaviz_app.get_tray_item_from_name("optextract")

    def on_mouse(self, data: dict[str, Any]) -> None:
        """Take one event of the mouse: its kind, and where it was, in pixels of the image."""
        where = data.get("domain")
        if where is not None:
            self.moved(data["event"], float(where["x"]), float(where["y"]))

    def moved(self, event: str, x: float, y: float) -> None:
        """React to one event."""
        raise NotImplementedError


@viewer_tool
class SourceTool(_PanelTool):
    """A click adds a source; dragging moves the nearest one."""

    icon = str(_ICONS / "source.svg")
    tool_id = TOOLS[0]
    action_text = "Optimal Extraction: sources"
    tool_tip = "Optimal Extraction: click to add a source, drag to move the nearest one"

    _dragged: int | None = None

    def moved(self, event: str, x: float, y: float) -> None:
        """Add a source on a click, move the nearest one on a drag."""
        if event == "click":
            self.panel.add_source(y)
        elif event == "dragstart":
            self._dragged = self.panel.nearest_source(y)
        elif self._dragged is not None:
            self.panel.move_source(self._dragged, y, done=event == "dragend")
            if event == "dragend":
                self._dragged = None


@viewer_tool
class ColumnsTool(_PanelTool):
    """Dragging sets the columns of the kernel slice; a click gives the choice back to the program."""

    icon = str(_ICONS / "columns.svg")
    tool_id = TOOLS[1]
    action_text = "Optimal Extraction: kernel columns"
    tool_tip = "Optimal Extraction: drag to set the columns of the kernel slice, click for automatic ones"

    _start: float | None = None

    def moved(self, event: str, x: float, y: float) -> None:
        """Set the columns between the start of the drag and here, or the automatic ones on a click."""
        if event == "click":
            self.panel.set_columns(None)
        elif event == "dragstart":
            self._start = x
        elif self._start is not None and x != self._start:
            self.panel.set_columns((min(self._start, x), max(self._start, x)), done=event == "dragend")
