#!/usr/bin/env bash
# Runs on a worker of a TPU slice, called by launch/tpu_vm.sh: install | start | status | last_words | pack.
# ~/selftrain_jax is the repository; ~/selftrain_jax_run has the run's log.txt, command, pid and exit_code.
set -euo pipefail
cd "$(dirname "$0")/.."
run=~/selftrain_jax_run
mkdir -p "$run"
PATH=$PATH:/sbin:/usr/sbin:$HOME/.local/bin

install() {
  choose_python
  source launch/environment.sh
  python -m pip install --quiet --disable-pip-version-check 'jax[tpu]'
}

# Set PYTHON to a version that is new enough and can make a .venv; Ubuntu 22.04's TPU images have only Python 3.10.
choose_python() {
  for PYTHON in .venv/bin/python python3.13 python3.12 python3.11 python3; do
    "$PYTHON" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
  done
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
  uv venv --quiet --seed --python=3.12 .venv
  PYTHON=.venv/bin/python
}

# Mount the bucket or share once. Metadata is not cached, so that a worker sees at once what another wrote.
mount_share() {
  case $1 in
    gs://*)
      is_mounted ~/bucket && return
      need gcsfuse gcsfuse
      gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 \
        --rename-dir-limit=200000 "${1#gs://}" ~/bucket ;;
    ?*)
      is_mounted ~/nfs && return
      need mount.nfs nfs-common
      sudo mount -t nfs "$1" ~/nfs
      [[ -w ~/nfs ]] || sudo chmod a+rwx ~/nfs ;;
  esac
}

is_mounted() {
  mkdir -p "$1"
  mountpoint -q "$1"
}

need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  sudo apt-get update --quiet
  sudo apt-get -o DPkg::Lock::Timeout=300 install --yes --quiet "$2"
}

# Start the run and return; a second start of the same command does nothing.
start() { # SHARE WORKDIR ARGUMENT...
  local command
  command=$(printf '%q ' "${@:2}")
  if is_running; then
    [[ $command == "$(<"$run/command")" ]] && return
    echo "error: $(hostname) is busy with another run: $(<"$run/command")" >&2
    exit 2
  fi
  mount_share "$1"
  echo "$command" >"$run/command"
  rm -f "$run/exit_code"
  setsid nohup bash launch/tpu_worker.sh supervise "${@:2}" >>"$run/log.txt" 2>&1 </dev/null &
  echo "$!" >"$run/pid"
}

# Run until the end and write down the exit code. SIGTERM, sent to all processes, is handled by the run.
supervise() { # WORKDIR ARGUMENT...
  local code=0
  trap : TERM
  PYTHONUNBUFFERED=1 .venv/bin/python -m selftrain_jax.main --workdir="$(in_home "$1")" "${@:2}" || code=$?
  echo "$code" >"$run/exit_code.unfinished"
  mv "$run/exit_code.unfinished" "$run/exit_code"
}

in_home() {
  if [[ $1 == /* ]]; then echo "$1"; else echo "$HOME/${1#\~/}"; fi
}

is_running() {
  [[ -s $run/pid && ! -e $run/exit_code ]] && kill -0 "$(<"$run/pid")" 2>/dev/null
}

status() {
  if is_running; then
    echo "worker $(hostname) running"
  elif [[ -e $run/exit_code ]]; then
    echo "worker $(hostname) exit $(<"$run/exit_code")"
  elif [[ -e $run/pid ]]; then
    echo "worker $(hostname) died"
  else
    echo "worker $(hostname) absent"
  fi
  if is_speaker; then echo "speaker $(hostname)"; fi
}

# One process prints how the run goes, this line first.
is_speaker() {
  grep -q '^workdir: ' "$run/log.txt" 2>/dev/null
}

last_words() {
  [[ -e $run/exit_code && $(<"$run/exit_code") != 0 ]] || return 0
  echo "--- $(hostname) ended with exit code $(<"$run/exit_code"); the end of its log:"
  tail -n 15 "$run/log.txt"
}

# Pack the work folder into ~/selftrain_jax_work.tar.gz; a file that changes meanwhile is not an error.
pack() { # WORKDIR TAR_OPTION...
  local folder
  folder=$(in_home "$1")
  if [[ ! -d $folder ]]; then
    echo "$folder does not exist yet: nothing to fetch" >&2
    tar -czf ~/selftrain_jax_work.tar.gz -T /dev/null
  else
    tar -czf ~/selftrain_jax_work.tar.gz "${@:2}" -C "$folder" . || [[ $? == 1 ]]
  fi
}

"$@"
