#!/usr/bin/env bash
# Self-training on this machine's NVIDIA GPUs: bash launch/gpu.sh [CONFIG] [--config.a.b=value ...]
# Like launch/local.sh, with jax[cuda13] or jax[cuda12] in .venv, depending on the driver, or on CUDA=12 or 13.
# On a cluster's login node without a GPU: CUDA=12 bash launch/gpu.sh --install only fills .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "error: $*" >&2
  exit 2
}

# CUDA 13 needs driver 580 and a Turing GPU (compute capability 7.5) or newer, CUDA 12 driver 525
# (docs.jax.dev/en/latest/installation.html). CUDA=12 or 13 goes ahead all the same, as with NVIDIA's
# forward compatibility packages.
choose_cuda() {
  local driver="" capability=""
  cuda=""
  IFS=', ' read -r driver capability < <(
    nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2>/dev/null
  ) || true
  if [[ $driver =~ ^[0-9]+\. && ${driver%%.*} -ge 580 && ${capability/./} -ge 75 ]]; then
    cuda=13
  elif [[ $driver =~ ^[0-9]+\. && (${driver%%.*} -ge 525 || ${CUDA:-}) ]]; then
    cuda=12
  elif [[ $driver =~ ^[0-9]+\. ]]; then
    fail "the NVIDIA driver here is $driver; JAX needs 525 or newer for CUDA 12, 580 for CUDA 13: install a" \
      "newer driver, or with NVIDIA's forward compatibility package say CUDA=12 bash launch/gpu.sh"
  elif [[ $1 != --install ]]; then
    fail "nvidia-smi finds no NVIDIA GPU here; for the CPU: bash launch/local.sh"
  elif [[ ! ${CUDA:-} ]]; then
    fail "there is no GPU here to choose by; say CUDA=12 or CUDA=13, as in CUDA=12 bash launch/gpu.sh --install"
  fi
  cuda=${CUDA:-$cuda}
  [[ $cuda == 12 || $cuda == 13 ]] || fail "CUDA is $cuda; expected 12 or 13"
}

choose_cuda "${1:-}"
source launch/environment.sh
wanted="jax[cuda$cuda] nvidia-ml-py $listed"
if [[ $wanted != "$(cat .venv/installed_cuda.txt 2>/dev/null)" ]]; then
  echo "installing jax[cuda$cuda] into .venv (a few minutes, once)"
  python -m pip install --quiet --disable-pip-version-check nvidia-ml-py "jax[cuda$cuda]" # the first reads the energy used
  echo "$wanted" >.venv/installed_cuda.txt
fi
[[ ${1:-} != --install ]] || exit 0

export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda,cpu} # a GPU that JAX cannot use is an error, not a run on the CPU
python -c 'import jax; jax.devices()' || fail "JAX cannot use the GPU; the reason is above"
exec bash launch/local.sh "$@"
