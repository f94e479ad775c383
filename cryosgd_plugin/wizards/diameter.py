"""The wand beside the particle diameter: measured on the particles, or on the map in which it shapes a mask."""
from __future__ import annotations

import numpy as np
from matplotlib.patches import Circle
from pyworkflow.gui.dialog import Dialog
from pyworkflow.wizard import DESKTOP_TKINTER, Wizard
from scipy import ndimage

from ..convert import some_images
from ..convert.maps import map_of
from ..core.errors import InputError
from ..core.settings import need
from ..protocols import (
    ProtCryosgdAbInitio,
    ProtCryosgdConsensus,
    ProtCryosgdPostprocess,
    ProtCryosgdRefine,
    ProtCryosgdRefineSparseTV,
    ProtCryosgdValidate,
)
from ..protocols.map_inputs import maps_pointed_at
from .figure_dialog import FigureDialog
from .mask import mean_of_halves

AVERAGED, SHOWN = 300, 6
# at this width single particles come out of the noise and keep their outline; a map has less of it
SMOOTHING_A, OF_SECTIONS_A = 12.0, 4.0


class CryosgdDiameterWizard(Wizard):
    """Set a run's particle diameter on an average and a few of the particles."""
    _targets = [(protocol, ["particleDiameter"]) for protocol in (
        ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdRefineSparseTV)]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        _ask(form, lambda: of_particles(form.protocol.inputParticles.get()))


class CryosgdHalvesDiameterWizard(Wizard):
    """Set the diameter of the sphere within which a mask is made, on the mean of the half-maps."""
    _targets = [(protocol, ["particleDiameter"]) for protocol in (ProtCryosgdPostprocess, ProtCryosgdValidate)]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        volume = form.protocol.inputVolume.get()
        _ask(form, lambda: of_map(mean_of_halves(volume), volume.getSamplingRate()))


class CryosgdMapsDiameterWizard(Wizard):
    """Set the diameter of the sphere within which maps are compared, on the first of them."""
    _targets = [(ProtCryosgdConsensus, ["particleDiameter"])]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        _ask(form, lambda: _of_first(maps_pointed_at(form.protocol.inputVolumes)))


def of_particles(particles) -> tuple:
    """([(title, (d, d) image)], Å/px): the average of some particles, and a few of them; InputError where none are."""
    need(particles is not None, "choose the particles first; the diameter is measured on them")
    images, pixel_size = some_images(particles, AVERAGED), particles.getSamplingRate()
    smoothed = ndimage.gaussian_filter(images[:SHOWN], (0, *(SMOOTHING_A / pixel_size,) * 2))
    return [(f"average of {len(images)}", images.mean(axis=0)),
            *((f"particle {number}, smoothed", image) for number, image in enumerate(smoothed, start=1))], pixel_size


def of_map(density, pixel_size) -> tuple:
    """([(title, (d, d) image)], Å/px) of a map (d, d, d): its projections, and its central sections, smoothed."""
    smoothed, middle = ndimage.gaussian_filter(density, OF_SECTIONS_A / pixel_size), len(density) // 2
    return [*((f"projection along {name}", density.sum(axis=axis)) for axis, name in enumerate("zyx")),
            *((f"{name} = 0, smoothed", smoothed.take(middle, axis)) for axis, name in enumerate("zyx"))], pixel_size


def _of_first(maps):
    need(maps, "choose the maps first; the diameter is measured on the first of them")
    _, volume = maps[0]
    return of_map(map_of(volume), volume.getSamplingRate())


def _ask(form, see):
    """Open the dialog on the images that see() gives, and fill the form's field after OK."""
    try:
        panels, pixel_size = see()
    except InputError as error:
        form.showError(str(error)[:1].upper() + str(error)[1:])
        return
    dialog = DiameterDialog(form.root, panels, pixel_size, form.protocol.particleDiameter.get())
    if dialog.resultYes():
        form.setVar("particleDiameter", dialog.diameter_a)


class DiameterDialog(FigureDialog):
    """Images with a circle that a slider widens. After OK, `diameter_a` holds the choice in Å.

    panels : [(title, (d, d) image)], seven at most, the first one large; pixel_size : Å/px; diameter_a : to start with,
    or None.
    """

    def __init__(self, parent, panels, pixel_size, diameter_a=None):
        self._panels = panels
        self._extent_a = panels[0][1].shape[-1] * pixel_size
        self.diameter_a = round(diameter_a or 0.6 * self._extent_a)
        Dialog.__init__(self, parent, "Particle diameter")

    def body(self, frame):
        """The images, each with the circle; the slider below."""
        figure = self.place_figure(frame, (9.0, 3.6))
        grid = figure.add_gridspec(2, 5)
        places = [grid[:, :2], grid[0, 2], grid[0, 3], grid[0, 4], grid[1, 2], grid[1, 3], grid[1, 4]]
        half, self._circles = self._extent_a / 2, []
        for place, (title, image) in zip(places, self._panels):
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
