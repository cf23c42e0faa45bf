#!/usr/bin/env bash
# Self-training on a Cloud TPU slice: bash launch/tpu_vm.sh --help
# launch/tpu_api_*.sh call gcloud, for the API that makes the slice; launch/tpu_worker.sh runs on the workers.
# Works with bash 3.2 (macOS).
set -euo pipefail
cd "$(dirname "$0")/.."

source launch/tpu_options.sh

exec 3>&1 # for messages, also where stdout goes to a file
say() {
  if [[ $dry_run ]]; then echo "# $*" >&3; else echo "[$(date +%T)] $*" >&3; fi
}

# Run a command, or print it in a form that a shell can run.
act() {
  if [[ $dry_run ]]; then printf '%s%s\n' "$1" "$(quote "${@:2}")" >&3; else "$@" </dev/null; fi
}

quote() {
  [[ $# -eq 0 ]] || printf ' %q' "$@"
}

# The commands. Each returns non-zero if it failed, so that `watch` can try again.

create() {
  look NONE
  if [[ $state == SUSPENDED || $state == FAILED ]]; then
    say "$name is what an earlier request left, $state; deleting it"
    remove || return 1
    state=NONE
  fi
  case $state in
    UNKNOWN) cat "$scratch/error" >&2 && return 1 ;;
    NONE) request || return 1 ;;
    *) say "$name is there already" ;;
  esac
  wait_until_active && wait_for_ssh
}

wait_until_active() {
  local said='' num_polls=0
  while look ACTIVE && [[ $state != ACTIVE ]]; do
    if [[ $state != "$said" || $((num_polls % 20)) == 0 ]]; then
      say "$name is $state; waiting for ACTIVE"
      explain_wait
    fi
    said=$state
    num_polls=$((num_polls + 1))
    case $state in FAILED | SUSPENDING | SUSPENDED | NONE)
      [[ $state == NONE ]] || explain_end
      echo "error: $name ended as $state before it could be used; the same command asks again" >&2
      return 1 ;;
    esac
    sleep "$poll_secs"
  done
  say "$name is ACTIVE"
}

install() {
  local untracked unpack='mkdir -p selftrain_jax && tar -xzf selftrain_jax.tar.gz -C selftrain_jax'
  git rev-parse --is-inside-work-tree >/dev/null 2>&1 ||
    fail "this folder is no git checkout; \`install\` copies the files that git tracks"
  untracked=$(git ls-files --others --exclude-standard)
  [[ ! $untracked ]] || say "not copied, as git does not track it: $(awk 'NR <= 5' <<<"$untracked" | tr '\n' ' ')"
  say "copying the repository to the workers of $name and installing (minutes, the first time)"
  if [[ $dry_run ]]; then
    say "git ls-files -z | tar -czf $scratch/selftrain_jax.tar.gz --null -T -"
  else
    pack_repository || return 1
  fi
  copy "$scratch/selftrain_jax.tar.gz" "$name:" all || return 1
  on_workers all "$unpack && bash $worker install"
}

pack_repository() {
  git ls-files -z | while IFS= read -r -d '' file; do
    [[ ! -e $file ]] || printf '%s\0' "$file"
  done | COPYFILE_DISABLE=1 tar -czf "$scratch/selftrain_jax.tar.gz" --null -T -
}

# Set `code`: how the run ended.
watch() {
  local restarts=0
  shown_bytes=0 speaker=0
  trap 'say "the run goes on; the same command with watch follows it again"; exit 130' INT
  while follow && case $outcome in AGAIN | ABSENT | LOST) true ;; *) false ;; esac do
    restarts=$((restarts + 1))
    if [[ $restarts -gt $max_restarts ]]; then
      say "not finished after --max_restarts=$max_restarts; the same command resumes from the last checkpoint"
      code=75
      return
    fi
    case $outcome in
      AGAIN) say "the run asks to be run again ($restarts of at most $max_restarts)" ;;
      ABSENT) say "a worker has no run: installing and running again ($restarts of at most $max_restarts)" ;;
      LOST) say "$name is gone ($state): making it anew ($restarts of at most $max_restarts)" ;;
    esac
    recover || say "that failed; looking again"
    sleep "$poll_secs"
  done
  code=$outcome
  [[ ! $dry_run ]] || say "after exit code 75: start again; when preempted: delete, then from create on again"
  if [[ $code == 0 ]]; then
    say "the run is finished"
    return
  fi
  on_workers all "bash $worker last_words" || true
  say "the run ended with exit code $code"
}

recover() {
  if [[ $outcome == LOST ]]; then
    shown_bytes=0 speaker=0
    [[ $state != ACTIVE* ]] || remove || return 1
    create || return 1
  fi
  [[ $outcome == AGAIN ]] || install || return 1
  start
}

# Wait until the run has ended or the slice is gone and set `outcome`: an exit code, AGAIN, ABSENT or LOST.
follow() {
  local said=ACTIVE
  while true; do
    look ACTIVE
    [[ $state == "$said" ]] || say "$name is $state"
    said=$state
    case $state in
      SUSPENDED | FAILED | NONE) outcome=LOST && return ;;
      ACTIVE) ! ask_workers || return 0 ;;
    esac
    sleep "$poll_secs"
  done
}

# Show what is new in the log; succeed if the run has ended, and set `outcome`.
ask_workers() {
  local ask="if test -e $worker; then bash $worker status; else echo worker - absent; fi"
  if ! on_workers all "$ask" >"$scratch/status"; then
    if is_node_gone; then
      state="$state, its machines $node"
      outcome=LOST
      return
    fi
    say "the workers cannot be reached; the run goes on, trying again"
    return 1
  fi
  find_speaker
  local new="tail -c +$((shown_bytes + 1)) selftrain_jax_run/log.txt"
  if on_workers "$speaker" "$new" >"$scratch/log" 2>/dev/null; then
    cat "$scratch/log" >&3
    shown_bytes=$((shown_bytes + $(wc -c <"$scratch/log")))
  fi
  [[ ! $dry_run ]] || echo 'worker - exit 0' >"$scratch/status"
  outcome=$(judge <"$scratch/status")
  [[ $outcome != RUNNING ]]
}

# JAX numbers a slice's processes by their places in it, and process 0 prints; until it does, show worker 0's log.
find_speaker() {
  local found
  found=$(worker_of "$(awk '$1 == "speaker" { name = $2 } END { print name }' "$scratch/status")")
  if [[ $found && $found != "$speaker" ]]; then shown_bytes=0 speaker=$found; fi
}

# Print the state of all workers together: a user's mistake comes before a crash, a crash before a request to run
# again. Killed workers (over 128, but not Ctrl-C's 130) and those that lost their process are run again.
judge() {
  awk '$1 != "worker" { next }
    { seen = 1 }
    $3 == "running" { running = 1 }
    $3 == "absent" { absent = 1 }
    $3 == "died" || $4 == 75 || ($4 > 128 && $4 != 130) { again = 1; next }
    $4 == 2 { mistake = 1 }
    $4 > 0 { crash = $4 }
    END {
      if (absent) print "ABSENT"
      else if (running || !seen) print "RUNNING"
      else if (mistake) print 2
      else if (crash) print crash
      else print again ? "AGAIN" : 0
    }'
}

fetch() {
  local flags=(--exclude=checkpoints)
  [[ ! $checkpoints ]] || flags=()
  on_workers 0 "bash $worker pack$(quote "$workdir" ${flags[@]+"${flags[@]}"})" || return 1
  copy "$name:selftrain_jax_work.tar.gz" "$scratch/work.tar.gz" 0 || return 1
  act mkdir -p "$to" && act tar -xzf "$scratch/work.tar.gz" -C "$to" || return 1
  say "the work folder is in $to"
}

delete() {
  if [[ ! $yes && ! $dry_run ]]; then
    read -r -p "delete $name in $zone and all that is on its disks? [y/N] " answer || true
    [[ ${answer:-} == [yY]* ]] || fail "not deleted (--yes does not ask)"
  fi
  remove
}

all() {
  create && install && start || exit 1
  watch
  fetch || exit "$((code == 0 ? 1 : code))"
  [[ ! $delete ]] || yes=yes delete
}

parse "$@"
case $api in
  tpu) source launch/tpu_api_tpu.sh ;;
  compute) source launch/tpu_api_compute.sh ;;
esac
check
[[ $dry_run ]] || command -v gcloud >/dev/null ||
  fail "gcloud is not installed; it is part of the Google Cloud CLI (then: gcloud auth login)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
worker=selftrain_jax/launch/tpu_worker.sh
where=(--zone="$zone" ${project:+--project="$project"})
code=0 # how the run ended
case $command in
  create) create ;;
  install) install ;;
  run) start ;;
  watch) watch ;;
  fetch) fetch ;;
  delete) delete ;;
  all) all ;;
esac
exit "$code"
