#!/usr/bin/env bash
# scripts/lint.sh [check|format|types ...]: sets up .venv at the first start, then holds the code to its rules: ruff's checks,
# ruff's format, mypy's types (settings in pyproject.toml). Without a word all three; every one runs, any that fails fails the whole.
# `.venv/bin/ruff check --fix` and `.venv/bin/ruff format` mend what a machine can.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/environment.sh"

check() { "$VENV_PYTHON" -m ruff check; }
format() { "$VENV_PYTHON" -m ruff format --check; }
types() { "$VENV_PYTHON" -m mypy; }

steps=("$@")
[ $# -gt 0 ] || steps=(check format types)
for step in "${steps[@]}"; do
    case "$step" in
        check | format | types) ;;
        *)
            echo "$0: $step is unknown; possible: check, format, types" >&2
            exit 2
            ;;
    esac
done

prepare test,warp,lint
cd "$here/.."
failed=()
for step in "${steps[@]}"; do
    "$step" || failed+=("$step")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
