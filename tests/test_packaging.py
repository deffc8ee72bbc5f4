"""What is shipped: equal versions, wheels that hold what they should, and that work when installed alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import tarsier_tools

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
    """A new environment with tarsier-tools from its wheel and nothing else that it does not ask for."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = run(
        python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheels["tarsier-tools"]
    )
    if done.returncode != 0:
        pytest.skip(f"pip cannot install the dependencies here: {done.stderr.strip().splitlines()[-1]}")
    return python


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


@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name != "tarsier-tools"])
def test_each_other_wheel_imports_beside_the_main_one_alone(
    name: str, fresh_python: Path, wheels: dict[str, Path], tmp_path: Path
) -> None:
    venv.create(tmp_path, with_pip=False)
    python = tmp_path / fresh_python.parent.name / fresh_python.name
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    # What the main wheel brought is there already; everything else that the package asks for comes on top.
    (Path(run(python, "-c", where).stdout.strip()) / "main.pth").write_text(
        run(fresh_python, "-c", where).stdout
    )
    wheel, constraints = wheels[name], ROOT / "constraints.txt"
    pip = (fresh_python, "-m", "pip", "--python", python)
    installed = run(*pip, "install", "--quiet", "-c", constraints, wheel)
    assert installed.returncode == 0, installed.stderr
    code = f"import importlib; [importlib.import_module(m) for m in {MODULES[name]!r}]"
    done = run(python, "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
