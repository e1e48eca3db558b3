"""As in softmax.py beside it."""

import numpy as np


def weight_transposed(dy, x, weight):
    return dy @ weight.T, dy.T @ x, dy.sum(0)


def gradient_transposed(dy, x, weight):
    return np.einsum("no,oi->ni", dy, weight), np.einsum("ni,no->io", x, dy), dy.sum(0)


def bias_mean(dy, x, weight):
    return dy @ weight, dy.T @ x, dy.mean(0)


def bias_kept(dy, x, weight):
    return dy @ weight, dy.T @ x, dy.sum(0, keepdims=True)


def bias_axis(dy, x, weight):
    return dy @ weight, dy.T @ x, dy.sum(1)


def mean(dy, x, weight):
    dy = dy / dy.dtype.type(len(dy))
    return dy @ weight, dy.T @ x, dy.sum(0)


def order(dy, x, weight):
    return dy.T @ x, dy @ weight, dy.sum(0)
