"""The multiply-adds of a network, the papers' "FLOPs" (Tables 5 and 6); call `count_multiply_adds`."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from selftrain_jax.errors import InputError


def count_multiply_adds(function: Callable[..., Any], *args: Any) -> int:
    """Count the multiply-adds of the convolutions and products of matrices in `function(*args)`.

    Nothing is computed: `args` may be `jax.ShapeDtypeStruct`s. Element-wise operations, biases and
    normalisations are not counted; products with padding are. A scan counts its body times its length, a
    cond its costliest branch, a choice by platform its default branch.

    Raises:
        InputError: the function has multiply-adds in a while loop, whose number of rounds is unknown.
    """
    return count_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def count_jaxpr(jaxpr: Jaxpr) -> int:
    """Count the multiply-adds of a jaxpr's equations."""
    return sum(count_equation(equation) for equation in jaxpr.eqns)


def count_equation(equation: JaxprEqn) -> int:
    """Count the multiply-adds of one equation, including those of the functions that it calls."""
    name, params = equation.primitive.name, equation.params
    if name == "conv_general_dilated":
        return count_convolution(equation)
    if name == "dot_general":
        left, ((contracted, _), _) = get_shape(equation.invars[0]), params["dimension_numbers"]
        return math.prod(get_shape(equation.outvars[0])) * math.prod(left[axis] for axis in contracted)
    if name == "cond":
        return count_choice(params)
    count = sum(count_jaxpr(inner) for inner in inner_jaxprs(params))
    if name == "while" and count:
        raise InputError("The function has a while loop of unknown length; count its body, or use lax.scan.")
    return count * (params["length"] if name == "scan" else 1)


def count_convolution(equation: JaxprEqn) -> int:
    """Multiply the number of outputs by the inputs of each: the kernel's area times a group's channels."""
    kernel, out_axis = get_shape(equation.invars[1]), equation.params["dimension_numbers"].rhs_spec[0]
    return math.prod(get_shape(equation.outvars[0])) * math.prod(kernel) // kernel[out_axis]


def count_choice(params: dict[str, Any]) -> int:
    """Count the default branch of a choice by platform, and the costliest branch of any other choice."""
    platforms = params.get("branches_platforms")
    if platforms and None in platforms:  # None marks the default of jax.lax.platform_dependent
        return count_jaxpr(params["branches"][platforms.index(None)].jaxpr)
    return max(count_jaxpr(branch.jaxpr) for branch in params["branches"])


def inner_jaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """Yield the functions that an equation calls: jit, scan, remat, custom derivatives."""
    for value in params.values():
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value


def get_shape(variable: Any) -> tuple[int, ...]:
    """Return the shape of an equation's operand or result."""
    return variable.aval.shape
