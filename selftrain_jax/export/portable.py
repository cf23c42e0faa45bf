"""A function without choices by platform, for exporters that know none; call `without_choices()`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

INLINED = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint")


def without_choices(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with every `lax.platform_dependent` made its default, and inner functions inlined.

    The default is the form that any platform can compute. Functions inside loops and conditions stay.
    """

    def portable(*arguments: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        found = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return portable


def _evaluate(jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        operands = [read(variable) for variable in equation.invars]
        name, params = equation.primitive.name, equation.params
        if name == "platform_index":
            found = [0]  # read by choices alone, which are made
        elif name == "cond" and params.get("branches_platforms"):
            found = _evaluate_default(params, operands[1:])  # the first is the platform's number
        elif name in INLINED:
            found = _evaluate(*_inner(params), operands)
        else:
            found = equation.primitive.bind(*operands, **params)
            found = found if equation.primitive.multiple_results else [found]
        values.update(zip(equation.outvars, found, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _evaluate_default(params: Mapping[str, Any], operands: Sequence[Any]) -> list[Any]:
    branch = params["branches"][params["branches_platforms"].index(None)]  # None marks the default
    return _evaluate(branch.jaxpr, branch.consts, operands)


def _inner(params: Mapping[str, Any]) -> tuple[Jaxpr, Sequence[Any]]:
    """Return the function that an equation calls, and its constants."""
    function = next(params[key] for key in ("jaxpr", "call_jaxpr") if key in params)
    return (function.jaxpr, function.consts) if isinstance(function, ClosedJaxpr) else (function, ())
