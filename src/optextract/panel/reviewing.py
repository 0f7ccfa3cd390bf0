"""Going through the spectra of a run that need a look: each with its recipe, accepted, adjusted or rejected."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import deliver, loader
from .controls import TROUBLE
from .part import Part

if TYPE_CHECKING:
    from ..batch import Review

__all__ = ["Reviewing"]


class Reviewing(Part):
    """Part of the panel that shows one spectrum of a review after the other; the review keeps what is decided."""

    _review: Review | None = None

    def start_review(self, review: Review) -> None:
        """Begin to go through the spectra of a run, worst first.

        Parameters
        ----------
        review : optextract.batch.Review
            What needs a look.

        Raises
        ------
        OptextractError
            If nothing does.
        """
        self._review, item = review, review.current
        self._press(lambda: self._show_reviewed(item))

    def _show_reviewed(self, item: Any) -> None:
        """Load a spectrum with its recipe in place of the one before."""
        old = [data.label for data in self._app.data_collection]
        self._tell_review()
        slit = None if item.slit is None else item.index
        label = loader.show(self._app, item.file, slit, item.name, item.recipe.input)
        self._replace(item.recipe)
        self._settings.forget()
        self.dataset.selected = label
        self.clear_results()
        with suppress(*TROUBLE):  # what does not work is shown at the end, as always
            deliver.add_spectra(self, self._compute(), f"{item.name} (as extracted)")
        for name in old:
            self._app.data_item_remove(name)
        self._update()

    def _tell_review(self) -> None:
        review = self._review
        if review is None:
            self.review = {}
            return
        item = review.current
        self.review = {
            "position": review.position + 1,
            "count": len(review),
            "undecided": review.undecided,
            "name": item.name,
            "score": f"{item.score:.0f}",
            "reasons": [*item.flags, *(words.rstrip(".") for words in item.warnings)],
            "decision": item.decision,
        }

    def _decide(self, decision: str, note: str = "") -> None:
        """Decide about the spectrum that is shown, and go to the next that is undecided."""
        review = self._review
        if review is None:
            return
        if decision == "adjust":
            self._compute()
            review.adjust(self.recipe, note)
        else:
            getattr(review, decision)(note)
        self._tell_review()
        ahead = [at for at, item in enumerate(review.items) if not item.decision]
        if ahead:
            later = [at for at in ahead if at > review.position]
            self._show_reviewed(review.go(later[0] if later else ahead[0]))

    def vue_review_go(self, step: int) -> None:
        """Go to the next or the previous spectrum."""
        review = self._review
        if review is None:
            return
        before = review.position
        item = review.next() if int(step) > 0 else review.previous()
        if review.position != before:
            self._press(lambda: self._show_reviewed(item))

    def vue_review_decide(self, choice: dict[str, str]) -> None:
        """Accept, adjust or reject."""
        self._press(lambda: self._decide(choice["decision"], choice.get("note", "")))
