#!/usr/bin/env bash
# Self-training on this machine: bash launch/local.sh [CONFIG] [--config.a.b=value ...]
# Makes .venv and installs the package into it once; the same command resumes.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh

config=configs/quickstart.py
if [[ $# -gt 0 && $1 != --* ]]; then
  config=$1
  shift
fi
exec python -m selftrain_jax.main --config="$config" "$@"
