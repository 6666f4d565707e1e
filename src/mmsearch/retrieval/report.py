"""What an indexing run is told, and what it tells."""

from dataclasses import dataclass, field
from pathlib import Path

from mmsearch.errors import ConfigError
from mmsearch.index.fusing import checked_weight
from mmsearch.index.rows import Failure
from mmsearch.retrieval.captions import Problem
from mmsearch.retrieval.decode import DEFAULT_LIMITS, Limits
from mmsearch.retrieval.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How to index.

    `exclude`: globs of names or of paths below the root. `hidden`: names that begin with a
    dot, too. `reindex`: encode the whole library with this model when it holds another one's
    vectors. `retry_failed`: try files again that failed and have not changed. `workers`:
    decoding processes, None for one a core. `batch_size`: pictures that go through the network
    at once, None for what this machine likes best. `model`: the model as the user named it, for
    messages. `commit_seconds`: what a power cut may cost. `captions`: files and folders of
    captions to attach to the library's pictures afterwards. `fuse`: the weight with which
    captions are fused into their pictures' vectors from now on, 0 for not at all; None: as before.
    """

    exclude: tuple[str, ...] = ()
    hidden: bool = False
    reindex: bool = False
    retry_failed: bool = False
    workers: int | None = None
    batch_size: int | None = None
    commit_seconds: float = 2.0
    limits: Limits = DEFAULT_LIMITS
    model: str | None = None
    captions: tuple[Path, ...] = ()
    fuse: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, not {self.workers}")
        if self.fuse is not None:
            checked_weight(self.fuse)


@dataclass(slots=True)
class IngestReport:
    """What a run did, in items.

    `failed` counts every file that is not in the library because it cannot be read, those
    known from earlier runs included; `encoded` counts what went through the network; `offline`
    the items whose root was not there; `captioned` the pictures whose captions changed, `fused`
    those whose vector was fused with them, or is their own again; `described` those whose facts
    an older version had not read. `failures` and `problems` (lines of a file of sentences or
    captions) say what was left out and why. `interrupted`: stopped by Ctrl-C; what the counts
    say is kept. `timing`: where the time went, sentences left out.
    """

    new: int = 0
    changed: int = 0
    moved: int = 0
    gone: int = 0
    unchanged: int = 0
    failed: int = 0
    encoded: int = 0
    offline: int = 0
    captioned: int = 0
    fused: int = 0
    described: int = 0
    failures: list[Failure] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    offline_roots: list[Path] = field(default_factory=list)
    interrupted: bool = False
    timing: Timing = field(default_factory=Timing)

    def as_dict(self) -> dict[str, int]:
        """Return the counts, by the names of `index --json`."""
        return {
            "new": self.new,
            "changed": self.changed,
            "moved": self.moved,
            "gone": self.gone,
            "unchanged": self.unchanged,
            "failed": self.failed,
            "encoded": self.encoded,
            "offline": self.offline,
            "captioned": self.captioned,
            "fused": self.fused,
            "described": self.described,
        }

    def add_failure(self, failure: Failure) -> None:
        """Count and keep a file that cannot be read."""
        self.failed += 1
        self.failures.append(failure)

    def merge(self, other: "IngestReport") -> None:
        """Add what another run did."""
        for name, count in other.as_dict().items():
            setattr(self, name, getattr(self, name) + count)
        self.failures += other.failures
        self.problems += other.problems
        self.offline_roots += other.offline_roots
        self.interrupted = self.interrupted or other.interrupted
        self.timing.merge(other.timing)
