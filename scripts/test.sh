#!/usr/bin/env bash
# scripts/test.sh: sets up .venv at the first start, then runs the tests; arguments go to pytest (-m slow: the slow ones).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/environment.sh"
prepare test,warp,lint # the same as lint.sh's, so that one set-up does for both
cd "$here/.."
cores="$(getconf _NPROCESSORS_ONLN)"
processes=$((cores < 4 ? cores + 1 : 4)) # one more than cores: many tests wait for commands
exec "$VENV_PYTHON" -m pytest --numprocesses "$processes" --dist worksteal "$@"
