"""launch/tpu_vm.sh --api=compute, where nothing goes wrong, and what it refuses."""

import re
import shlex
import subprocess

import pytest

from tests.launch.launch_fakes import runs_of
from tests.launch.tpu_cloud import AWKWARD, COMPUTE, OPTIONS, Cloud

WHERE = ["--zone=us-central1-c", "--project=mine"]
TEMPLATE = [
    "compute", "instance-templates", "create", "coco-selftrain", "--project=mine",
    "--machine-type=tpu7x-standard-4t", "--image-project=ubuntu-os-accelerator-images",
    "--image-family=ubuntu-accel-2404-amd64-tpu-tpu7x", "--maintenance-policy=TERMINATE",
    "--scopes=cloud-platform", "--boot-disk-size=200GB", "--provisioning-model=SPOT",
    "--instance-termination-action=STOP", "--network=net",
]  # fmt: skip
POLICY = [
    "compute", "resource-policies", "create", "workload-policy", "coco-selftrain", "--project=mine",
    "--region=us-central1", "--type=HIGH_THROUGHPUT", "--accelerator-topology=2x2x2",
]  # fmt: skip
GROUP = [
    "compute", "instance-groups", "managed", "create", "coco", *WHERE,
    "--template=coco-selftrain", "--size=2", "--base-instance-name=coco-####[1]",
    "--default-action-on-vm-failure=do-nothing",
    "--workload-policy=regions/us-central1/resourcePolicies/coco-selftrain", "--target-size-policy-mode=bulk",
]  # fmt: skip
CREATION = ["delete template", "delete policy", "create template", "create policy", "create group"]
REMOVAL = ["delete group", "delete template", "delete policy"]


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


@pytest.fixture(scope="module")
def unused(tmp_path_factory):
    return Cloud(tmp_path_factory.mktemp("unused"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run without disturbance: the cloud afterwards and what was printed."""
    cloud = Cloud(tmp_path_factory.mktemp("finished"))
    cloud.live(["CREATING", "STAGING", "ACTIVE"])
    options = (*COMPUTE, "--project=mine", "--spot", "--create_flag=--network=net", "--delete")
    done = cloud("all coco", *options, arguments=AWKWARD)
    assert done.returncode == 0, done.stderr + done.stdout
    return cloud, done


def test_the_steps_are_those_of_the_tpu_api(finished):
    cloud, done = finished
    assert cloud.verbs == [*CREATION, "scp", "install", "start", "pack", "scp", *REMOVAL]
    assert "coco is PROVISIONING; waiting for ACTIVE" in done.stdout
    assert "does not have enough resources" in done.stderr  # why it waits
    assert "the run is finished" in done.stdout
    assert done.stdout.count("attempt 1 of worker 0\n") == 1
    assert (cloud.repository / "runs/coco/teacher/metrics.jsonl").exists()


def test_template_policy_and_group_are_asked_for_with_these_flags(finished):
    cloud, _ = finished
    assert [call for call in cloud.calls if "create" in call] == [TEMPLATE, POLICY, GROUP]


def test_every_machine_is_told_where_the_first_one_is_and_its_own_number(finished):
    cloud, _ = finished
    for worker in (0, 1):
        workdir = f"--workdir={cloud.folder}/home-{worker}/bucket/coco"
        hosts = ["--hosts=coco-0001:8482", "--num_hosts=2", f"--host={worker}"]
        assert runs_of(cloud.folder, worker) == [["-m", "selftrain_jax.main", workdir, *hosts, *AWKWARD]]


def test_what_is_deleted_is_named_in_full(finished):
    cloud, _ = finished
    assert cloud.calls[-3:] == [
        ["compute", "instance-groups", "managed", "delete", "coco", *WHERE, "--quiet"],
        ["compute", "instance-templates", "delete", "coco-selftrain", "--project=mine", "--quiet"],
        ["compute", "resource-policies", "delete", "coco-selftrain", "--project=mine",
         "--region=us-central1", "--quiet"],
    ]  # fmt: skip


@pytest.mark.parametrize("options", [COMPUTE, OPTIONS], ids=["compute", "tpu"])
def test_the_log_is_that_of_the_process_that_prints(cloud, options):
    """On TPUs JAX numbers the processes itself; here its process 0 is on the second machine."""
    done = cloud("all coco", *options, FAKE_SPEAKER="1")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "workdir: here\nattempt 1 of worker 1\n" in done.stdout


def test_one_machine_needs_no_policy(cloud):
    done = cloud("create coco", *COMPUTE, "--type=ct6e-standard-8t", "--topology=2x4")
    assert done.returncode == 0, done.stderr
    template, group = [call for call in cloud.calls if "create" in call]
    assert "--image-family=ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e" in template
    assert "--size=1" in group
    assert not [flag for flag in group if "policy" in flag]


@pytest.mark.parametrize(
    ("machine", "topology", "machines"),  # as published for each TPU
    [
        ("tpu7x-standard-4t", "2x2x1", 1),
        ("tpu7x-standard-4t", "2x2x2", 2),
        ("tpu7x-standard-4t", "4x4x8", 32),
        ("ct6e-standard-1t", "1x1", 1),
        ("ct6e-standard-4t", "4x4", 4),
        ("ct6e-standard-4t-tpu", "16x16", 64),
        ("ct5p-hightpu-4t", "2x2x4", 4),
    ],
)
def test_the_topology_gives_the_number_of_machines(unused, machine, topology, machines):
    done = unused("create coco", *COMPUTE, f"--type={machine}", f"--topology={topology}", "--dry-run")
    assert f" --size={machines} " in done.stdout
    assert done.stdout.count("--command=true") == 1 + machines


def test_many_machines_are_asked_in_turn_and_the_first_error_counts(unused):
    script = """
      source launch/tpu_api_compute.sh
      scratch=$(mktemp -d) dry_run='' num_workers=40
      visit() { echo "$2 $1"; [[ $1 != 7 ]] || return 3; }
      each_worker visit machine
      code=$?; rm -r "$scratch"; exit "$code"
    """
    done = subprocess.run(["bash", "-c", script], cwd=unused.repository, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stdout.splitlines() == [f"machine {number}" for number in range(40)]


def test_a_dry_run_prints_what_a_real_run_calls_and_calls_nothing(cloud):
    dry = cloud("all coco", *COMPUTE, "--delete", "--dry-run", arguments=AWKWARD)
    assert dry.returncode == 0
    assert cloud.calls == []
    printed = [line for line in dry.stdout.splitlines() if line.startswith("gcloud ")]
    cloud("all coco", *COMPUTE, "--delete", arguments=AWKWARD)
    told = [comparable(shlex.split(line)[1:]) for line in printed]
    called = [comparable(call) for call in cloud.calls]
    assert {tuple(call) for call in told} == {tuple(call) for call in called}
    assert [call for call in told if "ssh" not in call] == unrepeated(
        [call for call in called if "ssh" not in call]
    )


def comparable(call):
    """A call without temporary files' names and how much of the log was read, which depends on speed."""
    return [re.sub(r"tail -c \+\d+ ", "tail ", re.sub(r"^/.*/tmp\.\w+/", "", part)) for part in call]


def unrepeated(calls):
    """The calls with each look at the group once, and those to several machines in the machines' order."""
    kept = [call for call, before in zip(calls, [None, *calls], strict=False) if call != before]
    first = next(i for i, call in enumerate(kept) if "scp" in call)
    return [*kept[:first], *sorted(kept[first : first + 2], key=str), *kept[first + 2 :]]


BASE = "create coco --api=compute --zone=us-central1-c"
IRONWOOD = f"{BASE} --type=tpu7x-standard-4t"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("create coco --api=gke --zone=z", "--api is gke; expected tpu or compute"),
        ("create coco --api= --zone=z", "--api needs a value"),
        ("create coco --api=compute", "--zone is missing"),
        (BASE, "--type is missing; for example --type=tpu7x-standard-4t"),
        (BASE.replace("create", "install"), "--type is missing"),
        (f"{BASE} --type=ct6e-standard-4t", "--topology is missing; for example --topology=4x4"),
        (f"{BASE} --type=v6e-16 --topology=4x4", "leave --api out or give --type=ct6e-standard-4t"),
        (f"{BASE} --type=v5p-16", "leave --api out or give --type=ct5p-hightpu-4t"),
        (f"{BASE} --type=v5litepod-16 --topology=4x4", "leave --api out for v2 to v5e"),
        (f"{BASE} --type=ct5lp-hightpu-4t --topology=4x4", "Compute Engine has v5p, v6e and TPU7x"),
        (f"{BASE} --type=v4-32", "leave --api out for v2 to v5e"),
        (f"{BASE} --type=v7x-16 --topology=2x2x2", "expected a machine type that ends with"),
        (f"{BASE} --type=n2-standard-8t --topology=2x2x2", "no image is known for --type=n2-standard-8t"),
        (f"{IRONWOOD} --topology=two", "--topology is two; expected e.g. 2x2x2"),
        (f"{IRONWOOD} --topology=0x2x2", "--topology is 0x2x2"),
        (f"{IRONWOOD} --topology=4x4", "as many numbers as in 2x2x2"),
        (f"{BASE} --type=ct6e-standard-4t --topology=2x2x2", "as many numbers as in 4x4"),
        (f"{IRONWOOD} --topology=1x4x2", "so the first two are even"),
        (f"{IRONWOOD} --topology=1x1x2", "has 2 chips; machines of"),
        (f"{BASE} --type=ct6e-standard-8t --topology=4x4", "several machines, which have 4 each"),
        (f"{IRONWOOD} --topology=2x2x2".replace("coco", "c" * 53), "NAME has 53 characters"),
        ("create coco --zone=z --type=tpu7x-16", "no TPU7x or later; give --api=compute"),
        ("watch coco --zone=z --type=v7x-16", "no TPU7x or later; give --api=compute"),
        ("create coco --zone=z --type=tpu7x-standard-4t --version=v", "no TPU7x or later; give --api="),
        ("create coco --zone=z --type=ct6e-standard-4t", "is a machine type of Compute Engine; give --api="),
        ("create coco --zone=z --type=v6e-16 --topology=4x4", "--topology is for --api=compute"),
        (f"{IRONWOOD} --topology=2x2x2 --workdir=w -- --config=c.py --host=1".replace("create", "run"),
         "--host is set by this script"),
    ],
)  # fmt: skip
def test_a_mistake_gives_2_and_says_what_to_do_before_anything_is_made(unused, command, message):
    done = unused(command, arguments=())
    assert done.returncode == 2
    assert message in done.stderr
    assert unused.calls == []


def test_without_api_it_is_the_tpu_api(unused):
    spoken = unused("create coco", *OPTIONS, "--dry-run").stdout
    assert spoken == unused("create coco", *OPTIONS, "--api=tpu", "--dry-run").stdout
    assert "compute tpus queued-resources create" in spoken
