"""Random numbers: every seed is one, and who draws them is not noticed by others."""

import torch

from mergebench.seeds import derived, generator, seeded

CPU = torch.device("cpu")


def test_a_generator_is_torch_s_where_torch_takes_the_seed_and_there_is_one_for_every_other():
    for seed in (0, 7, 2**63, 2**64 - 1, -1):
        assert generator(seed).get_state().equal(torch.Generator().manual_seed(seed).get_state())
    assert generator(2**64 + 7).initial_seed() == 7


def test_seeds_are_derived_from_the_whole_key():
    keys = [(), ("a",), ("a", 0), ("a", 1), ("b", 0), (10**40,)]
    assert len({derived(*key) for key in keys}) == len(keys)
    assert all(0 <= derived(*key) < 2**63 for key in keys)
    assert derived("a", 1) == derived("a", 1)


def test_a_seed_decides_what_is_drawn_and_afterwards_it_is_as_if_nothing_had_been():
    before, drawn = torch.get_rng_state(), []
    for _ in range(2):
        with seeded(5, CPU):
            drawn.append(torch.rand(3))
        torch.rand(1)
        torch.set_rng_state(before)
    with seeded(6, CPU):
        drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        assert torch.equal(torch.rand(3), drawn[0])
