# Sourced by train.sh, test.sh and lint.sh: makes .venv once, with the versions of constraints.txt, and installs the project in it.
# Usage: prepare EXTRAS, for example `prepare test,warp`. PYTHON chooses the interpreter (3.11 or newer).

prepare() {
    local root extras="$1" stamp
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    stamp="$root/.venv/installed-$extras-$(cat "$root/setup.py" "$root/constraints.txt" | cksum | cut -d' ' -f1)"
    VENV_PYTHON="$root/.venv/bin/python"
    [ -e "$stamp" ] && return
    local python="${PYTHON:-python3}"
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "$0: needs Python 3.11 or newer, found $("$python" --version 2>&1); set PYTHON=/path/to/python3.11" >&2
        exit 2
    fi
    echo "Setting up $root/.venv (once) ..." >&2
    # --without-pip: Debian's python3 lacks ensurepip; the pip beside $python installs into the environment instead.
    [ -x "$VENV_PYTHON" ] || "$python" -m venv --without-pip "$root/.venv"
    "$python" -m pip --python "$VENV_PYTHON" install --quiet --disable-pip-version-check \
        --constraint "$root/constraints.txt" --editable "$root${extras:+[$extras]}"
    touch "$stamp"
}

has_nvidia_gpu() {
    command -v nvidia-smi > /dev/null && nvidia-smi > /dev/null 2>&1
}
