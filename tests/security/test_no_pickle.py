"""Nothing that the project reads can run code: no pickle in any guise, no eval, no shell."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("selftrain_jax", "configs", "launch", "tests/benchmarks", "tests/faults")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

BANNED_MODULES = {
    "pickle", "cPickle", "_pickle", "pickletools", "dill", "cloudpickle", "joblib", "marshal", "shelve",
    "dbm", "tarfile", "zipfile",  # members' names can lead out of a folder; owners unpack archives
}  # fmt: skip
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "input"}
BANNED_ATTRIBUTES = {
    "os.system", "os.popen", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "np.loads",
    "shutil.unpack_archive", "pd.read_pickle", "pandas.read_pickle", "subprocess.getoutput",
    "subprocess.getstatusoutput", "sys.setrecursionlimit", "sys.set_int_max_str_digits",
}  # fmt: skip


def faults(source: str) -> list[str]:
    """Name what a module does that it must not."""
    return [fault for node in ast.walk(ast.parse(source)) for fault in faults_of(node)]


def faults_of(node: ast.AST) -> list[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    elif isinstance(node, ast.Call):
        names = [*_texts_of_import_module(node)]
    found = [name for name in names if name.split(".")[0] in BANNED_MODULES or name in BANNED_ATTRIBUTES]
    return found + (_faults_of_call(node) if isinstance(node, ast.Call) else [])


def _faults_of_call(node: ast.Call) -> list[str]:
    name, given = ast.unparse(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
    found = [name] if name in BANNED_CALLS | BANNED_ATTRIBUTES else []
    if name == "torch.load" and not _is(given.get("weights_only"), True):
        found.append("torch.load without weights_only=True")
    for key in ("allow_pickle", "shell"):
        if key in given and not _is(given[key], False):
            found.append(f"{name} with {key}")
    return found


def _texts_of_import_module(node: ast.Call) -> list[str]:
    is_import = ast.unparse(node.func).endswith("import_module")
    return [argument.value for argument in node.args if is_import and isinstance(argument, ast.Constant)]


def _is(value: ast.expr | None, wanted: bool) -> bool:
    return isinstance(value, ast.Constant) and value.value is wanted


# PyTorch's files are zips: members are read by name into memory, and none is written. Of downloaded archives
# the regular members with the names of a checkpoint's files are written under their bare names.
ALLOWED = {
    "selftrain_jax/pretrain/torch_archive.py": ["zipfile"],
    "selftrain_jax/pretrain/fetch_files.py": ["tarfile", "zipfile"],
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_runs_nothing_that_it_reads(path: pathlib.Path) -> None:
    assert faults(path.read_text()) == ALLOWED.get(str(path.relative_to(ROOT)), [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import numpy, dill.detect", "from joblib import load", "from os import system",
        "def f():\n    import marshal", "import importlib\nimportlib.import_module('shelve')",
        "import os\nos.system('ls')", "eval('1')", "exec(text)", "import yaml\nyaml.load(text)",
        "import torch\ntorch.load(path)", "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=flag)", "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)", "subprocess.run(line, shell=True)",
        "subprocess.Popen(x, shell=1)",
    ],
)  # fmt: skip
def test_what_runs_code_is_seen(source: str) -> None:
    assert faults(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(p, weights_only=True)",
        "network.eval()",
        "np.load(p)",
        "subprocess.run(['ls'])",
        "re.compile('a')",
    ],
)
def test_what_runs_none_is_left_alone(source: str) -> None:
    assert faults(source) == []
