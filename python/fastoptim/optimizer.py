"""What all optimizers share: parameters, groups, states, the step. The core does arithmetic."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, Signature

import numpy as np

from fastoptim import _core, checks, parameters
from fastoptim.rules import Rule, make_rule
from fastoptim.storage import StorageOptions, check_blocks, make_states, patterns

__all__ = ["Group", "Optimizer"]

FORMAT = 1  # of state_dict
SCHEDULE = "schedule"  # where a state_dict would hold a rate that is no number


def _check_lr(lr: object) -> float | Callable[[int], float]:
    return lr if callable(lr) else checks.number("lr", lr)


def _rehearse(rule: Rule) -> None:
    """Takes a step on arrays of its own, so that the first real one finds its code in the caches.

    At 10^3 elements a first step takes 11 us without that, the second 2 (bench/overhead.py).
    """
    arrays = list(np.zeros((2 + len(rule.states), 100), np.float32))  # whole vectors and a rest
    _core.Step([rule.compiled], [(0, ["rehearsed"] * len(arrays), arrays, [])], 0,
               False).run(0.0, None, None)


class _Members:
    """A group as the optimizer keeps it."""

    def __init__(self, rule: Rule, lr: float | Callable[[int], float] | None,
                 names: list[str | int]) -> None:
        self.rule = rule
        self.lr = lr  # None: the optimizer's
        self.names = names


class Group(Mapping):
    """Parameters that share options. Read and assign them by name: `group["lr"] = 0.01`."""

    # Made anew for each look at it: an optimizer that held its groups, which know it, would be
    # a cycle, and its states would stay until the garbage collector came by.
    def __init__(self, optimizer: "Optimizer", index: int) -> None:
        self._optimizer = optimizer
        self._index = index

    @property
    def _members(self) -> _Members:
        return self._optimizer._groups[self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(["params", "lr", *self._members.rule.defaults])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, option: str):
        if option == "params":
            return list(self._members.names)
        if option == "lr":
            return self._optimizer._rate(self._members, self._optimizer.lr)
        if option not in self._members.rule.defaults:
            raise KeyError(option)
        return getattr(self._members.rule, option)

    def __setitem__(self, option: str, value) -> None:
        members = self._members
        if option == "lr":
            members.lr = _check_lr(value)
            self._optimizer._note_rates()
            return
        if option not in members.rule.defaults:
            raise KeyError(f"the option must be among lr, {', '.join(members.rule.defaults)}, "
                           f"got {option!r}")
        changed = members.rule.replaced(**{option: value})
        if (changed.kernel, changed.states) != (members.rule.kernel, members.rule.states):
            raise ValueError(
                f"{option} must stay as it was when the optimizer was made, since other states "
                f"go with {value!r}: make a new optimizer"
            )
        self._optimizer._core.set_rule(self._index, changed.compiled)
        members.rule = changed

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={self[name]!r}" for name in self if name != "params")
        return f"Group({len(self['params'])} parameters, {options})"


def _check_names(given: object, expected: Iterable[str | int], what: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(given).__name__}")
    expected = list(expected)
    if set(given) != set(expected):
        raise ValueError(f"{what} must hold {expected}, got {list(given)}")


class Optimizer:
    """What all optimizers share. Use SGD, Momentum, RMSProp, Adam or AdamW.

    Args:
        params: what is updated, in place: an array, a sequence of arrays, a mapping name ->
            array, or a list of groups `{"params": ..., "lr": ..., ...}` with options of their
            own. float32, float64, bfloat16 (of ml_dtypes) or float16, writable, any strides whose
            elements do not overlap; NumPy arrays, or anything with the buffer protocol or DLPack
            on the CPU.
        grads: gradients to bind, given as params are (by name for a mapping, else in order).
            `step()` then takes nothing: write new gradients into these arrays.
        lr: the learning rate, a number >= 0 or a callable from the step, counted from 0.
        state_dtype: how states are stored: "float32", "bfloat16", "float16" or "q8" (8 bits and a
            scale for each 128); None for what the rule computes in, float64 for float64 parameters
            and float32 for all others.
        rounding: of what is stored in fewer bytes: "stochastic", up or down at random with the
            value as the mean, or "nearest".
        seed: of that randomness, in [0, 2**64).
        master: keep a float32 copy of each bfloat16 or float16 parameter, and work on that.
        uint16_is_bfloat16: take uint16 arrays as bfloat16 patterns.
        options: the rule's own, as in its class.

    Raises:
        TypeError, ValueError: an array or option that breaks a rule above; the message states
        the rule and what came. Nothing has changed then.
    """

    Rule: type[Rule]

    def __init_subclass__(cls) -> None:
        keyword = [Parameter("lr", Parameter.KEYWORD_ONLY, default=cls.Rule.lr)]
        keyword += [Parameter(name, Parameter.KEYWORD_ONLY, default=default)
                    for kind in (cls.Rule, StorageOptions)
                    for name, default in kind.defaults.items()]
        cls.__signature__ = Signature([
            Parameter("params", Parameter.POSITIONAL_OR_KEYWORD),
            Parameter("grads", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            *keyword,
        ])

    def __init__(self, params, grads=None, *, lr=None, **options) -> None:
        if not hasattr(self, "Rule"):
            raise TypeError("Optimizer is what all have in common: use SGD, Momentum, RMSProp, "
                            "Adam or AdamW")
        storage = {name: options.pop(name)
                   for name in StorageOptions.defaults if name in options}
        self._storage = StorageOptions(**storage)
        rule = make_rule(self.Rule, options)
        self._lr = _check_lr(self.Rule.lr if lr is None else lr)
        self._params: dict[str | int, np.ndarray] = {}
        self._stored: dict[str | int, str] = {}  # as what: float32, ...
        self._groups: list[_Members] = []
        if parameters.is_groups(params):
            for given in params:
                self._add_group(dict(given), options)
        else:
            self._add(params, rule, None)
        if not self._params:
            raise ValueError("params must hold at least one array, got none")

        self._names = list(self._params)
        ordered = [None] * len(self._names)
        if grads is not None:
            ordered = [_core.as_array(grad, f"grad {name!r}") for name, grad in
                       zip(self._names, parameters.in_order(grads, self._names))]
        self._state = {}
        tensors = []
        for k, group in enumerate(self._groups):
            for name in group.names:
                p = self._params[name]
                labels = [f"parameter {name!r}", f"grad {name!r}"]
                states = make_states(self._storage, group.rule, p, self._stored[name], labels[0])
                self._state[name] = states.shown
                arrays = [p, ordered[len(tensors)], *states.arrays.values()]
                labels += [f"state {s!r} of {name!r}" for s in states.arrays]
                if states.master is not None:
                    arrays.append(states.master)
                    labels.append(f"the master of {name!r}")
                tensors.append((k, labels, arrays, list(states.scales.values())))
        self._note_rates()
        self._core = _core.Step([group.rule.compiled for group in self._groups], tensors, 0,
                                self._storage.uint16_is_bfloat16)
        self._core.set_rounding(self._storage.stochastic, self._storage.seed)
        _rehearse(self.Rule())
        # Last, since threads that have just worked do not sleep yet when the first step comes.
        self._core.zero_states()

    def _add_group(self, given: dict, options: dict) -> None:
        if "params" not in given:
            raise ValueError(f"a group must hold 'params', got {list(given)}")
        params = given.pop("params")
        lr = given.pop("lr", None)
        self._add(params, make_rule(self.Rule, options | given),
                  None if lr is None else _check_lr(lr))

    def _add(self, params, rule: Rule, lr) -> None:
        names = []
        for name, x in parameters.named(params, "params", len(self._params)).items():
            label = f"parameter {name!r}"
            if name in self._params:
                raise ValueError(f"{label} must stand in one group only, got two")
            array = _core.as_array(x, label)
            # Before a state of its size is allocated.
            self._stored[name] = _core.check_parameter(array, label,
                                                       self._storage.uint16_is_bfloat16)
            self._params[name] = array
            names.append(name)
        self._groups.append(_Members(rule, lr, names))

    def step(self, grads=None) -> None:
        """Updates every parameter in place, in one pass over memory.

        Args:
            grads: the gradients, of the parameters' shapes and dtypes (but float32 and the types
                of fewer bytes go together): a mapping name -> array in any order, or a sequence
                in the parameters' order, or the one array. None takes those that were bound.

        Raises:
            TypeError, ValueError: a gradient that is missing, unexpected, of another dtype or
            shape, or shares memory with what is written; a learning rate that is not finite and
            >= 0. RuntimeError: another thread is stepping this optimizer, or was when this process
            was forked, which has left a part of it a step behind: write saved values into the
            parameters and call `load_state_dict`, or make a new one. In every case nothing has
            changed: no parameter, no state, no count.
        """
        if grads is not None:
            grads = parameters.in_order(grads, self._names)
        if self._one_fixed_rate:
            self._core.run(self._lr, grads, None)
        else:
            t = self._core.t
            lr = self._evaluate(self._lr)
            self._core.run([self._rate(group, lr) for group in self._groups], grads, t)

    def _note_rates(self) -> None:
        """Whether one number serves every group and step: then a step need not ask."""
        self._one_fixed_rate = not callable(self._lr) and all(
            group.lr is None for group in self._groups)

    def _evaluate(self, lr) -> float:
        if callable(lr):
            return checks.number(f"the learning rate of step {self.t}", lr(self.t))
        return lr

    def _rate(self, group: _Members, shared: float) -> float:
        return shared if group.lr is None else self._evaluate(group.lr)

    @property
    def t(self) -> int:
        """Steps taken."""
        return self._core.t

    @property
    def lr(self) -> float:
        """The learning rate of the coming step. Assign a number or a schedule to change it.

        Groups that were given a rate of their own keep it.
        """
        return self._evaluate(self._lr)

    @lr.setter
    def lr(self, value) -> None:
        self._lr = _check_lr(value)
        self._note_rates()

    @property
    def groups(self) -> list[Group]:
        """The parameter groups; their options can be read and assigned by name."""
        return [Group(self, k) for k in range(len(self._groups))]

    @property
    def params(self) -> dict[str | int, np.ndarray]:
        """Name -> parameter; arrays of a sequence are named by position."""
        return dict(self._params)

    @property
    def state(self) -> dict[str | int, dict[str, np.ndarray]]:
        """Name -> the parameter's states, name -> array: live, to be read and written in place."""
        return {name: dict(states) for name, states in self._state.items()}

    def state_dict(self) -> dict:
        """All that a run needs to go on bit for bit, as a plain dict: a copy of this moment.

        A schedule is code and is not saved, only its position, which is `t`; "schedule" stands
        in its place.

        Raises:
            RuntimeError: another thread is stepping this optimizer, or was at a fork.
        """
        t, copies = self._core.snapshot(
            [x for states in self._state.values() for x in states.values()])
        left = iter(copies)
        return {
            "format": FORMAT,
            "rule": self.Rule.name,
            "t": t,
            "lr": SCHEDULE if callable(self._lr) else self._lr,
            "storage": self._storage.as_dict(),
            "groups": [
                {"params": list(group.names),
                 "lr": SCHEDULE if callable(group.lr) else group.lr,
                 **group.rule.as_dict()}
                for group in self._groups
            ],
            "state": {name: {s: next(left) for s in states}
                      for name, states in self._state.items()},
        }

    def load_state_dict(self, d: Mapping) -> None:
        """Goes on from a state_dict: the count, the options and the states.

        The optimizer must have been made for parameters of the same names, shapes and dtypes, in
        the same groups, with the same rule and the same states. A schedule stays as it is here;
        a fixed learning rate is taken from `d`, unless a schedule stands in either place.

        Raises:
            TypeError, ValueError: what differs, by name. Nothing has changed then.
        """
        _check_names(d, ("format", "rule", "t", "lr", "storage", "groups", "state"), "a state_dict")
        for what, expected in (("format", FORMAT), ("rule", self.Rule.name)):
            if d[what] != expected:
                raise ValueError(f"{what} must be {expected!r}, got {d[what]!r}")
        t = checks.integer("t", d["t"], low=0, high=checks.MAX_STEPS)
        lr = d["lr"] if d["lr"] == SCHEDULE else checks.number("lr", d["lr"])
        storage = self._storage.resumed(d["storage"])

        if not isinstance(d["groups"], (list, tuple)) or len(d["groups"]) != len(self._groups):
            raise ValueError(f"groups must be a list of {len(self._groups)}, got {d['groups']!r}")
        rules, rates = [], []
        for k, (group, given) in enumerate(zip(self._groups, d["groups"])):
            _check_names(given, ["params", "lr", *group.rule.defaults], f"group {k}")
            given = dict(given)
            if (names := given.pop("params")) != group.names:
                raise ValueError(f"group {k} must hold the parameters {group.names}, got {names}")
            rate = given.pop("lr")
            if rate is not None and rate != SCHEDULE:
                rate = checks.number(f"lr of group {k}", rate)
            rates.append(rate)
            rule = make_rule(self.Rule, given)
            if (rule.kernel, rule.states) != (group.rule.kernel, group.rule.states):
                raise ValueError(f"group {k} must have options like {group.rule}, got {rule}")
            rules.append(rule)

        _check_names(d["state"], self._names, "state")
        copies = []
        for name, states in self._state.items():
            given = d["state"][name]
            _check_names(given, states, f"state of {name!r}")
            for s, x in states.items():
                label = f"state {s!r} of {name!r}"
                _core.check_updatable(x, label)  # it may have been locked meanwhile
                source = _core.as_array(given[s], label)
                check_blocks(x, source, label)
                x, source = patterns(x), patterns(source)
                _core.check_like(source, label, x, f"parameter {name!r}")
                copies.append((x, source))

        self._core.restore(t, [rule.compiled for rule in rules], copies, storage.stochastic,
                           storage.seed)
        self._storage = storage
        if lr != SCHEDULE and not callable(self._lr):
            self._lr = lr
        for group, rule, rate in zip(self._groups, rules, rates):
            group.rule = rule
            if rate != SCHEDULE and not callable(group.lr):
                group.lr = rate
        self._note_rates()

    def __reduce_ex__(self, protocol):
        raise TypeError(
            f"{type(self).__name__} must not be copied or pickled, since it updates arrays that "
            "others hold: make a new one, and give it this one's state_dict()"
        )

    def __repr__(self) -> str:
        lr = f"lr={self._lr!r}"
        options = [f"{name}={value!r}" for name, value in self._groups[0].rule.as_dict().items()]
        if len(self._groups) > 1:
            options = [f"{len(self._groups)} groups"]
        options += self._storage.changed()
        size = sum(p.size for p in self._params.values())
        state = sum(x.nbytes for states in self._state.values() for x in states.values())
        return (f"{type(self).__name__}({', '.join([lr, *options])}; t={self.t}, "
                f"{len(self._params)} arrays, {size:,} parameters, {state:,} bytes of state)")
