#!/usr/bin/env bash
# scripts/gpu_check.sh [minutes=5] [out=gpu_check]: on a CUDA machine, everything that needs one, in one go; figures as JSON
# in the folder `out`. Without a network, packages come from a folder named by SITE (or are already installed).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[ -x "$python" ] || python="${PYTHON:-python3}"
if ! "$python" -c "import harl_isaac.tasks" 2> /dev/null; then
    # Not installed: show the packages their installed names in a folder of links.
    links="$(mktemp -d)"
    cp -rs "$root/harl_isaac" "$links/harl_isaac"
    ln -s "$root/tasks" "$links/harl_isaac/tasks"
    ln -s "$root/cfg" "$links/harl_isaac/cfg"
    export PYTHONPATH="$links${SITE:+:$SITE}${PYTHONPATH:+:$PYTHONPATH}"
fi
exec "$python" "$root/scripts/gpu_check.py" "$@"
