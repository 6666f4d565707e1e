"""Pictures as features of a frozen backbone, or as pixels; each read once, kept on disk."""

import hashlib
import json
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mmsearch.core import Ids, Pixels, Preprocessing
from mmsearch.errors import DecodeError
from mmsearch.retrieval.decode import decode_bytes, read_bytes
from mmsearch.retrieval.encoder import normalise
from mmsearch.retrieval.vse.backbone import Backbone, weights_digest
from mmsearch.retrieval.vse.onnx_graph import Signature, run_graph, write_graph
from mmsearch.retrieval.vse.row_cache import Entry, RowCache, Stamp
from mmsearch.retrieval.vse.threads import available_cores
from mmsearch.retrieval.vse.views import View, cut

CACHE_FORMAT: Final = 1
CHUNK: Final = 16
WORTH_A_GRAPH: Final = 128
GRAPH_TOLERANCE: Final = 1e-3

OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with how many pictures are done, and how many there are."""

Compute: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Maps pictures (b, h, w, 3) to rows (b, ...); called from several threads at once."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class PictureRows:
    """One row a picture that could be read, in the order asked for.

    `store` holds the rows of the whole cache, memory-mapped, `rows` (n,) int64 says which;
    `digests` are the pictures' hex SHA-256. `failed` maps the other paths to a reason;
    `computed` pictures were decoded in this call.
    """

    store: NDArray[Any]
    rows: Ids
    digests: tuple[str, ...]
    failed: Mapping[Path, str]
    computed: int
    warnings: tuple[str, ...]

    @property
    def array(self) -> NDArray[Any]:
        """The rows (n, ...): a view where they lie side by side on disk, else a copy."""
        if len(self.rows) and np.array_equal(
            self.rows, np.arange(self.rows[0], self.rows[0] + len(self.rows))
        ):
            return self.store[self.rows[0] : self.rows[0] + len(self.rows)]
        return self.store[self.rows]


@dataclass(frozen=True, slots=True)
class Features(PictureRows):
    """Pooled features: `array` is (n, dim) float32, in memory."""

    @property
    def array(self) -> NDArray[np.float32]:
        """The features, (n, dim) float32, a copy."""
        return np.array(self.store[self.rows], np.float32)


def extract_features(  # noqa: PLR0913 - the last three are options
    backbone: Backbone,
    paths: Sequence[Path],
    cache: Path,
    *,
    view: View | None = None,
    threads: int = 0,
    on_progress: OnProgress | None = None,
) -> Features:
    """Return the backbone's feature of each picture, computing those not cached under `cache`.

    `view` asks for a random cut of each picture instead of the whole. The cache is keyed by
    weights, preprocessing, view and each picture's content. `threads` 0 is one a
    core. A path given twice has two rows; a picture that cannot be read has none and stands in
    `failed`. What is done when the process dies is not done again.
    """
    preprocessing = backbone.preprocessing
    key = _key("features", preprocessing, weights_digest(backbone), view)
    job = _Job(preprocessing, threads or available_cores(), on_progress)

    def compute(count: int) -> Compute:
        forward = _forward(backbone, count)
        if view is None:
            return forward
        return lambda pixels: forward(cut(pixels, view, preprocessing))

    with RowCache(cache, key, (backbone.dim,), np.float32) as store:
        found = job.fill(store, paths, compute)
    return Features(*found)


def load_pixels(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    cache: Path,
    *,
    threads: int = 0,
    on_progress: OnProgress | None = None,
) -> PictureRows:
    """Return each picture at the encoder's input size: `array` is (n, h, w, 3) uint8.

    Cached and reported as `extract_features` does; memory-mapped.
    """
    job = _Job(preprocessing, threads or available_cores(), on_progress)
    with RowCache(
        cache, _key("pixels", preprocessing), (*preprocessing.size, 3), np.uint8
    ) as store:
        found = job.fill(store, paths, lambda _: _as_they_are)
    return PictureRows(*found)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A file as read: its content's digest and, unless its row is cached, its pixels."""

    path: Path
    stamp: Stamp
    digest: str
    pixels: Pixels | None


@dataclass(slots=True)
class _Job:
    """One call: what is asked for, and what has come of it."""

    preprocessing: Preprocessing
    threads: int
    on_progress: OnProgress | None
    digests: dict[Path, str] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)
    computed: int = 0

    def fill(
        self, store: RowCache, paths: Sequence[Path], compute: Callable[[int], Compute]
    ) -> tuple[NDArray[Any], Ids, tuple[str, ...], Mapping[Path, str], int, tuple[str, ...]]:
        """Compute the missing rows; return the fields of PictureRows."""
        distinct = list(dict.fromkeys(paths))
        cached = store.rows()
        self._recognise(distinct, store, cached)
        todo = [path for path in distinct if path not in self.digests]
        self._tell(len(distinct))
        if todo:
            self._work(todo, store, cached.keys(), compute(len(todo)), len(distinct))
        rows = store.rows() if todo else cached
        digests = tuple(self.digests[path] for path in paths if path in self.digests)
        numbers = np.array([rows[digest] for digest in digests], np.int64)
        return store.array(), numbers, digests, self.failed, self.computed, tuple(store.warnings)

    def _recognise(self, paths: Sequence[Path], store: RowCache, cached: Mapping[str, int]) -> None:
        """Take files whose stamp is that of a cached row without opening them."""
        known = store.known_files()
        for path in paths:
            stamp, digest = known.get(os.fsencode(path.absolute()), (None, ""))
            if stamp is not None and digest in cached and stamp == _stamp(path):
                self.digests[path] = digest

    def _work(
        self,
        todo: Sequence[Path],
        store: RowCache,
        cached: Set[str],
        compute: Compute,
        total: int,
    ) -> None:
        def task(chunk: Sequence[Path]) -> tuple[list[Entry], dict[Path, str]]:
            return _process(chunk, cached, self.preprocessing, compute)

        chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
        for entries, failed in _in_order(task, chunks, self.threads):
            store.add(replace(entry, path=entry.path.absolute()) for entry in entries)
            self.digests.update({entry.path: entry.digest for entry in entries})
            self.failed.update(failed)
            self.computed += sum(entry.row is not None for entry in entries)
            self._tell(total)

    def _tell(self, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(len(self.digests) + len(self.failed), total)


def _in_order(
    task: Callable[[Sequence[Path]], _Result], chunks: Sequence[Sequence[Path]], threads: int
) -> Iterator[_Result]:
    """Run chunks on threads and yield results in order; a few are in flight at a time."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    flying: deque[Future[_Result]] = deque()
    try:
        for chunk in chunks:
            flying.append(pool.submit(task, chunk))
            if len(flying) > 2 * threads:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _process(
    chunk: Sequence[Path], cached: Set[str], preprocessing: Preprocessing, compute: Compute
) -> tuple[list[Entry], dict[Path, str]]:
    pictures, failed = [], {}
    for path in chunk:
        try:
            pictures.append(_read(path, cached, preprocessing))
        except DecodeError as error:
            failed[path] = error.reason
    decoded = [picture.pixels for picture in pictures if picture.pixels is not None]
    computed = iter(compute(np.stack(decoded)) if decoded else ())
    entries = [
        Entry(
            picture.path,
            picture.stamp,
            picture.digest,
            None if picture.pixels is None else next(computed),
        )
        for picture in pictures
    ]
    return entries, failed


def _read(path: Path, cached: Set[str], preprocessing: Preprocessing) -> _Picture:
    stamp = _stamp(path)
    data = read_bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    pixels = None if digest in cached else decode_bytes(data, preprocessing, suffix=path.suffix)
    return _Picture(path, stamp or Stamp(len(data), 0), digest, pixels)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return Stamp(found.st_size, found.st_mtime_ns)


def _key(
    kind: str, preprocessing: Preprocessing, weights: str = "", view: View | None = None
) -> str:
    parts = [CACHE_FORMAT, kind, weights, asdict(preprocessing)]
    if view is not None:
        parts.append([view.number, view.mirrored])
    text = json.dumps(parts)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _as_they_are(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    return pixels


def _forward(backbone: Backbone, count: int) -> Compute:
    """Return the backbone as a function of pictures.

    On a CPU ONNX Runtime is three times as fast as torch, which repays the tracing when there
    are many pictures and the graph agrees with torch.
    """
    on_cpu = all(parameter.device.type == "cpu" for parameter in backbone.parameters())
    graph = _graph(backbone) if on_cpu and count >= WORTH_A_GRAPH else None
    if graph is None:
        return _torch_forward(backbone)
    run, preprocessing = graph, backbone.preprocessing
    return lambda pixels: run(pixels=normalise(pixels, preprocessing))


def _torch_forward(backbone: Backbone) -> Compute:
    backbone.eval()
    device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
    one_at_a_time = threading.Lock()

    def forward(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        inputs = torch.from_numpy(normalise(pixels, backbone.preprocessing)).to(
            device, memory_format=torch.channels_last
        )
        with one_at_a_time, torch.inference_mode():
            features: NDArray[np.float32] = backbone(inputs).cpu().numpy()
        return features

    return forward


def _graph(backbone: Backbone) -> Callable[..., NDArray[np.float32]] | None:
    """Return the backbone in ONNX Runtime, or None when it cannot be had or differs."""
    probe = torch.rand(2, 3, *backbone.preprocessing.size, generator=torch.Generator())
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "backbone.onnx"
            write_graph(backbone, [probe], Signature({"pixels": {0: "batch"}}, "features"), path)
            run = run_graph(path, threads=1)
    except (RuntimeError, ValueError, TypeError):
        return None
    with torch.inference_mode():
        expected = backbone.eval()(probe).numpy()
    difference = np.abs(run(pixels=probe.numpy()) - expected).max()
    return run if difference <= GRAPH_TOLERANCE * np.abs(expected).max() else None
