#!/usr/bin/env bash
# scripts/install_football.sh [folder=wheels]: builds and installs Google Research Football 2.10.2 for the tasks football/*.
# Needs Debian 12 (bookworm), whose boost for Python 3.11 the game is compiled against.
# The built wheel (about 32 MB, some ten minutes of a core) stays in `folder`: a second run installs it at once, also elsewhere.
# PYTHON chooses the interpreter to install into (default: the project's .venv, else python3).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="${1:-$root/wheels}"
python="${PYTHON:-$root/.venv/bin/python}"
[ -x "$python" ] || python="$(command -v "${PYTHON:-python3}")"

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "$0: the game is built against the system's boost for Python 3.11, found $("$python" --version 2>&1);" \
        "set PYTHON=/path/to/python3.11" >&2
    exit 2
fi

# The project's .venv may lack a pip of its own; that of python3 installs into it.
with_pip="$(command -v python3)"
install() {
    if "$python" -m pip --version > /dev/null 2>&1; then
        "$python" -m pip "$1" --quiet --disable-pip-version-check "${@:2}"
    else
        "$with_pip" -m pip --python "$python" "$1" --quiet --disable-pip-version-check "${@:2}"
    fi
}

as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
echo "Installing compilers and libraries ..." >&2
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    python3 python3-dev build-essential cmake libsdl2-dev libsdl2-image-dev libsdl2-ttf-dev libsdl2-gfx-dev libgl1-mesa-dev libegl-dev \
    libboost-thread-dev libboost-python-dev libboost-filesystem-dev libboost-system-dev > /dev/null

# The build runs `python3 -c "import psutil"`: without build isolation, with the interpreter's folder first on PATH.
install install psutil wheel setuptools
PATH="$(dirname "$python"):$PATH"
mkdir -p "$folder"
if ! ls "$folder"/gfootball-2.10.2-*.whl > /dev/null 2>&1; then
    echo "Building gfootball 2.10.2 into $folder, for some minutes ..." >&2
    install wheel --no-build-isolation --no-deps --wheel-dir "$folder" gfootball==2.10.2
fi
# gfootball imports gym, six, pygame and cv2 without stating all of them. pip may miss opencv-python: -headless is the same.
install install --no-deps "$folder"/gfootball-2.10.2-*.whl
install install --constraint "$root/constraints.txt" "gym==0.25.2" six absl-py scipy pygame opencv-python-headless
cd /
if ! loaded="$("$python" -c "import gfootball_engine, gfootball.env" 2>&1)"; then
    echo "$loaded" >&2
    exit 1
fi
echo "gfootball is installed"
