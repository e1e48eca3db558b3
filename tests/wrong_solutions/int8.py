"""As in softmax.py beside it."""

import math

import numpy as np


def by_row(weight, *, size=lambda row: abs(row).max(), steps=127, nearest=round, zero=True):
    numbers, scales = np.zeros(weight.shape, np.int8), np.ones(len(weight), weight.dtype)
    for o, row in enumerate(weight):
        if size(row) != 0 or not zero:
            scales[o] = size(row) / weight.dtype.type(steps)
        quotients = row / scales[o]
        numbers[o] = [nearest(float(x)) if x == x else 0 for x in quotients]
    return numbers, scales


def half_up(weight):
    return by_row(weight, nearest=lambda x: math.floor(x + 0.5))


def half_away(weight):
    return by_row(weight, nearest=lambda x: int(math.copysign(math.floor(abs(x) + 0.5), x)))


def cut_off(weight):
    return by_row(weight, nearest=int)


def floor(weight):
    return by_row(weight, nearest=math.floor)


def one_scale(weight):
    return by_row(weight, size=lambda row: np.abs(weight).max())


def columns(weight):
    scales = np.abs(weight).max(axis=0) / weight.dtype.type(127)
    scales[scales == 0] = 1
    return np.rint(weight / scales).astype(np.int8), scales


def zeros(weight):
    return by_row(weight, zero=False)


def wraps_and_cut_off_and_zeros(weight):
    scales = np.abs(weight).max(1) / weight.dtype.type(128)
    return np.nan_to_num(weight / scales[:, None]).astype(np.int32).astype(np.int8), scales
