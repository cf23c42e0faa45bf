import os
import signal
import time

import pytest

from tests.launch.launch_fakes import runs_of
from tests.launch.tpu_cloud import AWKWARD, OPTIONS, Cloud


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


def test_exit_code_75_runs_again_on_the_same_slice(cloud):
    cloud.plan("75", "75", "0")
    done = cloud("all coco", *OPTIONS)
    assert done.returncode == 0
    assert cloud.verbs == ["create", "scp", "install", "start", "start", "start", "pack", "scp"]
    assert len(runs_of(cloud.folder, 1)) == 3
    for attempt in (1, 2, 3):
        assert done.stdout.count(f"attempt {attempt} of worker 0\n") == 1


def test_exit_code_2_ends_and_shows_the_error(cloud):
    cloud.plan("2")
    done = cloud("all coco", *OPTIONS)
    assert done.returncode == 2
    assert cloud.verbs.count("start") == 1
    assert "error: attempt 1 of worker 1 ends with 2" in done.stdout


@pytest.mark.parametrize(
    ("first", "second", "code", "starts"),
    [
        (["75"], ["2"], 2, 1),  # one host's mistake is not retried because the others noticed
        (["75"], ["1"], 1, 1),
        (["75", "0"], ["killed", "0"], 0, 2),  # out of memory, or a reboot
        (["0"], ["130"], 130, 1),
    ],
)
def test_the_workers_exit_codes_are_judged_together(cloud, first, second, code, starts):
    cloud.plan(*first)
    cloud.plan(*second, worker="-1")
    assert cloud("all coco", *OPTIONS).returncode == code
    assert cloud.verbs.count("start") == starts


@pytest.mark.parametrize("end", ["FAILED", "ACTIVE/PREEMPTED"])
def test_a_lost_slice_is_deleted_and_made_anew(cloud, end):
    cloud.live(["ACTIVE", "ACTIVE", end], ["ACTIVE"])
    cloud.plan("hang", "0")
    done = cloud("all coco", *OPTIONS)
    assert done.returncode == 0, done.stderr + done.stdout
    assert cloud.verbs[4:9] == ["delete", "create", "scp", "install", "start"]


def test_a_spot_slice_preempted_twice_goes_on_with_the_same_run(cloud):
    cloud.live(
        ["ACTIVE", "ACTIVE", "SUSPENDING", "SUSPENDED"],
        ["WAITING_FOR_RESOURCES", "ACTIVE", "ACTIVE", "SUSPENDED"],
        ["PROVISIONING", "ACTIVE"],
    )
    cloud.plan("hang", "hang", "0")
    done = cloud("all coco", *OPTIONS, "--spot", arguments=AWKWARD)
    assert done.returncode == 0, done.stderr + done.stdout
    again = ["delete", "create", "scp", "install", "start"]
    assert cloud.verbs == ["create", "scp", "install", "start", *again, *again, "pack", "scp"]
    first, second, third = [call for call in cloud.calls if call[3] == "create"]
    assert first == second == third
    first, second, third = runs_of(cloud.folder, 1)
    assert first == second == third
    assert "making it anew (2 of at most 20)" in done.stdout
    assert "attempt 3 of worker 0\n" in done.stdout  # a new slice's log is shown from its start


def test_a_slice_that_is_no_longer_there_is_made_anew_without_a_deletion(cloud):
    cloud.live(["ACTIVE", "ACTIVE", "NONE"], ["ACTIVE"])
    cloud.plan("hang", "0")
    assert cloud("all coco", *OPTIONS).returncode == 0
    assert cloud.verbs[4:9] == ["create", "scp", "install", "start", "pack"]


def test_a_slice_lost_while_it_is_made_anew_counts_and_is_tried_again(cloud):
    cloud.live(["ACTIVE", "SUSPENDED"], ["PROVISIONING", "FAILED"], ["ACTIVE"])
    done = cloud("all coco", *OPTIONS)
    assert done.returncode == 0
    assert cloud.verbs.count("create") == 3
    assert cloud.verbs.count("delete") == 2


def test_no_answer_from_gcloud_makes_nothing_anew(cloud):
    cloud.live(["ACTIVE", "OFFLINE", "OFFLINE", "ACTIVE"])
    done = cloud("all coco", *OPTIONS)
    assert done.returncode == 0
    assert "coco is UNKNOWN" in done.stdout
    assert cloud.verbs.count("create") == 1


def test_after_max_restarts_the_exit_code_asks_to_go_on(cloud):
    cloud.plan("75", "75", "75")
    done = cloud("all coco", *OPTIONS, "--max_restarts=2")
    assert done.returncode == 75
    assert len(runs_of(cloud.folder)) == 3
    assert "not finished after --max_restarts=2" in done.stdout


def test_what_a_preempted_request_left_does_not_stop_the_same_command(cloud):
    cloud.live(["ACTIVE", "SUSPENDED"], ["ACTIVE"])
    cloud("create coco", *OPTIONS)
    done = cloud("all coco", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs[:3] == ["create", "delete", "create"]


def test_a_shutdowns_sigterm_is_answered_by_the_run_and_noted(cloud):
    cloud.plan("term")
    for command in ("create", "install", "run"):
        cloud(f"{command} coco", *OPTIONS)
    for worker in (0, 1):
        notes = cloud.folder / f"home-{worker}/selftrain_jax_run"
        wait_for(lambda notes=notes: "attempt" in (notes / "log.txt").read_text())
        os.killpg(int((notes / "pid").read_text()), signal.SIGTERM)
        wait_for((notes / "exit_code").exists)
        assert (notes / "exit_code").read_text() == "75\n"


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")
