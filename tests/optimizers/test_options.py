"""Options are a value: compared and shown by what they are, and never changed.

The facts of the compiled rules are what the constructors' signatures say.
"""

import inspect
import pickle

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import _core
from fastoptim.rules import FAMILIES, PAIRS, Rule
from fastoptim.storage import StorageOptions

from support.cases import FUNCTIONS

OPTIMIZERS = [getattr(fo, name) for name in fo.__all__
              if inspect.isclass(getattr(fo, name)) and hasattr(getattr(fo, name), "rule")]


def defaults_of(call):
    parameters = inspect.signature(call).parameters.values()
    return {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}


def rule_of(make, **options):
    """The rule with the defaults of the signature, but for these options."""
    own = {name: default for name, default in defaults_of(make).items()
           if name != "lr" and name not in StorageOptions.defaults}
    return Rule(make.rule, make._kernel, own | options)


def test_options_are_equal_if_kind_and_values_are():
    adam = rule_of(fo.Adam)
    assert rule_of(fo.Adam, eps=1e-6) == rule_of(fo.Adam, eps=1e-6) != adam
    assert hash(rule_of(fo.Adam, betas=[0.5, 0.5])) == hash(rule_of(fo.Adam, betas=(0.5, 0.5)))
    adamw = rule_of(fo.AdamW)
    assert rule_of(fo.SGD) != StorageOptions() and adamw != adam.replaced(**adamw.as_dict())


def test_options_show_all_that_there_are():
    assert repr(rule_of(fo.SGD, weight_decay=1)) == (
        "sgd(weight_decay=1.0, decoupled=False, maximize=False)")


def test_options_stay_as_they_are():
    rule = rule_of(fo.SGD)
    with pytest.raises(AttributeError, match="^maximize must stay as it is"):
        rule.maximize = True
    other = rule.replaced(maximize=True)
    assert other.maximize and not rule.maximize
    assert pickle.loads(pickle.dumps(other)) == other
    assert pickle.loads(pickle.dumps(StorageOptions(seed=3))) == StorageOptions(seed=3)


def test_options_are_checked_whenever_they_are_made():
    for make in (StorageOptions, StorageOptions().replaced):
        with pytest.raises(TypeError, match="^master must be True or False, got 1"):
            make(master=1)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_signature_has_the_options_of_the_functor_in_its_order(make):
    own = [name for option in defaults_of(make) for name in PAIRS.get(option, (option,))]
    for facts in FAMILIES[make._kernel].variants.values():
        names = [name for name, _ in facts.options]
        assert names == [name for name in own if name in names]
    known = {"lr", *FAMILIES[make._kernel].kinds, *StorageOptions.defaults}
    assert set(defaults_of(make)) == known
    storage = {name: defaults_of(make)[name] for name in StorageOptions.defaults}
    assert storage == StorageOptions.defaults
    for option in known - {"lr"}:
        assert getattr(make(np.zeros(1)), option) == defaults_of(make)[option]


@pytest.mark.parametrize("make", [make for make in OPTIMIZERS if make.rule in FUNCTIONS])
def test_the_functional_layer_has_the_defaults_of_the_optimizers(make):
    function = defaults_of(FUNCTIONS[make.rule])
    expected = {name: default for name, default in defaults_of(make).items()
                if name not in ("state_dtype", "master", "uint16_is_bfloat16")}
    assert {name: function[name] for name in expected} == expected
    assert set(function) - set(expected) <= {"t", *FAMILIES[make._kernel].states}


def test_every_compiled_rule_is_reached_by_an_optimizer():
    assert {facts.name for facts in _core.rules()} == {make._kernel for make in OPTIMIZERS}
    for make in OPTIMIZERS:
        family = FAMILIES[make._kernel]
        for selected_by, facts in family.variants.items():
            options = {name: 0.5 if family.kinds[name] == "fraction" else True
                       for name in selected_by}
            opt = make(np.zeros(1), **options)
            assert tuple(opt.state[0]) == facts.states
