"""How a tower of a model folder is loaded: which file, at which precision, by which provider."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from mmsearch.core import Modality
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.folder import (
    SMALL_FILE_BYTES,
    WEIGHTS_SUFFIX,
    ModelFolder,
    verify_file,
)
from mmsearch.retrieval.machine import BATCH_SIZES, Machine, Say, this_machine
from mmsearch.retrieval.processors import available_processors, sums_overflow
from mmsearch.retrieval.providers import (
    Provider,
    available_providers,
    choose_provider,
    forced_provider,
)
from mmsearch.retrieval.runtime import load_runtime
from mmsearch.retrieval.tower import Setting, Tower

MakeFeed = Callable[[Tower, int], Mapping[str, NDArray[Any]]]
"""Makes the inputs of a network for so many rows."""

_TRIAL_ROWS: Final = 4


class Precision(StrEnum):
    """Which networks an encoder runs: AUTO takes the 8-bit ones where the model keeps them."""

    AUTO = "auto"
    FP32 = "fp32"
    INT8 = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How an encoder is going to be used.

    `threads` None uses every processor that this process may run on; `lanes` is how many batches
    of pictures may be encoded at once, each with its share of them; `batch_size` bounds how many
    pictures or sentences go through a network at once. `verified` compares the checksums of
    large files, too, when a network is loaded, which takes a moment: worth it before much is
    encoded. `once`: for a single question, the quickest load and the least memory; a tower is
    let go of when it has answered. `precision` INT8 insists on 8-bit networks. `provider` AUTO
    is $MMSEARCH_PROVIDER, else the CPU for a single question, else the fastest that works,
    tried the first time; `say` takes a line for each one that was not taken.
    """

    threads: int | None = None
    lanes: int = 1
    batch_size: int = BATCH_SIZES[-1]
    verified: bool = False
    once: bool = False
    precision: Precision = Precision.AUTO
    provider: Provider = Provider.AUTO
    say: Say | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch size must be at least 1, not {self.batch_size}")
        if self.lanes < 1:
            raise ConfigError(f"lanes must be at least 1, not {self.lanes}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, not {self.threads}")


class TowerLoader:
    """Loads the networks of a model folder as a `Use` wants them."""

    def __init__(self, folder: ModelFolder, use: Use, machine: Machine | None = None) -> None:
        self._folder = folder
        self._use = use
        self._machine = machine
        threads = use.threads or available_processors()
        self._threads = {Modality.IMAGE: max(1, threads // use.lanes), Modality.TEXT: threads}

    def load(self, tower: Modality, feed: MakeFeed) -> Tower:
        """Return the network, run by the provider that was chosen.

        `feed` makes the inputs on which providers are compared. Raises ModelError when the file
        is damaged, ConfigError for a provider that is not available.
        """
        return self._network(tower, self._provider(tower, feed))

    def subject(self, tower: Modality, feed: MakeFeed) -> str:
        """Name what a measurement of the tower is a measurement of."""
        provider = self._provider(tower, feed)
        return f"{self._name(tower, provider)}:{provider.value}"

    def _provider(self, tower: Modality, feed: MakeFeed) -> Provider:
        available = available_providers()
        forced = forced_provider(self._use.provider, available)
        if forced is not None:
            return forced
        if self._use.once or available == [Provider.CPU]:
            return Provider.CPU  # the libraries of others take longer to load than a question
        machine = self._machine or this_machine()
        subject = f"{self._name(tower, Provider.CPU)}:{'+'.join(available)}"
        known = machine.recall(subject, "provider")
        if known in available:
            return Provider(str(known))
        return self._tried(tower, feed, available, (machine, subject))

    def _tried(
        self, tower: Modality, feed: MakeFeed, available: list[Provider], place: tuple[Machine, str]
    ) -> Provider:
        machine, subject = place
        cpu = self._network(tower, Provider.CPU)
        rows = feed(cpu, min(_TRIAL_ROWS, cpu.batch or _TRIAL_ROWS))

        def load(provider: Provider) -> Tower:
            return cpu if provider is Provider.CPU else self._network(tower, provider)

        choice = choose_provider(load, rows, available)
        machine.keep(subject, "provider", choice.provider.value)
        for remark in choice.remarks:
            if self._use.say is not None:
                self._use.say(remark)
        return choice.provider

    def _network(self, tower: Modality, provider: Provider) -> Tower:
        file = self._file(tower, provider)
        for name in (file.name, f"{file.name}{WEIGHTS_SUFFIX}"):
            if name in self._folder.files:
                below = None if self._use.verified else SMALL_FILE_BYTES
                verify_file(self._folder, name, below=below)
        setting = Setting(
            self._threads[tower],
            once=self._use.once,
            provider=provider,
            optimised=file.name in _strings(self._folder.optimised.get("files")),
        )
        output = {
            Modality.IMAGE: self._folder.image_output,
            Modality.TEXT: self._folder.text_output,
        }[tower]
        return Tower(file, self._folder.space.dim, setting, output)

    def _file(self, tower: Modality, provider: Provider) -> Path:
        """Return the network to run: the 8-bit one where it is there and wanted.

        Graphics processors have no fast kernels for graphs that were quantised for the CPU.
        """
        plain, int8 = {
            Modality.IMAGE: (self._folder.image_path, self._folder.image_int8_path),
            Modality.TEXT: (self._folder.text_path, self._folder.text_int8_path),
        }[tower]
        if plain is None:
            raise ModelError(f"the model {self._folder.name} has no {tower.value} network")
        match self._use.precision:
            case Precision.FP32:
                return plain
            case Precision.AUTO:
                fits = int8 is not None and provider is not Provider.CUDA
                return int8 if int8 and fits and not self._overflows(tower) else plain
            case Precision.INT8 if int8 is not None:
                return int8
        raise ModelError(
            f"the model {self._folder.name} has no 8-bit {plain.stem} network; "
            "use the precision auto"
        )

    def _overflows(self, tower: Modality) -> bool:
        """Return whether the 8-bit network gives something else here than where it was checked."""
        facts = self._folder.int8.get(tower.value)
        return isinstance(facts, Mapping) and facts.get("bits") == 8 and sums_overflow()

    def _name(self, tower: Modality, provider: Provider) -> str:
        """Name a network on this machine: its bytes, the runtime, the threads."""
        file = self._file(tower, provider)
        digest = self._folder.files[file.name].sha256[:16]
        return f"{file.name}:{digest}:{load_runtime().__version__}:{self._threads[tower]}"


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
