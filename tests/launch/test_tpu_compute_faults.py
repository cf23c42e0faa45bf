"""launch/tpu_vm.sh --api=compute, where each step fails, a slice is lost, or the command was interrupted."""

import json

import pytest

from tests.launch.launch_fakes import runs_of, started_runs_of
from tests.launch.test_tpu_compute import CREATION, REMOVAL
from tests.launch.tpu_cloud import COMPUTE, Cloud

AGAIN = [*REMOVAL, *CREATION, "scp", "install", "start"]  # a slice made anew


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


def parts_of(cloud):
    """The template, the policy and the group that are there."""
    state = json.loads((cloud.folder / "state.json").read_text())
    return [part for part in (state.get("template"), state.get("policy"), state["exists"] and "coco") if part]


@pytest.mark.parametrize(
    ("step", "made"),
    [
        ("instance-templates create", 3),
        ("resource-policies create workload-policy", 4),
        ("instance-groups managed create", 5),
    ],
)
def test_a_creation_that_fails_leaves_nothing_and_the_same_command_succeeds(cloud, step, made):
    cloud.refuse({step: "Quota 'TPUS' exceeded"})
    done = cloud("create coco", *COMPUTE)
    assert done.returncode == 1
    assert "Quota 'TPUS' exceeded" in done.stderr
    assert "what was made of coco is deleted again" in done.stdout
    assert cloud.verbs == [*CREATION[:made], *REMOVAL]
    assert parts_of(cloud) == []
    assert cloud("create coco", *COMPUTE).returncode == 0
    assert parts_of(cloud) == ["coco-selftrain", "coco-selftrain", "coco"]


def test_what_an_interrupted_creation_left_is_replaced(cloud):
    state = json.loads((cloud.folder / "state.json").read_text())
    (cloud.folder / "state.json").write_text(json.dumps(state | {"template": "coco-selftrain"}))
    done = cloud("create coco", *COMPUTE)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs == CREATION


def test_a_template_that_another_zone_uses_is_left_alone(cloud):
    cloud.refuse({"instance-templates delete": "The resource is already being used by 'coco'"})
    done = cloud("create coco", *COMPUTE)
    assert done.returncode == 1
    assert "already being used" in done.stderr
    assert cloud.verbs == ["delete template"]


def test_the_same_command_goes_on_where_an_interrupted_one_was(cloud):
    cloud.refuse({"scp": "connection lost"})
    done = cloud("all coco", *COMPUTE)
    assert done.returncode == 1
    assert cloud.verbs == [*CREATION, "scp"]
    done = cloud("all coco", *COMPUTE)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "coco is there already" in done.stdout
    assert cloud.verbs == [*CREATION, "scp", "scp", "install", "start", "pack", "scp"]


def test_machines_that_run_are_waited_for_until_they_can_be_reached(cloud):
    cloud.refuse({"ssh": "[255] Connection refused"})
    done = cloud("create coco", *COMPUTE)
    assert done.returncode == 0, done.stderr
    assert "not all machines of coco can be reached yet" in done.stdout


def test_machines_that_cannot_be_reached_are_an_error_in_the_end(cloud):
    cloud.live(["UNREACHABLE"])
    done = cloud("create coco", *COMPUTE, "--poll_secs=0")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "error: the machines of coco run, but not all can be reached" in done.stderr


def test_one_machine_that_fails_fails_the_step(cloud):
    cloud.plan("hang")
    for command in ("create", "install", "run"):
        assert cloud(f"{command} coco", *COMPUTE).returncode == 0
    (cloud.folder / "home-1/selftrain_jax_run/command").write_text("another\n")
    done = cloud("run coco", *COMPUTE)
    assert done.returncode == 2
    assert "error: coco-0002 is busy with another run" in done.stderr
    assert len(started_runs_of(cloud.folder)) == 1
    cloud("delete coco --yes", *COMPUTE, arguments=())


def test_exit_code_75_runs_again_on_the_same_slice(cloud):
    cloud.plan("75", "0")
    done = cloud("all coco", *COMPUTE)
    assert done.returncode == 0
    assert cloud.verbs == [*CREATION, "scp", "install", "start", "start", "pack", "scp"]


def test_a_preempted_spot_slice_is_made_anew_and_the_same_run_goes_on(cloud):
    cloud.live(["ACTIVE", "ACTIVE", "ONE_STOPPED"], ["STAGING", "ACTIVE"])
    cloud.plan("hang", "0")
    done = cloud("all coco", *COMPUTE, "--spot")
    assert done.returncode == 0, done.stderr + done.stdout
    assert cloud.verbs == [*CREATION, "scp", "install", "start", *AGAIN, "pack", "scp"]
    assert "coco is gone (SUSPENDED): making it anew (1 of at most 20)" in done.stdout
    first, second = runs_of(cloud.folder, 1)
    assert first == second


def test_a_group_that_someone_deleted_is_made_anew(cloud):
    cloud.live(["ACTIVE", "ACTIVE", "NONE"], ["ACTIVE"])
    cloud.plan("hang", "0")
    assert cloud("all coco", *COMPUTE).returncode == 0
    assert cloud.verbs[8:16] == [*CREATION, "scp", "install", "start"]


def test_a_machine_that_is_not_spot_is_left_to_compute_engine(cloud):
    """It is started again; the run in it is gone."""
    cloud.live(["ACTIVE", "ACTIVE", "ONE_STOPPED", "ONE_STOPPED", "ACTIVE"])
    cloud.plan("hang", "0")
    done = cloud("all coco", *COMPUTE)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "coco is STOPPED" in done.stdout
    started = ["scp", "install", "start"]
    assert cloud.verbs == [*CREATION, *started, *started, "pack", "scp"]


def test_no_answer_from_gcloud_makes_nothing_anew(cloud):
    cloud.live(["ACTIVE", "OFFLINE", "OFFLINE", "ACTIVE"])
    done = cloud("all coco", *COMPUTE)
    assert done.returncode == 0
    assert "coco is UNKNOWN" in done.stdout
    assert cloud.verbs.count("create group") == 1


def test_delete_asks_first_and_goes_on_where_it_was_stopped(cloud):
    cloud("create coco", *COMPUTE)
    options = ("--api=compute", "--zone=us-central1-c")
    assert cloud("delete coco", *options, arguments=(), answer="n\n").returncode == 2
    cloud.refuse({"instance-templates delete": "Backend Error"})
    done = cloud("delete coco", *options, arguments=(), answer="y\n")
    assert done.returncode == 1
    assert "Backend Error" in done.stderr
    assert parts_of(cloud) == ["coco-selftrain", "coco-selftrain"]
    done = cloud("delete coco --yes", *options, arguments=())
    assert done.returncode == 0, done.stderr
    assert parts_of(cloud) == []
