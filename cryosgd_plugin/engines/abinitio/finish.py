"""The last part of a run: structure and pose for every particle, and the maps from all of them.

The minibatch maps average only the last few thousand images. A full pass gives each particle its posterior at the
final resolution and collects two independent halves of the gradient of each structure; each half takes one whole
preconditioned step from the minibatch map, which in shells that the images determine is their least-squares map. The
lowest shells, which the CTF hides, stay near the minibatch map, which the halves share there: solved for alone they
drown a map in a halo (a slight grey level around crowded particles, divided by a CTF of 0.1). The FSC of the halves
weighs the final map. Both were aligned to one map, so this FSC says how well the images determine the map at these
poses, not more: it is no gold-standard resolution, and is never named so.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.backend import to_host
from ...core.fourier import fft3_centred, ifft3_centred, resample_volume
from ...core.masks import soft_sphere
from ...core.shells import fsc, shell_index_3d
from ...ops.slicing import from_half_volume, half_volume_radius, hermitian
from .model import floored

# images in each unit of a pass: small enough to checkpoint often, large enough to fill the slices' cost
CHUNK = 500


@dataclass
class Reconstruction:
    """What a pass gives for one structure.

    volume, half1, half2 : (box,)*3 float32 at the particles' box and units; the halves are windowed, not weighted by
        the FSC; none is made non-negative, which costs a finished map of many images more detail than noise
    fsc : (box // 2 + 1,) between the halves within the particle's sphere; radius : last shell in use
    """

    volume: np.ndarray
    half1: np.ndarray
    half2: np.ndarray
    fsc: np.ndarray
    radius: int


class Assignment:
    """A pass over all particles with the engine's present maps; `chunks()` can be left and gone on with.

    Per particle, in table order: structures (n,), class_mass (n, K), rotations (n, 3, 3), shifts_a (n, 2),
    log_evidence (n,), best_mass (n,), effective_poses (n,).
    """

    def __init__(self, engine, *, rows=None, halves=None):
        self.engine = engine
        config = engine.config
        self.rows = np.arange(len(engine.table)) if rows is None else rows
        self.halves = halves
        engine.end_steps()
        self.radius = engine.model.radius
        shape = (2, config.classes) + half_volume_radius(self.radius).shape
        self.gradient = np.zeros(shape, np.complex64)
        self.weight = np.zeros(shape, np.float32)
        n = len(engine.table)
        self.structures, self.class_mass = np.zeros(n, int), np.zeros((n, config.classes))
        self.rotations, self.shifts_a = np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 2))
        self.log_evidence, self.best_mass = np.zeros(n), np.zeros(n)
        self.effective_poses = np.zeros(n)
        self.done = 0

    def chunks(self):
        """Work through the particles; yields (done, total) after each chunk."""
        teams = self.engine.teams(self.engine.model.volumes)
        while self.done < len(self.rows):
            rows = self.rows[self.done:self.done + CHUNK]
            for half in (0, 1):
                members = rows[self.halves[rows] == half + 1]
                if len(members):
                    self._add(teams, members, half)
            self.done += len(rows)
            yield self.done, len(self.rows)

    def reconstruct(self) -> list:
        """For each structure the Reconstruction of all particles passed so far."""
        return [self._reconstruct(structure) for structure in range(self.engine.config.classes)]

    def state(self) -> dict:
        """What `chunks` needs to go on."""
        return {name: getattr(self, name) for name in self._saved}

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        for name in self._saved:
            value = np.asarray(state[name])
            setattr(self, name, value if value.ndim else int(value))

    _saved = ("gradient", "weight", "structures", "class_mass", "rotations", "shifts_a", "log_evidence", "best_mass",
              "effective_poses", "done", "halves", "rows")

    def _add(self, teams, rows, half):
        batch = self.engine.expect(teams, rows, 1.0)
        gradient, weight = self.engine.back_project(batch)
        self.gradient[half] += to_host(gradient)
        self.weight[half] += to_host(weight)
        for row, image in zip(rows, batch.images):
            self.structures[row], self.class_mass[row] = image.structure, image.class_mass
            self.rotations[row], self.shifts_a[row] = image.rotation, image.shift_a
            self.log_evidence[row], self.best_mass[row] = image.log_evidence, image.best_mass
            self.effective_poses[row] = image.effective_poses

    def _reconstruct(self, structure) -> Reconstruction:
        engine, config = self.engine, self.engine.config
        box, full = engine.model.box_size, config.box_size
        gradient, weight = self.gradient[:, structure], self.weight[:, structure]
        whole = np.ones(self.radius + 1)
        halves = [_weigh(self._stepped(structure, g, w), whole, self.radius) for g, w in zip(gradient, weight)]
        pixel = engine.extent_a / box
        mask = soft_sphere(box, min(config.diameter_a / 2 / pixel, box / 2 - 2), 2)
        curve = np.zeros(full // 2 + 1)
        measured = fsc(halves[0], halves[1], mask=mask)
        curve[:min(self.radius + 1, len(measured))] = measured[:self.radius + 1]
        stepped = self._stepped(structure, gradient.sum(axis=0), weight.sum(axis=0))
        volume = _weigh(stepped, curve, self.radius)
        return Reconstruction(*(resample_volume(v * mask, full).astype(np.float32) for v in (volume, *halves)),
                              curve, self.radius)

    def _stepped(self, structure, gradient, weight):
        """A minibatch map after one whole step along the given sums."""
        weight = hermitian(weight.copy())
        change = hermitian(gradient.copy()) / floored(weight, weight, self.radius, outer=False)
        model = self.engine.model
        return to_host(model.volumes[structure]) + from_half_volume(change, model.box_size)


def draw_halves(n: int, given, rng, images=None) -> np.ndarray:
    """(n,) of 1 and 2: the half-sets given, else drawn at random in equal numbers.

    images : (n,) what names the image of each row, of which all rows go to the same half; None where none repeats.
    """
    if given is not None and set(np.unique(given)) == {1, 2}:
        return np.asarray(given)
    _, first, number = np.unique(np.arange(n) if images is None else images, return_index=True, return_inverse=True)
    # in the order in which they come: rows that repeat no image are drawn as without names
    place = np.argsort(np.argsort(first))
    return rng.permutation(1 + np.arange(len(first)) % 2)[place[number.ravel()]]


def _weigh(volume, curve, radius):
    """Wiener-weigh each shell by the FSC of the halves of its data (whole map: 2 FSC / (1 + FSC)); 0 beyond radius."""
    shell = shell_index_3d(volume.shape[0])
    half = np.clip(curve[:radius + 1], 0, 1)
    half[0] = half[1]
    weight = np.append(2 * half / (1 + half), 0.0).astype(np.float32)
    return ifft3_centred(fft3_centred(volume) * weight[np.minimum(shell, radius + 1)], volume.shape[0])
