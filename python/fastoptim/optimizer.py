"""What all optimizers share: parameters, groups, states, the step. The core does the arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastoptim import _core, checks, parameters
from fastoptim.attributes import Guarded, Option, StorageOption, refuse_no_params
from fastoptim.group import Group, GroupData, check_lr, is_one_fixed_rate
from fastoptim.options import ReadOnly
from fastoptim.rules import Rule
from fastoptim.state_dict import load_state_dict, state_dict
from fastoptim.storage import StorageOptions, make_states, state_dtypes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, ClassVar, NoReturn

    from fastoptim.parameters import Kept
    from fastoptim.rules import Variant
    from fastoptim.storage import AnyArray
    from fastoptim.types import Grads, Params, Schedule

__all__ = ["Group", "Optimizer"]


def options_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the options among the locals() of a constructor that begins with super()."""
    others = ("self", "params", "grads", "unknown", "__class__")
    unknown: dict[str, Any] = arguments["unknown"]
    return {name: x for name, x in arguments.items() if name not in others} | unknown


def _warm_up(variant: Variant) -> None:
    """Take a step on arrays of its own, so that the first real one finds its code in the caches.

    At 10^3 elements a first step takes 11 us without that, the second 2 (bench/overhead.py).
    """
    p, g, *states = np.zeros((2 + len(variant.states), 100), np.float32)  # whole vectors and a rest
    tensor = _core.Tensor(parameter=p, gradient=g, states=states,
                          labels=["warm-up"] * (2 + len(states)))
    _core.Step([variant.warm_up()], [tensor]).run(0.0, None, None)


class Optimizer(Guarded):
    """What all optimizers share. Use SGD, Momentum, RMSProp, Adam or AdamW.

    Parameters
    ----------
    params : array, sequence or mapping of arrays, or list of groups
        What is updated, in place: float32, float64, bfloat16 (of ml_dtypes) or
        float16, writable, of any shape, and any strides whose elements do not
        overlap. NumPy arrays, or anything with the buffer protocol or DLPack on
        the CPU. Groups are mappings ``{"params": ..., "lr": ..., ...}`` with
        options of their own. A step refuses a mapping or list in which another
        array was put in the place of one of these.
    grads : array, sequence or mapping of arrays, optional
        Gradients to bind, by name for a mapping, else in the parameters' order.
        `step()` then takes nothing: write new gradients into these arrays.
    lr : float or callable
        The learning rate, >= 0, or a schedule: a callable from the step, which
        counts from 0, to the rate.
    **options
        Those of the rule, as in its class, and how elements are stored:
        `state_dtype`, `seed`, `rounding`, `master` and `uint16_is_bfloat16`.

    Attributes
    ----------
    t : int
        The steps taken.
    params : mapping of name to array
        The parameters.
    state : mapping of name to mapping of state to array
        The states of each parameter.
    groups : tuple of Group
        The parameter groups.
    rule : str
        What a state_dict calls the rule.

    Raises
    ------
    TypeError
        An array or an option is of a kind that is not taken. As with all
        errors, the message states the rule and what came.
    ValueError
        A shape or a value is not one that is taken.

    Notes
    -----
    Every option is an attribute too. Those of the rule, `lr`, `seed` and
    `rounding` can be assigned, for all groups, which counts from the next step
    on: ``opt.weight_decay = 0.1``. An attribute that there is not, or that
    cannot be assigned, raises an AttributeError that says what to do instead.
    """

    rule: ClassVar[str]
    _kernel: ClassVar[str]  # what the functor calls the rule

    weight_decay = Option[float]()
    decoupled = Option[bool]()
    maximize = Option[bool]()
    state_dtype = StorageOption["str | None"]()
    seed = StorageOption[int]()
    rounding = StorageOption[str]()
    master = StorageOption[bool]()
    uint16_is_bfloat16 = StorageOption[bool]()

    def __init__(self, params: Params, grads: Grads | None = None, *, lr: float | Schedule,
                 **options: Any) -> None:
        kind = type(self).__name__
        if params is None:
            refuse_no_params(type(self))
        kind_of_grads: type[object] = type(grads)
        if kind_of_grads in (int, float) or callable(grads):
            raise TypeError("grads must be an array, a sequence or a mapping of arrays, got "
                            f"{kind_of_grads.__name__}: a rate is given by name, {kind}(params, "
                            f"lr={'schedule' if callable(grads) else grads})")
        storage = {name: options.pop(name)
                   for name in StorageOptions.defaults if name in options}
        self._storage = StorageOptions(**storage)
        rule = Rule(self.rule, self._kernel, options, kind, others=StorageOptions.defaults)
        self._lr = check_lr(lr)
        self._params: dict[str | int, AnyArray] = {}
        self._stored: dict[str | int, str] = {}  # as what: float32, ...
        self._groups: list[GroupData] = []
        self._kept: tuple[Kept, ...] = ()  # the mappings and lists of parameters
        if parameters.is_groups(params):
            groups: Any = params
            for given in groups:
                self._add_group(dict(given), options)
        else:
            self._add(params, rule, None)
        if not self._params:
            raise ValueError("params must hold at least one array, got none")

        self._names = list(self._params)
        bound: list[Any] = [None] * len(self._names)
        # What a step compares where gradients come with it, and where they are bound.
        self._kept_if_bound: tuple[Kept, ...] = self._kept
        if grads is not None:
            in_order = parameters.in_order(grads, self._names)
            kept = parameters.kept("grads", grads, dict(zip(self._names, in_order)))
            self._kept_if_bound = (*self._kept, *kept)
            bound = [_core.as_array(grad, f"grad {name!r}", keep_subclass=True)
                     for name, grad in zip(self._names, in_order)]
        self._state: dict[str | int, dict[str, AnyArray]] = {}
        tensors: list[tuple[object, ...]] = []
        for k in range(len(self._groups)):
            self._bind(k, bound, tensors)
        self._note_rates()
        self._core = _core.Step([group.rule.to_core() for group in self._groups], tensors, 0,
                                self._storage.uint16_is_bfloat16)
        self._core.set_rounding(self._storage.stochastic, self._storage.seed)
        _warm_up(rule.variant)
        # Last, since threads that have just worked do not sleep yet when the first step comes.
        self._core.zero_states()

    def _add_group(self, given: dict[str, Any], options: dict[str, Any]) -> None:
        if "params" not in given:
            raise ValueError(f"a group must hold 'params', got {list(given)}")
        params = given.pop("params")
        lr = given.pop("lr", None)
        rule = Rule(self.rule, self._kernel, options | given, f"a group of {type(self).__name__}")
        self._add(params, rule, None if lr is None else check_lr(lr))

    def _add(self, params: Any, rule: Rule, lr: float | Schedule | None) -> None:
        """Append a group."""
        names = []
        given = parameters.named(params, "params", len(self._params))
        self._kept += tuple(parameters.kept("params", params, given))
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
        self._groups.append(GroupData(rule, lr, names))

    def _bind(self, k: int, grads: list[Any], tensors: list[tuple[object, ...]]) -> None:
        """Allocate the states of group k's parameters, and append each with all that goes with it.

        In tuples, which the garbage collector need not visit where they hold arrays and strings:
        lists made 10^5 parameters take three times as long.
        """
        rule, storage = self._groups[k].rule, self._storage
        dtypes: dict[str, Any] = {}  # of the states, by how a parameter is stored
        for name in self._groups[k].names:
            p, stored, label = self._params[name], self._stored[name], f"parameter {name!r}"
            if stored not in dtypes:
                dtypes[stored] = state_dtypes(storage, rule, stored, label)
            states = make_states(storage, dtypes[stored], p, stored)
            self._state[name] = states.as_dict()
            labels = (label, f"grad {name!r}", *[f"state {s!r} of {name!r}" for s in rule.states])
            if states.master is not None:
                labels += (f"the master of {name!r}",)
            tensors.append(_core.Tensor(
                group=k, labels=labels, parameter=p, gradient=grads[len(tensors)],
                states=tuple(states.arrays.values()), scales=tuple(states.scales.values()),
                master=states.master))

    def step(self, grads: Grads | None = None) -> None:
        """Update every parameter in place, in one pass over memory.

        Parameters
        ----------
        grads : array, sequence or mapping of arrays, optional
            The gradients, of the parameters' shapes and dtypes (but float32,
            bfloat16 and float16 go together): by name in any order, or in the
            parameters' order, or the one array. By default those that were
            bound.

        Raises
        ------
        TypeError
            A gradient is no array, or of another dtype.
        ValueError
            A gradient is missing, unexpected, of another shape, or shares
            memory with what is written; the learning rate is not finite and
            >= 0; or a mapping or list of parameters, or of bound gradients,
            holds other arrays than when the optimizer was made:
            ``params["W"] = params["W"] / 2`` makes a new array,
            ``params["W"] /= 2`` writes into this one.
        RuntimeError
            Another thread is stepping this optimizer, or was when this process
            was forked, which has left a part of it a step behind: write saved
            values into the parameters and call `load_state_dict`, or make a new
            one.

        Notes
        -----
        After an error nothing has changed: no parameter, no state, no count.
        """
        if grads is not None:
            grads = parameters.in_order(grads, self._names)
            kept = self._kept
        else:
            kept = self._kept_if_bound
        lr: object
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
        """Note whether one number serves every group and step: then a step need not ask."""
        self._one_fixed_rate = is_one_fixed_rate(self._lr, [group.lr for group in self._groups])

    def _set_rate(self, owner: object, attribute: str, lr: float | Schedule | None) -> None:
        # An interrupt between two of these leaves the long way, which is always right.
        self._one_fixed_rate = False
        setattr(owner, attribute, lr)
        self._note_rates()

    def _assign(self, groups: Iterable[int], option: str, value: object) -> None:
        """Set an option of some groups: of all of them or of none."""
        rules = [group.rule for group in self._groups]
        for k in groups:
            changed = rules[k].replaced(**{option: value})
            if not changed.is_variant_of(rules[k]):
                raise ValueError(
                    f"{option} must stay as it was when the optimizer was made, since other states "
                    f"go with {value!r}: make a new optimizer"
                )
            rules[k] = changed
        self._commit(rules)

    def _commit(self, rules: list[Rule], storage: StorageOptions | None = None,
                progress: object = None, copies: Iterable[object] = (),
                stores: Iterable[tuple[object, str, object]] = ()) -> None:
        """Change the core's facts and what Python keeps of them, all or nothing.

        rules: one a group. stores: further (object, attribute, value). The rest: _core.Step.commit.
        """
        storage = self._storage if storage is None else storage
        stores = [(self, "_storage", storage),
                  *((group, "rule", rule) for group, rule in zip(self._groups, rules)), *stores]
        self._core.commit([rule.to_core() for rule in rules], storage.stochastic, storage.seed,
                          progress, tuple(copies), stores)

    def _evaluate(self, lr: float | Schedule) -> float:
        if callable(lr):
            return checks.number(f"the learning rate of step {self.t}", lr(self.t))
        return lr

    def _rate(self, group: GroupData, shared: float) -> float:
        return shared if group.lr is None else self._evaluate(group.lr)

    @property
    def t(self) -> int:
        """The steps taken."""
        return self._core.t

    @property
    def lr(self) -> float:
        """The learning rate of the coming step.

        Assign a number or a schedule to change it. Either takes the place of
        the one before: ``opt.lr *= 0.5`` reads the number of the coming step,
        and assigns half of it for all steps from then on. Groups that were
        given a rate of their own keep it.
        """
        return self._evaluate(self._lr)

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        self._set_rate(self, "_lr", check_lr(value))

    @property
    def groups(self) -> tuple[Group, ...]:
        """The parameter groups; their options can be read and assigned by name."""
        return tuple(Group(self, k) for k in range(len(self._groups)))

    @property
    def params(self) -> Mapping[str | int, AnyArray]:
        """Name -> parameter; arrays of a sequence are named by position.

        Read-only, but for the arrays themselves:
        ``opt.params[name][...] = value``.
        """
        return ReadOnly(self._params, "opt.params[{key}] must be written in place, since the "
                        "optimizer updates the array that it was given: "
                        "opt.params[{key}][...] = value")

    @property
    def state(self) -> Mapping[str | int, Mapping[str, AnyArray]]:
        """Name -> the parameter's states, name -> array.

        Read-only, but for the arrays themselves, which are live:
        ``opt.state[name]["v"][...] = 0``.
        """
        return ReadOnly(
            {name: ReadOnly(states, f"opt.state[{name!r}][{{key}}] must be written in place, since "
                            "the optimizer goes on with the array that it has: "
                            f"opt.state[{name!r}][{{key}}][...] = value")
             for name, states in self._state.items()},
            "opt.state[{key}] must be written in place, since the optimizer goes on with the "
            "arrays that it has: opt.state[{key}][state][...] = value, or call load_state_dict")

    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to go on bit for bit, as a plain dict.

        Returns
        -------
        dict
            Its arrays are copies, of one moment. `t` counts the optimizer's
            steps, `counts` those of each parameter. The schedules of
            `fastoptim.schedules` are saved as plain values; of another callable
            only its position, which is `t`, and its repr.

        Raises
        ------
        RuntimeError
            Another thread is stepping this optimizer, or was at a fork.
        """
        return state_dict(self)

    def load_state_dict(self, d: Mapping[str, Any], *, lr: float | Schedule | None = None) -> None:
        """Go on from a state_dict: counts, options, learning rate and states.

        The optimizer must have been made for parameters of the same names,
        shapes and dtypes, in the same groups, with the same rule and the same
        states. Names decide, not their order; a sequence's 0 may have become
        "0", as JSON makes it.

        A number or a schedule of `fastoptim.schedules` is taken from `d`; a
        schedule that stands here stays where a number was saved. Where another
        callable was saved, a schedule must stand here.

        Parameters
        ----------
        d : mapping
            A state_dict of this version or an earlier one.
        lr : float or callable, optional
            The learning rate, >= 0, or a schedule, to go on with in place of
            the saved one. Groups that have one of their own keep it.

        Raises
        ------
        TypeError
            Something in `d` is of another kind; the message names it.
        ValueError
            Something in `d` differs from what stands here; the message names
            it.

        Notes
        -----
        After an error nothing has changed, nor where an exception comes out of
        a signal handler.
        """
        load_state_dict(self, d, lr)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
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
