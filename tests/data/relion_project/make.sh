#!/bin/sh
# Regenerates this folder with RELION 3.1.3 (Debian package `relion`). Run from anywhere; PYTHON names a Python that
# imports cryosgd_plugin. The committed files are the output of this script.
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3}" make_input.py
for name in even odd; do
    relion_project --i "phantom_$name.mrc" --o "$name" --ctf --angpix 7 --ang "input_$name.star" --pad 2
    rm "input_$name.star"
done
