"""What can be read and assigned, and what to do instead where an attribute cannot be."""

import inspect
import pickle
import re

import numpy as np
import pytest

import fastoptim as fo
from fastoptim.rules import Rule
from fastoptim.storage import StorageOptions

from support.refusal import refused

OPTIMIZERS = [fo.SGD, fo.Momentum, fo.RMSProp, fo.Adam, fo.AdamW]
each_optimizer = pytest.mark.parametrize("make", OPTIMIZERS)
STORAGE = ("state_dtype", "seed", "rounding", "master", "uint16_is_bfloat16")


def two_groups(make, **options):
    return make([{"params": {"a": np.zeros(2)}, **options}, {"params": {"b": np.zeros(1)}}])


def own_options(make):
    """The options of the rule with their defaults."""
    group = make(np.zeros(2)).groups[0]
    return {name: group[name] for name in group if name not in ("params", "lr")}


# Options


@each_optimizer
def test_every_option_of_the_rule_can_be_read_and_assigned(make):
    others = {"betas": (0.5, 0.25), "dampening": 0.125}
    opt = two_groups(make)
    for name, default in own_options(make).items():
        assert getattr(opt, name) == default
        if name in ("nesterov", "centered", "amsgrad", "momentum"):  # that have states of their own
            setattr(opt, name, default)
            continue
        value = others.get(name, not default if isinstance(default, bool) else 0.5)
        if name == "bias_correction" and make is fo.Momentum:
            opt.dampening = None
        setattr(opt, name, value)
        assert getattr(opt, name) == value
        assert [group[name] for group in opt.groups] == [value, value]


def test_an_assigned_option_counts_from_the_next_step_on_in_all_groups():
    opt = two_groups(fo.SGD)
    opt.lr = 1.0
    opt.step({"a": np.ones(2), "b": np.ones(1)})
    opt.weight_decay, opt.maximize = 0.5, True
    opt.step({"a": np.ones(2), "b": np.ones(1)})
    assert opt.params["a"].tolist() == [0.5, 0.5] and opt.params["b"].tolist() == [0.5]


def test_an_assigned_option_is_that_of_a_new_optimizer():
    g = np.linspace(-1, 1, 40)
    p, q = np.ones(40), np.ones(40)
    opt, expected = fo.Adam(p), fo.Adam(q, betas=(0.5, 0.75), eps=1e-3, weight_decay=0.1)
    opt.betas, opt.eps, opt.weight_decay = [0.5, 0.75], 1e-3, 0.1
    for _ in range(3):
        opt.step(g)
        expected.step(g)
    assert p.tobytes() == q.tobytes() and opt.state_dict()["groups"] == expected.state_dict()[
        "groups"]


def test_options_that_differ_are_read_group_by_group():
    opt = two_groups(fo.Adam, eps=1e-4)
    with pytest.raises(ValueError) as error:
        opt.eps  # noqa: B018
    assert str(error.value) == ("eps must be read group by group where groups differ, got 0.0001 "
                                "in group 0, 1e-08 in group 1: opt.groups[0]['eps']")
    assert opt.betas == (0.9, 0.999)
    opt.eps = 1e-6
    assert opt.eps == 1e-6


@pytest.mark.parametrize("make, option, value, error, match", [
    (fo.Adam, "betas", 0.9, TypeError, "betas must be two numbers"),
    (fo.Adam, "eps", -1.0, ValueError, "eps must be finite and >= 0, got -1.0"),
    (fo.Adam, "amsgrad", True, ValueError, "amsgrad must stay as it was"),
    (fo.RMSProp, "momentum", 0.9, ValueError, "momentum must stay as it was"),
    (fo.SGD, "maximize", 1, TypeError, "maximize must be True or False, got 1"),
    (fo.SGD, "seed", -1, ValueError, "seed must be >= 0, got -1"),
    (fo.SGD, "rounding", "up", ValueError, "rounding must be one of stochastic, nearest, got 'up'"),
])
def test_a_refused_assignment_changes_no_group(make, option, value, error, match):
    opt = two_groups(make)
    with refused(error, match, opt):
        setattr(opt, option, value)


def test_an_option_that_one_group_refuses_changes_none():
    opt = fo.Momentum([{"params": {"a": np.zeros(2)}},
                       {"params": {"b": np.zeros(1)}, "dampening": 0.5}])
    with refused(ValueError, "bias_correction must be False with dampening", opt):
        opt.bias_correction = True


def test_seed_and_rounding_count_from_the_next_step_on():
    def make(**options):
        return fo.Momentum(np.zeros(300, np.float32), state_dtype="float16", **options)

    g = np.linspace(-1, 1, 300, dtype=np.float32)
    for options in ({"seed": 5}, {"rounding": "nearest"}):
        opt, expected = make(), make(**options)
        for name, value in options.items():
            setattr(opt, name, value)
            assert getattr(opt, name) == value
        opt.step(g)
        expected.step(g)
        assert opt.state[0]["v"].tobytes() == expected.state[0]["v"].tobytes()
        assert opt.state_dict()["storage"] == expected.state_dict()["storage"]


def test_options_of_storage_can_be_read():
    opt = fo.Adam(np.zeros(3, np.float16), state_dtype="q8", seed=3, rounding="nearest",
                  master=True)
    assert [getattr(opt, name) for name in STORAGE] == ["q8", 3, "nearest", True, False]
    opt.seed = 7
    other = fo.Adam(np.zeros(3, np.float16), state_dtype="q8", master=True)
    other.load_state_dict(opt.state_dict())
    assert (other.seed, other.rounding) == (7, "nearest")


# What cannot be assigned


READ_ONLY = {
    "t": "t of Adam must not be assigned to: it counts the steps taken, and load_state_dict sets "
         "it",
    "params": "params of Adam must not be assigned to: write into its arrays, "
              "opt.params[name][...] = value, or make a new optimizer",
    "state": "state of Adam must not be assigned to: write into its arrays, "
             "opt.state[name][state][...] = value, or call load_state_dict",
    "groups": "groups of Adam must not be assigned to: assign a group's options, "
              "opt.groups[0]['lr'] = value",
    "step": "step of Adam must not be assigned to: it is a method, opt.step(...)",
    "state_dict": "state_dict of Adam must not be assigned to: it is a method, opt.state_dict(...)",
    "rule": "rule of Adam must not be assigned to: it belongs to the class",
} | {name: f"{name} of Adam must not be assigned to: the states are stored so: make a new "
           "optimizer" for name in ("state_dtype", "master", "uint16_is_bfloat16")}


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_can_be_read_only_says_what_to_do_instead(name):
    opt = fo.Adam(np.zeros(2))
    before = getattr(opt, name)
    for value in (before, None):
        with refused(AttributeError, f"^{re.escape(READ_ONLY[name])}$", opt):
            setattr(opt, name, value)


@each_optimizer
def test_every_public_attribute_is_assignable_or_says_why_not(make):
    opt = make(np.zeros(2))
    for name in dir(opt):
        if name.startswith("_") or name in ("lr", "seed", "rounding", *own_options(make)):
            continue
        with pytest.raises(AttributeError, match=f"^{name} of {make.__name__} must not be assigned "
                           "to: "):
            setattr(opt, name, getattr(opt, name))


@pytest.mark.parametrize("make, name, hint", [
    (fo.Adam, "learning_rate", ": the rate is opt.lr"),
    (fo.Adam, "alpha", "; did you mean 'lr'?"),
    (fo.RMSProp, "alpha", "; did you mean 'lr' or 'beta'?"),
    (fo.Adam, "epsilon", "; did you mean 'eps'?"),
    (fo.Adam, "beta1", "; did you mean 'betas'?"),
    (fo.Adam, "beta_2", "; did you mean 'betas'?"),
    (fo.Momentum, "momentum", "; did you mean 'beta'?"),
    (fo.RMSProp, "rho", "; did you mean 'beta'?"),
    (fo.SGD, "LR", "; did you mean 'lr'?"),
    (fo.SGD, "weight_deacy", "; did you mean 'weight_decay'?"),
    (fo.SGD, "colour", ""),
    (fo.SGD, "param_groups", ": the groups are opt.groups, their options opt.groups[0]['lr']"),
])
def test_an_unknown_attribute_is_refused_with_the_nearest_name(make, name, hint):
    opt = make(np.zeros(2))
    with pytest.raises(AttributeError) as error:
        setattr(opt, name, 5)
    assert str(error.value) == f"{make.__name__} has no attribute {name!r}{hint}"
    assert not hasattr(opt, name)


def test_a_class_of_ones_own_declares_its_attributes():
    class Named(fo.Adam):
        tag = None

    opt = Named(np.zeros(2))
    opt.tag = "first"
    opt._private = 3
    opt.eps = 1e-4
    assert (opt.tag, opt._private, opt.eps) == ("first", 3, 1e-4)
    with pytest.raises(AttributeError, match="^Named has no attribute 'tags'; did you mean 'tag'"):
        opt.tags = "second"


def test_a_schedule_that_raises_attribute_error_is_not_hidden():
    opt = fo.SGD(np.zeros(2), lr=lambda step: step.nothing)
    with pytest.raises(AttributeError, match="'int' object has no attribute 'nothing'"):
        opt.lr  # noqa: B018


def test_an_optimizer_can_be_looked_over():
    opt = fo.Adam(np.zeros(2))
    members = dict(inspect.getmembers(opt))
    assert {"lr", "betas", "state_dtype", "step"} <= set(members)
    assert "zero_grad" not in members and not hasattr(opt, "zero_grad")
    assert inspect.getdoc(fo.Adam.betas).startswith("The option betas of all groups")


# Groups


def test_a_groups_options_are_items():
    group = fo.Adam(np.zeros(2)).groups[0]
    for name, match in [("lr", r"group\['lr'\]"), ("beta", "; did you mean 'betas'"),
                        ("params", r"group\['params'\]")]:
        with pytest.raises(AttributeError, match=match):
            getattr(group, name)
        with pytest.raises(AttributeError, match="^options of a group must be assigned as items, "
                           rf"got '{name}': group\['{name}'\] = value"):
            setattr(group, name, 0.5)
    with pytest.raises(KeyError, match="the option must be among lr, weight_decay, .*, got "
                       "'learning_rate'; did you mean 'lr'"):
        group["learning_rate"] = 0.5
    with pytest.raises(KeyError, match="the option must be among .* did you mean 'eps'"):
        group["epsilon"]


def test_the_groups_and_their_names_are_not_lists_to_be_added_to():
    opt = two_groups(fo.Adam)
    assert isinstance(opt.groups, tuple) and opt.groups[0]["params"] == ("a",)
    with pytest.raises(TypeError):
        opt.groups[0] = {"params": np.zeros(3)}


def test_a_group_is_given_back_to_the_rate_of_the_optimizer():
    a, b = np.zeros(1), np.zeros(1)
    opt = fo.SGD([{"params": {"a": a}}, {"params": {"b": b}, "lr": 4.0}], lr=1.0)
    opt.groups[0]["lr"] = 2.0
    opt.step({"a": np.ones(1), "b": np.ones(1)})
    for group in opt.groups:
        group["lr"] = None
    opt.lr = fo.schedules.piecewise({0: 0.0, 1: 0.5})
    assert [group["lr"] for group in opt.groups] == [0.5, 0.5]
    opt.step({"a": np.ones(1), "b": np.ones(1)})
    assert (a.item(), b.item()) == (-2.5, -4.5)
    assert [group["lr"] for group in opt.state_dict()["groups"]] == [None, None]


def test_a_rate_that_is_multiplied_is_the_groups_own_until_it_is_given_back():
    opt = fo.SGD(np.zeros(1), lr=fo.schedules.exponential(1.0, base=0.5))
    group = opt.groups[0]
    group["lr"] *= 0.5
    opt.step(np.ones(1))
    assert (group["lr"], opt.lr) == (0.5, 0.5)
    opt.step(np.ones(1))
    assert (group["lr"], opt.lr) == (0.5, 0.25)
    group["lr"] = None
    assert group["lr"] == 0.25


# Arrays that are handed out


def test_states_and_parameters_are_written_in_place_only():
    opt = fo.Adam({"W": np.ones(2)})
    zeros = np.zeros(2)
    for assign, message in [
        (lambda: opt.state["W"].__setitem__("m", zeros),
         "opt.state['W']['m'] must be written in place, since the optimizer goes on with the array "
         "that it has: opt.state['W']['m'][...] = value"),
        (lambda: opt.state["W"].__delitem__("m"),
         "opt.state['W']['m'] must be written in place, since the optimizer goes on with the array "
         "that it has: opt.state['W']['m'][...] = value"),
        (lambda: opt.state.__setitem__("W", {"m": zeros}),
         "opt.state['W'] must be written in place, since the optimizer goes on with the arrays "
         "that it has: opt.state['W'][state][...] = value, or call load_state_dict"),
        (lambda: opt.params.__setitem__("W", zeros),
         "opt.params['W'] must be written in place, since the optimizer updates the array that it "
         "was given: opt.params['W'][...] = value"),
    ]:
        with refused(TypeError, "must be written in place", opt):
            try:
                assign()
            except TypeError as error:
                assert str(error) == message
                raise
    for view in (opt.params, opt.state, opt.state["W"]):
        for change in (lambda v: v.clear(), lambda v: v.update(W=zeros), lambda v: v.popitem(),
                       lambda v: v.pop("W"), lambda v: v.setdefault("W", zeros)):
            with refused(TypeError, "must be written in place", opt):
                change(view)


def test_what_is_written_in_place_counts():
    p = np.ones(2)
    opt = fo.Momentum({"W": p}, lr=1.0, beta=0.5)
    opt.step({"W": np.ones(2)})
    opt.state["W"]["v"][...] = 0
    opt.state["W"]["v"] += 8.0  # in place, and then assigned
    opt.params["W"] *= 0.0
    opt.step({"W": np.zeros(2)})
    assert p.tolist() == [-4.0, -4.0]


def test_the_views_are_mappings_of_live_arrays():
    p = np.ones(2)
    opt = fo.Adam({"W": p})
    assert list(opt.params) == ["W"] and opt.params["W"] is p and len(opt.state["W"]) == 2
    assert dict(opt.params) == {"W": p} == opt.params and "b" not in opt.params
    assert repr(opt.state["W"]) == repr(dict(opt.state["W"]))
    assert list(opt.params | {"b": p}) == ["W", "b"] and list({"b": p} | opt.params) == ["b", "W"]
    assert opt.state["W"]["m"] is opt.state["W"]["m"]
    assert list(pickle.loads(pickle.dumps(opt.state))["W"]) == ["m", "v"]
    with pytest.raises(KeyError, match="^'b'$"):
        opt.params["b"]


# Options as values


@pytest.mark.parametrize("options", [
    Rule("adam", "adam", own_options(fo.Adam)), StorageOptions()], ids=["rule", "storage"])
def test_options_say_how_to_make_others(options):
    name = next(iter(options.as_dict()))
    for change in (lambda: setattr(options, name, 1), lambda: delattr(options, name)):
        with pytest.raises(AttributeError, match=f"^{name} must stay as it is, since options are a "
                           rf"value: replaced\({name}=...\) makes others$"):
            change()
    with pytest.raises(TypeError, match=f"^{str(options).partition('(')[0]} takes the options .*"
                       f"{name}, .*, got 'colour'$"):
        options.replaced(colour=1)
