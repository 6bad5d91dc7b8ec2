"""What a network reads beside its own inputs, by the beginnings of the keys of a cond: adapters."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from backbones import lora_files
from backbones.engines import NetworkEngine, TorchEngine

KEPT = 6  # networks that read more keys than their own: each may be a copy in an engine of its own
Extension = Callable[[Any, tuple[str, ...]], Any]  # (network, keys of cond) -> the network that reads them as well
EnginesOf = Callable[[Any, str], tuple[NetworkEngine, TorchEngine]]  # (network, its hash) -> of plain asks, of others


class Extensions:
    """The networks that a network becomes with its adapters, each made when it is first asked; see
    `backbones.latent.LatentBackbone.extend`."""

    def __init__(self, network: Any, engines_of: EnginesOf, revision: str = ""):
        """network: called as a UNet is. revision: a hash of its checkpoint, under which converted networks are kept."""
        self.network, self.engines_of, self.revision = network, engines_of, revision
        self.plain = engines_of(network, revision)
        self._by_prefix: dict[str, Extension] = {}
        self._made: dict[tuple[str, ...], tuple[NetworkEngine, TorchEngine]] = {}  # by the keys they read

    def add(self, prefix: str, extension: Extension) -> None:
        """The same prefix again changes nothing."""
        self._by_prefix.setdefault(prefix, extension)

    def read(self, key: str) -> bool:
        """Whether an adapter reads this key of a cond."""
        return key.startswith((*self._by_prefix,))

    def of(self, cond: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What adapters read of a cond."""
        return {key: value for key, value in cond.items() if self.read(key)}

    def engines(self, keys: Iterable[str]) -> tuple[NetworkEngine, TorchEngine]:
        """Of plain asks, and of those with an edit or a tape: of the network that reads those of the keys that are
        adapters'."""
        wanted = tuple(sorted(key for key in keys if self.read(key)))
        if not wanted:
            return self.plain
        if wanted not in self._made:
            network = self.network
            for prefix, extension in sorted(self._by_prefix.items()):  # whichever was asked for first
                if mine := tuple(key for key in wanted if key.startswith(prefix)):
                    network = extension(network, mine)
            has_loras = any(key.startswith(lora_files.KEY) for key in wanted)  # too many to keep them on the disk
            self._made[wanted] = self.engines_of(network, "" if has_loras else f"{self.revision}-{network.key}")
        self._made[wanted] = found = self._made.pop(wanted)  # the last that was used
        while len(self._made) > KEPT:
            self._made.pop(next(iter(self._made)))
        return found
