"""Outputs that go with the settings that led to them."""
from __future__ import annotations

from pyworkflow.protocol import FunctionStep


class SettledOutputs:
    """Mixed into a protocol whose last step is createOutputStep(*_outputArguments()), with all that settles the result.

    A subclass gives `_settings()`, in plain types.
    """

    def makePathsAndClean(self):
        """Before a launch, in the project's process: with other settings than before (Continue) the outputs go to which
        these may not lead. The run itself can't do it (see MapResults.makePathsAndClean)."""
        super().makePathsAndClean()
        former = self.loadSteps()
        if former and former[-1] != FunctionStep(None, "createOutputStep", *self._outputArguments()):
            for name, output in list(self.iterOutputAttributes()):
                if self._isUncertain(name):
                    self.deleteOutput(output)

    def _outputArguments(self) -> list:
        return [self._settings()]

    def _isUncertain(self, name) -> bool:
        """Whether other settings may lead to no output of this name."""
        return True
