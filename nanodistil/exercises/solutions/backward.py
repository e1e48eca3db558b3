"""linear_backward: three lines, one a gradient."""


def linear_backward(dy, x, weight):
    dx = dy @ weight
    dW = dy.T @ x
    db = dy.sum(axis=0)
    return dx, dW, db
