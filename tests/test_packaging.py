"""What is shipped: equal versions, wheels that hold what they should, and that work when installed alone."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import tarsier_tools
from tests.wheels.floors import declared, floor, floors

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = {
    "tarsier-tools": ROOT,
    "tarsier-mcp": ROOT / "mcp_server",
    "langchain-tarsier": ROOT / "integrations" / "langchain",
    "llama-index-tools-tarsier": ROOT / "integrations" / "llama_index",
}
MODULES = {
    "tarsier-tools": ["tarsier_tools"],
    "tarsier-mcp": ["tarsier_mcp"],
    "langchain-tarsier": ["langchain_tarsier"],
    "llama-index-tools-tarsier": [
        "llama_index.readers.tarsier",
        "llama_index.retrievers.tarsier",
        "llama_index.tools.tarsier",
    ],
}


def run(*command: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | (env or {})
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, env=clean, check=False
    )


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built = {}
    for name, folder in DISTRIBUTIONS.items():
        out = tmp_path_factory.mktemp(name)
        done = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, folder)
        assert done.returncode == 0, done.stdout + done.stderr
        (built[name],) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def fresh_python(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment with tarsier-tools from its wheel and what that asks for."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = run(
        python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheels["tarsier-tools"]
    )
    if done.returncode != 0:
        pytest.skip(f"pip cannot install the dependencies here: {done.stderr.strip().splitlines()[-1]}")
    return python


def requirements(name: str) -> dict[str, Requirement]:
    """Return what a distribution requires, with its extras, by normalized name."""
    return {canonicalize_name(each.name): each for each in declared(DISTRIBUTIONS[name])}


def test_all_distributions_and_the_changelog_have_one_version() -> None:
    versions = {
        name: tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
        for name, folder in DISTRIBUTIONS.items()
    }
    changelog = (ROOT / "CHANGELOG.md").read_text()
    top = re.search(r"^## (\d\S+)", changelog, re.MULTILINE)
    assert top
    assert set(versions.values()) == {tarsier_tools.__version__} == {top.group(1)}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_installs_only_its_own_modules(name: str, wheels: dict[str, Path]) -> None:
    files = [entry for entry in zipfile.ZipFile(wheels[name]).namelist() if ".dist-info/" not in entry]
    folders = {module.replace(".", "/") for module in MODULES[name]}
    strays = [e for e in files if not any(e.startswith(f"{folder}/") for folder in folders)]
    assert strays == []
    for folder in folders:
        assert f"{folder}/__init__.py" in files
        assert f"{folder}/py.typed" in files


def test_the_llama_index_namespaces_stay_namespaces(wheels: dict[str, Path]) -> None:
    files = zipfile.ZipFile(wheels["llama-index-tools-tarsier"]).namelist()
    assert not {"llama_index/__init__.py", "llama_index/tools/__init__.py"} & set(files)


def test_the_main_wheel_brings_the_bundled_model(wheels: dict[str, Path]) -> None:
    entries = zipfile.ZipFile(wheels["tarsier-tools"]).infolist()
    model = [entry for entry in entries if entry.filename.startswith("tarsier_tools/assets/tarsier2-tiny/")]
    assert any(entry.filename.endswith(".safetensors") for entry in model)
    assert sum(entry.file_size for entry in model) <= 12_000_000


def test_the_main_wheel_works_alone_and_says_what_a_model_needs(fresh_python: Path, tmp_path: Path) -> None:
    assert "caption" in run(fresh_python, "-m", "tarsier_tools", "--help").stdout
    clip = ROOT / "tests" / "golden" / "videos" / "short10_256x192.mp4"
    assert "h264" in run(fresh_python, "-m", "tarsier_tools", "info", clip).stdout
    refused = run(fresh_python, "-m", "tarsier_tools", "caption", clip)
    assert refused.returncode != 0
    assert 'pip install "tarsier-tools[local]"' in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_package_imports_only_what_it_declares(name: str) -> None:
    allowed = set(requirements(name)) | set(requirements("tarsier-tools")) | {name}
    known = {module: set(map(canonicalize_name, found)) for module, found in packages_distributions().items()}
    undeclared = {}
    for module in MODULES[name]:
        for path in (DISTRIBUTIONS[name] / module.replace(".", "/")).rglob("*.py"):
            for imported in imports(ast.parse(path.read_text("utf-8"))) - set(sys.stdlib_module_names):
                if not known.get(imported, {canonicalize_name(imported)}) & allowed:
                    undeclared[str(path.relative_to(ROOT))] = imported
    assert undeclared == {}


def imports(tree: ast.AST) -> set[str]:
    """Return the top-level modules that the code imports, but for those it can do without."""
    optional = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("ImportError" in ast.dump(each) for each in node.handlers)
        for line in range(node.body[0].lineno, node.handlers[0].lineno)
    }
    found = set()
    for node in ast.walk(tree):
        if getattr(node, "lineno", 0) in optional:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_other_wheels_import_beside_the_main_one_without_a_warning(
    fresh_python: Path, wheels: dict[str, Path]
) -> None:
    others = [wheel for name, wheel in wheels.items() if name != "tarsier-tools"]
    pip = (fresh_python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt")
    installed = run(*pip, *others)
    assert installed.returncode == 0, installed.stderr
    for modules in MODULES.values():
        code = f"import importlib; [importlib.import_module(m) for m in {modules!r}]"
        done = run(fresh_python, "-W", "error", "-c", code)
        assert done.returncode == 0, done.stderr


def test_every_version_of_python_is_stated_where_it_is_looked_for() -> None:
    script = (ROOT / ".ci" / "python").read_text("utf-8")
    versions = re.findall(r"3\.\d+", script.partition("versions=(")[2].partition(")")[0])
    assert len(versions) >= 2
    for folder in DISTRIBUTIONS.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        prefix = "Programming Language :: Python :: 3."
        stated = [line.rpartition(" ")[2] for line in project["classifiers"] if line.startswith(prefix)]
        assert stated == versions, folder
        assert project["requires-python"] == f">={versions[0]}", folder


def test_every_requirement_has_a_lower_bound_that_the_lane_of_the_oldest_versions_holds() -> None:
    held = {Requirement(line).name: Requirement(line).specifier for line in floors()}
    for name in DISTRIBUTIONS:
        for requirement in requirements(name).values():
            (version,) = (part.version for part in held[requirement.name])
            assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("folder", ["langchain", "llama_index"])
def test_the_matrix_begins_at_the_declared_floor_of_the_framework(folder: str) -> None:
    lines = (ROOT / "integrations" / folder / "floor.txt").read_text("utf-8").splitlines()
    oldest = {each.name: each for each in map(Requirement, (line for line in lines if line[0] != "#"))}
    for requirement in declared(ROOT / "integrations" / folder):
        if requirement.name in oldest:
            (pin,) = oldest[requirement.name].specifier
            assert Version(pin.version) == Version(floor(requirement))
    assert {"langchain": "langchain-core", "llama_index": "llama-index-core"}[folder] in oldest
