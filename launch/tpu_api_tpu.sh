# Sourced by launch/tpu_vm.sh for --api=tpu: a slice is a queued resource of the Cloud TPU API.
# shellcheck disable=SC2034,SC2154  # tpu_vm.sh and tpu_options.sh share their variables with this file

# Refuse a --type that this API does not have; choose the runtime where --version is absent.
check_slice() {
  local instead="give --api=compute --type=tpu7x-standard-4t --topology=2x2x2, for example (see --help)"
  case $type in
    tpu[0-9]* | v[0-9]x*) fail "--type=$type: the Cloud TPU API has no TPU7x or later; $instead" ;;
    ct[0-9]*) fail "--type=$type is a machine type of Compute Engine; give --api=compute and --topology, too" ;;
  esac
  [[ ! $topology ]] || fail "--topology is for --api=compute; the Cloud TPU API has the size in --type"
  case $command in create | watch | all)
    [[ $type ]] || fail "--type is missing; for example --type=v5litepod-16"
    [[ $version ]] || version=$(runtime_of "$type") ;;
  esac
}

runtime_of() {
  case $1 in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v[234]-*) echo tpu-ubuntu2204-base ;;
    *) fail "no runtime is known for --type=$1 (v2, v3, v4, v5litepod, v5p, v6e are); name it by --version" ;;
  esac
}

queued_resource() { # VERB FLAG...
  act gcloud compute tpus queued-resources "$1" "$name" "${where[@]}" "${@:2}"
}

# Set `state`: that of the queued resource, NONE if there is none, UNKNOWN if gcloud fails.
# A dry run takes $1, the state in an undisturbed run.
look() {
  if [[ $dry_run ]]; then
    queued_resource describe --format='value(state.state)'
    state=$1
  elif ! state=$(queued_resource describe --format='value(state.state)' 2>"$scratch/error"); then
    state=UNKNOWN
    if grep -q NOT_FOUND "$scratch/error"; then state=NONE; fi
  fi
}

# A spot slice's machines can be gone while its queued resource is still ACTIVE. Sets `node`, their state.
is_node_gone() {
  if ! node=$(gcloud compute tpus tpu-vm describe "$name" "${where[@]}" --format='value(state)' \
    2>"$scratch/error" </dev/null); then
    node=gone
    grep -q NOT_FOUND "$scratch/error"
  else
    [[ $node == PREEMPTED || $node == TERMINATED ]]
  fi
}

request() {
  local flags=(--node-id="$name" --accelerator-type="$type" --runtime-version="$version")
  [[ ! $spot ]] || flags+=(--spot)
  queued_resource create "${flags[@]}" ${create_flags[@]+"${create_flags[@]}"}
}

remove() {
  queued_resource delete --force --quiet
}

explain_wait() { :; } # the state says it

explain_end() {
  queued_resource describe --format='yaml(state)' >&2 || true
}

wait_for_ssh() { :; } # ACTIVE means that the workers are ready

on_workers() { # WORKERS COMMAND
  act gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker="$1" --quiet --command="$2"
}

copy() { # FROM TO WORKERS
  act gcloud compute tpus tpu-vm scp "$1" "$2" "${where[@]}" --worker="$3" --quiet
}

# JAX finds the other workers in the metadata of a TPU VM.
start() {
  on_workers all "bash $worker start$(quote "$bucket$nfs" "$workdir" --hosts=auto "${arguments[@]}")"
}

worker_of() { # HOSTNAME, as t1v-n-0a1b2c3d-w-3
  if [[ $1 =~ -w-([0-9]+)$ ]]; then echo "${BASH_REMATCH[1]}"; fi
}
