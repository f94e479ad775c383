"""The wand beside resolution limits: chosen on the power spectrum of the particles, or of a map and its FSC."""
from __future__ import annotations

import numpy as np
from pyworkflow.gui.dialog import Dialog
from pyworkflow.wizard import DESKTOP_TKINTER, Wizard

from ..convert import some_images
from ..convert.maps import half_maps_of, map_of
from ..core.errors import InputError
from ..core.noise import border_noise_spectrum
from ..core.shells import crossing_resolution, fsc, power_spectrum
from ..io.axes_pictures import COLOURS, GRID, angstrom_axis
from ..protocols import ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdRefineSparseTV
from .figure_dialog import FigureDialog

AVERAGED = 300
# of the box, where no diameter says what is background
DIAMETER_SHARE = 0.8
COARSEST_A = 80.0
AGREE = 0.143
LEAST_SIGNAL = 0.01     # below it the average of some hundred images tells nothing


class CryosgdResolutionWizard(Wizard):
    """Choose from where to where an ab initio run goes, on the spectrum of its particles."""
    _targets = [(ProtCryosgdAbInitio, ["initialResolution", "finalResolution"])]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        protocol = form.protocol
        _ask(form, lambda: of_particles(protocol.inputParticles.get(), protocol.particleDiameter.get()),
             {"initialResolution": "from", "finalResolution": "to"})


class CryosgdReferenceResolutionWizard(Wizard):
    """Choose how far a reference is believed, on its spectrum and the FSC of its half-maps where it has them."""
    _targets = [(protocol, ["initialResolution", "sharedResolution"])
                for protocol in (ProtCryosgdRefine, ProtCryosgdRefineSparseTV)]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        field = getattr(form, "wizParamName", "initialResolution")
        words = {"initialResolution": "low-pass the reference to", "sharedResolution": "shared by the halves"}
        _ask(form, lambda: of_map(form.protocol.references()), {field: words[field]})


class Spectra:
    """What limits are chosen on.

    frequencies : (n,) 1/Å; curves : {label: (n,) mean power in each shell}; agreement : (n,) FSC or None
    finest_a : Å of the last shell; title : of what
    """

    def __init__(self, box, pixel_size, curves, title, agreement=None):
        self.box, self.pixel_size, self.curves, self.title, self.agreement = box, pixel_size, curves, title, agreement
        self.frequencies = np.arange(box // 2 + 1) / (box * pixel_size)
        self.finest_a = 1 / self.frequencies[-1]


def of_particles(particles, diameter_a=None) -> Spectra:
    """The spectrum of some images and of the noise around their particles; InputError where there are none."""
    if particles is None:
        raise InputError("choose the particles first; their power spectrum shows how far they reach")
    images, pixel_size = some_images(particles, AVERAGED), particles.getSamplingRate()
    box = images.shape[-1]
    curves = {"images": power_spectrum(images)}
    radius = 0.5 * (diameter_a / pixel_size if diameter_a else DIAMETER_SHARE * box)
    curves["noise around the particles"] = border_noise_spectrum(images, radius)
    return Spectra(box, pixel_size, curves, f"{len(images)} particles, rotational average")


def of_map(references) -> Spectra:
    """The spectrum of the first of [(label, Volume)], and the FSC of its half-maps; InputError where there is none."""
    if not references:
        raise InputError("choose the reference first; its power spectrum shows how far it reaches")
    label, volume = references[0]
    density, halves = map_of(volume), list(half_maps_of(volume))
    agreement = fsc(*halves) if len(halves) == 2 else None
    return Spectra(len(density), volume.getSamplingRate(), {label: power_spectrum(density[None])},
                   f"{label}, rotational average", agreement)


def _ask(form, read, fields):
    """Open the dialog for these fields of a form, {name: word}, and fill them after OK."""
    try:
        spectra = read()
    except InputError as error:
        form.showError(str(error)[:1].upper() + str(error)[1:])
        return
    values = {name: getattr(form.protocol, name).get() for name in fields}
    dialog = ResolutionDialog(form.root, spectra, [(word, values[name]) for name, word in fields.items()])
    if dialog.resultYes():
        for name, limit in zip(fields, dialog.limits):
            form.setVar(name, limit)


class ResolutionDialog(FigureDialog):
    """Spectra with a line for each limit, moved by its slider or in the plot. After OK, `limits` holds them in Å.

    limits : [(word, Å or None)]
    """

    def __init__(self, parent, spectra, limits):
        self.spectra, self.words = spectra, [word for word, _ in limits]
        self.limits = [float(value) if value else max(40.0, 2 * spectra.finest_a) for _, value in limits]
        Dialog.__init__(self, parent, "Resolution")

    def body(self, frame):
        """The plot, a slider for each limit, and a line below that reads the curves there."""
        spectra = self.spectra
        figure = self.place_figure(frame, (8.6, 3.6 if spectra.agreement is None else 5.4), layout="constrained")
        panels = figure.subplots(1 if spectra.agreement is None else 2, 1, squeeze=False, sharex=True)[:, 0]
        beyond_dc = slice(1, None)
        for colour, (label, power) in zip(COLOURS, spectra.curves.items()):
            panels[0].semilogy(spectra.frequencies[beyond_dc], power[beyond_dc], color=colour, lw=1.5, label=label)
        panels[0].set_ylabel("power")
        panels[0].set_title(spectra.title, fontsize=10)
        panels[0].legend(fontsize=8)
        if spectra.agreement is not None:
            panels[1].plot(spectra.frequencies[beyond_dc], spectra.agreement[beyond_dc], color=COLOURS[0], lw=1.5)
            panels[1].axhline(AGREE, color="0.6", lw=0.8, ls="--")
            panels[1].set_ylabel("FSC of the half-maps")
            panels[1].set_ylim(-0.1, 1.05)
        for axes in panels:
            axes.grid(True, **GRID)
        panels[-1].set_xlim(0, spectra.frequencies[-1])
        angstrom_axis(panels[-1], "resolution (Å)")
        self.lines = [[axes.axvline(1 / limit, color=COLOURS[2 + number], lw=2) for axes in panels]
                      for number, limit in enumerate(self.limits)]
        self.texts = [panels[0].text(1 / limit, 0.04 + 0.1 * number, f" {word}", color=COLOURS[2 + number], fontsize=9,
                                     transform=panels[0].get_xaxis_transform(), va="bottom",
                                     bbox=dict(facecolor="white", edgecolor="none", alpha=0.8, pad=1))
                      for number, (word, limit) in enumerate(zip(self.words, self.limits))]
        finest = np.ceil(10 * spectra.finest_a) / 10
        self.sliders = [self.place_slider(frame, f"{word} (Å)", COARSEST_A, finest, limit,
                                          lambda value, number=number: self.choose(number, value), 0.1)
                        for number, (word, limit) in enumerate(zip(self.words, self.limits))]
        self.line = self.place_line(frame)
        self.initial_focus = self.sliders[0]
        for event in ("button_press_event", "motion_notify_event"):
            self.canvas.mpl_connect(event, self._dragged)
        self.draw()

    def choose(self, number, resolution_a):
        """Move one of the limits to a resolution in Å."""
        self.limits[number] = resolution_a
        self.draw_soon()

    def draw(self):
        """Move the lines and read the curves there."""
        for limit, lines, text in zip(self.limits, self.lines, self.texts):
            text.set_x(1 / limit)
            for line in lines:
                line.set_xdata([1 / limit] * 2)
        self.line.configure(text="   ".join(f"{word} {limit:g} Å: {self._reading(limit)}"
                                            for word, limit in zip(self.words, self.limits)))

    def _dragged(self, event):
        """The limit nearest to the mouse follows it while its button is held down."""
        if event.button == 1 and event.inaxes is not None and event.xdata > 0:
            number = int(np.argmin([abs(1 / limit - event.xdata) for limit in self.limits]))
            self.sliders[number].set(1 / event.xdata)     # which tells `choose`

    def _reading(self, limit_a):
        spectra = self.spectra
        if spectra.agreement is not None:
            value = np.interp(1 / limit_a, spectra.frequencies, spectra.agreement)
            ends = crossing_resolution(spectra.agreement, AGREE, spectra.box, spectra.pixel_size)
            return f"FSC {value:.2f} (the half-maps agree to {ends:.3g} Å)"
        curves = list(spectra.curves.values())
        if len(curves) == 1:
            share = np.interp(1 / limit_a, spectra.frequencies, curves[0]) / curves[0][1:].max()
            return f"power {share:.2g} of the strongest shell's"
        images, noise = (np.interp(1 / limit_a, spectra.frequencies, curve) for curve in curves)
        signal = images / noise - 1
        return f"signal {signal:.2g} × the noise" if signal > LEAST_SIGNAL else "no signal above the noise"
