# Sourced by launch/tpu_vm.sh: its help, and its command line as variables.
# shellcheck disable=SC2034  # tpu_vm.sh reads them

usage() {
  cat <<'USAGE'
usage: bash launch/tpu_vm.sh COMMAND NAME --zone=ZONE [options] [-- arguments of selftrain_jax.main]

commands
  create    ask for the slice and wait until it is ACTIVE
  install   copy the files that git tracks to every worker, make .venv there, add jax[tpu]
  run       start `python -m selftrain_jax.main ...` on every worker; it outlives the connection
  watch     show the run's log until it ends; exit code 75 runs it again, a preempted slice is made anew
  fetch     copy the work folder without its checkpoints to this machine
  delete    delete the slice and what it was made from; asks first
  all       create, install, run, watch, fetch; given again, it goes on where it was

options
  --zone=ZONE           e.g. us-west4-a; every command needs it
  --type=TYPE           e.g. v5litepod-16, v6e-64, v5p-32, v4-32; create, watch and all need it
  --api=compute         make the slice with Compute Engine, which TPU7x and later need, not with the Cloud TPU API;
                        --type is a machine type then: tpu7x-standard-4t, ct6e-standard-4t or ct5p-hightpu-4t
  --topology=AxBxC      the slice's chips per axis, with --api=compute; all but fetch and delete need both then
  --spot                cheaper, can be preempted at any time
  --project=PROJECT     gcloud's own where absent
  --version=VERSION     TPU runtime, or the image's family with --api=compute; chosen by the type where absent
  --create_flag=FLAG    for `gcloud compute tpus queued-resources create`, e.g. --create_flag=--network=NET;
                        for `gcloud compute instance-templates create` with --api=compute
  --bucket=gs://BUCKET  mounted on every worker at ~/bucket (gcsfuse); the work folder is bucket/NAME
  --nfs=ADDRESS:/SHARE  mounted on every worker at ~/nfs (Filestore); the work folder is nfs/NAME
  --workdir=DIR         another work folder, absolute or in the workers' home
  --to=DIR              where fetch puts it; runs/NAME where absent
  --checkpoints         fetch the checkpoints, too
  --max_restarts=20     how often watch runs again or makes the slice anew
  --poll_secs=30        how often it looks
  --delete              all: delete the slice at the end, once the work folder is fetched
  --yes                 delete without asking
  --dry-run             print every command and run none

The work folder must be one that all workers share and that outlives the slice: a Filestore share in the same
network, or a bucket in the slice's region, best with folders that can be renamed:
  gcloud storage buckets create gs://BUCKET --location=REGION --uniform-bucket-level-access \
    --enable-hierarchical-namespace
The slice's service account needs the role Storage Object User on it. A data set is read from there, too:
--config.data.dir=../bucket/coco (the run starts in ~/selftrain_jax).

examples
  bash launch/tpu_vm.sh all coco --zone=us-west4-a --type=v5litepod-16 --spot --bucket=gs://my-bucket -- \
    --config=configs/coco_retinanet.py --config.data.dir=../bucket/coco
  bash launch/tpu_vm.sh watch coco ...the same...     after this machine slept
  bash launch/tpu_vm.sh delete coco --zone=us-west4-a
  bash launch/tpu_vm.sh all coco --api=compute --zone=us-central1-c --type=tpu7x-standard-4t --topology=2x2x2 ...

exit codes: 0 finished; 1 gcloud failed; 2 a mistake, yours or the config's; 75 not finished after --max_restarts,
the same command goes on; else the run's own
USAGE
}

fail() {
  echo "error: $*" >&2
  exit 2
}

api=tpu zone='' type='' topology='' project='' version='' bucket='' nfs='' workdir='' to=''
max_restarts=20 poll_secs=30
spot='' checkpoints='' delete='' yes='' dry_run=''
create_flags=() arguments=()

parse() { # COMMAND NAME OPTION... -- ARGUMENT...
  case ${1:-} in
    create | install | run | watch | fetch | delete | all) command=$1 ;;
    -h | --help | help) usage && exit 0 ;;
    '') usage >&2 && exit 2 ;;
    *) fail "unknown command $1; expected create, install, run, watch, fetch, delete or all (see --help)" ;;
  esac
  name=${2:-}
  [[ $name =~ ^[a-z]([-a-z0-9]{0,60}[a-z0-9])?$ ]] ||
    fail "$command needs the slice's NAME next (small letters, digits and hyphens); got '$name'"
  shift 2
  while [[ $# -gt 0 && $1 != -- ]]; do
    parse_option "$1"
    shift
  done
  [[ $# -eq 0 ]] || arguments=("${@:2}")
  [[ $api == tpu || $api == compute ]] || fail "--api is $api; expected tpu or compute (see --help)"
}

parse_option() {
  local key=${1%%=*}
  case $key in
    --api | --zone | --type | --topology | --project | --version | --bucket | --nfs | --workdir | --to | \
      --max_restarts | --poll_secs | --create_flag)
      [[ $1 == *=?* ]] || fail "$key needs a value, as in $key=VALUE (see --help)"
      if [[ $key == --create_flag ]]; then
        create_flags+=("${1#*=}")
      else
        printf -v "${key#--}" %s "${1#*=}"
      fi ;;
    *) case $1 in
      --spot | --checkpoints | --delete | --yes) printf -v "${1#--}" yes ;;
      --dry-run) dry_run=yes ;;
      -*) fail "unknown option $1 (see --help); arguments of selftrain_jax.main go after --" ;;
      *) fail "unexpected $1; arguments of selftrain_jax.main go after --" ;;
    esac ;;
  esac
}

# Refuse invalid options and fill in defaults that depend on others.
check() {
  local argument
  [[ $zone ]] || fail "--zone is missing; for example --zone=us-west4-a"
  check_slice
  [[ ! $bucket || $bucket == gs://?* ]] || fail "--bucket is $bucket; expected gs://BUCKET"
  [[ ! $nfs || $nfs == *?:/* ]] || fail "--nfs is $nfs; expected ADDRESS:/SHARE"
  [[ ! $bucket || ! $nfs ]] || fail "--bucket and --nfs are both given; one holds the work folder"
  [[ $max_restarts =~ ^[0-9]+$ ]] || fail "--max_restarts is $max_restarts; expected a whole number"
  [[ $poll_secs =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail "--poll_secs is $poll_secs; expected a number of seconds"
  workdir=${workdir:-${bucket:+bucket/$name}}
  workdir=${workdir:-${nfs:+nfs/$name}}
  to=${to:-runs/$name}
  case $command in run | watch | fetch | all)
    [[ $workdir ]] || fail "no work folder that all workers share; give --bucket, --nfs or --workdir" ;;
  esac
  case $command in run | watch | all)
    [[ " ${arguments[*]-} " == *" --config"[=\ ]* ]] ||
      fail "--config is missing; for example -- --config=configs/coco_retinanet.py"
    for argument in "${arguments[@]}"; do
      [[ $argument != --workdir* ]] || fail "--workdir belongs before --"
      [[ ! $argument =~ ^--?(hosts|num_hosts|host)(=|$) ]] || fail "${argument%%=*} is set by this script"
    done ;;
  esac
}
