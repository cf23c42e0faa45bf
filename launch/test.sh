#!/usr/bin/env bash
# All tests: bash launch/test.sh [pytest arguments]. Installs what is missing, like launch/local.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh

exec python -m pytest -n 2 --dist loadfile "$@"
