"""Results of a refinement, finished or going on: volumes, mask, FSC curves, view directions, convergence, particles."""
from __future__ import annotations

from functools import partial

import pyworkflow.protocol.params as params

from ..core.errors import InputError
from ..io.abinitio_pictures import CONVERGENCE_SIZE
from ..io.certificate_picture import CERTIFICATE_SIZE, draw_certificate
from ..io.model_pictures import MODEL_SIZE, draw_model
from ..io.refine_particles import particle_values
from ..io.refine_pictures import PARTICLES_SIZE, draw_particles, draw_refine_convergence
from ..io.result_folder import MASK
from ..io.volume_data import open_volume
from ..protocols import ProtCryosgdRefine, ProtCryosgdRefineSparseTV
from .run_contents import history_so_far
from .run_viewer import RunViewer
from .viewer_volume import VolumeView


class CryosgdRefineViewer(RunViewer):
    """Volumes, half-maps, mask, FSC, view directions, convergence, particles and summary."""
    _label = "CryoSGD refinement results"
    _targets = [ProtCryosgdRefine, ProtCryosgdRefineSparseTV]
    FSC_HELP = ("Between the independent half-maps: without a mask, within it, of maps with randomised phases, and "
                "corrected by that; with the resolutions at 0.143 and 0.5. Of several classes the corrected curve "
                "of each; choose one to see all four. While the run goes on, the curve of the newest iteration.")
    KEPT = "The volume of every iteration is kept."

    def _defineRunParams(self, group):
        group.addParam("showMask", params.LabelParam, label="Mask",
                       help="As it was applied for the FSC of the last iteration.")
        group.addParam("showHistory", params.LabelParam, label="Convergence",
                       help="Resolution in use and to which the halves agree, change of the poses, share of the poses "
                            "that the bound leaves, log-likelihood gain and entropy, shares of the classes, particles "
                            "in doubt, time over the iterations.")
        group.addParam("showSpectra", params.LabelParam, label="Signal, noise and prior",
                       help="Of each shell: the power of signal and noise, the signal-to-noise ratio of a half-map, "
                            "and how far the map follows the data against the prior.")
        group.addParam("showCertificate", params.LabelParam, label="Certificate of the search",
                       help="Of a sample of the particles that was searched exhaustively as well: what the bounded "
                            "search lost in nats and of the posterior, and the share of the poses that it pruned.")
        group.addParam("showParticles", params.LabelParam, label="Particles",
                       help="Histograms of the particles' posterior entropy, width of the pose, scale, "
                            "log-likelihood gain, and change in the newest iteration.")

    def _ownViews(self):
        return {"showMask": self._maskViews, "showHistory": self._historyViews, "showParticles": self._particleViews,
                "showCertificate": self._certificateViews, "showSpectra": self._spectraViews}

    def _fscNote(self):
        # finer than what the references share later on
        start = ((self._folder().job() or {}).get("parameters") or {}).get("initial_resolution_a")
        if start is None:
            return "Between maps of independent half-sets."
        return ("Between maps of independent half-sets, which began with the same reference below "
                f"1/{start:g} Å: agreement there is no evidence.")

    def _angles(self, folder, structures):
        values = particle_values(folder, structures, scores=())
        return values["rot"], values["tilt"]

    def _maskViews(self):
        path = self._folder().path(MASK)
        if path is None:
            raise InputError("there is no mask yet; it is written at the end of the run, with the half-maps")
        return [VolumeView(f"CryoSGD: mask of {self.protocol.getRunName()}",
                           lambda: [("mask", partial(open_volume, path, None, "mask"))], self.formWindow)]

    def _historyViews(self):
        return [self._figureView("convergence", lambda: history_so_far(self._folder()), draw_refine_convergence,
                                 size=CONVERGENCE_SIZE)]

    def _spectraViews(self):
        return [self._figureView(f"spectra of class {k + 1}", partial(self._spectra, k),
                                 lambda figure, found: draw_model(figure, *found), size=MODEL_SIZE)
                for k in self._structures()]

    def _spectra(self, k):
        """(spectra of the newest iteration, side of the box in Å, title) of a class."""
        newest = history_so_far(self._folder())[-1]
        parameters = self._folder().job()["parameters"]
        of_class = f"class {k + 1}, " if parameters["classes"] > 1 else ""
        return (newest["spectra"][k], parameters["box_size"] * parameters["pixel_size"],
                f"{of_class}iteration {newest['iteration']}")

    def _certificateViews(self):
        return [self._figureView("certificate", lambda: history_so_far(self._folder()), draw_certificate,
                                 size=CERTIFICATE_SIZE)]

    def _particleViews(self):
        structures = self._structures()
        return [self._figureView(f"particles{self._chosen()}", lambda: particle_values(self._folder(), structures),
                                 draw_particles, size=PARTICLES_SIZE)]
