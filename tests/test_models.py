"""Atomic models from files: PDB and mmCIF say the same, assemblies are made, what is left out is."""
import gemmi
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.models import FIRST, read_model

PLACES = np.array([[0.0, 2, 3], [1, 5, 6], [4, 2, 3.5]])
ELEMENTS = ["N", "C", "FE"]
# a quarter turn about z, which is not its own inverse, and a shift
TURN, SHIFT = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([10.0, 0, -4])


@pytest.fixture(scope="module", params=["pdb", "cif"])
def path(request, tmp_path_factory):
    """A file of three atoms, one of them in two conformations, a hydrogen and a water, and of an assembly of two."""
    structure, model, chain = gemmi.Structure(), gemmi.Model("1"), gemmi.Chain("A")
    atoms = [("N", "N", PLACES[0], "\0", "ALA"), ("CA", "C", PLACES[1], "A", "ALA"),
             ("CA", "C", PLACES[1] + 0.5, "B", "ALA"), ("HA", "H", PLACES[1] + 1, "\0", "ALA"),
             ("FE", "Fe", PLACES[2], "\0", "FE"), ("O", "O", PLACES[2] + 3, "\0", "HOH")]
    residues = {}
    for name, element, place, conformation, of in atoms:
        if of not in residues:
            residues[of] = gemmi.Residue()
            residues[of].name, residues[of].seqid = of, gemmi.SeqId(len(residues), " ")
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = name, gemmi.Element(element), gemmi.Position(*place)
        atom.altloc, atom.occ = conformation, 0.5 if conformation != "\0" else 1.0
        residues[of].add_atom(atom)
    for residue in residues.values():
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    assembly, generator = gemmi.Assembly("1"), gemmi.Assembly.Gen()
    generator.chains, generator.subchains = ["A"], [part.subchain_id() for part in structure[0].subchains()]
    for name, matrix, shift in (("1", np.eye(3), np.zeros(3)), ("2", TURN, SHIFT)):
        operator = gemmi.Assembly.Operator()
        operator.name, operator.transform = name, gemmi.Transform()
        operator.transform.mat.fromlist(matrix.tolist())
        operator.transform.vec.fromlist(shift.tolist())
        generator.operators.append(operator)
    assembly.generators.append(generator)
    structure.assemblies.append(assembly)
    file = tmp_path_factory.mktemp("model") / f"model.{request.param}"
    if request.param == "pdb":
        structure.write_pdb(str(file))
    else:
        structure.make_mmcif_document().write_file(str(file))
    return file


def test_chains_as_they_are(path):
    positions, elements = read_model(path)
    assert [element.upper() for element in elements] == ELEMENTS
    assert positions == pytest.approx(PLACES, abs=1e-3)


@pytest.mark.parametrize("name", [FIRST, "1"])
def test_the_assembly_is_made(path, name):
    positions, elements = read_model(path, name)
    assert [element.upper() for element in elements] == 2 * ELEMENTS
    assert positions == pytest.approx(np.concatenate([PLACES, PLACES @ TURN.T + SHIFT]), abs=1e-3)


def test_an_assembly_that_is_not_there(path):
    with pytest.raises(InputError, match="defines no assembly '2'; it has 1"):
        read_model(path, "2")
