"""Who imports whom, as the design says; and that the package is light to import."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "selftrain_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))

# For each folder, what its modules may import of the package besides `types`, `errors` and `hosts`.
ALLOWED = {
    "hosts": {"hosts"},
    "augment": {"augment"},
    "classification": {"classification", "models"},
    "models": {"models"},
    "detection": {"detection", "models", "data"},
    "paper": {"paper"},
    "pretrain": {"pretrain", "models"},
    "selftrain": {"selftrain", "data"},
    "data": {"data"},
    "train": {"train", "selftrain.loss_norm", "models.spatial_sharding"},
    "report": {"report", "data"},
    "segmentation": {"segmentation", "models"},
}
NO_TENSORFLOW = ("models", "detection", "segmentation", "classification", "paper", "train", "report")


def imports_of(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_the_design_allows(path: pathlib.Path) -> None:
    folder = path.relative_to(PACKAGE).parts[0]
    names = imports_of(path)
    if folder in ALLOWED:
        own = {name.removeprefix("selftrain_jax.") for name in names if name.startswith("selftrain_jax.")}
        allowed = ALLOWED[folder] | {"types", "errors", "hosts", "io", "text", "named_arrays", "geometry"}
        bad = {n for n in own if not any(n == a or n.startswith(a + ".") for a in allowed)}
        assert not bad, f"{path.name} of {folder}/ imports {sorted(bad)}"
    if folder in NO_TENSORFLOW and path.name != "metric_log.py":
        assert not {name for name in names if name.split(".")[0] in ("tensorflow", "tensorflow_datasets")}
    if folder in ALLOWED:
        assert "ml_collections" not in names, "only configs, build, jobs and main know ConfigDict"
    if "flax" in {name.split(".")[0] for name in names}:
        assert folder == "models" or path.name == "task.py"


def test_package_imports_without_tensorflow_and_without_a_device() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import selftrain_jax, selftrain_jax.main; "
        "print(sorted({'tensorflow', 'jax', 'flax'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_file_is_long() -> None:
    long = {
        str(path.relative_to(PACKAGE)): n for path in MODULES if (n := path.read_text().count("\n")) > 300
    }
    assert not long
