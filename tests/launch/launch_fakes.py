"""Programs that stand in for the real ones on the launch scripts' PATH, and a small copy of the repository.

`python` makes venvs, notes what pip is asked for, and plays selftrain_jax.main: it notes its arguments in
$FAKE_NOTES/run-$WORKER and ends as the next word of $FAKE_NOTES/plan-$WORKER (or plan) says: an exit code,
`hang`, `term` (75 after a SIGTERM) or `killed`. Worker $FAKE_SPEAKER (or 0) prints the first line of a run.
"""

import os
import pathlib
import shutil
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

PYTHON = r"""#!/usr/bin/env bash
worker=${WORKER:-${SLURM_PROCID:-0}}
case "$*" in
  *'-m venv '*)
    mkdir -p "${!#}/bin"
    cp "$0" "${!#}/bin/python"
    echo "export PATH=$PWD/${!#}/bin:\$PATH" >"${!#}/bin/activate" ;;
  *'-m pip '*)
    echo "$*" >>"$FAKE_NOTES/pip-$worker"
    if [[ ${!#} == uv ]]; then
      mkdir -p ~/.local/bin
      printf '#!/bin/sh\n"%s" -m venv .venv\n' "$0" >~/.local/bin/uv
      chmod +x ~/.local/bin/uv
    fi ;;
  *'-m selftrain_jax.main '*)
    printf '%s\0' "$@" >>"$FAKE_NOTES/run-$worker"
    printf '\n' >>"$FAKE_NOTES/run-$worker"
    attempt=$(grep -ac '' "$FAKE_NOTES/run-$worker")
    plan=$FAKE_NOTES/plan-$worker
    [[ -e $plan ]] || plan=$FAKE_NOTES/plan
    for argument in "$@"; do
      if [[ $argument == --workdir=* ]]; then
        mkdir -p "${argument#*=}/teacher/checkpoints"
        echo "$attempt" | tee "${argument#*=}/teacher/metrics.jsonl" >"${argument#*=}/teacher/checkpoints/1"
      fi
    done
    outcome=$(cut -d' ' -f"$attempt" "$plan")
    [[ $worker != "${FAKE_SPEAKER:-0}" ]] || echo "workdir: here"
    [[ $outcome != term ]] || trap 'exit 75' TERM
    echo "attempt $attempt of worker $worker"
    case $outcome in
      hang) exec sleep 20 ;;
      term) sleep 20 & wait ;;
      killed) kill -KILL $$ ;;
      0) exit ;;
    esac
    echo "error: attempt $attempt of worker $worker ends with $outcome" >&2
    exit "$outcome" ;;
  '-c import jax'*) exit "${FAKE_JAX_FAILS:-0}" ;;
  '-c import '*)
    [[ ! ${FAKE_OLD_PYTHON:-} || $0 == *.venv* ]] ;;
esac
"""
PROGRAMS = {
    "python": 'echo "error: this is not the python of .venv" >&2; exit 9',
    **dict.fromkeys(("python3", "python3.11", "python3.12", "python3.13"), PYTHON),
    "hostname": 'echo "${FAKE_HOST:-host-$WORKER}"',
    "mountpoint": '[[ -L $2 ]]',
    "gcsfuse": 'echo "$@" >>"$FAKE_NOTES/gcsfuse-$WORKER"; rmdir "${!#}"; ln -s "$FAKE_NOTES/bucket" "${!#}"',
    "mount.nfs": "",
    "sudo": 'echo "$@" >>"$FAKE_NOTES/sudo-$WORKER"; rmdir "${!#}"; ln -s "$FAKE_NOTES/bucket" "${!#}"',
}  # fmt: skip


def write_programs(folder, programs=PROGRAMS):
    folder.mkdir(exist_ok=True)
    for name, text in programs.items():
        (folder / name).write_text(text if text.startswith("#!") else f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)


def started_runs_of(notes, secs=30.0):
    """The same, when the first run that was started in the background has begun."""
    end = time.monotonic() + secs
    while not (found := runs_of(notes)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def copy_repository(folder):
    """A repository of the launch scripts and little else, known to git."""
    (folder / "launch").mkdir(parents=True)
    for script in [*(ROOT / "launch").glob("*.sh"), ROOT / "launch/slurm.sbatch"]:
        shutil.copy(script, folder / "launch")
    (folder / "selftrain_jax").mkdir()
    (folder / "selftrain_jax/main.py").touch()
    (folder / "requirements.txt").write_text("jax>=0.6\n")
    (folder / "pyproject.toml").touch()
    (folder / ".gitignore").write_text("runs/\n.venv/\n")
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(
            ["git", "-C", folder, *command], check=True, env=os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null"}
        )


def runs_of(notes, worker=0):
    """The arguments of each start of selftrain_jax.main."""
    path = notes / f"run-{worker}"
    lines = path.read_text().split("\0\n") if path.exists() else [""]
    return [line.split("\0") for line in lines[:-1]]
