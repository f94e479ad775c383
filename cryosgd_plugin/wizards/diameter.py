"""The wand beside the particle diameter: measured on the particles."""
from __future__ import annotations

import numpy as np
from matplotlib.patches import Circle
from pyworkflow.gui.dialog import Dialog
from pyworkflow.wizard import DESKTOP_TKINTER, Wizard
from scipy import ndimage

from ..convert import some_images
from ..core.errors import InputError
from ..protocols import ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdRefineSparseTV, ProtCryosgdValidate
from .figure_dialog import FigureDialog

AVERAGED, SHOWN = 300, 6
# at this width single particles come out of the noise and keep their outline
SMOOTHING_A = 12.0


class CryosgdDiameterWizard(Wizard):
    """Set a run's particle diameter on an average and a few of the particles."""
    _targets = [(protocol, ["particleDiameter"]) for protocol in (
        ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdRefineSparseTV, ProtCryosgdValidate)]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        particles = form.protocol.inputParticles.get()
        if particles is None:
            form.showError("Choose the particles first; the diameter is measured on them.")
            return
        try:
            images = some_images(particles, AVERAGED)
        except InputError as error:
            form.showError(str(error))
            return
        dialog = DiameterDialog(form.root, images, particles.getSamplingRate(), form.protocol.particleDiameter.get())
        if dialog.resultYes():
            form.setVar("particleDiameter", dialog.diameter_a)


class DiameterDialog(FigureDialog):
    """Images with a circle that a slider widens. After OK, `diameter_a` holds the choice in Å.

    images : (n, d, d); pixel_size : Å/px; diameter_a : to start with, or None.
    """

    def __init__(self, parent, images, pixel_size, diameter_a=None):
        self._images, self._pixel_size = images, pixel_size
        self._extent_a = images.shape[-1] * pixel_size
        self.diameter_a = round(diameter_a or 0.6 * self._extent_a)
        Dialog.__init__(self, parent, "Particle diameter")

    def body(self, frame):
        """Average and single particles, each with the circle; the slider below."""
        figure = self.place_figure(frame, (9.0, 3.6))
        panels = [(f"average of {len(self._images)}", self._images.mean(axis=0))]
        smoothed = ndimage.gaussian_filter(self._images[:SHOWN], (0, *(SMOOTHING_A / self._pixel_size,) * 2))
        panels += [(f"particle {number}, smoothed", image) for number, image in enumerate(smoothed, start=1)]
        grid = figure.add_gridspec(2, 5)
        places = [grid[:, :2], grid[0, 2], grid[0, 3], grid[0, 4], grid[1, 2], grid[1, 3], grid[1, 4]]
        half, self._circles = self._extent_a / 2, []
        for place, (title, image) in zip(places, panels):
            axes = figure.add_subplot(place)
            low, high = np.percentile(image, (1, 99.5))
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower", extent=(-half, half, -half, half))
            axes.set_title(title, fontsize=8)
            axes.tick_params(labelsize=6)
            axes.set_axis_on() if place is places[0] else axes.set_axis_off()
            circle = Circle((0, 0), self.diameter_a / 2, fill=False, color="orange", lw=1.5)
            self._circles.append(axes.add_patch(circle))
        figure.axes[0].set_xlabel("Å", fontsize=7)
        figure.tight_layout()
        self.initial_focus = self.place_slider(frame, "Diameter (Å): the circle shall hold all of the particle", 10,
                                               int(self._extent_a), self.diameter_a, self.choose)

    def choose(self, diameter_a):
        """Draw the circle of a diameter in Å."""
        self.diameter_a = int(diameter_a)
        for circle in self._circles:
            circle.set_radius(self.diameter_a / 2)
        self.canvas.draw_idle()
