#!/usr/bin/env bash
# All tests but the slow ones: bash launch/test.sh [--fast] [pytest arguments]
# --fast, in about two minutes, leaves out what compiles networks or starts processes. Installs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=dev,demo
source launch/environment.sh

selection=()
if [[ ${1:-} == --fast ]]; then
  selection=(-m "not slow and not compiles")
  shift
fi
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder ${selection[@]+"${selection[@]}"} "$@"
