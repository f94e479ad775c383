"""A tool's sentences for a paper, with the version of CryoSGD that ran."""
from __future__ import annotations

from .. import __version__

# what is named in the sentences
PROGRAM = f"CryoSGD {__version__}"


class KeptMethods:
    """Mixed into a protocol whose last step calls `_keepMethods`: another version that shows the run later keeps the
    name of the one that made it."""

    def _keepMethods(self, words: str):
        """Store the sentences with the run; keys of what they cite in brackets, one each."""
        self.methodsVar.set(words)

    def _methods(self):
        return [self.methodsVar.get()] if self.isFinished() and self.methodsVar.hasValue() else []
