"""Ray: reached, and its Data pipelines run so that the caller can be told how far they are, and stop them."""

from __future__ import annotations

import logging
import socket
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from tarsier_tools.config import environment, ray_address
from tarsier_tools.errors import BackendUnavailable, LibraryError, UsageError

TICK_S = 0.5
"""So often the caller is told how far the work is, and may stop it."""

CPUS = 0.5
"""Of each task and each actor: whole ones wait for each other for ever on a machine with one or two."""

_REACHED_S = 10.0
_MOST_BLOCKS = 10_000
_RETRIES = 3
"""Times that a piece of work is begun anew when its worker dies; more often it is its own fault."""


@dataclass(frozen=True)
class RayEngine:
    """How videos are taken in on Ray; see :meth:`~tarsier_tools.library.library.VideoLibrary.add`.

    Attributes:
        address: of a cluster, as ``ray.init`` takes it; ``"auto"`` is the one that this machine is part of.
            None: what RAY_ADDRESS says, or else a Ray of its own on this machine, which listens on loopback
            only and ends with the work. Where ``ray.init`` was called before, that connection is used.
        actors: most processes that describe at once, each with a model of its own; by default one for each
            GPU with a local model, else one for each two CPUs.
    """

    address: str | None = None
    actors: int | None = None

    def __post_init__(self) -> None:
        if self.actors is not None and self.actors < 1:
            raise UsageError(
                f"There cannot be {self.actors} actors.", hint="Give at least 1, or leave it away."
            )


class Cluster:
    """A Ray that is connected to."""

    def __init__(self, ray: Any, engine: RayEngine, *, gpu_model: bool) -> None:
        self._ray, self._engine = ray, engine
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self._on_gpu = gpu_model and gpus > 0
        self._actors = engine.actors or (gpus if self._on_gpu else max(1, cpus // 2))

    @property
    def on_gpu(self) -> bool:
        """Whether each actor that describes has a GPU of its own."""
        return self._on_gpu

    def dataset(self, items: Sequence[object]) -> Any:
        """A Ray dataset with a row for each item, each in a block of its own as long as they are not many."""
        from ray.data import from_items

        return from_items(
            [{"item": each} for each in items], override_num_blocks=min(len(items), _MOST_BLOCKS)
        )

    def on_actors(
        self,
        dataset: Any,
        function: type,
        arguments: Mapping[str, object],
        *,
        together: int = 1,
        threads: int = 1,
        gpu: bool = False,
    ) -> Any:
        """The dataset with its rows given to actors, of a pool as large as there is work.

        Args:
            function: called with a batch of rows, in an actor that has made it with ``arguments``.
            together: rows of a batch, at most.
            threads: batches that an actor works on at once.
            gpu: each has a GPU of its own, where there are any.
        """
        from ray.data import ActorPoolStrategy

        # A block is given to one actor, and what is planned for one video is one block.
        dataset = dataset.repartition(target_num_rows_per_block=together)
        pool = ActorPoolStrategy(
            min_size=1,
            max_size=self._actors,
            max_concurrent_calls_per_actor=threads,
            enable_true_multi_threading=threads > 1,
        )
        with warnings.catch_warnings():  # by default what kills its actor is begun anew for ever
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            return dataset.map_batches(
                function,
                fn_constructor_kwargs=dict(arguments),
                batch_size=together,
                compute=pool,
                num_cpus=CPUS,
                num_gpus=1 if gpu and self._on_gpu else 0,
                max_restarts=-1,
                max_task_retries=_RETRIES,
            )

    def rows(self, dataset: Any, tick: Callable[[], None]) -> Iterator[Any]:
        """The items of a dataset as they come, in no order; those whose workers died too often are left out.

        Args:
            tick: called again and again while nothing comes; may raise, which stops the work.
        """
        came: SimpleQueue[Any] = SimpleQueue()
        stopped = threading.Event()

        def pump() -> None:
            end: object = _END
            try:
                for row in dataset.iter_rows():
                    came.put(row["item"])
                    if stopped.is_set():
                        return
            except Exception as error:  # noqa: BLE001  # raised again in the thread that waits
                end = _Broken(error)
            came.put(end)

        thread = threading.Thread(target=pump, name="ray rows", daemon=True)
        thread.start()
        try:
            while True:
                tick()
                try:
                    item = came.get(timeout=TICK_S)
                except Empty:
                    continue
                if item is _END:
                    return
                if isinstance(item, _Broken):
                    raise item.error
                yield item
        finally:
            stopped.set()

    def task(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that runs on the cluster: a call gives a reference."""
        remote = self._ray.remote(num_cpus=CPUS, max_retries=_RETRIES)(function)
        return remote.remote  # type: ignore[no-any-return]

    def spread(self, function: Callable[..., Any]) -> Callable[[Sequence[tuple[Any, ...]]], list[Any]]:
        """The function for many calls at once, each a task. May be given to workers, and wait in them."""
        return partial(_gathered, self._ray.remote(num_cpus=CPUS, max_retries=_RETRIES)(function))

    def finished(self, references: Sequence[Any], timeout_s: float) -> list[Any]:
        """Those of the tasks that have ended; when none has, the next one that does within this time."""
        ended: list[Any] = []
        if references:
            ended, _ = self._ray.wait(list(references), num_returns=len(references), timeout=0)
        if references and not ended and timeout_s:
            ended, _ = self._ray.wait(list(references), timeout=timeout_s)
        return ended

    def result(self, reference: Any, *, or_else: object) -> Any:
        """What a task has returned, or what stands for it when its workers died too often."""
        from ray.exceptions import RayError, RayTaskError

        try:
            return self._ray.get(reference)
        except RayTaskError:  # a fault of the program
            raise
        except RayError:
            return or_else


def _gathered(remote: Any, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    import ray

    return list(ray.get([remote.remote(*call) for call in calls]))  # gives its CPU back while it waits


_END = object()


@dataclass(frozen=True, slots=True)
class _Broken:
    error: Exception


@contextmanager
def connected(engine: RayEngine, *, gpu_model: bool) -> Generator[Cluster]:
    """Ray in the block; what was begun for it is ended after it, and with that the work that is left.

    Raises BackendUnavailable when Ray is not installed; LibraryError when it cannot be reached, and when the
    job fails in the block.
    """
    address = engine.address or ray_address() or "local"
    # Ray reads these when it is first imported. Else what is still running when work is stopped would begin a
    # Ray anew, and one on Linux listens on all interfaces.
    variables = {"RAY_ENABLE_AUTO_CONNECT": "0"}
    if address == "local":
        variables["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    with environment(**variables):
        ray = _import()
    from ray.data import DataContext
    from ray.exceptions import RayError

    mine = not ray.is_initialized()
    if mine:
        _connect(ray, address)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        with DataContext.current(context):
            yield Cluster(ray, engine, gpu_model=gpu_model)
    except RayError as error:
        raise LibraryError(
            f"The work on Ray failed: {_first_line(error)}",
            hint="Ray's logs say more. What is done is kept: the same call goes on.",
        ) from error
    finally:
        if mine:
            ray.shutdown()


def _import() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendUnavailable(
            f"Ray cannot be loaded ({error}).", hint='Type: pip install "tarsier-tools[ray]"'
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    how: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == "local":
        how["include_dashboard"] = False
    try:
        host, _, port = address.rpartition(":")
        if port.isdecimal() and "://" not in address:  # Ray itself waits for minutes where nobody listens
            socket.create_connection((host.strip("[]"), int(port)), _REACHED_S).close()
        with warnings.catch_warnings():  # of a library in LanceDB: what Ray forks becomes another program
            warnings.filterwarnings("ignore", "lancedb fork support")
            ray.init(address, **how)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise LibraryError(
            f"Ray cannot be reached at {address}: {_first_line(error)}",
            hint="Check the address, and that Python and Ray are the same here and there.",
        ) from error


def _first_line(error: BaseException) -> str:
    """Of Ray's errors, which may be pages long, what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:500]
