"""The command's flags beside the config and the work folder, as the jobs take them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What a job is told beside its config; each job reads those that are about it."""

    stage: str = "teacher"  # which model train, evaluate and select are about
    round: int = 1  # of students and their labels
    variant: str = ""
    from_run: str = ""
    redo: str = ""
    grid: tuple[str, ...] = ()  # "key=value,value" of a search
    seeds: tuple[int, ...] = ()
    measure: bool = False  # plan: time some steps now
