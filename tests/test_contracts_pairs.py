"""Both act: the image of two methods that the registry allows together is neither the one's nor the other's.

Every pair, on the exact oracle; those that read or edit attention on a tiny random UNet; ControlNet's stand in
conditioning/network/test_controlnet.py. A method that replaces the steps, or an interval without a step, would leave
the other one out in silence: that is what this is here to find. What so short a run on so small an image needs for it
is said, with the reason, in SETTINGS of test_contracts.py and HARD of test_contracts_network.py.
"""

from functools import lru_cache
from itertools import combinations

import pytest
import torch

from conditioning.clashes import clash
from conditioning.registry import METHODS
from samplers.flow import run
from tests import test_contracts_network as network
from tests.support import exact_runs as oracle

ORACLE_PAIRS = [pair for pair in combinations(oracle.RUNNABLE, 2) if not clash(*(METHODS[name] for name in pair))]
NETWORK_PAIRS = [
    (a, b)
    for a in network.NETWORK
    for b in network.OTHERS
    if a != b and (b not in network.NETWORK or a < b) and not clash(METHODS[a], METHODS[b])
]


@lru_cache
def on_oracle(methods: tuple[str, ...]) -> torch.Tensor:
    return run(oracle.flow(("euler", methods), [1]), oracle.ORACLE.denoise)


@lru_cache
def on_network(methods: tuple[str, ...]) -> torch.Tensor:
    return run(network.flow(methods, [1]), network.network().denoise)


@pytest.mark.parametrize("pair", ORACLE_PAIRS, ids="+".join)
def test_both_act_on_the_oracle(pair):
    both = on_oracle(pair)
    idle = [one for one, other in zip(pair, pair[::-1]) if torch.equal(both, on_oracle((other,)))]
    assert both.isfinite().all() and not idle, f"{idle} do nothing in {pair}"


@pytest.mark.parametrize("pair", NETWORK_PAIRS, ids="+".join)
def test_both_act_on_a_network(pair):
    both = on_network(pair)
    idle = [one for one, other in zip(pair, pair[::-1]) if torch.equal(both, on_network((other,)))]
    assert both.isfinite().all() and not idle, f"{idle} do nothing in {pair}"


def test_pairs_are_left_out_only_where_the_registry_refuses_them():
    """So a method without examples, or one that clashes with everything, is seen here."""
    assert len(ORACLE_PAIRS) + len(NETWORK_PAIRS) > 300
    in_pairs = {name for pair in [*ORACLE_PAIRS, *NETWORK_PAIRS] for name in pair}
    assert in_pairs == {name for name, one in METHODS.items() if one.family.stage != "network"}
