"""The maps and poses that `make.sh` hands to relion_project; the numbers are drawn here, not by the plugin's poses."""
import mrcfile
import numpy as np

from cryosgd_plugin.engines.simulate.density import density_from_atoms
from cryosgd_plugin.engines.simulate.phantom import phantom_atoms

PIXEL_SIZE = 7.0
OPTICS = """
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
_rlnEvenZernike #9
1 plain 300.0 2.7 0.10 7.0 {box} 2 [0,0,0,0,0,0,0,0,0]
2 aberrated 200.0 1.4 0.07 7.0 {box} 2 [0.3,10,-20,40,1000,2000,-3000,4000,-5000]

"""
COLUMNS = ("AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst", "DefocusU", "DefocusV", "DefocusAngle",
           "PhaseShift", "CtfBfactor", "CtfScalefactor", "OpticsGroup", "MicrographName")

for name, box, seed in (("even", 32, 1), ("odd", 33, 2)):
    volume = density_from_atoms(*phantom_atoms(), box, PIXEL_SIZE)
    with mrcfile.new(f"phantom_{name}.mrc", data=volume.astype(np.float32), overwrite=True) as file:
        file.voxel_size = PIXEL_SIZE
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(20):
        tilt = (0.0, 180.0)[i] if i < 2 else np.degrees(np.arccos(rng.uniform(-1, 1)))
        defocus = rng.uniform(8000, 25000)
        row = [rng.uniform(-180, 180), tilt, rng.uniform(-180, 180), *rng.uniform(-30, 30, 2), defocus,
               defocus - rng.uniform(0, 4000), rng.uniform(0, 180), rng.choice([0.0, rng.uniform(20, 120)]),
               rng.choice([0.0, rng.uniform(20, 200)]), rng.uniform(0.8, 1.2)]
        rows.append(" ".join(f"{value:.6f}" for value in row) + f" {1 + i % 2} mic.mrc")
    with open(f"input_{name}.star", "w") as file:
        file.write(OPTICS.format(box=box) + "\ndata_particles\n\nloop_\n")
        file.write("".join(f"_rln{tag} #{i}\n" for i, tag in enumerate(COLUMNS, 1)) + "\n".join(rows) + "\n")
