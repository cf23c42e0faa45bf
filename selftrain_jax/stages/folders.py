"""Stage folders on disk: share a finished one by links, move one aside; nothing is copied or deleted.

A variant's stage that is another's is a folder of relative symlinks to that one's files. What is measured
anew for the variant replaces its link, never the file behind it, since files are written beside and renamed.
"""

import os
from pathlib import Path

from selftrain_jax.run_files.stage import STAGE_FILE
from selftrain_jax.run_files.variants import variant_folders
from selftrain_jax.stages.graph import Stage

MEASURED = ("evaluation", "detections")  # how files begin that a stage's evaluation writes


def share(source: Path, target: Path, *, measured: bool = True) -> None:
    """Link the entries of a finished stage's folder into another; without `measured` not its evaluation.

    Its record comes last: a folder without one is begun again.
    """
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(
        (entry.name for entry in source.iterdir() if not _is_left_out(entry.name, measured)),
        key=lambda name: name == STAGE_FILE,
    )
    for name in names:
        link = target / name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(source / name, target.resolve()))


def is_shared(folder: Path) -> bool:
    """Tell whether a stage's folder is another's, by its record."""
    return (folder / STAGE_FILE).is_symlink()


def shared_with(folder: Path) -> Path:
    """Return the folder that a shared stage comes from."""
    return (folder / STAGE_FILE).resolve().parent


def move_aside(workdir: Path, stages: list[Stage]) -> list[Path]:
    """Rename the folders of stages to FOLDER.1 (or the next free number); return the new names.

    Variants that share their files keep them.
    """
    moved = []
    for stage in stages:
        folder = workdir / stage.folder
        if folder.exists() or folder.is_symlink():
            moved.append(_rename(folder))
            _link_again(workdir, folder, moved[-1])
    return moved


def move_measurements_aside(folder: Path) -> list[Path]:
    """Rename what a stage's evaluation wrote; return the new names."""
    found = [entry for entry in sorted(folder.glob("*")) if entry.name.startswith(MEASURED)]
    return [_rename(entry) for entry in found if not entry.suffix.lstrip(".").isdigit()]


def _rename(path: Path) -> Path:
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.{number}")):
        number += 1
    return path.rename(aside)


def _link_again(workdir: Path, old: Path, new: Path) -> None:
    """Let the links of variants that pointed into a folder point into it under its new name."""
    for variant in variant_folders(workdir).values():
        for link in (entry for entry in variant.rglob("*") if entry.is_symlink()):
            target = Path(os.path.normpath(link.parent.resolve() / link.readlink()))
            if target.parent == old.resolve():
                link.unlink()
                link.symlink_to(os.path.relpath(new.resolve() / target.name, link.parent.resolve()))


def _is_left_out(name: str, measured: bool) -> bool:
    is_unfinished = name.endswith(".tmp") or name == ".lock"
    return is_unfinished or (not measured and name.startswith(MEASURED))
