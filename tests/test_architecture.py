"""Who imports whom, as docs/architecture.md says; and that the package is light to import."""

import ast
import graphlib
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "selftrain_jax"
FILES = sorted(PACKAGE.rglob("*.py"))

GROUND = {"errors", "geometry", "io", "text", "threads", "types"}
# What each room may import, from the floor to the roof, beside itself. No room is left out.
ALLOWED = {
    "errors": set(),
    "text": set(),
    "threads": {"errors"},
    "types": set(),
    "geometry": GROUND,
    "io": GROUND,
    "unlabeled_sources": GROUND,
    "command_line": GROUND | {"unlabeled_sources"},
    "named_arrays": GROUND,
    "hosts": GROUND,
    "html": GROUND,
    "paper": GROUND | {"html", "pretrain.catalogue", "run_files"},
    "augment": GROUND,
    "models": GROUND,
    "detection": GROUND | {"models"},
    "segmentation": GROUND | {"models"},
    "classification": GROUND | {"models"},
    "contrastive": GROUND | {"models"},
    "pretrain": GROUND | {"models", "named_arrays", "run_files"},
    "data": GROUND | {"hosts"},
    "demo": GROUND | {"data"},
    "run_files": GROUND,
    "cost": GROUND | {"hosts", "run_files.cost"},
    "selftrain": GROUND | {"cost", "data", "hosts", "run_files"},
    "train": GROUND
    | {"cost", "hosts", "models.spatial_sharding", "named_arrays", "run_files", "selftrain.loss_norm"},
    "report": GROUND
    | {"data", "html", "run_files", "selftrain.advice_words", "selftrain.calibration"}
    | {"selftrain.corrections", "selftrain.threshold_advice"},
    "doctor": GROUND | {"data", "html"},
    "stages": GROUND | {"command_line", "data.source", "run_files", "unlabeled_sources"},
    "selection": GROUND | {"data", "doctor.duplicates", "html", "run_files.selection", "selftrain.inference"},
    "export": GROUND | {"named_arrays"},
    "plan": GROUND | {"data", "models", "run_files", "stages.settings", "train"},
    "tasks": {"*"},
    "build": {"*"},
    "jobs": {"*"},
    "__init__": {"jobs.model"},
    "main": {"command_line", "errors", "hosts", "jobs", "threads"}
    | {"train.compiler_memory", "train.stop_signal"},
}
TASKS = ("detection", "segmentation", "classification")
ABOVE = {"tasks": ("build", "jobs", "main"), "build": ("jobs", "main"), "jobs": ("main",)}
NO_TENSORFLOW = (
    *("models", "detection", "segmentation", "classification", "contrastive"),
    *("paper", "train", "report", "html"),
)
KNOW_THE_CONFIG = ("main", "jobs", "command_line", "unlabeled_sources", "build", "stages", "tasks")

# Imports inside functions: what needs TensorFlow (5 to 13 seconds), or a job that is not asked for.
LAZY = {
    ("__init__", "jobs.model"),
    ("main", "hosts"),
    ("main", "jobs"),
    ("main", "jobs.options"),
    ("main", "train.compiler_memory"),
    ("main", "train.stop_signal"),
    ("jobs", "build.data"),
    ("jobs", "jobs.convert_data"),
    ("jobs", "jobs.doctor"),
    ("jobs", "jobs.export"),
    ("jobs", "jobs.gold"),
    ("jobs", "jobs.import_predictions"),
    ("jobs", "jobs.import_weights"),
    ("jobs", "jobs.named_weights"),
    ("jobs", "jobs.plan"),
    ("jobs", "jobs.predict"),
    ("jobs", "jobs.preset"),
    ("jobs", "jobs.pretrain"),
    ("jobs", "jobs.released"),
    ("jobs", "jobs.report"),
    ("jobs", "jobs.evaluation"),
    ("jobs", "jobs.labels"),
    ("jobs", "jobs.review"),
    ("jobs", "jobs.search"),
    ("jobs", "jobs.select"),
    ("jobs", "jobs.views"),
    ("jobs", "jobs.selftrain"),
    ("jobs", "jobs.starts"),
    ("jobs", "jobs.steering"),
    ("jobs", "jobs.training"),
    ("jobs", "jobs.thresholds"),
    ("jobs", "jobs.workdir"),
    ("jobs", "stages.graph"),
    ("jobs", "tasks.lookup"),
    ("jobs.plan", "jobs.measure"),
    ("jobs.selftrain", "jobs.report"),
    ("paper.command", "paper.compare.command"),
    ("paper.command", "paper.run.command"),
    ("build.data", "augment.policies"),
    ("build.data", "data.pipeline"),
    ("build.data", "data.sources.tfds"),
    ("build.unlabeled", "data.sources.tfds"),
    ("tasks.classification.data", "augment.crop"),
    ("tasks.classification.data", "data.pipeline"),
    ("tasks.classification.data", "data.sources.tfds"),
    ("tasks.classification.data", "tasks.classification.targets"),
    ("tasks.classification.spec", "tasks.classification.targets"),
    ("tasks.detection.data", "data.sources.tfds"),
    ("tasks.detection.spec", "tasks.detection.predictor"),
    ("tasks.detection.spec", "tasks.detection.targets"),
    ("tasks.segmentation.spec", "tasks.segmentation.predictor"),
    ("tasks.segmentation.spec", "tasks.segmentation.targets"),
}


class Edge(NamedTuple):
    """One module imports another, inside a function or not."""

    importer: str
    imported: str
    is_lazy: bool


def module_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imports_of(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Every imported dotted name, and whether the import is inside a function."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = full.removeprefix("selftrain_jax.") in MODULES
                yield (full if is_module else node.module), node in inside


def edges() -> list[Edge]:
    """Every edge between modules of the package."""
    found = []
    for name, path in MODULES.items():
        for imported, is_lazy in imports_of(ast.parse(path.read_text())):
            if imported.startswith("selftrain_jax."):
                found.append(Edge(name, imported.removeprefix("selftrain_jax."), is_lazy))
    return found


EDGES = edges()


def is_in(module: str, rooms: set[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def may_import(name: str, imported: str) -> bool:
    """Whether the table allows one module to import another."""
    room, other = name.split(".")[0], imported.split(".")[0]
    if room == other:
        return True
    if ALLOWED[room] == {"*"}:
        return other not in ABOVE[room]
    return is_in(imported, ALLOWED[room])


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_module_imports_only_what_the_design_allows(name: str) -> None:
    imported = {edge.imported for edge in EDGES if edge.importer == name}
    assert not {other for other in imported if not may_import(name, other)}


@pytest.mark.parametrize("task", TASKS)
def test_no_task_imports_another(task: str) -> None:
    others = {f"tasks.{other}" for other in TASKS if other != task} | {"tasks.lookup"}
    own = [edge for edge in EDGES if is_in(edge.importer, {f"tasks.{task}"})]
    assert own
    assert not [edge for edge in own if is_in(edge.imported, others)]


def test_no_circles_lazy_imports_included() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for edge in EDGES:
        graph[edge.importer].add(edge.imported)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_imports_inside_functions_are_those_that_buy_a_fast_start() -> None:
    assert {(edge.importer, edge.imported) for edge in EDGES if edge.is_lazy} == LAZY


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_libraries_stay_in_their_rooms(name: str) -> None:
    libraries = {imported.split(".")[0] for imported, _ in imports_of(ast.parse(MODULES[name].read_text()))}
    room = name.split(".")[0]
    if room in NO_TENSORFLOW and name != "train.metric_log":
        assert not libraries & {"tensorflow", "tensorflow_datasets"}
    if "ml_collections" in libraries:
        assert room in KNOW_THE_CONFIG, "only build, tasks, jobs and the command know ConfigDict"
    if "flax" in libraries:
        assert room == "models" or name.endswith(".task")


def asks_for_the_task(node: ast.AST) -> bool:
    """Whether an expression compares with a task's name or labels, or takes a task's types apart."""
    if isinstance(node, ast.Compare):
        sides = [side.value for side in (node.left, *node.comparators) if isinstance(side, ast.Constant)]
        is_equality = isinstance(node.ops[0], ast.Eq | ast.NotEq)  # `"boxes" in tensors` asks what is there
        names = {*TASKS, "masks", "boxes"} if is_equality else set(TASKS)
        return "config.task" in ast.unparse(node) or any(side in names for side in sides)
    if isinstance(node, ast.Match):
        return "task" in ast.unparse(node.subject)
    is_check = isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
    return is_check and bool(re.search("Images|Targets|Detections|Logits|Scores", ast.unparse(node)))


def test_only_tasks_asks_which_task_it_is() -> None:
    """A further task is a folder in tasks/ and a line in tasks/lookup.py: docs/adding_a_task.md."""
    outside = {name: path for name, path in MODULES.items() if name.split(".")[0] != "tasks"}
    asked = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, path in outside.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if asks_for_the_task(node)
    ]
    assert not asked
    assert not [name for name, path in outside.items() if path.name.startswith("mask_")]


def test_package_imports_without_tensorflow_and_without_a_device() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import selftrain_jax, selftrain_jax.main; "
        "print(sorted({'tensorflow', 'jax', 'flax'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("job", ["doctor", "gold", "import_weights"])
def test_job_that_reads_no_image_stream_starts_without_tensorflow(job: str) -> None:
    code = f"import sys, selftrain_jax.jobs.{job}; print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(PACKAGE)): n for path in FILES if (n := path.read_text().count("\n")) > 300}
    assert not long
