"""How many human labels there are of each class, counted once a run; call `count_human`."""

from collections.abc import Mapping

from selftrain_jax import hosts
from selftrain_jax.io import read_json, write_json
from selftrain_jax.jobs.run import Run
from selftrain_jax.run_files.human_counts import HUMAN_COUNTS_FILE, REMEDY, HumanCounts


def count_human(run: Run) -> Mapping[str, int]:
    """Return the counts of the run's human labels: host 0 reads all labels, or what it found of them before.

    Raises:
        InputError: the file of an earlier start is damaged, or labels cannot be read.
    """
    return hosts.run_on_host0(lambda: _count(run))


def _count(run: Run) -> dict[str, int]:
    path, digest = run.workdir / HUMAN_COUNTS_FILE, run.data_digests["human"]
    if path.exists():
        found = HumanCounts.from_json(read_json(path, REMEDY), path)
        if found.labels_digest == digest:
            return dict(found.counts)
    counts = dict(run.self_training.count_labels(run.config, run.sources.human))
    write_json(path, HumanCounts(labels_digest=digest, counts=counts).to_json())
    return counts
