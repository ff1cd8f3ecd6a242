"""Against torch.optim, unfused, in float64, for each option that torch has too."""

import numpy as np
import pytest

import fastoptim as fo

torch = pytest.importorskip("torch")

N, STEPS = 1000, 100

SHARED = ({}, {"weight_decay": 0.1}, {"maximize": True}, {"weight_decay": 0.1, "maximize": True})


def cases():
    """(torch's optimizer and options, ours and its options)."""
    optim = torch.optim
    for shared in SHARED:
        yield optim.SGD, {}, fo.SGD, {}, shared
        for dampening in (0.0, 0.25):
            yield (optim.SGD, {"momentum": 0.9, "dampening": dampening},
                   fo.Momentum, {"beta": 0.9, "dampening": dampening, "dampen_first": False},
                   shared)
        yield (optim.SGD, {"momentum": 0.9, "nesterov": True},
               fo.Momentum, {"beta": 0.9, "dampening": 0.0, "nesterov": True}, shared)
        for centered in (False, True):
            for momentum in (0.0, 0.9):
                same = {"centered": centered, "momentum": momentum, "eps": 1e-6}
                yield (optim.RMSprop, same | {"alpha": 0.95},
                       fo.RMSProp, same | {"beta": 0.95}, shared)
        for amsgrad in (False, True):
            same = {"betas": (0.8, 0.99), "eps": 1e-7, "amsgrad": amsgrad}
            yield optim.Adam, same, fo.Adam, same, shared
            yield optim.AdamW, same, fo.AdamW, {"weight_decay": 0.01} | same, shared
            yield (optim.Adam, same | {"decoupled_weight_decay": True},
                   fo.Adam, same | {"decoupled": True}, shared)


def name_of(case):
    theirs, options, _, _, shared = case
    return "-".join([theirs.__name__, *(f"{k}={v}" for k, v in (options | shared).items())])


CASES = {name_of(case): case for case in cases()}


def tensor(p):
    return torch.nn.Parameter(torch.from_numpy(p.copy()))


@pytest.mark.parametrize("lr", [0.01, "schedule"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_path(name, lr):
    theirs, their_options, ours, our_options, shared = CASES[name]
    rng = np.random.default_rng(0)
    start = rng.standard_normal(N)
    rates = [0.01 if lr == 0.01 else 0.01 / (1 + t) for t in range(STEPS)]

    q = tensor(start)
    unfused = {"fused": False} if theirs is not torch.optim.RMSprop else {}
    optimizer = theirs([q], lr=rates[0], foreach=False, **unfused, **their_options, **shared)
    p = start.copy()
    opt = ours(p, lr=lambda step: rates[step], **our_options | shared)

    for t in range(STEPS):
        g = rng.standard_normal(N) * 10.0 ** rng.uniform(-3, 3, N)
        opt.step(g)
        q.grad = torch.from_numpy(g)
        optimizer.param_groups[0]["lr"] = rates[t]
        optimizer.step()

    expected = q.detach().numpy()
    assert np.abs(expected - start).max() > 1e-3  # it went somewhere
    assert np.abs(p - expected).max() <= 1e-12 * np.abs(expected).max()


def test_defaults_are_the_same_for_adam_and_adamw():
    for theirs, ours in ((torch.optim.Adam, fo.Adam), (torch.optim.AdamW, fo.AdamW)):
        defaults = theirs([torch.zeros(1)]).defaults
        group = ours(np.zeros(1)).groups[0]
        for option in ("lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"):
            assert group[option] == defaults[option]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tensor_is_updated_where_it_lies(dtype):
    t = torch.ones((4, 6), dtype=getattr(torch, dtype))
    address = t.data_ptr()
    opt = fo.Momentum({"whole": t[:, :3], "columns": t[:, 3:].T}, lr=1.0, dampening=0.0)
    grads = {"whole": torch.full((4, 3), 2.0, dtype=t.dtype),
             "columns": torch.full((4, 3), 5.0, dtype=t.dtype).T}
    opt.step(grads)
    assert t.data_ptr() == address
    assert t.tolist() == [[-1.0] * 3 + [-4.0] * 3] * 4
    for g in grads.values():
        g.zero_()
    opt.step(grads)  # and gradients are read where they lie
    assert opt.state["whole"]["v"].max() == 2 * 0.9


def test_bound_gradients_of_a_module():
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 3)).sum().backward()
    opt = fo.SGD({name: p.detach() for name, p in layer.named_parameters()},
                 {name: p.grad for name, p in layer.named_parameters()}, lr=0.5)
    opt.step()
    assert torch.equal(layer.weight, before - 0.5)


def test_tensors_that_are_refused():
    p = np.ones(3)
    opt = fo.SGD(p)
    with pytest.raises(TypeError, match="parameter 0 must be readable in place on the CPU, got "
                                        "Parameter: .*detach"):
        fo.SGD(torch.nn.Parameter(torch.ones(3)))
    with pytest.raises(TypeError, match="grad 0 must be readable in place on the CPU, got Tensor"):
        opt.step(torch.ones(3, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="grad 0 must have dtype float64 .*, got float32"):
        opt.step(torch.ones(3))
    with pytest.raises(TypeError, match="grad 0 must lie in the memory of the CPU|readable"):
        opt.step(torch.ones(3, device="meta"))
    with pytest.raises(TypeError, match="grad 0 must be readable in place on the CPU"):
        opt.step(torch.ones(3).to_sparse())
    assert opt.t == 0 and p.tolist() == [1, 1, 1]
