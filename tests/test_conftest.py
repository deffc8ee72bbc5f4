"""The rules of the tests themselves, tried on small suites of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"


def run_suite(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one test file beside a copy of our conftest."""
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_suite.py").write_text(code)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TARSIER_", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", str(folder)],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(CONFTEST.parent.parent)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SKIP_ONE = "import pytest\n\ndef test_it():\n    pytest.skip('no tool')\n"
SKIP_ALL = "import pytest\n\npytest.skip('no tool', allow_module_level=True)\n"
SKIP_MARKED = "import pytest\n\n@pytest.mark.skipif(True, reason='no tool')\ndef test_it(): ...\n"
SKIP_GPU = "import pytest\n\n@pytest.mark.gpu\ndef test_it():\n    pytest.skip('no accelerator')\n"
XFAIL = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"


@pytest.mark.parametrize("code", [SKIP_ONE, SKIP_ALL, SKIP_MARKED])
def test_a_skip_is_a_failure_only_where_all_tools_were_promised(tmp_path: Path, code: str) -> None:
    assert run_suite(tmp_path, code).returncode in (0, 5)
    strict = run_suite(tmp_path, code, TARSIER_REQUIRE_ALL="1")
    assert strict.returncode in (1, 2)
    assert "TARSIER_REQUIRE_ALL=1 forbids" in strict.stdout


def test_an_accelerator_is_promised_apart(tmp_path: Path) -> None:
    assert run_suite(tmp_path, SKIP_GPU, TARSIER_REQUIRE_ALL="1").returncode == 0
    assert "TARSIER_REQUIRE_GPU=1 forbids" in run_suite(tmp_path, SKIP_GPU, TARSIER_REQUIRE_GPU="1").stdout


def test_a_failure_that_is_expected_is_not_taken_for_a_skip(tmp_path: Path) -> None:
    assert run_suite(tmp_path, XFAIL, TARSIER_REQUIRE_ALL="1").returncode == 0


def test_no_setting_of_the_caller_reaches_a_test(tmp_path: Path) -> None:
    code = (
        "import os\nfrom tarsier_tools import Settings\n\n"
        "def test_it():\n"
        "    assert not [name for name in os.environ if name.startswith('TARSIER_')]\n"
        "    settings = Settings.load()\n"
        "    assert settings.frames == 16\n"
        "    assert 'pytest' in str(settings.cache_dir)\n"
    )
    done = run_suite(tmp_path, code, TARSIER_FRAMES="3", TARSIER_CACHE_DIR="/nowhere")
    assert done.returncode == 0, done.stdout
