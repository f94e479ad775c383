"""The wand beside a mask's threshold, growth and soft edge: the mask that they make, on slices of the map."""
from __future__ import annotations

import numpy as np
from pyworkflow.gui.dialog import Dialog
from pyworkflow.wizard import DESKTOP_TKINTER, Wizard

from ..convert.maps import half_maps_of
from ..core.errors import InputError
from ..core.settings import need
from ..engines.mask import EDGE_PX, MaskShape
from ..engines.validation.halves import automatic_mask
from ..io.pictures import _grey_range
from ..io.volume_data import VolumeData
from ..protocols import ProtCryosgdPostprocess, ProtCryosgdValidate
from ..protocols.half_maps import complaints_of_halves
from .figure_dialog import FigureDialog

INSIDE, EDGE = "#ff9f1c", "#74c0fc"
FIELDS = {"maskThreshold": "threshold", "maskExtend": "extend_a", "maskEdge": "edge_a"}


class CryosgdMaskWizard(Wizard):
    """Set how the mask is made on the mean of the half-maps."""
    _targets = [(protocol, list(FIELDS)) for protocol in (ProtCryosgdPostprocess, ProtCryosgdValidate)]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        protocol = form.protocol
        volume = protocol.inputVolume.get()
        try:
            data = VolumeData(mean_of_halves(volume), volume.getSamplingRate(), label="mean of the half-maps")
            given = {name: getattr(protocol, field).get() for field, name in FIELDS.items()}
            shape = MaskShape(**{name: value for name, value in given.items() if value is not None})
            dialog = MaskDialog(form.root, data, shape, protocol.particleDiameter.get())
        except InputError as error:
            form.showError(str(error)[:1].upper() + str(error)[1:])
            return
        if dialog.resultYes():
            for field, name in FIELDS.items():
                form.setVar(field, getattr(dialog.shape, name))


def mean_of_halves(volume):
    """(d, d, d) mean of a Scipion Volume's half-maps; InputError where there is none, or no two that can be read."""
    need(volume is not None, "choose a map with half-maps first; the mask is made of them")
    complaints = complaints_of_halves(volume)
    need(not complaints, "".join(complaints[:1]))
    first, second = half_maps_of(volume)
    need(first.shape == second.shape, f"the half-maps have boxes of {len(first)} and {len(second)} px; give two halves "
         "of one refinement")
    return 0.5 * (first + second)


class MaskDialog(FigureDialog):
    """Sections of a map with the mask's inside and edge. After OK, `shape` (MaskShape) holds the choice.

    data : VolumeData; diameter_a : of the sphere within which the mask lies, None for the usual one
    """

    def __init__(self, parent, data, shape, diameter_a=None):
        survey = data.survey
        self._map, self._pixel_size = survey.coarse, float(data.voxel_size_a[2]) * survey.factor
        self._edge_note = (f" (drawn from a copy binned {survey.factor}×)" if survey.factor > 1 else "")
        self.shape, self._diameter_a, self._position_a = shape, diameter_a, 0.0
        self.mask = self._made_with = None
        Dialog.__init__(self, parent, "Mask")

    def body(self, frame):
        """Three sections; a slider for the sections, one for each of the mask's numbers, and a line below."""
        figure = self.place_figure(frame, (10.2, 3.9), layout="constrained")
        figure.suptitle("orange: inside; blue, dashed: end of the soft edge", fontsize=9)
        self.panels = figure.subplots(1, 3)
        step = max(1, round(self._pixel_size))
        half = len(self._map) // 2 * self._pixel_size // step * step
        self.place_slider(frame, "Sections (Å from the middle)", -half, half, 0.0, self._move, step)
        self.sliders = {name: self.place_slider(frame, label, low, high, getattr(self.shape, name),
                                                lambda value, name=name: self.choose(**{name: value}), step)
                        for name, label, low, high, step in (
            ("threshold", "Threshold: share of the brightest density", 0.02, 0.9, 0.01),
            ("extend_a", "Widen by (Å)", 0.0, 40.0, 0.5),
            ("edge_a", f"Soft edge (Å), {EDGE_PX:g} px at least", 0.0, 60.0, 0.5))}
        self.line = self.place_line(frame)
        self.initial_focus = self.sliders["threshold"]
        self.draw()

    def choose(self, **changes):
        """Take other numbers of the mask and draw it."""
        self.shape = MaskShape(**{**vars(self.shape), **changes})
        self.draw_soon()

    def draw(self):
        """Make the mask where its numbers have changed, and draw the sections."""
        if self._made_with != self.shape:
            self._made_with = self.shape
            try:
                self.mask = automatic_mask(self._map, self._pixel_size, self._diameter_a, self.shape)
                self.line.configure(text=f"inside {np.mean(self.mask > 0.99):.1%} of the box, with the soft edge "
                                         f"{np.mean(self.mask > 0.01):.1%}{self._edge_note}")
            except InputError as error:
                self.mask = None
                self.line.configure(text=str(error))
        centre = len(self._map) // 2
        index = int(np.clip(centre + round(self._position_a / self._pixel_size), 0, len(self._map) - 1))
        low = (-centre - 0.5) * self._pixel_size
        extent = (low, low + len(self._map) * self._pixel_size) * 2
        sections = [np.take(self._map, index, axis=axis) for axis in range(3)]
        greys = _grey_range([np.take(self._map, centre, axis=axis) for axis in range(3)])
        for axis, (axes, section) in enumerate(zip(self.panels, sections)):
            axes.clear()
            axes.imshow(section, cmap="gray", origin="lower", extent=extent, vmin=greys[0], vmax=greys[1])
            axes.set_title(f"{'zyx'[axis]} = {(index - centre) * self._pixel_size:.0f} Å", fontsize=9)
            axes.tick_params(labelsize=7)
            axes.set_xlabel("Å", fontsize=8)
            if self.mask is not None:
                cut = np.take(self.mask, index, axis=axis)
                for level, colour, style in ((0.99, INSIDE, "solid"), (0.01, EDGE, "dashed")):
                    if cut.min() < level < cut.max():
                        axes.contour(cut, levels=[level], origin="lower", extent=extent, colors=colour,
                                     linestyles=style, linewidths=1.3)

    def _move(self, position_a):
        self._position_a = position_a
        self.draw_soon()
