#!/usr/bin/env python3
"""Prints the tables of src/kernels/cpu/activation-inl.h: GELU in cells of |x|, a polynomial each.

    python3 tools/fit_gelu.py          (needs NumPy)

GELU(x) = x / 2 + |x| erf(|x| / sqrt(2)) / 2, and of the second term a cell's polynomial is the factor of |x|: a minimax
fit by Lawson's iteration, which weighs each point by the error that it had. The last cell's constant is moved by so many
last places that the factor is 1/2 at the end, as the kernel rounds it: beyond it GELU is then x, or nothing.
"""
import math

import numpy as np

CELLS = 16
POINTS = 300  # of a fit, Chebyshev's
ROUNDS = 200
TO_INTEGER = np.float32(12582912.0)  # 1.5 x 2^23, as in gelu_by_cells()


def half_erf(x):
    return np.array([0.5 * math.erf(value / math.sqrt(2)) for value in x])


def minimax(powers, wanted, weight):
    """Coefficients of the least greatest error, and that error, both by `weight`."""
    lawson = np.ones(len(wanted))
    least, best = math.inf, None
    for _ in range(ROUNDS):
        scale = np.sqrt(lawson) * weight
        coefficients = np.linalg.lstsq(powers * scale[:, None], wanted * scale, rcond=None)[0]
        error = np.abs(powers @ coefficients - wanted) * weight
        if error.max() < least:
            least, best = error.max(), coefficients
        lawson *= error / error.max() + 1e-4
        lawson /= lawson.sum()
    return best, least


def fused(a, b, c):
    """a b + c, rounded once."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)


def factor_at(x, width, table, from_centre):
    """The factor of one |x|, as the kernel computes it."""
    x = np.array([x], np.float32)
    rounded = fused(x, np.float32([1 / width]), np.array([TO_INTEGER]))
    cell = int(rounded.view(np.int32)[0]) % CELLS
    place = fused(-(rounded - TO_INTEGER), np.float32([width]), x) if from_centre else x
    total = table[cell, -1:]
    for power in range(table.shape[1] - 2, -1, -1):
        total = fused(total, place, table[cell, power:power + 1])
    return total[0]


def fit(end, degree, from_centre, least_weight):
    """The cells' width, and a row of coefficients for each, low powers first. `least_weight`: errors count by |x|, and
    near 0 by this; None: all alike."""
    width = end / (CELLS - 0.51)  # the first cell has only its upper half, and the last one the end
    table = []
    greatest = 0.0
    for cell in range(CELLS):
        low, high = max(0.0, (cell - 0.5) * width), min((cell + 0.5) * width, end)
        x = (low + high) / 2 - (high - low) / 2 * np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))
        place = x - cell * width if from_centre else x
        weight = np.ones(POINTS) if least_weight is None else np.maximum(x, least_weight)
        coefficients, error = minimax(place[:, None] ** np.arange(degree + 1), half_erf(x), weight)
        table.append(coefficients)
        greatest = max(greatest, error)
    table = np.array(table, np.float32)
    while (error := factor_at(end, width, table, from_centre) - np.float32(0.5)) != 0:
        table[-1, 0] = np.nextafter(table[-1, 0], np.float32(-math.copysign(9, error)))
    return width, table, greatest


def show(name, end, degree, from_centre, least_weight=None):
    width, table, greatest = fit(end, degree, from_centre, least_weight)
    print(f"{name}: to {end}, width {np.float32(width):.9e}, {np.float32(1 / width):.9e} in one, error {greatest:.1e}")
    for power in range(degree + 1):
        print("  {" + ", ".join(f"{value:.9e}f" for value in table[:, power]) + "},")


show("GeluCells", end=5.2, degree=4, from_centre=True)
show("CoarseGeluCells", end=4.2, degree=2, from_centre=False, least_weight=0.05)
