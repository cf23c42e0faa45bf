"""The unlabelled images of a run, from one source or several; call `open_all_unlabeled`."""

import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from selftrain_jax.build.splits import split_by_label
from selftrain_jax.data.source import Source, subset
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.doctor.verdicts import refuse
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.tasks.config_values import require_dir, split_names
from selftrain_jax.tasks.lookup import TASKS, get_task
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.unlabeled_sources import GROUP, further_sources


def open_all_unlabeled(config: ConfigDict, train: Source) -> dict[str, Source]:
    """Open the sources of unlabelled images by name, with their labels where the data sets have them.

    Raises:
        InputError: a source is missing or malformed, has no image, or holds what another one holds.
    """
    refuse(judge_locations(config))
    return {name: open_unlabeled(config, train, group) for name, group in source_groups(config).items()}


def source_groups(config: ConfigDict) -> dict[str, str]:
    """Return the groups of the config of all sources by name, the first one's first."""
    return {FIRST_SOURCE: "unlabeled", **{name: f"{GROUP}.{name}" for name in further_sources(config)}}


def require_truth(config: ConfigDict, truth: Source | None, images: Source | None) -> Source:
    """Return the human labels of all unlabelled images. Raises: InputError where there are none."""
    if truth is not None and images is not None and len(truth) == len(images):
        return truth
    where = config.unlabeled.kind
    found = "there are no unlabelled images"
    if truth is not None and images is not None:
        found = f"only {len(truth)} of the {len(images)} unlabelled images, of {truth.name}, have such labels"
    elif where != "none":
        found = (
            f"the unlabelled images (config.unlabeled.kind={where}) have no labels of the classes of train"
        )
    raise InputError(
        f"config.student.oracle=True trains on the human labels of the unlabelled images, but {found}; take "
        "them from a labelled data set, as config.unlabeled.kind=remainder with config.data.label_percent "
        "below 100 does, or set config.student.oracle=False"
    )


def judge_locations(config: ConfigDict) -> Iterator[Finding]:
    """Say which further source is what another one is, or a split that is trained or measured on.

    The run refuses these errors, the doctor lists them.
    """
    groups = source_groups(config)
    places = {group: _place(config, group, config[group].get("split", "")) for group in groups.values()}
    data = config.data
    splits = {_place(config, "data", split): split for split in reversed(split_names(config))}
    for position, (group, place) in enumerate(places.items()):
        if not position or place is None:
            continue
        same = next((other for other, where in [*places.items()][:position] if where == place), None)
        if same is not None:
            finding = f"config.{group} and config.{same} are the same images"
            yield Finding("error", finding, f"Leave one out (kind=none), or raise config.{same}.weight.")
        elif place in splits:
            split = splits[place]
            finding = f"config.{group} is the split {split!r} of config.data"
            leak = f"what is measured on it would not count: take other images as {group}."
            known = f"its labels are known. Take the part without labels, --config.{group}.kind=remainder."
            yield Finding("error", finding, (known if split == data.train else leak).capitalize())


def _place(config: ConfigDict, group: str, split: str) -> tuple[str, ...] | None:
    """Return what a group's images are told apart by; None where it is not said."""
    where = config[group]
    kind = where.kind
    if kind == "auto" and not where.dir and where.get("tfds"):
        kind = "tfds"
    if kind == "remainder":
        return (kind,)
    if kind == "builtin":
        return (kind, split if group == "data" else "unlabeled")
    folder = where.dir or (config.data.dir if kind != "tfds" else "")
    if kind == "folder" and group != "data":
        return (kind, str(pathlib.Path(folder).resolve())) if where.dir else None
    root = str(pathlib.Path(folder).resolve()) if folder else ""
    template = {"coco": where.get("annotations", ""), "tfds": where.get("tfds", "")}.get(kind, "")
    return (kind, root, template.replace("{split}", split), split)


def open_unlabeled(config: ConfigDict, train: Source, group: str = "unlabeled") -> Source:
    """Open the unlabelled images of a group of the config, with their labels where the data set has them.

    Raises:
        InputError: there are none.
    """
    source, limit = _open(config, train, group), config[group].limit
    if not len(source) and group != "unlabeled":
        raise InputError(
            f"config.{group}: {source.name} has no image; name images, or leave the source out by "
            f"--config.{group}.kind=none"
        )
    return subset(source, range(min(limit, len(source)))) if limit else source


def _open(config: ConfigDict, train: Source, group: str) -> Source:
    where = config[group]
    if where.kind == "remainder":
        _, remainder = split_by_label(config, train)
        if not len(remainder):
            raise InputError(
                f"config.{group}.kind=remainder, but config.data.label_percent=100 leaves no image of "
                "train without its label; lower label_percent or name another source"
            )
        return subset(train, remainder, f"{train.name}, the remainder")
    if where.kind == "folder":
        return read_image_folder(require_dir(where.dir, f"config.{group}.dir", "the unlabelled images"))
    if where.kind == "tfds":
        from selftrain_jax.data.sources.tfds import read_tfds

        return read_tfds(where.tfds, where.split, data_dir=where.dir or None, labelled=False)
    # The run's own task first; else the images of a data set that another task reads.
    readers = [get_task(config.task), *TASKS]
    task = next((task for task in readers if where.kind in task.data_kinds), readers[0])
    return task.open_split(config, group, "unlabeled" if where.kind == "builtin" else where.split)
