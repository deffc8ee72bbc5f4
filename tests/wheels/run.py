"""Install the four wheels without constraints.txt and use them, with the newest or the oldest dependencies.

    python tests/wheels/run.py newest|floor INTERPRETER [--quick]

INTERPRETER makes the environment. --quick leaves the extras out, torch above all (some GB): the bundled model
then answers from a server, which runs here. Needs the development environment.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "wheels"), str(ROOT / "tests")]

from floors import PROJECTS, floors  # noqa: E402

EXTRAS = {
    "tarsier_tools": "local,decord,plot,shots,embed,parquet,lance,ray,web",
    "tarsier_mcp": "local",
    "langchain_tarsier": "chat,embed,local",
    "llama_index_tools_tarsier": "local",
}


def run(*command: str | Path, **environment: str) -> None:
    """Run a command outside of the source tree, without our settings. Raise CalledProcessError."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TARSIER_", "PYTHON"))}
    subprocess.run([*map(str, command)], cwd=tempfile.gettempdir(), env=clean | environment, check=True)


def install(python: Path, folder: Path, *, quick: bool, floor: bool) -> None:
    """Build the wheels, and install them as pip does for anybody, with all extras unless ``quick``."""
    for project in PROJECTS:
        build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
        subprocess.run([*map(str, build), str(ROOT / project)], check=True, stdout=subprocess.DEVNULL)
    wheels = [(wheel, EXTRAS[wheel.name.split("-")[0]]) for wheel in sorted(folder.glob("*.whl"))]
    wanted = [str(wheel) if quick else f"{wheel}[{extras}]" for wheel, extras in wheels]
    held = folder / "floors.txt"
    held.write_text("\n".join(floors() if floor else ()), "utf-8")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--constraint", held, *wanted)
    run(python, "-m", "pip", "--disable-pip-version-check", "check")


@contextlib.contextmanager
def bundled_server() -> Iterator[dict[str, str]]:
    """Serve the bundled model; yield the settings that lead there."""
    from openai_server import MAX_PIXELS, NAME, serving

    with serving() as server:
        yield {
            "TARSIER_BASE_URL": server.url,
            "TARSIER_MODEL": NAME,
            "TARSIER_SERVER_MAX_PIXELS": str(MAX_PIXELS),
        }


def main() -> None:
    """Run the lane; raise CalledProcessError where something fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lane", choices=["newest", "floor"])
    parser.add_argument("interpreter")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:  # several GB, too much for many a /tmp
        folder = Path(name)
        run(given.interpreter, "-m", "venv", folder / "venv")
        python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        install(python, folder, quick=given.quick, floor=given.lane == "floor")
        with bundled_server() if given.quick else contextlib.nullcontext({}) as settings:
            check = (python, "-I", ROOT / "tests" / "wheels" / "check.py")
            run(*check, *([] if given.quick else ["--extras"]), XDG_CACHE_HOME=str(folder), **settings)


if __name__ == "__main__":
    main()
