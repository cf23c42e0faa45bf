import os
import re
import subprocess

import pytest

from tests.launch.launch_fakes import PROGRAMS, ROOT, copy_repository, runs_of, write_programs

# What SLURM does, as far as scripts see it: sbatch runs a copy of the script from its own folder, and again
# when the job was requeued; srun starts a task on each node and gives their highest exit code.
SLURM = {
    "sbatch": r"""
        mkdir -p "$FAKE_NOTES/spool" && cp "$1" "$FAKE_NOTES/spool/slurm_script"
        export SLURM_JOB_ID=77 SLURM_SUBMIT_DIR=$PWD SLURM_JOB_NUM_NODES=2 SLURM_NTASKS=${TASKS:-2}
        cd /
        for ((SLURM_RESTART_COUNT = 0; SLURM_RESTART_COUNT < 9; SLURM_RESTART_COUNT++)); do
          [[ $SLURM_RESTART_COUNT == 0 ]] || export SLURM_RESTART_COUNT
          rm -f "$FAKE_NOTES/requeued"
          bash "$FAKE_NOTES/spool/slurm_script" "${@:2}"
          code=$?
          [[ -e $FAKE_NOTES/requeued ]] || exit "$code"
        done""",
    "srun": r"""
        [[ $1 == --kill-on-bad-exit=0 ]] || exit 99
        echo "${JAX_LOCAL_DEVICE_IDS:-none} ${SRUN_CPUS_PER_TASK:-none}" >>"$FAKE_NOTES/srun"
        highest=0
        for ((SLURM_PROCID = 0; SLURM_PROCID < SLURM_NTASKS; SLURM_PROCID++)); do
          export SLURM_PROCID
          "${@:2}" && code=0 || code=$?
          ((code <= highest)) || highest=$code
        done
        exit "$highest" """,
    "scontrol": '[[ "$*" == "requeue 77" ]] && touch "$FAKE_NOTES/requeued"',
}


@pytest.fixture
def submit(tmp_path):
    copy_repository(tmp_path / "repository")
    write_programs(tmp_path / "bin", SLURM | {"fakepython": PROGRAMS["python3"]})

    def call(*arguments, plan, folder="repository", **environment):
        (tmp_path / "plan").write_text(" ".join(plan) + "\n")
        return subprocess.run(
            ["sbatch", tmp_path / "repository/launch/slurm.sbatch", *arguments],
            cwd=tmp_path / folder, capture_output=True, text=True, timeout=30,
            env=os.environ | {
                "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "FAKE_NOTES": str(tmp_path),
                "PYTHON": "fakepython", **environment,
            },
        )  # fmt: skip

    return call


def test_each_node_has_one_task_with_the_arguments_unchanged(submit, tmp_path):
    arguments = ["--config=a b.py:x=1,y=2", "--config.note=$HOME 'quoted' *", "--config.empty="]
    assert submit(*arguments, plan=["0"]).returncode == 0
    for node in (0, 1):
        assert runs_of(tmp_path, node) == [["-m", "selftrain_jax.main", "--hosts=auto", *arguments]]


def test_exit_code_75_returns_the_job_to_the_queue(submit, tmp_path):
    done = submit("--config=c.py", plan=["75", "75", "0"])
    assert done.returncode == 0
    assert len(runs_of(tmp_path)) == 3
    assert "job 77 returns to the queue (restart 2)" in done.stdout


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_other_exit_codes_end_the_job(submit, tmp_path, code):
    assert submit("--config=c.py", plan=[str(code)]).returncode == code
    assert len(runs_of(tmp_path)) == 1


def test_restarts_have_a_limit(submit, tmp_path):
    done = submit("--config=c.py", plan=["75"] * 5, MAX_RESTARTS="2")
    assert done.returncode == 75
    assert len(runs_of(tmp_path)) == 3
    assert "not finished after 2 restarts" in done.stderr


def test_a_nodes_only_task_gets_all_its_gpus(submit, tmp_path):
    submit("--config=c.py", plan=["0"], SLURM_GPUS_ON_NODE="4", SLURM_CPUS_PER_TASK="16")
    assert (tmp_path / "srun").read_text() == "0,1,2,3 16\n"


def test_several_tasks_a_node_share_its_gpus_as_jax_does(submit, tmp_path):
    submit("--config=c.py", plan=["0"], SLURM_GPUS_ON_NODE="4", TASKS="8")
    assert (tmp_path / "srun").read_text() == "none none\n"


def test_mistakes_are_said(submit, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    done = submit(plan=["0"], folder="elsewhere")
    assert (done.returncode, "is not the repository's root" in done.stderr) == (2, True)
    done = submit(plan=["0"], PYTHON="")
    assert (done.returncode, "there is no .venv/bin/python" in done.stderr) == (2, True)
    alone = subprocess.run(["bash", ROOT / "launch/slurm.sbatch"], capture_output=True, text=True, cwd=ROOT)
    assert (alone.returncode, "this is no SLURM job" in alone.stderr) == (2, True)


def test_directives_stand_where_sbatch_reads_them():
    head = (ROOT / "launch/slurm.sbatch").read_text().partition("\nset -euo")[0]
    directives = re.findall(r"^#SBATCH (--\S+)$", head, flags=re.MULTILINE)
    assert {"--ntasks-per-node=1", "--signal=TERM@120", "--requeue", "--open-mode=append"} <= set(directives)
    assert all(line.startswith("#") for line in head.splitlines())
