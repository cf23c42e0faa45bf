# Sourced by launch/tpu_vm.sh for --api=compute: a slice is a managed instance group of Compute Engine, made from an
# instance template and, if it has several machines, a workload policy with its topology. Machines: NAME-0001, ...
# shellcheck disable=SC2034,SC2154  # tpu_vm.sh and tpu_options.sh share their variables with this file

port=8482 # JAX's own choice for TPUs; selftrain_jax/hosts takes the next one, too
max_connections=16

# Refuse a --type, --topology or NAME that cannot be; set `num_workers` and, where absent, `version`.
check_slice() {
  case $type in
    v5p-*) fail "--type=$type is for the Cloud TPU API; leave --api out or give --type=ct5p-hightpu-4t" ;;
    v6e-*) fail "--type=$type is for the Cloud TPU API; leave --api out or give --type=ct6e-standard-4t" ;;
    v[2-5]* | ct5lp-*) fail "--type=$type: Compute Engine has v5p, v6e and TPU7x; leave --api out for v2 to v5e" ;;
  esac
  [[ ${#name} -le 52 ]] || fail "NAME has ${#name} characters; with --api=compute 52 are possible, as -0001 follows"
  region=${zone%-*}
  parts=$name-selftrain # the template's name and the policy's
  case $command in create | install | run | watch | all)
    [[ $type ]] || fail "--type is missing; for example --type=tpu7x-standard-4t"
    [[ $topology ]] || fail "--topology is missing; for example --topology=$(topology_like "$type")"
    check_topology
    [[ $version ]] || version=$(image_family_of "$type") ;;
  esac
}

check_topology() {
  local sides side machine_chips chips=1 example
  example=$(topology_like "$type")
  [[ $type =~ -([1-9])t(-tpu)?$ ]] ||
    fail "--type is $type; expected a machine type that ends with its number of chips, as tpu7x-standard-4t"
  machine_chips=${BASH_REMATCH[1]}
  [[ $topology =~ ^[1-9][0-9]{0,3}(x[1-9][0-9]{0,3})+$ ]] || fail "--topology is $topology; expected e.g. $example"
  IFS=x read -r -a sides <<<"$topology"
  [[ ${topology//[0-9]/} == "${example//[0-9]/}" ]] ||
    fail "--topology=$topology does not fit --type=$type; expected as many numbers as in $example"
  for side in "${sides[@]}"; do chips=$((chips * side)); done
  num_workers=$((chips / machine_chips))
  if [[ $num_workers -gt 1 ]]; then
    [[ $machine_chips == 4 ]] ||
      fail "--topology=$topology has $chips chips and needs several machines, which have 4 each, not --type=$type"
    [[ $((sides[0] % 2 + sides[1] % 2)) == 0 ]] ||
      fail "--topology=$topology does not fit --type=$type: a machine is 2x2 chips, so the first two are even"
  fi
  [[ $((num_workers * machine_chips)) == "$chips" ]] ||
    fail "--topology=$topology has $chips chips; machines of --type=$type have $machine_chips"
}

topology_like() {
  if [[ $1 == ct6e-* ]]; then echo 4x4; else echo 2x2x2; fi
}

image_family_of() {
  case $1 in
    tpu7x-*) echo ubuntu-accel-2404-amd64-tpu-tpu7x ;;
    ct5p-* | ct6e-*) echo ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e ;;
    *) fail "no image is known for --type=$1 (ct5p, ct6e, tpu7x are); name its family by --version" ;;
  esac
}

group() { # VERB FLAG...
  act gcloud compute instance-groups managed "$1" "$name" "${where[@]}" "${@:2}"
}

# Set `state`: ACTIVE if all machines run, SUSPENDED if a spot machine was stopped, STOPPED if another one was (Compute
# Engine starts those again), PROVISIONING before, NONE if there is no group, UNKNOWN if gcloud fails.
# A dry run takes $1, the state in an undisturbed run.
look() {
  if [[ $dry_run ]]; then
    group list-instances --format='value(instanceStatus)'
    state=$1
  elif group list-instances --format='value(instanceStatus)' >"$scratch/machines" 2>"$scratch/error"; then
    state=$(sum_up <"$scratch/machines")
  else
    state=UNKNOWN
    if grep -q 'was not found' "$scratch/error"; then state=NONE; fi
  fi
}

sum_up() {
  awk -v num_workers="$num_workers" -v stopped="$([[ $spot ]] && echo SUSPENDED || echo STOPPED)" '
    /RUNNING/ { running++ }
    /STOP|TERMINATED|SUSPEND|DEPROVISIONING/ { gone++ }
    END { print gone ? stopped : running == num_workers ? "ACTIVE" : "PROVISIONING" }'
}

is_node_gone() { false; } # `look` asks the machines themselves

# Make all or nothing.
request() {
  remove_parts || return 1 # an interrupted command may have left them
  make_parts && make_group && return
  say "what was made of $name is deleted again"
  remove
  return 1
}

make_parts() {
  local flags=(--maintenance-policy=TERMINATE --scopes=cloud-platform --boot-disk-size=200GB)
  [[ ! $spot ]] || flags+=(--provisioning-model=SPOT --instance-termination-action=STOP)
  act gcloud compute instance-templates create "$parts" ${project:+--project="$project"} \
    --machine-type="$type" --image-project=ubuntu-os-accelerator-images --image-family="$version" \
    "${flags[@]}" ${create_flags[@]+"${create_flags[@]}"} || return 1
  [[ $num_workers == 1 ]] ||
    act gcloud compute resource-policies create workload-policy "$parts" ${project:+--project="$project"} \
      --region="$region" --type=HIGH_THROUGHPUT --accelerator-topology="$topology"
}

make_group() {
  local flags=(--workload-policy="regions/$region/resourcePolicies/$parts" --target-size-policy-mode=bulk)
  [[ $num_workers -gt 1 ]] || flags=()
  group create --template="$parts" --size="$num_workers" --base-instance-name="$name-####[1]" \
    --default-action-on-vm-failure=do-nothing ${flags[@]+"${flags[@]}"}
}

remove() {
  say "deleting the group, the template and the policy of $name"
  unless_gone group delete --quiet && remove_parts
}

remove_parts() {
  unless_gone act gcloud compute instance-templates delete "$parts" ${project:+--project="$project"} --quiet &&
    unless_gone act gcloud compute resource-policies delete "$parts" ${project:+--project="$project"} \
      --region="$region" --quiet
}

# Run a deletion; what is not there is deleted.
unless_gone() {
  "$@" 2>"$scratch/error" || grep -q 'was not found' "$scratch/error" || { cat "$scratch/error" >&2 && return 1; }
}

# Compute Engine tries again for ever; its errors say why a group has no machines yet.
explain_wait() {
  group list-errors --limit=3 --format='value(error.message)' >&2 || true
}

explain_end() { explain_wait; }

# A machine that runs has not necessarily started its SSH server. The first is asked alone, as gcloud may make its key.
wait_for_ssh() {
  local num_polls=0
  until on_workers 0 true 2>"$scratch/error" && on_workers all true 2>"$scratch/error"; do
    num_polls=$((num_polls + 1))
    if [[ $num_polls -gt 20 ]]; then
      cat "$scratch/error" >&2
      echo "error: the machines of $name run, but not all can be reached by gcloud compute ssh" >&2
      return 1
    fi
    say "not all machines of $name can be reached yet"
    sleep "$poll_secs"
  done
}

machine() { # NUMBER from 0
  printf '%s-%04d' "$name" "$(($1 + 1))"
}

worker_of() { # HOSTNAME
  if [[ $1 =~ ^$name-([0-9]+)$ ]]; then echo "$((10#${BASH_REMATCH[1]} - 1))"; fi
}

on_workers() { # WORKERS COMMAND
  if [[ $1 == all ]]; then each_worker on_worker "$2"; else on_worker "$1" "$2"; fi
}

on_worker() { # NUMBER COMMAND
  act gcloud compute ssh "$(machine "$1")" "${where[@]}" --quiet --command="$2"
}

copy() { # FROM TO WORKERS
  if [[ $3 == all ]]; then each_worker copy_one "$1" "$2"; else copy_one "$3" "$1" "$2"; fi
}

copy_one() { # NUMBER FROM TO
  local there
  there=$(machine "$1")
  act gcloud compute scp "${2/#$name:/$there:}" "${3/#$name:/$there:}" "${where[@]}" --quiet
}

# The machines are numbered here; JAX is told, since it is not documented that it finds that in their metadata.
start() {
  each_worker start_one
}

start_one() { # NUMBER
  local hosts=(--hosts="$(machine 0):$port" --num_hosts="$num_workers" --host="$1")
  on_worker "$1" "bash $worker start$(quote "$bucket$nfs" "$workdir" "${hosts[@]}" "${arguments[@]}")"
}

# Call FUNCTION NUMBER ARGUMENT... for every worker, some at a time; print what they print in their order and return
# the first exit code that is not 0.
each_worker() { # FUNCTION ARGUMENT...
  local number code=0
  for ((number = 0; number < num_workers; number++)); do
    if [[ $dry_run ]]; then
      "$1" "$number" "${@:2}"
    else
      call_and_note "$number" "$@" &
      [[ $(((number + 1) % max_connections)) != 0 ]] || wait
    fi
  done
  [[ ! $dry_run ]] || return 0
  wait
  for ((number = 0; number < num_workers; number++)); do
    cat "$scratch/said-$number"
    [[ $code != 0 ]] || code=$(<"$scratch/code-$number")
  done
  return "$code"
}

call_and_note() { # NUMBER FUNCTION ARGUMENT...
  local code=0
  "$2" "$1" "${@:3}" >"$scratch/said-$1" || code=$?
  echo "$code" >"$scratch/code-$1"
}
