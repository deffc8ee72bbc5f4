"""The rules of the tests themselves, tried on small suites of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"


SUITE = {
    "test_one.py": "import pytest\n\ndef test_it():\n    pytest.skip('no tool')\n",
    "test_marked.py": "import pytest\n\n@pytest.mark.skipif(True, reason='no tool')\ndef test_it(): ...\n",
    "test_gpu.py": "import pytest\n\n@pytest.mark.gpu\ndef test_it():\n    pytest.skip('no accelerator')\n",
    "test_xfail.py": "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n",
    "test_settings.py": (
        "import os\nfrom tarsier_tools import Settings\n\n"
        "def test_it():\n"
        "    assert not [name for name in os.environ if name.startswith('TARSIER_')]\n"
        "    settings = Settings.load()\n"
        "    assert settings.frames == 16\n"
        "    assert 'pytest' in str(settings.cache_dir)\n"
    ),
}
SKIPS_ITSELF = "import pytest\n\npytest.skip('no tool', allow_module_level=True)\n"


def outcome(folder: Path, **variables: str) -> set[str]:
    """Run pytest on the suite beside a copy of our conftest; the files whose test did not pass or skip."""
    shutil.copy(CONFTEST, folder / "conftest.py")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TARSIER_", "PYTEST"))}
    options = ("-q", "-rfE", "-p", "no:cacheprovider", "--strict-markers", "--continue-on-collection-errors")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--basetemp={folder / 'pytest'}", str(folder)],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(CONFTEST.parent.parent)} | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    bad = set(re.findall(r"^(?:FAILED|ERROR) (test_\w+\.py)", done.stdout, re.MULTILINE))
    assert done.returncode == (1 if bad else 0), done.stdout + done.stderr
    for name in variables:
        assert not bad or not name.startswith("TARSIER_REQUIRE") or f"{name}=1 forbids" in done.stdout
    return bad


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name, code in SUITE.items():
        (tmp_path / name).write_text(code)
    (tmp_path / "test_module.py").write_text(SKIPS_ITSELF)
    return tmp_path


def test_skips_are_allowed_and_no_setting_of_the_caller_reaches_a_test(suite: Path) -> None:
    assert outcome(suite, TARSIER_FRAMES="3", TARSIER_CACHE_DIR="/nowhere") == set()


def test_every_skip_but_for_want_of_an_accelerator_fails_where_all_tools_were_promised(suite: Path) -> None:
    assert outcome(suite, TARSIER_REQUIRE_ALL="1") == {"test_one.py", "test_marked.py", "test_module.py"}


@pytest.mark.parametrize(
    "code",
    [
        "tempfile.mkdtemp()",
        "subprocess.run([sys.executable, '-c', 'import tempfile; tempfile.mkdtemp()'], check=True)",
    ],
)
def test_a_run_that_leaves_something_in_the_temporary_directory_fails(code: str, tmp_path: Path) -> None:
    (tmp_path / "test_left.py").write_text(
        f"import subprocess, sys, tempfile\n\ndef test_it():\n    {code}\n"
    )
    assert outcome(tmp_path) == {"test_left.py"}


def test_a_skip_for_want_of_an_accelerator_fails_where_one_was_promised(suite: Path) -> None:
    assert outcome(suite, TARSIER_REQUIRE_GPU="1") == {"test_gpu.py"}
