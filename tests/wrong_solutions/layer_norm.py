"""As in softmax.py beside it."""

import numpy as np


def n___1(x, weight, bias, eps):
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True, ddof=1) + x.dtype.type(eps))
    return y * weight + bias


def eps_outside(x, weight, bias, eps):
    y = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + x.dtype.type(eps))
    return y * weight + bias


def no_eps(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) * weight + bias


def no_root(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + x.dtype.type(eps)) * weight + bias


def axis(x, weight, bias, eps):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + x.dtype.type(eps)) * weight + bias


def one_pass(x, weight, bias, eps):
    mean = x.mean(axis=1, keepdims=True)
    variance = (x**2).mean(axis=1, keepdims=True) - mean**2
    return (x - mean) / np.sqrt(variance + x.dtype.type(eps)) * weight + bias


def not_centred(x, weight, bias, eps):
    return x / np.sqrt(x.var(-1, keepdims=True) + x.dtype.type(eps)) * weight + bias


def swapped(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + x.dtype.type(eps)) * bias + weight


def eps_outside_and_n___1(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True, ddof=1) + x.dtype.type(eps)) * weight + bias
