"""A starter of commands that leaves what the real ones leave, in no time."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from configs import paper
from selftrain_jax.paper.plan.graph import Graph, build_graph
from selftrain_jax.paper.rows import find_row
from selftrain_jax.paper.run.logs import end_line
from selftrain_jax.run_files.search import SEARCH_FILE, Search, SearchPoint, SearchTest
from selftrain_jax.run_files.stage import STAGE_FILE, StageRecord, StageResult
from selftrain_jax.run_files.summary import SUMMARY_FILE, StageSummary, Summary

CODE = "0123456789ab"


def graph_of(*rows: tuple[str, int], seeds: Sequence[int] = (0,)) -> Graph:
    return build_graph([find_row(*own) for own in rows], seeds)


class Starter:
    """Notes the commands and plays them; `endings` are what to do otherwise, by the stage's name."""

    def __init__(self, **endings: Callable[[Path], int]) -> None:
        self.endings = {name.replace("_", "-"): ending for name, ending in endings.items()}
        self.commands: list[list[str]] = []
        self.seen: list[str] = []

    def __call__(self, command: Sequence[str], log: Path, tick: Callable[[], None]) -> int:
        self.commands.append(list(command))
        name = Path(flag_of(command, "workdir")).name
        self.seen.append(name)
        with log.open("a") as file:
            file.write("$ command\n")
        tick()
        code = self.endings.get(name, lambda _: leave(command))(log)
        with log.open("a") as file:
            file.write(f"last words of {name}\n{end_line(code)}")
        return code


def flag_of(command: Sequence[str], name: str) -> str:
    found = [own for own in command if own.startswith(f"--{name}=")]
    return found[-1].partition("=")[2] if found else ""


def leave(command: Sequence[str]) -> int:
    """Write what a command of a stage leaves in its folder; return its exit code."""
    folder, job = Path(flag_of(command, "workdir")), flag_of(command, "job")
    config = paper.get_config(flag_of(command, "config").partition(":")[2]).to_dict()
    folder.mkdir()
    if job == "import_weights":
        (folder / "card.json").write_text("{}")
    elif job == "train":
        write_record(folder / "teacher", "last")
    elif job == "pseudo_label":
        write_record(folder / "pseudo_labels", "labels")
    elif job == "search":
        write_record(folder / "variants/alpha=1/student", "last")
        write_search(folder)
    else:
        kinds = ("teacher",) if config["unlabeled"]["kind"] == "none" else ("teacher", "student")
        for kind in kinds:
            write_record(folder / kind, "last")
        write_summary(folder, config, kinds)
    return 0


def write_record(folder: Path, which: str, **settings: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    results = {which: StageResult(digest="d")} if which else {}
    record = StageRecord(stage=folder.name, settings=settings, code=CODE, results=results,
                         inputs={}, methods={}, versions={})  # fmt: skip
    (folder / STAGE_FILE).write_text(json.dumps(record.to_json()))


def write_summary(folder: Path, config: dict[str, Any], kinds: Sequence[str]) -> None:
    scores = {"ap": 0.4} if config["task"] == "detection" else {"miou": 0.4, "miou_resized": 0.4}
    stage = StageSummary(scores=scores, checkpoint="c", split="val", steps=1, seconds=1.0)
    summary = Summary(
        stages=dict.fromkeys(kinds, stage), pseudo_labels=None, gain_over_teacher=None,
        gain_over_control=None, metric=next(iter(scores)), device="test", versions={}, seconds_total=1.0,
        seed=config["seed"], config=config,
    )  # fmt: skip
    (folder / SUMMARY_FILE).write_text(json.dumps(summary.to_json()))


def write_search(folder: Path) -> None:
    search = Search.start("ap", {"selftrain.alpha": (1,)})
    search = search.with_point(SearchPoint(values={"selftrain.alpha": 1}, seed=0, variant="alpha=1", val=0.4))
    test = SearchTest(seed=0, variant="alpha=1", student=0.4, teacher=None, control=None)
    (folder / SEARCH_FILE).write_text(json.dumps({**search.to_json(), "test": [vars(test)]}))
