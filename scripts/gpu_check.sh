#!/usr/bin/env bash
# scripts/gpu_check.sh [minutes=5] [out=gpu_check]: on a CUDA machine, everything that needs one, in one go; figures as JSON in
# the folder `out`. Without a network the missing packages come along in a folder:
#   WHEELS=<folder of wheels>        installed into .venv with pip
#   SITE=<folder of unpacked packages>   used as it is, beside the torch that PYTHON (default python3) has
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
[ -x "$root/.venv/bin/python" ] && python="$root/.venv/bin/python"
if [ -n "${WHEELS:-}" ]; then
    "$python" -m venv --without-pip --system-site-packages "$root/.venv"
    "$python" -m pip --python "$root/.venv/bin/python" install --quiet --no-index --find-links "$WHEELS" \
        hydra-core tensorboard rich mujoco gymnasium-robotics mujoco-warp
    python="$root/.venv/bin/python"
fi
export PYTHONPATH="$root${SITE:+:$SITE}${PYTHONPATH:+:$PYTHONPATH}"
"$python" "$root/scripts/gpu_check.py" "$@"
