"""What all optimizers share: parameters, groups, states, the step. The core does arithmetic."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, Signature, getattr_static

import numpy as np

from fastoptim import _core, checks, parameters
from fastoptim.options import ReadOnly
from fastoptim.rules import Rule, make_rule
from fastoptim.storage import StorageOptions, check_blocks, make_states, patterns

__all__ = ["Group", "Optimizer"]

FORMAT = 2  # of state_dict; 1 had no counts, and SCHEDULE in place of every schedule
SCHEDULE = "schedule"
KEYS = ("format", "rule", "t", "counts", "lr", "storage", "groups", "state")

# Attributes that can be read only, and what to do instead of assigning to them.
READ_ONLY = {
    "Rule": "it belongs to the class",
    "t": "it counts the steps taken, and load_state_dict sets it",
    "params": "write into its arrays, opt.params[name][...] = value, or make a new optimizer",
    "state": "write into its arrays, opt.state[name][state][...] = value, or call load_state_dict",
    "groups": "assign a group's options, opt.groups[0]['lr'] = value",
} | dict.fromkeys(("state_dtype", "master", "uint16_is_bfloat16"),
                  "the states are stored so: make a new optimizer")

# Attributes that other libraries' optimizers have, and what stands in their place.
ELSEWHERE = {
    "add_param_group": "all groups are given when it is made, [{'params': ...}, ...]",
    "apply_gradients": "the gradients alone go to opt.step(grads), the parameters are known",
    "compute_gradients": "compute the gradients, and call opt.step(grads)",
    "grads": "gradients are bound when it is made, (params, grads=...), or given to "
             "opt.step(grads)",
    "init": "the state is made with it: call opt.step(grads)",
    "learning_rate": "the rate is opt.lr",
    "iterations": "the steps taken are opt.t",
    "minimize": "compute the gradients, and call opt.step(grads)",
    "param_groups": "the groups are opt.groups, their options opt.groups[0]['lr']",
    "update": "opt.step(grads) updates the parameters in place",
    "zero_grad": "nothing has to be zeroed, since opt.step(grads) takes the gradients of its step "
                 "alone",
}


def _check_lr(lr: object) -> float | Callable[[int], float]:
    return lr if callable(lr) else checks.number("lr", lr)


def _rehearse(rule: Rule) -> None:
    """Takes a step on arrays of its own, so that the first real one finds its code in the caches.

    At 10^3 elements a first step takes 11 us without that, the second 2 (bench/overhead.py).
    """
    p, g, *states = np.zeros((2 + len(rule.states), 100), np.float32)  # whole vectors and a rest
    tensor = _core.Tensor(parameter=p, gradient=g, states=states,
                          labels=["rehearsed"] * (2 + len(states)))
    _core.Step([rule.to_core()], [tensor]).run(0.0, None, None)


class _Members:
    """A group as the optimizer keeps it."""

    def __init__(self, rule: Rule, lr: float | Callable[[int], float] | None,
                 names: list[str | int]) -> None:
        self.rule = rule
        self.lr = lr  # None: the optimizer's
        self.names = names


class Group(Mapping):
    """Parameters that share options. Read and assign them by name: `group["lr"] = 0.01`.

    A rate that is assigned is the group's own from then on, whatever the optimizer's or its
    schedule: `group["lr"] *= 0.5` reads that of the coming step, and assigns a number. None gives
    the group back to the optimizer's rate.
    """

    __slots__ = ("_index", "_optimizer")

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
            return tuple(self._members.names)
        if option == "lr":
            return self._optimizer._rate(self._members, self._optimizer.lr)
        self._check_option(option)
        return getattr(self._members.rule, option)

    def __setitem__(self, option: str, value) -> None:
        if option == "lr":
            rate = None if value is None else _check_lr(value)
            self._optimizer._set_rate(self._members, "lr", rate)
            return
        self._check_option(option)
        self._optimizer._assign([self._index], option, value)

    def _check_option(self, option: object) -> None:
        options = ["lr", *self._members.rule.defaults]
        if option not in options[1:]:
            raise KeyError(f"the option must be among {', '.join(options)}, got {option!r}"
                           f"{checks.suggestion(option, options)}")

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"a group has its options as items: group[{name!r}]"
                             if name in self else f"a group has no attribute {name!r}"
                             f"{checks.suggestion(name, [*self, 'keys', 'items', 'values'])}")

    def __setattr__(self, name: str, value: object) -> None:
        if name not in Group.__slots__:
            raise AttributeError(f"options of a group must be assigned as items, got {name!r}: "
                                 f"group[{name!r}] = value")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={self[name]!r}" for name in self if name != "params")
        return f"Group({len(self['params'])} parameters, {options})"


def _is_one_fixed_rate(lr: object, rates: Iterable[object]) -> bool:
    return not callable(lr) and all(rate is None for rate in rates)


def _check_names(given: object, expected: Iterable[str | int], what: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(given).__name__}")
    expected = list(expected)
    if set(given) != set(expected):
        raise ValueError(f"{what} must hold {expected}, got {list(given)}")


def _option_of_all_groups(name: str) -> property:
    def read(self):
        values = [getattr(group.rule, name) for group in self._groups]
        if any(value != values[0] for value in values):
            raise ValueError(
                f"{name} must be read group by group where groups differ, got "
                + ", ".join(f"{value!r} in group {k}" for k, value in enumerate(values))
                + f": opt.groups[0][{name!r}]")
        return values[0]

    def assign(self, value) -> None:
        self._assign(range(len(self._groups)), name, value)

    return property(read, assign, doc=f"The option {name} of all groups, which can be assigned. "
                                      "ValueError where groups differ.")


def _storage_option(name: str) -> property:
    def read(self):
        return getattr(self._storage, name)

    def assign(self, value) -> None:
        self._commit([group.rule for group in self._groups],
                     self._storage.replaced(**{name: value}))

    if name in READ_ONLY:
        return property(read, doc=f"The option {name}, as the states were made.")
    return property(read, assign, doc=f"The option {name}, which can be assigned.")


class _Elsewhere:
    """An attribute that there is not, and whose AttributeError says what stands in its place.

    A __getattr__ could say more, but on Python 3.11 it makes each look at any attribute 0.03 us
    slower, and a step takes a dozen.
    """

    def __init__(self, name: str, hint: str) -> None:
        self.name, self.hint = name, hint
        self.__doc__ = f"Not here: {hint}."

    def __get__(self, optimizer: object, kind: type):
        self.refuse(kind)

    def refuse(self, kind: type) -> None:
        raise AttributeError(f"{kind.__name__} has no attribute {self.name!r}: {self.hint}")


def _keys_of(given: object, names: list[str | int], what: str) -> dict[str | int, str | int]:
    """Name -> the key that stands for it in a mapping or list that must hold just these names.

    JSON and npz make "0" of a sequence's 0; a mapping's own "0" is a string in both.
    """
    known, found, keys = set(names), dict.fromkeys(given), {}
    for name in names:
        if name in found:
            keys[name] = name
        elif isinstance(name, int) and (text := str(name)) in found and text not in known:
            keys[name] = text
    if not len(keys) == len(names) == len(given):
        raise ValueError(f"{what} must hold {names}, got {list(given)}")
    return keys


def _by_name(given: object, names: list[str | int], what: str) -> dict[str | int, object]:
    """A mapping's values, under the names as they are here and in their order."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(given).__name__}")
    return {name: given[key] for name, key in _keys_of(given, names, what).items()}


def _saved_rate(lr: object) -> object:
    """A learning rate as a plain value: schedules.from_value makes a schedule of it again."""
    if not callable(lr):
        return lr
    from fastoptim import schedules  # here, since the import would take some milliseconds

    return schedules.to_value(lr)


def _resumed_rate(saved: object, here: object, what: str) -> object:
    """The learning rate that a run goes on with, `here` being the optimizer's."""
    if isinstance(saved, Mapping) and "callable" not in saved:
        from fastoptim import schedules

        lr = schedules.from_value(saved, what)
        if callable(here) and here != lr:
            raise ValueError(f"{what} must be the schedule that was saved, {lr!r}, or a number to "
                             f"be replaced by it, got {here!r}: to go on with another schedule "
                             "than the saved one, pass lr= to load_state_dict")
        return lr
    is_named = isinstance(saved, str) and saved == SCHEDULE
    is_callable = is_named or isinstance(saved, Mapping)
    if not is_callable:
        saved = checks.number(what, saved)
    if callable(here):
        return here
    if is_callable:
        was = SCHEDULE if is_named else f"schedule {saved['callable']}"
        remedy = ", or pass lr= to load_state_dict" if what == "lr" else ""
        raise ValueError(f"{what} must be a schedule, as it was when the state was saved (a {was}, "
                         f"which a state cannot hold), got {here!r}: make the optimizer with "
                         f"it{remedy}")
    return saved


class Optimizer:
    """What all optimizers share. Use SGD, Momentum, RMSProp, Adam or AdamW.

    Args:
        params: what is updated, in place: an array, a sequence of arrays, a mapping name ->
            array, or a list of groups `{"params": ..., "lr": ..., ...}` with options of their
            own. float32, float64, bfloat16 (of ml_dtypes) or float16, writable, any strides whose
            elements do not overlap; NumPy arrays, or anything with the buffer protocol or DLPack
            on the CPU. A mapping or list must go on holding these arrays: a step refuses one in
            which another was put in the place of one of them.
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

    Options are attributes too. Those of the rule, `seed` and `rounding` can be assigned, which
    counts from the next step on, for all groups: `opt.weight_decay = 0.1`.

    Raises:
        TypeError, ValueError: an array or option that breaks a rule above; the message states
        the rule and what came. Nothing has changed then.
        AttributeError: an attribute that there is not, or that cannot be assigned; the message
        says what to do instead.
    """

    Rule: type[Rule]

    def __init_subclass__(cls) -> None:
        for name in cls.Rule.defaults:
            setattr(cls, name, _option_of_all_groups(name))
        keyword = [Parameter("lr", Parameter.KEYWORD_ONLY, default=cls.Rule.lr)]
        keyword += [Parameter(name, Parameter.KEYWORD_ONLY, default=default)
                    for kind in (cls.Rule, StorageOptions)
                    for name, default in kind.defaults.items()]
        cls.__signature__ = Signature([
            Parameter("params", Parameter.POSITIONAL_OR_KEYWORD),
            Parameter("grads", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            *keyword,
        ])

    def __init__(self, params=None, grads=None, *, lr=None, **options) -> None:
        kind = type(self).__name__
        if not hasattr(type(self), "Rule"):
            raise TypeError("Optimizer is what all have in common: use SGD, Momentum, RMSProp, "
                            "Adam or AdamW")
        if params is None:
            raise TypeError("params must be an array, a sequence or a mapping of arrays, got "
                            f"NoneType: {kind}(params, lr=...)")
        if type(grads) in (int, float) or callable(grads):
            raise TypeError("grads must be an array, a sequence or a mapping of arrays, got "
                            f"{type(grads).__name__}: a rate is given by name, {kind}(params, "
                            f"lr={'schedule' if callable(grads) else grads})")
        storage = {name: options.pop(name)
                   for name in StorageOptions.defaults if name in options}
        self._storage = StorageOptions(**storage)
        rule = make_rule(self.Rule, options, kind, others=StorageOptions.defaults)
        self._lr = _check_lr(self.Rule.lr if lr is None else lr)
        self._params: dict[str | int, np.ndarray] = {}
        self._stored: dict[str | int, str] = {}  # as what: float32, ...
        self._groups: list[_Members] = []
        self._kept = []  # the mappings and lists of parameters
        if parameters.is_groups(params):
            for given in params:
                self._add_group(dict(given), options)
        else:
            self._add(params, rule, None)
        if not self._params:
            raise ValueError("params must hold at least one array, got none")

        self._names = list(self._params)
        ordered = [None] * len(self._names)
        bound = []
        if grads is not None:
            given = parameters.in_order(grads, self._names)
            bound = parameters.kept("grads", grads, dict(zip(self._names, given)))
            ordered = [_core.as_array(grad, f"grad {name!r}", keep_subclass=True)
                       for name, grad in zip(self._names, given)]
        # What a step compares where gradients come with it, and where they are bound.
        self._kept, self._kept_if_bound = tuple(self._kept), (*self._kept, *bound)
        self._state = {}
        tensors = []
        for k, group in enumerate(self._groups):
            for name in group.names:
                p = self._params[name]
                labels = [f"parameter {name!r}", f"grad {name!r}"]
                states = make_states(self._storage, group.rule, p, self._stored[name], labels[0])
                self._state[name] = states.shown
                labels += [f"state {s!r} of {name!r}" for s in states.arrays]
                if states.master is not None:
                    labels.append(f"the master of {name!r}")
                tensors.append(_core.Tensor(
                    group=k, labels=labels, parameter=p, gradient=ordered[len(tensors)],
                    states=list(states.arrays.values()), scales=list(states.scales.values()),
                    master=states.master))
        self._note_rates()
        self._core = _core.Step([group.rule.to_core() for group in self._groups], tensors, 0,
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
        rule = make_rule(self.Rule, options | given, f"a group of {type(self).__name__}")
        self._add(params, rule, None if lr is None else _check_lr(lr))

    def _add(self, params, rule: Rule, lr) -> None:
        names = []
        given = parameters.named(params, "params", len(self._params))
        self._kept += parameters.kept("params", params, given)
        for name, x in given.items():
            label = f"parameter {name!r}"
            if name in self._params:
                raise ValueError(f"{label} must stand in one group only, got two")
            array = _core.as_array(x, label, keep_subclass=True)
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
            >= 0; a mapping or list of parameters, or of bound gradients, that holds other arrays
            than when the optimizer was made: `params["W"] = params["W"] / 2` makes a new array,
            `params["W"] /= 2` writes into this one. RuntimeError: another thread is stepping this
            optimizer, or was when this process was forked, which has left a part of it a step
            behind: write saved values into the parameters and call `load_state_dict`, or make a
            new one. In every case nothing has changed: no parameter, no state, no count.
        """
        if grads is not None:
            grads = parameters.in_order(grads, self._names)
            kept = self._kept
        else:
            kept = self._kept_if_bound
        if self._one_fixed_rate:
            lr, t = self._lr, None
        else:
            t = self._core.t
            shared = self._evaluate(self._lr)
            lr = [self._rate(group, shared) for group in self._groups]
        if self._core.run(lr, grads, t, kept) is False:
            parameters.check_kept(kept)
            self._core.run(lr, grads, t)  # they only stand in another order

    def _note_rates(self) -> None:
        """Whether one number serves every group and step: then a step need not ask."""
        self._one_fixed_rate = _is_one_fixed_rate(self._lr, [group.lr for group in self._groups])

    def _set_rate(self, owner, attribute: str, lr) -> None:
        # An interrupt between two of these leaves the long way, which is always right.
        self._one_fixed_rate = False
        setattr(owner, attribute, lr)
        self._note_rates()

    def _assign(self, groups: Iterable[int], option: str, value: object) -> None:
        """Sets an option of some groups: of all of them or of none."""
        rules = [group.rule for group in self._groups]
        for k in groups:
            changed = rules[k].replaced(**{option: value})
            if (changed.kernel, changed.states) != (rules[k].kernel, rules[k].states):
                raise ValueError(
                    f"{option} must stay as it was when the optimizer was made, since other states "
                    f"go with {value!r}: make a new optimizer"
                )
            rules[k] = changed
        self._commit(rules)

    def _commit(self, rules, storage=None, progress=None, copies=(), stores=()) -> None:
        """Changes the core's facts and what Python keeps of them, all or nothing.

        rules: one a group. stores: further (object, attribute, value). The rest: _core.Step.commit.
        """
        storage = self._storage if storage is None else storage
        stores = [(self, "_storage", storage),
                  *((group, "rule", rule) for group, rule in zip(self._groups, rules)), *stores]
        self._core.commit([rule.to_core() for rule in rules], storage.stochastic, storage.seed,
                          progress, copies, stores)

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

        Either takes the place of the one before: `opt.lr *= 0.5` reads the number of the coming
        step, and assigns half of it for all steps from then on. Groups that were given a rate of
        their own keep it.
        """
        return self._evaluate(self._lr)

    @lr.setter
    def lr(self, value) -> None:
        self._set_rate(self, "_lr", _check_lr(value))

    @property
    def groups(self) -> tuple[Group, ...]:
        """The parameter groups; their options can be read and assigned by name."""
        return tuple(Group(self, k) for k in range(len(self._groups)))

    @property
    def params(self) -> Mapping[str | int, np.ndarray]:
        """Name -> parameter; arrays of a sequence are named by position.

        Read-only, but for the arrays themselves: `opt.params[name][...] = value`.
        """
        return ReadOnly(self._params, "opt.params[{key}] must be written in place, since the "
                        "optimizer updates the array that it was given: "
                        "opt.params[{key}][...] = value")

    @property
    def state(self) -> Mapping[str | int, Mapping[str, np.ndarray]]:
        """Name -> the parameter's states, name -> array.

        Read-only, but for the arrays themselves, which are live: `opt.state[name]["v"][...] = 0`.
        """
        return ReadOnly(
            {name: ReadOnly(states, f"opt.state[{name!r}][{{key}}] must be written in place, since "
                            "the optimizer goes on with the array that it has: "
                            f"opt.state[{name!r}][{{key}}][...] = value")
             for name, states in self._state.items()},
            "opt.state[{key}] must be written in place, since the optimizer goes on with the "
            "arrays that it has: opt.state[{key}][state][...] = value, or call load_state_dict")

    def state_dict(self) -> dict:
        """All that a run needs to go on bit for bit, as a plain dict: a copy of this moment.

        `t` counts the optimizer's steps, `counts` those of each parameter. The schedules of
        `fastoptim.schedules` are saved as plain values; of another callable only its position,
        which is `t`, and its repr.

        Raises:
            RuntimeError: another thread is stepping this optimizer, or was at a fork.
        """
        t, counts, numbers, copies = self._core.snapshot(
            [x for states in self._state.values() for x in states.values()])
        left = iter(copies)
        numbers = dict(zip(self._names, numbers))
        return {
            "format": FORMAT,
            "rule": self.Rule.name,
            "t": t,
            "counts": dict(zip(self._names, counts)),
            "lr": _saved_rate(self._lr),
            "storage": self._storage.as_dict(),
            "groups": [
                # In the order of their numbers, which random bits depend on.
                {"params": sorted(group.names, key=numbers.__getitem__),
                 "lr": _saved_rate(group.lr),
                 **group.rule.as_dict()}
                for group in self._groups
            ],
            "state": {name: {s: next(left) for s in states}
                      for name, states in self._state.items()},
        }

    def load_state_dict(self, d: Mapping, *, lr=None) -> None:
        """Goes on from a state_dict: the counts, the options, the learning rate and the states.

        The optimizer must have been made for parameters of the same names, shapes and dtypes, in
        the same groups, with the same rule and the same states. Names decide, not their order; a
        sequence's 0 may have become "0", as JSON makes it.

        A number or a schedule of `fastoptim.schedules` is taken from `d`; a schedule that stands
        here stays where a number was saved. Where another callable was saved, a schedule must stand
        here.

        Args:
            d: a state_dict of this version or an earlier one.
            lr: the learning rate to go on with in place of the saved one, a number or a schedule.
                Groups that have one of their own keep it.

        Raises:
            TypeError, ValueError: what differs, by name. Nothing has changed then, nor where an
            exception comes out of a signal handler.
        """
        old = isinstance(d, Mapping) and d.get("format") == 1
        _check_names(d, [key for key in KEYS if not (old and key == "counts")], "a state_dict")
        if d["format"] not in (1, FORMAT):
            raise ValueError(f"format must be 1 or {FORMAT}, got {d['format']!r}")
        if d["rule"] != self.Rule.name:
            raise ValueError(f"rule must be {self.Rule.name!r}, got {d['rule']!r}")
        t = checks.integer("t", d["t"], low=0, high=checks.MAX_STEPS)
        counts = [t] * len(self._names) if old else [
            checks.integer(f"the count of {name!r}", count, low=0, high=checks.MAX_STEPS)
            for name, count in _by_name(d["counts"], self._names, "counts").items()]
        lr = _resumed_rate(d["lr"], self._lr, "lr") if lr is None else _check_lr(lr)
        storage = self._storage.resumed(d["storage"])

        if not isinstance(d["groups"], (list, tuple)) or len(d["groups"]) != len(self._groups):
            raise ValueError(f"groups must be a list of {len(self._groups)}, got {d['groups']!r}")
        rules, rates, numbers = [], [], {}
        for k, (group, given) in enumerate(zip(self._groups, d["groups"])):
            _check_names(given, ["params", "lr", *group.rule.defaults], f"group {k}")
            given = dict(given)
            names = given.pop("params")
            if not isinstance(names, (list, tuple)) or not all(
                    isinstance(name, (str, int)) for name in names):
                raise TypeError(f"params of group {k} must be a list of names, got {names!r}")
            keys = _keys_of(names, group.names, f"params of group {k}")
            places = dict(zip(names, range(len(numbers), len(numbers) + len(names))))
            numbers |= {name: places[key] for name, key in keys.items()}
            rate = given.pop("lr")
            if rate is None:
                rates.append(group.lr if callable(group.lr) else None)
            else:
                rates.append(_resumed_rate(rate, group.lr, f"lr of group {k}"))
            rule = make_rule(self.Rule, given)
            if (rule.kernel, rule.states) != (group.rule.kernel, group.rule.states):
                raise ValueError(f"group {k} must have options like {group.rule}, got {rule}")
            rules.append(rule)

        copies = []
        for name, given in _by_name(d["state"], self._names, "state").items():
            states = self._state[name]
            _check_names(given, states, f"state of {name!r}")
            for s, x in states.items():
                label = f"state {s!r} of {name!r}"
                _core.check_updatable(x, label)  # it may have been locked meanwhile
                source = _core.as_array(given[s], label)
                check_blocks(x, source, label)
                x, source = patterns(x), patterns(source)
                _core.check_like(source, label, x, f"parameter {name!r}")
                copies.append((x, source))

        self._commit(rules, storage, (t, counts, [numbers[name] for name in self._names]), copies, [
            (self, "_lr", lr), (self, "_one_fixed_rate", _is_one_fixed_rate(lr, rates)),
            *((group, "lr", rate) for group, rate in zip(self._groups, rates))])

    def __setattr__(self, name: str, value: object) -> None:
        if name[0] != "_" and name != "lr":  # those two often, so first and as fast as can be
            self._check_assignable(name)
        object.__setattr__(self, name, value)

    def _check_assignable(self, name: str) -> None:
        kind = type(self)
        known = getattr_static(kind, name, None)
        if isinstance(known, _Elsewhere):
            known.refuse(kind)
        if not hasattr(kind, name):
            raise AttributeError(f"{kind.__name__} has no attribute {name!r}"
                                 f"{checks.suggestion(name, dir(self))}")
        if name in READ_ONLY:
            hint = READ_ONLY[name]
        elif callable(known):
            hint = f"it is a method, opt.{name}(...)"
        elif isinstance(known, property) and known.fset is None:
            hint = "it can be read only"
        else:
            return
        raise AttributeError(f"{name} of {kind.__name__} must not be assigned to: {hint}")

    def __dir__(self) -> list[str]:
        return [name for name in object.__dir__(self) if name not in ELSEWHERE]

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


for _name in StorageOptions.defaults:
    setattr(Optimizer, _name, _storage_option(_name))
for _name, _hint in ELSEWHERE.items():
    setattr(Optimizer, _name, _Elsewhere(_name, _hint))
