"""Options are a value: compared and shown by what they are, and never changed."""

import pickle

import pytest

from fastoptim.rules import AdamRule, AdamWRule, Rule, SGDRule
from fastoptim.storage import StorageOptions


def test_options_are_equal_if_kind_and_values_are():
    assert AdamRule(eps=1e-6) == AdamRule(eps=1e-6) != AdamRule()
    assert hash(AdamRule(betas=[0.5, 0.5])) == hash(AdamRule(betas=(0.5, 0.5)))
    assert SGDRule() != Rule() and AdamWRule() != AdamRule(**AdamWRule.defaults)


def test_options_show_all_that_there_are():
    assert repr(SGDRule(weight_decay=1)) == (
        "SGDRule(weight_decay=1.0, decoupled=False, maximize=False)")


def test_options_stay_as_they_are():
    rule = SGDRule()
    with pytest.raises(AttributeError, match="^maximize must stay as it is"):
        rule.maximize = True
    other = rule.replaced(maximize=True)
    assert other.maximize and not rule.maximize
    assert pickle.loads(pickle.dumps(other)) == other


def test_options_are_checked_whenever_they_are_made():
    for make in (StorageOptions, StorageOptions().replaced):
        with pytest.raises(TypeError, match="^master must be True or False, got 1"):
            make(master=1)
