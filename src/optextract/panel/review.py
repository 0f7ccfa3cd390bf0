"""``optextract review``: the standalone app on the spectra of a run that need a look."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import standalone

if TYPE_CHECKING:
    from ..batch import Review

__all__ = ["main"]


def main(
    review: Review,
    *,
    theme: str = "light",
    port: int = 0,
    browser: bool = True,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the app until its last page is closed; decisions are in the output folder as soon as they are made.

    Parameters
    ----------
    review : optextract.batch.Review
        What needs a look.
    theme, port, browser, announce
        As `optextract.panel.standalone.main`.

    Raises
    ------
    OptextractError
        If nothing needs a look.
    """
    review.current  # noqa: B018  (raises where there is none)
    standalone._wanted.update(files=(), layout=standalone.LAYOUTS[0], review=review)
    standalone._serve(theme, port, browser, announce)
