"""Files for the tests of the validation: half-maps of a chain of carbon, the model, a mask, an MTF, particles."""
import gemmi
import numpy as np

from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.engines.simulate.density import density_from_atoms
from cryosgd_plugin.io.star import write_particles
from cryosgd_plugin.io.star_tables import write_table
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.tests.io_samples import make_stack, noise_images, table_of

BOX, PIXEL = 40, 3.0
HALVES = ("half1.mrc", "half2.mrc")


def write_samples(folder):
    """Write HALVES, mask.mrc, model.pdb (300 atoms), mtf.star and particles.star (300 with poses) into a folder."""
    t = np.linspace(0, 1, 300)
    positions = np.stack([30 * t * np.cos(12 * t), 18 * np.sin(12 * t), 60 * t - 30], axis=1)
    positions -= positions.mean(axis=0)
    density = density_from_atoms(positions, ["C"] * 300, BOX, PIXEL, 30.0)
    rng = np.random.default_rng(0)
    for name in HALVES:
        write_volume(folder / name, density + 0.3 * density.std() * rng.standard_normal(density.shape), PIXEL)
    write_volume(folder / "mask.mrc", soft_sphere(BOX, 13, 5), PIXEL)
    structure, model, chain = gemmi.Structure(), gemmi.Model("1"), gemmi.Chain("A")
    for number, place in enumerate(positions):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*place)
        residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.write_pdb(str(folder / "model.pdb"))
    write_table(folder / "mtf.star", {"mtf": {"rlnResolutionInversePixel": np.linspace(0, 0.5, 6),
                                              "rlnMtfValue": np.linspace(1, 0.2, 6)}})
    table = table_of([make_stack(folder / "a.mrcs", noise_images(300, 16))], [300])
    table.rotations, table.shifts_a = random_rotations(300, rng), np.zeros((300, 2))
    write_particles(folder / "particles.star", table)
