#!/bin/bash
# The peer of benchmarks/speed.py: RELION's initial model (stochastic gradient descent) on the same particles.
# Usage: [SEED=1] [THREADS=1] [DIAMETER=290] [PEER=benchmarks/peer] [ITERATIONS="50 200 50"] [CPU_LIMIT=2100]
#     benchmarks/relion_initial_model.sh SET OUTPUT
#   SET     a folder that `cryosgd simulate` made (particles.star, particles.mrcs); OUTPUT  a new folder for the run
# The options are those that RELION 3.1's window gives the job (getCommandsInimodelJob), with its defaults: 50 + 200 +
# 50 iterations, 35 Å at first, subsets of 100 to 500 images, 15° and 6 px searches. Two choices favour it: 12 Å at the
# end, as ours, instead of 15 Å, and no padding, which is faster. C1; no poses are read.
# It is stopped after CPU_LIMIT seconds of CPU time. A run leaves its command, log (without progress bars), CPU time and
# the last iteration that it wrote in benchmarks/peer; its maps, OUTPUT/run_itNNN_class001.mrc, are judged by
# `benchmarks/speed.py --peer-run OUTPUT`.
set -euo pipefail
set_folder=$(realpath "${1:?"give the folder of a simulated set"}")
output=$(realpath -m "${2:?"give a new output folder"}")
read -r first between last <<< "${ITERATIONS:-50 200 50}"
limit=${CPU_LIMIT:-2100}
peer=$(realpath -m "${PEER:-$(dirname "$0")/peer}")
diameter=${DIAMETER:-290}
command=(relion_refine --o "$output/run" --sgd_ini_iter "$first" --sgd_inbetween_iter "$between" --sgd_fin_iter "$last"
    --sgd_write_iter 1 --sgd_ini_resol 35 --sgd_fin_resol 12 --sgd_ini_subset 100 --sgd_fin_subset 500
    --sgd --denovo_3dref --i particles.star --ctf --K 1 --sym C1 --flatten_solvent --zero_mask
    --dont_combine_weights_via_disc --pool 3 --pad 1 --skip_gridding --particle_diameter "$diameter"
    --oversampling 1 --healpix_order 1 --offset_range 6 --offset_step 4 --j "${THREADS:-1}"
    --random_seed "${SEED:-1}")
[ ! -e "$output" ] || { echo "$output exists; give a new folder" >&2; exit 1; }
mkdir -p "$output"
cd "$set_folder"
TIMEFORMAT='%R %U %S'
status=0
{ time (ulimit -S -t "$limit"; "${command[@]}" > "$output/run.log" 2>&1; exit $?); } 2> "$output/timing.txt" || status=$?
# 128 + SIGXCPU: the limit
case $status in 0 | 152) ;; *) tail -20 "$output/run.log" >&2; exit 1 ;; esac
read -r wall user system < <(grep -E "^[0-9. ]+$" "$output/timing.txt")
iterations=$(find "$output" -name 'run_it*_class001.mrc' | sed 's/.*_it0*\([0-9][0-9]*\)_.*/\1/' | sort -n | tail -1)
echo "RELION: $wall s, $user + $system CPU-s, ${iterations:-0} of $((first + between + last)) iterations"
[ "$first $between $last" = "50 200 50" ] || { echo "a short run: nothing is kept in $peer"; exit 0; }
mkdir -p "$peer"
tr '\r' '\n' < "$output/run.log" | grep -v -e '~~' -e ',_,' > "$peer/relion_initial_model.log"
python3 - "$peer/relion_initial_model.json" "$wall" "$user" "$system" "$(basename "$set_folder")" \
    "${iterations:-0}" "$((first + between + last))" "${command[@]}" <<'PYTHON'
import json, os, subprocess, sys
path, wall, user, system, name, done, planned, *command = sys.argv[1:]
version = subprocess.run(["relion_refine", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
# folders of this machine say nothing
command = [os.path.basename(word) if os.path.isabs(word) else word for word in command]
record = dict(program=version.replace(" version:", "").strip(), set=name, command=" ".join(command), seconds=float(wall),
              cpu_s=float(user) + float(system), iterations=int(done), planned=int(planned))
with open(path, "w") as file:
    json.dump(record, file, indent=1, ensure_ascii=False)
    file.write("\n")
PYTHON
echo "kept in $peer"
