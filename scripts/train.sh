#!/usr/bin/env bash
# scripts/train.sh task=ShadowHandOver algo=happo num_envs=256: sets up .venv at the first start, then trains.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/environment.sh"
if has_nvidia_gpu; then prepare warp; else prepare ""; fi
HARL_SCRIPTS="$(dirname "${BASH_SOURCE[0]}")" exec "$VENV_PYTHON" "$here/../train.py" "$@"
