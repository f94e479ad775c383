"""A small STAR file as text, and when two tables of particles are the same."""
import numpy as np

from cryosgd_plugin.tests.io_samples import make_stack, noise_images

OPTICS = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
7 micA 300 2.7 0.1 2.0 16 2
3 micB 200 2.7 0.1 2.0 16 2

"""
PARTICLES = """
# version 30001

data_particles

loop_
_rlnMicrographName #1
_rlnImageName #2
_rlnOpticsGroup #3
_rlnDefocusU #4
_rlnDefocusV #5
_rlnDefocusAngle #6
_myScore #7
_rlnOriginX #8
_rlnOriginY #9
mics/a.mrc 000002@stacks/a.mrcs 7 11000.5 10000.25 45.125 0.1230 1.5 -2
'mics/b c.mrc' 000001@stacks/b.mrcs 3 12000 11000 -10 1e-3 0 0
"""


def write(folder, text, name="particles.star", stacks=("a", "b")):
    (folder / "stacks").mkdir(exist_ok=True)
    for stack in stacks:
        make_stack(folder / "stacks" / f"{stack}.mrcs", noise_images(3, 16))
    (folder / name).write_text(text)
    return folder / name


def assert_same(a, b, atol=2e-6):
    """All that two tables hold is equal: numbers to the digits of the file, text exactly."""
    assert len(a) == len(b) and a.has_ctf == b.has_ctf
    assert [a.stack_paths[i] for i in a.stack_id] == [b.stack_paths[i] for i in b.stack_id]
    assert np.array_equal(a.stack_index, b.stack_index) and np.array_equal(a.optics_id, b.optics_id)
    for name in ("defocus_u", "defocus_v", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale",
                 "rotations", "shifts_a", "half_set", "class_id"):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None), name
        if first is not None:
            np.testing.assert_allclose(first, second, rtol=0, atol=atol, err_msg=name)
    assert list(a.extra) == list(b.extra)
    for tag, column in a.extra.items():
        assert np.array_equal(column, b.extra[tag]), tag
    assert len(a.optics) == len(b.optics)
    for first, second in zip(a.optics, b.optics):
        for name, value in vars(first).items():
            if isinstance(value, float):  # nan where the file states none
                np.testing.assert_allclose(getattr(second, name), value, rtol=1e-8, err_msg=name)
            else:
                assert getattr(second, name) == value, name
