#!/bin/bash
# The two simulated sets of the ab initio benchmarks, each in under a minute or two on 2 cores.
# Usage: benchmarks/make_simulated_sets.sh OUTPUT_DIR [TEST_DATA_DIR]
#   OUTPUT_DIR/phantom   2,000 × 64 px, 4 Å/px, SNR 0.05, of the built-in phantom
#   OUTPUT_DIR/ribosome  1,500 × 64 px, 5 Å/px, SNR 0.1, of ASPIRE's 70S ribosome (needs TEST_DATA_DIR or
#                        CRYOSGD_TEST_DATA; its header states no pixel size, ASPIRE's gallery says 5 Å)
# The true poses are in truth.star; particles.star has none.
set -euo pipefail
output=${1:?"give an output folder"}
root=$(cd "$(dirname "$0")/.." && pwd)
data=${2:-${CRYOSGD_TEST_DATA:-$root/../shared/data}}
python=${PYTHON:-python}
simulate() { PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$python" -m cryosgd_plugin.cli simulate "$@"; }

simulate -o "$output/phantom" --particles 2000 --box 64 --pixel-size 4 --snr 0.05 --shift-sd 4 \
    --defocus 10000 25000 --seed 1
simulate -o "$output/ribosome" --map "$data/aspire_reference/clean70SRibosome_vol_65p.mrc" --map-pixel-size 5 \
    --particles 1500 --box 64 --pixel-size 5 --snr 0.1 --shift-sd 4 --defocus 10000 25000 --seed 1
