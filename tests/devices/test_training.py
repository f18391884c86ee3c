"""Data-parallel training by gluonnlp's `Parallel`: the sum of the shards' gradients is that of the batch."""

from __future__ import annotations

import copy

import pytest
import torch

from nbpar.compat.gluonnlp import Parallel, Parallelizable

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

SHARDS = 4


class Gradients(Parallelizable):
    """Computes the gradient of one shard, with the parameters that come with it: engines have copies."""

    def __init__(self, model, device):
        self.model = model
        self.device = device

    def forward_backward(self, shard):
        parameters, inputs, targets = on(self.device, shard)
        model = copy.deepcopy(self.model).to(self.device)  # threads share the original
        model.load_state_dict(parameters)
        loss = loss_of(model, inputs, targets)
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        return on("cpu", (loss, gradients))


def loss_of(model, inputs, targets):
    return torch.nn.functional.cross_entropy(model(inputs), targets, reduction="sum")


def on(device, values):
    """Return tensors on a device, each a copy that requires no gradient."""
    if isinstance(values, dict):
        return {name: on(device, value) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(on(device, value) for value in values)
    return values.detach().clone().to(device)


def small_model():
    torch.manual_seed(1)
    layers = (torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 5))
    return torch.nn.Sequential(*layers).double()


def batches():
    chance = torch.Generator().manual_seed(2)
    for _ in range(3):
        yield (
            torch.randn(64, 20, generator=chance, dtype=torch.float64),
            torch.randint(5, (64,), generator=chance),
        )


def trained_serially():
    """Train in the ordinary way, on whole batches."""
    model, losses, gradients = small_model(), [], []
    steps = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for inputs, targets in batches():
        steps.zero_grad()
        loss = loss_of(model, inputs, targets)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        steps.step()
    return model, losses, gradients


def trained_on_workers(backend, device):
    """Train with one `put` for each shard."""
    model, losses, gradients = small_model(), [], []
    steps = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    with Parallel(2, Gradients(small_model(), device), serial_init=False, backend=backend) as parallel:
        for inputs, targets in batches():
            parameters = on("cpu", dict(model.named_parameters()))
            for shard in zip(inputs.chunk(SHARDS), targets.chunk(SHARDS), strict=True):
                parallel.put((parameters, *shard))
            parts = [parallel.get(timeout=300) for _ in range(SHARDS)]
            for name, parameter in model.named_parameters():
                parameter.grad = sum(gradient[name] for _, gradient in parts)
            losses.append(sum(float(loss) for loss, _ in parts))
            gradients.append([parameter.grad.clone() for parameter in model.parameters()])
            steps.step()
    return model, losses, gradients


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backend", ["threads", pytest.param("engines", marks=pytest.mark.engines)])
def test_gradients_of_shards_add_up_to_those_of_the_batch(backend, device):
    model, losses, gradients = trained_on_workers(backend, device)

    expected, expected_losses, expected_gradients = trained_serially()
    assert losses == pytest.approx(expected_losses, rel=1e-9)
    assert expected_losses[-1] < expected_losses[0]
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-8, atol=1e-10)
