"""What was simulated: the true density, the true view directions, and the images in Scipion's table."""
from __future__ import annotations

import pyworkflow.protocol.params as params
import pyworkflow.viewer as pwviewer
from pyworkflow import Config

from ..core.errors import InputError
from ..io.view_pictures import draw_view_directions
from ..protocols import ProtCryosgdSimulate
from .result_viewer import ResultViewer
from .run_contents import angles_of
from .viewer_volume import VolumeView, volumes_of

TRUTH = "truth.star"


class CryosgdSimulateViewer(ResultViewer):
    """Images, densities and view directions of a simulation."""
    _label = "CryoSGD simulation results"
    _targets = [ProtCryosgdSimulate]

    def _defineParams(self, form):
        form.addSection(label="Visualization")
        form.addParam("showParticles", params.LabelParam, label="Particles", help="The images, in Scipion's table.")
        form.addParam("showVolume", params.LabelParam, label="True density",
                      help="Of each structure: slices, projections and surface.")
        form.addParam("showDirections", params.LabelParam, label="True view directions",
                      help="Number of particles over the directions from which they were seen, in an equal-area "
                           "projection, whether or not the particles were given their poses.")

    def _views(self):
        return {"showParticles": self._particleViews, "showVolume": self._volumeViews,
                "showDirections": self._directionViews}

    def _particleViews(self):
        particles = self._output("outputParticles")
        first = Config.getDomain().findViewers(particles, pwviewer.DESKTOP_TKINTER)[0]
        return first(project=self.getProject(), protocol=self.protocol, parent=self.formWindow)._visualize(particles)

    def _volumeViews(self):
        volumes = volumes_of(self._output("outputVolume", "outputVolumes"))
        return [VolumeView(f"CryoSGD: true density of {self.protocol.getRunName()}", lambda: volumes, self.formWindow)]

    def _directionViews(self):
        self._output("outputParticles")
        return [self._figureView("true view directions", lambda: angles_of(self._folder().path(TRUTH))[1:],
                                 lambda figure, angles: draw_view_directions(figure, *angles), size=(10.0, 5.8))]

    def _output(self, *names):
        """The first of these outputs that there is; InputError before the end of the run."""
        found = [getattr(self.protocol, name) for name in names if hasattr(self.protocol, name)]
        if not found:
            raise InputError("nothing is simulated yet; look again in a moment")
        return found[0]
