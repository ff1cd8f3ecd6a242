"""What an optimizer saves and loads: Optimizer.state_dict and load_state_dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastoptim import _core, checks
from fastoptim.group import check_lr, is_one_fixed_rate
from fastoptim.storage import bfloat16_bits, check_blocks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

    from fastoptim.group import GroupData
    from fastoptim.optimizer import Optimizer
    from fastoptim.rules import Rule
    from fastoptim.storage import AnyArray
    from fastoptim.types import Schedule

FORMAT = 2  # of state_dict; 1 had no counts, and SCHEDULE in place of every schedule
SCHEDULE = "schedule"
KEYS = ("format", "rule", "t", "counts", "lr", "storage", "groups", "state")


def state_dict(optimizer: Optimizer) -> dict[str, Any]:
    """See Optimizer.state_dict."""
    t, counts, indices, copies = optimizer._core.snapshot(
        [x for states in optimizer._state.values() for x in states.values()])
    remaining = iter(copies)
    index_of = dict(zip(optimizer._names, indices))
    return {
        "format": FORMAT,
        "rule": optimizer.rule,
        "t": t,
        "counts": dict(zip(optimizer._names, counts)),
        "lr": _saved_rate(optimizer._lr),
        "storage": optimizer._storage.as_dict(),
        "groups": [
            # Sorted by the parameters' indices, which random bits depend on.
            {"params": sorted(group.names, key=index_of.__getitem__),
             "lr": _saved_rate(group.lr),
             **group.rule.as_dict()}
            for group in optimizer._groups
        ],
        "state": {name: {s: next(remaining) for s in states}
                  for name, states in optimizer._state.items()},
    }


def load_state_dict(optimizer: Optimizer, d: Mapping[str, Any],
                    lr: float | Schedule | None) -> None:
    """See Optimizer.load_state_dict."""
    old = isinstance(d, Mapping) and d.get("format") == 1
    _check_names(d, [key for key in KEYS if not (old and key == "counts")], "a state_dict")
    if d["format"] not in (1, FORMAT):
        raise ValueError(f"format must be 1 or {FORMAT}, got {d['format']!r}")
    if d["rule"] != optimizer.rule:
        raise ValueError(f"rule must be {optimizer.rule!r}, got {d['rule']!r}")
    names = optimizer._names
    t = checks.integer("t", d["t"], low=0, high=checks.MAX_STEPS)
    counts = [t] * len(names) if old else [
        checks.integer(f"the count of {name!r}", count, low=0, high=checks.MAX_STEPS)
        for name, count in _by_name(d["counts"], names, "counts").items()]
    lr = _restored_rate(d["lr"], optimizer._lr, "lr") if lr is None else check_lr(lr)
    storage = optimizer._storage.with_saved(d["storage"])

    groups = optimizer._groups
    if not isinstance(d["groups"], (list, tuple)) or len(d["groups"]) != len(groups):
        raise ValueError(f"groups must be a list of {len(groups)}, got {d['groups']!r}")
    rules: list[Rule] = []
    rates: list[float | Schedule | None] = []
    index_of: dict[str | int, int] = {}
    for k, (group, saved) in enumerate(zip(groups, d["groups"])):
        rule, rate, saved_names = _restored_group(saved, group, k)
        rules.append(rule)
        rates.append(rate)
        index_of |= zip(saved_names, range(len(index_of), len(index_of) + len(saved_names)))

    copies = [pair for name, saved in _by_name(d["state"], names, "state").items()
              for pair in _copies_into(optimizer._state[name], saved, name)]
    optimizer._commit(
        rules, storage, (t, counts, [index_of[name] for name in names]), copies,
        [(optimizer, "_lr", lr), (optimizer, "_one_fixed_rate", is_one_fixed_rate(lr, rates)),
         *((group, "lr", rate) for group, rate in zip(groups, rates))])


def _restored_group(saved: Any, group: GroupData, k: int
                    ) -> tuple[Rule, float | Schedule | None, list[str | int]]:
    """Return the rule, the rate and the names, in the saved order, that group k goes on with."""
    _check_names(saved, ["params", "lr", *group.rule.as_dict()], f"group {k}")
    options = dict(saved)
    names = options.pop("params")
    if not isinstance(names, (list, tuple)) or not all(
            isinstance(name, (str, int)) for name in names):
        raise TypeError(f"params of group {k} must be a list of names, got {names!r}")
    name_of = {key: name for name, key in _keys_of(names, group.names,
                                                   f"params of group {k}").items()}
    saved_rate = options.pop("lr")
    rate: float | Schedule | None
    if saved_rate is None:
        rate = group.lr if callable(group.lr) else None
    else:
        rate = _restored_rate(saved_rate, group.lr, f"lr of group {k}")
    rule = group.rule.replaced(**options)
    if not rule.is_variant_of(group.rule):
        raise ValueError(f"group {k} must have options like {group.rule}, got {rule}")
    return rule, rate, [name_of[key] for key in names]


def _copies_into(states: dict[str, AnyArray], saved: Any, name: str | int
                 ) -> list[tuple[AnyArray, AnyArray]]:
    """Return pairs of a state of one parameter and the saved array to copy into it, checked."""
    _check_names(saved, states, f"state of {name!r}")
    copies = []
    for s, x in states.items():
        label = f"state {s!r} of {name!r}"
        _core.check_updatable(x, label)  # it may have been locked meanwhile
        source = _core.as_array(saved[s], label)
        check_blocks(x, source, label)
        x, source = bfloat16_bits(x), bfloat16_bits(source)
        _core.check_like(source, label, x, f"parameter {name!r}")
        copies.append((x, source))
    return copies


def _check_names(given: object, expected: Iterable[str | int], what: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(given).__name__}")
    expected = list(expected)
    if set(given) != set(expected):
        raise ValueError(f"{what} must hold {expected}, got {list(given)}")


def _keys_of(given: Collection[str | int], names: list[str | int], what: str
             ) -> dict[str | int, str | int]:
    """Return name -> its key in a mapping or list that must hold exactly these names.

    JSON and npz turn the 0 of a sequence into "0"; a mapping's own "0" is a string in both.
    """
    known, found = set(names), dict.fromkeys(given)
    keys: dict[str | int, str | int] = {}
    for name in names:
        if name in found:
            keys[name] = name
        elif isinstance(name, int) and (text := str(name)) in found and text not in known:
            keys[name] = text
    if not len(keys) == len(names) == len(given):
        raise ValueError(f"{what} must hold {names}, got {list(given)}")
    return keys


def _by_name(given: object, names: list[str | int], what: str) -> dict[str | int, Any]:
    """Return a mapping's values by the optimizer's names, in their order."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(given).__name__}")
    return {name: given[key] for name, key in _keys_of(given, names, what).items()}


def _saved_rate(lr: object) -> object:
    """Return a learning rate as a plain value, of which schedules.from_value makes it again."""
    if not callable(lr):
        return lr
    from fastoptim import schedules  # here, since the import takes some milliseconds

    return schedules.to_value(lr)


def _restored_rate(saved: Any, here: float | Schedule | None, what: str) -> float | Schedule:
    """Return the learning rate that a run goes on with; `here` is the optimizer's."""
    if isinstance(saved, Mapping) and "callable" not in saved:
        from fastoptim import schedules

        lr: Schedule = schedules.from_value(saved, what)
        if callable(here) and here != lr:
            raise ValueError(f"{what} must be the schedule that was saved, {lr!r}, or a number to "
                             f"be replaced by it, got {here!r}: to go on with another schedule "
                             "than the saved one, pass lr= to load_state_dict")
        return lr
    is_named = isinstance(saved, str) and saved == SCHEDULE
    is_callable = is_named or isinstance(saved, Mapping)
    rate = 0.0 if is_callable else checks.number(what, saved)
    if callable(here):
        return here
    if is_callable:
        was = SCHEDULE if isinstance(saved, str) else f"schedule {saved['callable']}"
        remedy = ", or pass lr= to load_state_dict" if what == "lr" else ""
        raise ValueError(f"{what} must be a schedule, as it was when the state was saved (a {was}, "
                         f"which a state cannot hold), got {here!r}: make the optimizer with "
                         f"it{remedy}")
    return rate
