"""exp, tanh, log and log(1 + x) that become vector instructions: polynomials without a branch, for float32.

A call of the C library's function for each number would take most of the time of an activation. These are straight
lines of additions and multiplications, so a loop over them runs on 4 to 16 numbers at once. In float64, which is for
checking rather than for speed, the C library is called.

The arithmetic is spelled out so that nothing may be rearranged: only ``contract`` is set here (cache.py).
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from minidl.engines.numba_engine.cache import njit

LOG2_E = np.float32(1.44269504)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # the first has few bits: n LN2_HIGH is exact
ROUNDER = np.float32(12582912)  # 1.5 * 2^23: adding it rounds to a whole number, which is then in the lowest bits
ROUNDER_BITS = np.int32(0x4B400000)
LEAST_BITS = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
BIAS, FRACTION_BITS = np.int32(127), np.int32(23)  # of a float32's exponent
SIGN_BIT, SIZE_BITS = np.int32(31), np.int32(0x7FFFFFFF)
INFINITY = np.float32(np.inf)


@njit(cache=True)
def exp_float32(x):
    # x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^n e^r.
    x = np.float32(-104) if x < np.float32(-104) else (np.float32(89) if x > np.float32(89) else x)
    shifted = x * LOG2_E + ROUNDER
    n = shifted - ROUNDER
    near = x - n * LN2_HIGH
    r = near - n * LN2_LOW
    lost = (near - r) - n * LN2_LOW  # what rounding took from r
    # e^r = 1 + r + r^2 p(r): the coefficients are those of Cephes's expf, by S. Moshier.
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = np.float32(1) + (r + (p * (r * r) + lost))
    # 2^n in two halves, each written straight into the exponent: 2^-149 could not be written in one.
    whole = np.int32(np.float32(shifted).view(np.int32) - ROUNDER_BITS)
    half = np.int32(whole >> np.int32(1))
    first = np.int32((half + BIAS) << FRACTION_BITS).view(np.float32)
    second = np.int32((whole - half + BIAS) << FRACTION_BITS).view(np.float32)
    return p * first * second


@njit(cache=True)
def tanh_float32(x):
    # Near 0 an odd polynomial (Cephes's tanhf, by S. Moshier), elsewhere 1 - 2 / (e^(2|x|) + 1); both are computed.
    size = abs(x)
    square = x * x
    p = np.float32(-5.70498872745e-3)
    p = p * square + np.float32(2.06390887954e-2)
    p = p * square + np.float32(-5.37397155531e-2)
    p = p * square + np.float32(1.33314422036e-1)
    p = p * square + np.float32(-3.33332819422e-1)
    near = p * (square * x) + x
    far = np.float32(1) - np.float32(2) / (exp_float32(size + size) + np.float32(1))
    return near if size < np.float32(0.625) else math.copysign(far, x)


@njit(cache=True)
def log1p_float32(x):
    # For x in [-1/2, 1]: log(1 + x) = 2 artanh(s) with s = x / (2 + x), |s| <= 1/3, by 2 (s + s^3/3 + s^5/5 + ...).
    s = x / (np.float32(2) + x)
    square = s * s
    p = np.float32(2 / 15)
    p = p * square + np.float32(2 / 13)
    p = p * square + np.float32(2 / 11)
    p = p * square + np.float32(2 / 9)
    p = p * square + np.float32(2 / 7)
    p = p * square + np.float32(2 / 5)
    p = p * square + np.float32(2 / 3)
    return p * (square * s) + (s + s)


@njit(cache=True)
def log_float32(x):
    # For normal x > 0: x = 2^e m with m in [0.707, 1.414), log x = e ln 2 + 2 artanh(s) with s = (m - 1) / (m + 1).
    bits = np.float32(x).view(np.int32)
    e = np.int32((bits - LEAST_BITS) >> FRACTION_BITS)
    m = np.int32(bits - np.int32(e << FRACTION_BITS)).view(np.float32)
    f = m - np.float32(1)
    s = f / (np.float32(2) + f)
    square = s * s
    p = np.float32(2 / 11)
    p = p * square + np.float32(2 / 9)
    p = p * square + np.float32(2 / 7)
    p = p * square + np.float32(2 / 5)
    p = p * square + np.float32(2 / 3)
    n = np.float32(e)
    log_x = n * LN2_HIGH + (n * LN2_LOW + (p * (square * s) + (s + s)))
    return log_x if x < INFINITY else x  # the bits of infinity and NaN mean something else; each is its own logarithm


def exp(x):
    """e^x."""
    return math.exp(x)


def tanh(x):
    """The hyperbolic tangent."""
    return math.tanh(x)


def log(x):
    """log x, for positive normal x, infinity and NaN: what a clipped probability and a sum of exponentials can be."""
    return math.log(x)


def log1p(x):
    """log(1 + x), for x in [-1/2, 1]."""
    return math.log1p(x)


@njit(cache=True)
def order_float32(x):
    # Read as whole numbers, positive floats are in their order; of negative ones the bits but for the sign are turned.
    bits = np.float32(x).view(np.int32)
    return np.int32(bits ^ np.int32(np.int32(bits >> SIGN_BIT) & SIZE_BITS))


@njit(cache=True)
def ordered_float32(n):
    return np.int32(n ^ np.int32(np.int32(n >> SIGN_BIT) & SIZE_BITS)).view(np.float32)


def order(x):
    """A number that is in the order of the floats, where the largest of many is found a vector at a time.

    Of floats it is not, for the compiler has to respect NaN. Here a NaN is beyond infinity, at its sign's end.
    """
    return x


def ordered(n):
    """The float whose ``order`` n is."""
    return n


@njit(cache=True)
def clip(x, low, high):
    """x, or the end of [low, high] that it is beyond; a NaN passes through."""
    return low if x < low else (high if x > high else x)


@njit(cache=True)
def sign(x):
    """-1, 0 or 1; a NaN passes through."""
    return type(x)(1) if x > 0 else (type(x)(-1) if x < 0 else x)


@njit(cache=True)
def same(x):
    return x


def choose(function, float32, otherwise, special=types.float32):
    """Let compiled code call ``function``: the straight line for a float32, the C library for anything else."""

    @overload(function)
    def chosen(x):
        if x == special:
            return lambda x: float32(x)
        return lambda x: otherwise(x)


choose(exp, exp_float32, math.exp)
choose(tanh, tanh_float32, math.tanh)
choose(log, log_float32, math.log)
choose(log1p, log1p_float32, math.log1p)
choose(order, order_float32, same)
choose(ordered, ordered_float32, same, types.int32)
