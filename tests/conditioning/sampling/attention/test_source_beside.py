"""Prompt-to-prompt, MasaCtrl and Plug-and-Play: the source beside the target, and what is taken from it."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from backbones.attention_sites import Site
from conditioning.compose import compose
from conditioning.inputs import Box
from conditioning.sampling.attention.lockstep import Pair, Record, Source, Twice, lockstep, middle
from conditioning.sampling.attention.masactrl import Mutual
from conditioning.sampling.attention.plug_and_play import Layout
from conditioning.sampling.attention.prompt_to_prompt import Prompted, mask, weighted
from samplers import SAMPLERS
from samplers.flow import Done, Driver, FlowFailed, Noise, Step, drive, run
from samplers.schedules import native
from tests.support.oracle import KINDS
from tests.support.short_runs import PROMPT, flow

OTHER = "a blue cube on grass"
METHODS = ["prompt_to_prompt", "masactrl", "plug_and_play"]
FULL = {  # the source's for the whole run
    "prompt_to_prompt": {"cross": 1.0, "keep": 1.0},
    "masactrl": {"start": 0.0, "layer": 0.0},
    "plug_and_play": {"features": 1.0, "keep": 1.0},
}
OFF = {
    "prompt_to_prompt": {"cross": 0.0, "keep": 0.0},
    "masactrl": {"start": 1.0},
    "plug_and_play": {"features": 0.0, "keep": 0.0},
}
GUIDED = ("cfg", {"scale": 3.0})


def edited(
    b, method, source=PROMPT, prompt=OTHER, seeds=(1,), sampler="euler", also=(GUIDED,), answer=None, steps=4, **knobs
):
    given = {"source_prompt": b.encode_prompt([source] * len(seeds)), **knobs}
    return run(flow(b, [*also, (method, given)], seeds, sampler, steps, prompt), answer or b.denoise)


def plain(b, prompt=OTHER, seeds=(1,), sampler="euler", also=(GUIDED,), answer=None, steps=4):
    return run(flow(b, [*also], seeds, sampler, steps, prompt), answer or b.denoise)


def near(a, b, part=1e-4):
    return (a - b).abs().max() < part * b.abs().max()


# ---- with the network ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_the_same_prompt_gives_the_source(tiny_net, method, sampler):
    """And so source and target go through the sampler with the same noise."""
    also = () if method == "plug_and_play" else (GUIDED,)  # it gives the source's also to the negative prompt
    got = edited(tiny_net, method, prompt=PROMPT, sampler=sampler, also=also, **FULL[method])
    assert near(got, plain(tiny_net, PROMPT, sampler=sampler, also=also))


@pytest.mark.parametrize("method", METHODS)
def test_it_acts_and_switched_off_it_is_not_there(tiny_net, method):
    without = plain(tiny_net)
    assert torch.equal(edited(tiny_net, method, **OFF[method]), without)
    assert not near(edited(tiny_net, method, **FULL[method]), without, 1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_source_goes_as_it_goes_alone(tiny_net, method):
    """Its states are those of a plain run of its prompt, step by step."""
    b, states = tiny_net, []
    text = b.encode_prompt([PROMPT])["text"]

    def noting(one):
        if torch.equal(one.cond["text"][:1], text):
            states.append((one.sigma[0].item(), one.x[:1]))
        return b.denoise(one)

    plain(b, PROMPT, answer=noting)
    edited(b, method, answer=noting, **FULL[method])
    assert len(states) == 8
    for (a, x), (c, y) in zip(states[:4], states[4:]):
        assert a == c and near(y, x)


@pytest.mark.parametrize("method, calls, rows", [
    ("prompt_to_prompt", 3 * 3 + 1, 3 * 4 + 2),  # guided: source and target for the prompt, both negative ones in one
    ("masactrl", 1 + 3 * 4, 4 + 3 * 4), ("plug_and_play", 3 * 4 + 1, 3 * 4 + 2),
])  # fmt: skip
def test_the_source_is_asked_while_it_is_looked_at(tiny_net, method, calls, rows):
    until = {"prompt_to_prompt": {"cross": 0.75}, "masactrl": {"start": 0.25}, "plug_and_play": {"features": 0.75}}
    knobs = until[method]
    driver = Driver(tiny_net.denoise)
    driver.add(0, flow(tiny_net, [GUIDED, (method, {"source_prompt": tiny_net.encode_prompt([PROMPT]), **knobs})]))
    while len(driver):
        driver.round()
    assert (driver.nfe, driver.rows) == (calls, rows)


def test_what_few_look_at_stays_the_source(tiny_net):
    """With the highest threshold the mask is empty; with none it is everywhere."""
    knobs = {"cross": 0.5, "keep": 0.5, "only": "sphere, cube", "start": 0.0}
    got = edited(tiny_net, "prompt_to_prompt", threshold=1.0, **knobs)
    assert near(got, plain(tiny_net, PROMPT))
    everywhere = edited(tiny_net, "prompt_to_prompt", threshold=0.0, **knobs)
    assert near(everywhere, edited(tiny_net, "prompt_to_prompt", cross=0.5, keep=0.5), 1e-5)
    later = edited(tiny_net, "prompt_to_prompt", threshold=1.0, **knobs | {"start": 1.0})
    assert torch.equal(later, everywhere)


def test_weights_of_one_change_nothing_and_others_do(tiny_net):
    base = edited(tiny_net, "prompt_to_prompt")
    assert torch.equal(edited(tiny_net, "prompt_to_prompt", weights="blue:1, grass:1"), base)
    more = edited(tiny_net, "prompt_to_prompt", weights="blue:4")
    assert not near(more, base, 1e-3)


def test_every_row_has_its_own_words(tiny_net):
    """Images of different prompts in one run are those of runs of their own."""
    b = tiny_net
    sigmas, sampler = native(3, b.sigmas), SAMPLERS["euler"]
    sources, prompts = [PROMPT, "a cube on grass"], ["a blue cube on grass", "a large red cube on grass"]

    def made(rows):
        knobs = {"source_prompt": b.encode_prompt([sources[i] for i in rows]), "only": "cube", "weights": "cube:2"}
        D, solver, _ = compose([("prompt_to_prompt", knobs)], sampler, sigmas=sigmas, backbone=b)
        x = sigmas[0] * Noise(rows)(torch.empty(len(rows), 4, 16, 16))
        return run(solver(D, x, sigmas, b.encode_prompt([prompts[i] for i in rows]), Noise(rows)), b.denoise)

    both = made([0, 1])
    assert near(both[:1], made([0])) and near(both[1:], made([1]))


@pytest.mark.parametrize("also", [
    ("panorama", {"window": 8, "stride": 8}), ("composable", {"also": "large"}), ("perturbed_attention", {}),
    ("multidiffusion", {"regions": [Box(0, 0, 0.5, 1, "cube")]}),
])  # fmt: skip
@pytest.mark.parametrize("method", ["prompt_to_prompt", "masactrl"])
def test_it_lies_inside_of_blending_and_guidance(tiny_net, method, also):
    """Each of their asks for the target takes from the one for the source."""
    b, (name, knobs) = tiny_net, also
    stack = (GUIDED, (name, knobs | ({"also": b.encode_prompt(["large"])} if name == "composable" else {})))
    run = {"also": stack, "steps": 2}
    assert near(edited(b, method, prompt=PROMPT, **run, **FULL[method]), plain(b, PROMPT, **run), 1e-3)
    assert not near(edited(b, method, **run, **FULL[method]), plain(b, **run), 1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_it_lies_inside_of_corrections(tiny_net, method):
    known, painted = torch.full((1, 4, 16, 16), 0.3), torch.arange(16).lt(8).expand(1, 1, 16, 16)
    also = ("repaint", {"known": known, "mask": painted, "jump": 1, "times": 2})
    got = edited(tiny_net, method, also=(also,), **FULL[method])
    assert torch.equal(got[..., 8:], known[..., 8:]) and not near(got, plain(tiny_net, also=(also,)))


@pytest.mark.parametrize("method", METHODS)
def test_cancelled_it_leaves_nothing(tiny_net, method):
    b = tiny_net
    before = {name: id(one) for name, one in b.network.unet.attn_processors.items()}
    driver = Driver(b.denoise)
    driver.add(0, flow(b, [GUIDED, (method, {"source_prompt": b.encode_prompt([PROMPT])})]))
    while not any(isinstance(event, Step) for _, event in driver.round()):
        pass
    driver.cancel(0)
    assert not len(driver) and {name: id(one) for name, one in b.network.unet.attn_processors.items()} == before
    assert not any(module._forward_hooks for module in b.network.unet.modules())


@pytest.mark.parametrize("knobs, words", [
    ({"weights": "red"}, "'red' is no weight: give words of the prompt with numbers, such as red:2"),
    ({"weights": "green:2"}, "does not say 'green'"),
    ({"only": "green"}, "neither prompt says any of 'green'"),
])  # fmt: skip
def test_words_that_are_not_there(tiny_net, knobs, words):
    with pytest.raises(ValueError, match=words):
        edited(tiny_net, "prompt_to_prompt", **knobs)


def test_a_prompt_without_tokens(tiny_net):
    b = tiny_net
    bare = {"text": b.encode_prompt([PROMPT])["text"]}
    (event,) = [e for _, e in drive([flow(b, [("prompt_to_prompt", {"source_prompt": bare})])], b.denoise)]
    assert isinstance(event, FlowFailed) and "came without its tokens" in str(event.error)


# ---- the edits by themselves ---------------------------------------------------------------------------------


def at(kind, index=0, of=1, size=(4, 4)):
    return Site(f"{kind} {index}", kind, "up", index, of, *size, scale=0.5)


def qkv(N, M, seed):
    stream = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, n, 4, generator=stream) for n in (N, M, M)]


def recorded(*sites_and_qkv):
    record = Record()
    for site, (q, k, v) in sites_and_qkv:
        assert torch.equal(record.attend(site, q, k, v, plainly), plainly(q, k, v))
    return record


def plainly(q, k, v, bias=None):
    return scaled_dot_product_attention(q, k, v, bias, scale=0.5)


def test_words_go_where_the_source_s_words_went():
    site, there, here = at("cross"), qkv(16, 5, 1), qkv(16, 5, 2)
    T, own, c = torch.rand(2, 1, 5, 5), torch.rand(2, 1, 1, 5), torch.rand(2, 1, 1, 5)
    spot, look = torch.ones(2, 2, 5), {}
    edit = Prompted(recorded((site, there)), {"cross"}, T, own, c, spot, look)
    M, M_own = site.maps(*there[:2]), site.maps(*here[:2])
    expected = c * (M @ T + own * M_own)
    torch.testing.assert_close(edit.attend(site, *here, plainly), expected @ here[2])
    (seen,) = look[4, 4]
    torch.testing.assert_close(seen[0], torch.ones(2, 4, 4))  # all words: the whole of a map's row
    torch.testing.assert_close(seen[1], expected.mean(1).sum(-1).view(2, 4, 4))
    off = Prompted(recorded((site, there)), {"self"}, T, own, c, spot, {})
    assert torch.equal(off.attend(site, *here, plainly), plainly(*here))


def test_coarse_self_attention_is_the_source_s():
    sites = [at("self", 0, size=(32, 32)), at("self", 1, size=(16, 16)), at("self", 2, size=(8, 8))]
    made = [(site, qkv(site.height * site.width, site.height * site.width, i)) for i, site in enumerate(sites)]
    one = torch.ones(2, 1, 1, 1)
    edit = Prompted(recorded(*made), {"self"}, one, one, one, torch.ones(2, 2, 1), {})
    for site, (q, k, _) in made:
        mine = qkv(len(q[0, 0]), len(q[0, 0]), 9)
        expected = plainly(*mine) if site.height == 32 else plainly(q, k, mine[2])
        assert torch.equal(edit.attend(site, *mine, plainly), expected)
    assert middle(sites) == (16, 16) and middle([]) == (0, 0)


def test_keys_and_values_are_the_source_s_from_a_layer_on():
    sites = [at("self", i, 4) for i in range(4)]
    record = recorded(*((site, qkv(16, 16, i)) for i, site in enumerate(sites)))
    edit = Mutual(Pair(1.0, {}, None), "prompt", record, 0.5, 0.1, None)
    q, k, v = qkv(16, 16, 9)
    for i, site in enumerate(sites):
        expected = plainly(q, k, v) if i < 2 else plainly(q, *record.made[site.name][1:])
        assert torch.equal(edit.attend(site, q, k, v, plainly), expected)


def test_the_thing_looks_for_the_thing_and_the_rest_for_the_rest():
    cross, own = at("cross", 0, 2), at("self", 1, 2)
    pair = Pair(1.0, {}, None)
    record = recorded((cross, qkv(16, 5, 1)), (own, qkv(16, 16, 2)))
    spots = [torch.eye(5)[[2, 2]], torch.eye(5)[[3, 3]]]  # its word: the third of the source, the fourth of the target
    edit = Mutual(pair, "prompt", record, 0.0, 0.5, spots)
    pair.records, pair.edits = {"prompt": [record]}, {"prompt": [edit]}
    there, here = qkv(16, 5, 1), qkv(16, 5, 3)
    edit.attend(cross, *here, plainly)
    q, k, v = qkv(16, 16, 4)
    got = edit.attend(own, q, k, v, plainly)
    masks = []
    for (a, b, _), token in ((there, 2), (here, 3)):
        one = cross.maps(a, b).mean(1)[..., token]
        masks.append((one - one.amin(1, True)) / (one.amax(1, True) - one.amin(1, True)) >= 0.5)
    _, k_s, v_s = record.made[own.name]
    for row in range(2):
        keys, cells = masks[0][row], masks[1][row]
        assert 0 < keys.sum() < 16 and 0 < cells.sum() < 16
        for cell in range(16):
            side = keys if cells[cell] else ~keys
            alone = plainly(q[row, :, cell : cell + 1], k_s[row][:, side], v_s[row][:, side])
            torch.testing.assert_close(got[row, :, cell : cell + 1], alone)


def test_layout_is_taken_where_stable_diffusion_has_it():
    """Of 16 layers the last 8, without those of down and mid; of 22 blocks up_blocks[1].resnets[1], the 15th."""
    record = recorded(*((at("self", i, 16), qkv(16, 16, i)) for i in range(16)))
    blocks = [Site(f"block {i}", "feature", "up", i, 22, 4, 4) for i in range(22)]
    for i, block in enumerate(blocks):
        record.feature(block, torch.full((1,), float(i)))
    mine, both = qkv(16, 16, 99), Layout(record, {"self", "feature"})
    taken = []
    for i in range(16):
        q, k, _ = record.made[f"self {i}"]
        got = both.attend(at("self", i, 16), *mine, plainly)
        taken.append(torch.equal(got, plainly(q, k, mine[2])))
        assert taken[-1] or torch.equal(got, plainly(*mine))
    assert taken == [False] * 8 + [True] * 8
    here = torch.full((1,), -1.0)
    assert [i for i, block in enumerate(blocks) if both.feature(block, here) is not here] == [14]
    off = Layout(record, set())
    assert torch.equal(off.attend(at("self", 15, 16), *mine, plainly), plainly(*mine))
    assert off.feature(blocks[14], here) is here


def test_where_words_are_looked_at():
    look = torch.zeros(2, 1, 16, 16)
    look[0, 0, 2, 3], look[1, 0, 10, 10] = 1.0, 0.1
    looks = {3.0: {(16, 16): [look, look], (4, 4): [torch.ones(2, 1, 4, 4)]}, 1.0: {(16, 16): [look]}}
    got = mask(looks, torch.zeros(1, 4, 32, 32), 0.5)
    expected = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    expected[..., 2:8, 4:10] = expected[..., 18:24, 18:24] = True  # each of its own highest, spread by one cell
    assert torch.equal(got, expected)


def test_weights_are_read():
    assert weighted(" red:2, small cube:-0.5,") == {"red": 2.0, "small cube": -0.5} and weighted("") == {}


def test_noise_is_the_same_for_both():
    noise = Noise([1, 2])
    twice, once = Twice(Noise([1, 2])), torch.empty(2, 1, 2, 2)
    assert len(twice) == 4 and torch.equal(twice(torch.empty(4, 1, 2, 2)), torch.cat([noise(once)] * 2))
    both = torch.cat([noise.child("a")(once)] * 2)
    assert torch.equal(twice.child("a")(torch.empty(4, 1, 2, 2)), both)


def test_a_descent_finds_the_source_as_it_was():
    """Time travel begins in the middle of the schedule, and the source is there at the state that it had."""
    asked = []

    def D(x, sigma, cond, edit=None):
        asked.append((edit is not None, sigma, x))
        return x * 0
        yield

    sigmas = [4.0, 2.0, 1.0, 0.0]
    text = torch.zeros(1, 1, 1)
    sampler = lockstep(SAMPLERS["euler"], Source({"text": text}), {"prompt": "prompt"}, None, lambda _: True, -1.0)
    x = torch.full((1, 1, 1, 1), 8.0)
    results = [e for _, e in drive([sampler(D, x, sigmas, {"text": text + 1}, Noise([0]))], None)]
    assert [step.sigma for step in results[:-1]] == sigmas[1:] and isinstance(results[-1], Done)
    before = [one[2].item() for one in asked[::2]]
    run(sampler(D, x + 100, sigmas[1:], {"text": text + 1}, Noise([0])), None)
    again = asked[6::2]
    assert [one[2].item() for one in again] == before[1:] == [4.0, 2.0]
    run(sampler(D, x + 100, sigmas, {"text": text + 1}, Noise([0])), None)
    assert asked[10][2].item() == 108.0  # another run begins anew
