"""The pretended device refuses what a GPU refuses, counts what the host is handed, and computes what the CPU does."""

import copy

import pytest
import torch
from fake_device import DeviceTensor, fake_device
from torch import nn
from torch.func import vjp, vmap


@pytest.fixture
def there():
    with fake_device() as device:
        yield device


def kinds(device):
    return sorted(crossing.kind for crossing in device.crossings.elements())


MIXED = {
    "sum": lambda ours, theirs: ours + theirs,
    "sum, the other way round": lambda ours, theirs: theirs + ours,
    "product of matrices": lambda ours, theirs: theirs @ ours,
    "side by side": lambda ours, theirs: torch.cat([ours, theirs]),
    "single numbers side by side": lambda ours, theirs: torch.stack([ours.sum(), theirs.sum()]),
    "in place, of the CPU's": lambda ours, theirs: theirs.add_(ours),
    "in place, of a single number of the CPU's": lambda ours, theirs: theirs.sum().add_(ours.sum()),
    "into a tensor of the CPU's": lambda ours, theirs: torch.add(ours, 1, out=theirs),
    "choice": lambda ours, theirs: torch.where(ours > 0, ours, theirs),
    "the CPU's, by indices of the device's": lambda ours, theirs: theirs[ours.argmax(0)],
    "a layer's weights": lambda ours, theirs: nn.Linear(3, 2)(ours),
    "without gradients": lambda ours, theirs: torch.inference_mode()(lambda: ours @ theirs)(),
}


@pytest.mark.parametrize("mixed", MIXED)
def test_tensors_of_two_devices_in_one_operation_are_refused(there, mixed):
    ours, theirs = torch.ones(3, 3, device=there.device), torch.ones(3, 3)
    with pytest.raises(RuntimeError, match="tensors of two devices, pretended:0 and cpu"):
        MIXED[mixed](ours, theirs)


READ = {
    "item": (lambda ours: ours.sum().item(), "number"),
    "bool": (lambda ours: bool(ours.sum() > 0), "number"),
    "float": (lambda ours: float(ours[0]), "number"),
    "if": (lambda ours: 1 if ours.any() else 0, "number"),
    "equal": (lambda ours: torch.equal(ours, ours), "number"),
    "cpu": (lambda ours: ours.cpu(), "copy"),
    "to the CPU": (lambda ours: ours.to("cpu", torch.float64), "copy"),
    "into the CPU's": (lambda ours: torch.empty(3).copy_(ours), "copy"),
    "list": (lambda ours: ours.tolist(), "copy"),
    "chosen": (lambda ours: ours[ours > 0], "shape"),
    "places": (lambda ours: ours.nonzero(), "shape"),
}


@pytest.mark.parametrize("read", READ)
def test_what_the_host_is_handed_or_waits_for_is_counted(there, read):
    act, kind = READ[read]
    ours = torch.ones(3, device=there.device)
    assert not there.crossings
    for mode in (torch.enable_grad, torch.inference_mode):
        there.crossings.clear()
        with mode():
            act(ours)
        assert kind in kinds(there) and len(kinds(there)) == 1


FREE = {
    "arithmetic": lambda ours: (2 * ours + torch.tensor(1.0)).sum(),
    "shapes": lambda ours: ours.view(1, 3).squeeze(0).flatten().shape,
    "in place": lambda ours: ours.mul_(2).clamp_(max=1),
    "a place": lambda ours: ours[0].fill_(2),
    "by indices of the CPU's": lambda ours: ours[torch.tensor([0, 1])],
    "like it": lambda ours: ours.new_zeros(2) + torch.zeros_like(ours)[:2],
    "there already": lambda ours: ours.to(ours.device),
}


@pytest.mark.parametrize("free", FREE)
def test_what_stays_on_the_device_is_not_counted(there, free):
    FREE[free](torch.ones(3, device=there.device))
    assert not there.crossings


def test_uploads_are_counted_with_their_place(there):
    torch.ones(3).to(there.device)
    torch.tensor([1.0, 2.0], device=there.device)
    torch.zeros(3, device=there.device).copy_(torch.ones(3))
    assert sum(there.uploads.values()) == 3


def test_a_tensor_is_no_array_and_an_array_no_surprise(there):
    with pytest.raises(TypeError, match="can't convert pretended:0 device type tensor to numpy"):
        torch.ones(3, device=there.device).numpy()


def test_a_generator_of_the_cpus_draws_nothing_on_the_device(there):
    with pytest.raises(RuntimeError, match="expected a generator of pretended:0"):
        torch.rand(3, generator=torch.Generator(), device=there.device)


def test_float64_is_noted(there):
    torch.ones(3, device=there.device).double()
    assert max(there.doubles.values()) == 3


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(2), nn.LayerNorm(9), nn.GELU(), nn.Linear(9, 2))


def test_a_module_is_moved_trained_and_copied_as_on_the_cpu(there):
    images, slopes = torch.randn(5, 3, 4, 4), []
    for where in ("cpu", there.device):
        model = copy.deepcopy(network().to(where))
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            model(images.to(where)).square().sum().backward()
            optimizer.step()
        slopes.append([p.grad.cpu() for p in model.parameters()])
        fresh = network().to(where)
        fresh.load_state_dict(model.state_dict())
        assert all(map(torch.equal, fresh.parameters(), model.parameters()))
    assert all(isinstance(p, DeviceTensor) for p in model.parameters())
    assert all(torch.allclose(*pair) for pair in zip(*slopes, strict=True))


COMPUTED = {
    "svd": lambda x: torch.linalg.svd(x.double(), full_matrices=False)[1],
    "cholesky": lambda x: torch.linalg.cholesky_ex(x.mT @ x)[0],
    "attention": lambda x: nn.functional.scaled_dot_product_attention(*x.repeat(3, 1, 2, 1, 1)),
    "by image": lambda x: vmap(lambda row: (row * row).sum())(x),
    "back": lambda x: vjp(lambda y: vmap(lambda row: row.exp().sum())(y), x)[1](x[:, 0])[0],
    "row times matrix": lambda x: x[0] @ x.T,
}


@pytest.mark.parametrize("computed", COMPUTED)
def test_it_computes_what_the_cpu_does(there, computed):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    found = COMPUTED[computed](x.to(there.device))
    assert isinstance(found, DeviceTensor) and torch.allclose(found.cpu(), COMPUTED[computed](x), atol=1e-6)


def test_when_it_is_gone_its_tensors_are_of_no_use():
    with fake_device() as device:
        ours = torch.ones(3, device=device.device)
    with pytest.raises(RuntimeError, match="not there any more"):
        ours + 1
    assert torch.ones(3).sum().item() == 3
