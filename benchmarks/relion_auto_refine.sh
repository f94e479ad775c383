#!/bin/bash
# The peer of benchmarks/refinement.py: RELION's 3D auto-refine on the same particles, from the same low-passed start.
# Usage: [THREADS=1] [SEED=1] [PEER=benchmarks/peer] [CPU_LIMIT=20000]
#     benchmarks/relion_auto_refine.sh SET OUTPUT DIAMETER SYMMETRY START_A
#   SET     a folder that benchmarks/refinement.py simulated (DIR/sets/NAME); OUTPUT  a new folder, or that of a
#           finished run, which is only judged
#   DIAMETER in Å, SYMMETRY, START_A: the initial low-pass, Å; all as refinement.py gives them
# The options are those that RELION 3.1.3's own scheduler writes for a new Refine3D job whose form is left as it is
# (relion_pipeliner --addJob Refine3D, then --RunJobs: note.txt holds the command). auto-refine needs three MPI ranks:
# the first only hands out work, the two others' user time counts. A run leaves its command, log, CPU time and what
# benchmarks/refinement.py needs of its result in PEER/relion_auto_refine_NAME.json.
set -euo pipefail
set_folder=$(realpath "${1:?"give the folder of a simulated set"}")
output=$(realpath -m "${2:?"give a new output folder"}")
diameter=${3:?"give the diameter in Å"} symmetry=${4:?"give the symmetry"} start=${5:?"give the initial low-pass in Å"}
here=$(realpath "$(dirname "$0")")
peer=$(realpath -m "${PEER:-$here/peer}")
name=$(basename "$set_folder")
command=(relion_refine_mpi --o "$output/run" --auto_refine --split_random_halves --i particles.star
    --ref truth_volume.mrc --firstiter_cc --ini_high "$start" --dont_combine_weights_via_disc --pool 3 --pad 2
    --skip_gridding --ctf --particle_diameter "$diameter" --flatten_solvent --zero_mask --oversampling 1
    --healpix_order 2 --auto_local_healpix_order 4 --offset_range 5 --offset_step 2 --sym "$symmetry"
    --low_resol_join_halves 40 --norm --scale --j "${THREADS:-1}" --random_seed "${SEED:-1}")
mkdir -p "$peer"
if [ ! -e "$output/run_class001.mrc" ]; then
[ ! -e "$output" ] || { echo "$output holds no finished run; give a new folder" >&2; exit 1; }
mkdir -p "$output"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cd "$set_folder"
# each rank times itself: the first one, which polls for messages, is no work
cat > "$output/rank.sh" <<'RANK'
#!/bin/bash
TIMEFORMAT='%R %U %S'
ulimit -S -t "$CPU_LIMIT"
{ time "$@" ; } 2> "$RANK_TIMES/rank$OMPI_COMM_WORLD_RANK.txt"
RANK
chmod +x "$output/rank.sh"
status=0
CPU_LIMIT=${CPU_LIMIT:-20000} RANK_TIMES=$output mpirun --oversubscribe -n 3 "$output/rank.sh" "${command[@]}" \
    > "$output/run.log" 2>&1 || status=$?
tr '\r' '\n' < "$output/run.log" | grep -v -e '~~' -e ',_,' | sed "s|$output/||g" > "$peer/relion_auto_refine_$name.log" || true
[ "$status" = 0 ] || { tail -20 "$output/run.log" >&2; echo "RELION ended with $status" >&2; exit 1; }
fi
cd "$here"
"${PYTHON:-python}" - "$peer/relion_auto_refine_$name.json" "$set_folder" "$output" "$symmetry" "${command[@]}" <<'PYTHON'
import json, os, re, subprocess, sys
from pathlib import Path
from _common import judge, read_set
from refinement import pose_errors
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import read_volume
path, folder, output, symmetry, *command = sys.argv[1:]
particles, output = read_set(Path(folder)), Path(output)
user = [float([line for line in (output / f"rank{rank}.txt").read_text().splitlines()
               if re.fullmatch(r"[0-9. ]+", line)][-1].split()[1]) for rank in (1, 2)]
found = read_particles(output / "run_data.star", images_must_exist=False)
order = {index: row for row, index in enumerate(zip(found.stack_id, found.stack_index))}
found = found.take([order[(0, index)] for index in particles.table.stack_index])
angle, shift = pose_errors(found, particles.table, symmetry)
volume = read_volume(output / "run_class001.mrc")[0]
version = subprocess.run(["relion_refine", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
record = dict(program=version.replace(" version:", "").strip(), build="Debian's: double precision, no accelerated CPU path",
              set=particles.words, command=" ".join(os.path.basename(w) if os.path.isabs(w) else w for w in command),
              cpu_s=sum(user), fsc05_a=float(judge(volume, particles.truths[0], particles.pixel).resolution_a),
              angle_deg=angle, shift_px=shift,
              iterations=len(list(output.glob("run_it*_half1_class001.mrc"))) - 1)
Path(path).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
print(json.dumps(record, indent=1, ensure_ascii=False))
PYTHON
