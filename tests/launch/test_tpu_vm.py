import re
import shlex

import pytest

from tests.launch.launch_fakes import runs_of, started_runs_of
from tests.launch.tpu_cloud import AWKWARD, OPTIONS, Cloud


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
    cloud.live(["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    (cloud.repository / "scrap.py").touch()
    done = cloud("all coco", *OPTIONS, "--spot", "--create_flag=--network=net", arguments=AWKWARD)
    assert done.returncode == 0, done.stderr + done.stdout
    return cloud, done.stdout


def test_all_creates_installs_runs_watches_and_fetches(finished):
    cloud, said = finished
    assert cloud.verbs == ["create", "scp", "install", "start", "pack", "scp"]
    assert cloud.calls[1][2:] == [
        "queued-resources", "create", "coco", "--zone=us-west4-a", "--node-id=coco",
        "--accelerator-type=v5litepod-16", "--runtime-version=v2-alpha-tpuv5-lite", "--spot", "--network=net",
    ]  # fmt: skip
    for expected in (
        "coco is WAITING_FOR_RESOURCES",
        "coco is PROVISIONING",
        "coco is ACTIVE",
        "is finished",
    ):
        assert expected in said
    assert said.count("attempt 1 of worker 0\n") == 1


def test_awkward_arguments_reach_every_worker_unchanged(finished):
    cloud, _ = finished
    for worker in (0, 1):
        workdir = f"--workdir={cloud.folder}/home-{worker}/bucket/coco"
        assert runs_of(cloud.folder, worker) == [
            ["-m", "selftrain_jax.main", workdir, "--hosts=auto", *AWKWARD]
        ]


def test_only_tracked_files_are_copied_and_the_others_named(finished):
    cloud, said = finished
    assert "not copied, as git does not track it: scrap.py" in said
    assert not (cloud.folder / "home-1/selftrain_jax/scrap.py").exists()
    assert (cloud.folder / "home-1/selftrain_jax/requirements.txt").exists()


def test_fetch_leaves_checkpoints_unless_asked(finished):
    cloud, _ = finished
    assert (cloud.repository / "runs/coco/teacher/metrics.jsonl").exists()
    assert not (cloud.repository / "runs/coco/teacher/checkpoints").exists()
    done = cloud("fetch coco", *OPTIONS, "--checkpoints", "--to=runs/with all", arguments=())
    assert done.returncode == 0, done.stderr
    assert (cloud.repository / "runs/with all/teacher/checkpoints/1").exists()


def test_install_adds_jax_for_tpu_by_name_alone(finished):
    cloud, _ = finished
    last = (cloud.folder / "pip-1").read_text().splitlines()[-1]
    assert last.split()[-1] == "jax[tpu]"
    assert not {"-f", "--find-links", "--index-url"} & set(last.split())


def test_the_bucket_is_mounted_once_without_stale_metadata(finished):
    cloud, _ = finished
    (mount,) = (cloud.folder / "gcsfuse-1").read_text().splitlines()
    assert "--metadata-cache-ttl-secs=0" in mount
    assert mount.endswith(f"my-bucket {cloud.folder}/home-1/bucket")


def test_a_share_is_mounted_on_workers_whose_python_is_old(cloud):
    options = [option for option in OPTIONS if "bucket" not in option]
    done = cloud("all coco", *options, "--nfs=10.0.0.2:/share", FAKE_OLD_PYTHON="yes")
    assert done.returncode == 0, done.stderr + done.stdout
    mount = f"mount -t nfs 10.0.0.2:/share {cloud.folder}/home-0/nfs"
    assert (cloud.folder / "sudo-0").read_text().splitlines() == [mount]
    assert f"--workdir={cloud.folder}/home-0/nfs/coco" in runs_of(cloud.folder)[0]
    assert (cloud.folder / "pip-0").read_text().splitlines()[0].endswith("--user uv")


def test_a_dry_run_prints_what_a_real_run_calls_and_calls_nothing(cloud):
    dry = cloud("all coco", *OPTIONS, "--delete", "--dry-run", arguments=AWKWARD)
    assert dry.returncode == 0
    assert cloud.calls == []
    printed = [shlex.split(line, comments=True) for line in dry.stdout.splitlines()]
    cloud("all coco", *OPTIONS, "--delete", arguments=AWKWARD)
    told = [without_scratch(words[1:]) for words in printed if words[:1] == ["gcloud"]]
    assert told == without_repeated_looks([without_scratch(call) for call in cloud.calls])
    assert told[-1][3] == "delete"


def without_scratch(call):
    return [re.sub(r"^/.*/tmp\.\w+/", "", part) for part in call]


def without_repeated_looks(calls):
    """Drop the rounds of describe, status, log that found the run still going.

    What they showed of the log the last one leaves out, by how fast the run was.
    """
    rounds = [i for i, call in enumerate(calls) if "status" in call[-1]]
    kept = calls[: rounds[0] - 1] + calls[rounds[-1] - 1 :]
    return [[re.sub(r"tail -c \+\d+ ", "tail -c +1 ", part) for part in call] for call in kept]


@pytest.mark.parametrize("end", ["FAILED", "SUSPENDED"])
def test_a_request_that_fails_ends_clearly(cloud, end):
    cloud.live(["WAITING_FOR_RESOURCES", end])
    done = cloud("all coco", *OPTIONS)
    assert done.returncode == 1
    assert f"error: coco ended as {end}" in done.stderr
    assert cloud.verbs == ["create"]


def test_run_is_started_once_and_another_run_is_refused(cloud):
    cloud.plan("hang")
    for command in ("create", "install", "run", "run"):
        assert cloud(f"{command} coco", *OPTIONS).returncode == 0
    other = cloud("run coco", *OPTIONS, arguments=("--config=other.py",))
    assert other.returncode == 2
    assert "error: t1v-n-0a1b-w-0 is busy with another run" in other.stderr
    assert len(started_runs_of(cloud.folder)) == 1
    cloud("delete coco --yes --zone=z", arguments=())


def test_delete_asks_first(cloud):
    cloud("create coco", *OPTIONS)
    options = ("--zone=us-west4-a", "--project=mine")
    assert cloud("delete coco", *options, arguments=(), answer="n\n").returncode == 2
    assert "delete" not in cloud.verbs
    assert cloud("delete coco", *options, arguments=(), answer="y\n").returncode == 0
    assert cloud.calls[-1][3:] == ["delete", "coco", *options, "--force", "--quiet"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "usage: bash launch/tpu_vm.sh"),
        ("creat coco", "unknown command creat; expected create"),
        ("create --zone=z", "create needs the slice's NAME next"),
        ("create Coco --zone=z", "got 'Coco'"),
        ("create coco --zoen=z", "unknown option --zoen=z"),
        ("create coco --zone", "--zone needs a value"),
        ("create coco --zone=", "--zone needs a value"),
        ("create coco --type=v4-8", "--zone is missing"),
        ("create coco --zone=z", "--type is missing"),
        ("create coco --zone=z --type=v9-8", "no runtime is known for --type=v9-8"),
        ("create coco --zone=z --type=v4-8 stray", "unexpected stray"),
        ("create coco --zone=z --type=v4-8 --bucket=b", "expected gs://BUCKET"),
        ("watch coco --zone=z --type=v4-8 --poll_secs=soon", "--poll_secs is soon"),
        ("run coco --zone=z -- --config=c.py", "no work folder that all workers share"),
        ("run coco --zone=z --workdir=w", "--config is missing"),
        ("run coco --zone=z --workdir=w -- --config=c.py --workdir=v", "--workdir belongs before --"),
        ("fetch coco --zone=z", "no work folder"),
    ],
)
def test_a_mistake_in_the_command_gives_2_and_says_what_to_do(unused, command, message):
    done = unused(command, arguments=())
    assert done.returncode == 2
    assert message in done.stderr
    assert unused.calls == []


def test_without_gcloud_the_message_says_so(unused, tmp_path):
    (tmp_path / "few").mkdir()
    for program in ("bash", "dirname"):
        (tmp_path / "few" / program).symlink_to(f"/usr/bin/{program}")
    done = unused("create coco", *OPTIONS, path=str(tmp_path / "few"))
    assert done.returncode == 2
    assert "error: gcloud is not installed" in done.stderr


def test_help_names_every_option(unused):
    done = unused("--help", arguments=())
    assert done.returncode == 0
    options = (unused.repository / "launch/tpu_options.sh").read_text().partition("parse_option()")[2]
    known = set(re.findall(r"--[a-z][\w-]+", options.partition("esac ;;")[0])) - {"--help"}
    assert len(known) > 15
    assert {option for option in known if option not in done.stdout} == set()
