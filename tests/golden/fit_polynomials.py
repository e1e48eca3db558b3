"""Derives the polynomial coefficients of kernels/: run it to see them printed, compare with the files.

    python tests/golden/fit_polynomials.py        (needs mpmath)

Everything is fitted by Chebyshev interpolation with 50 digits; nothing is taken from a library.
"""

import mpmath as mp

mp.mp.dps = 50


def chebyshev_series(function, degree, nodes=60):
    """Coefficients c_0 .. c_degree of the Chebyshev series of `function` on [-1, 1]."""
    angles = [mp.pi * (k + mp.mpf(1) / 2) / nodes for k in range(nodes)]
    values = [function(mp.cos(a)) for a in angles]
    c = [
        2 / mp.mpf(nodes) * mp.fsum(v * mp.cos(j * a) for v, a in zip(values, angles, strict=True))
        for j in range(degree + 1)
    ]
    return [c[0] / 2, *c[1:]]


def monomials(series):
    """The same polynomial in powers of s."""
    basis = [[mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]]
    while len(basis) < len(series):
        next_one = [mp.mpf(0)] + [2 * v for v in basis[-1]]
        for i, v in enumerate(basis[-2]):
            next_one[i] -= v
        basis.append(next_one)
    out = [mp.mpf(0)] * len(series)
    for c, powers in zip(series, basis, strict=True):
        for i, v in enumerate(powers):
            out[i] += c * v
    return out


def scaled_tail(s):
    """exp(z^2 / 2) Q(z) at z = 4 (1 - s) / (1 + s), the upper tail of the normal distribution without its decay."""
    z = 4 * (1 - s) / (1 + s)
    if z > 1000:  # asymptotic series: erfc underflows long before
        return (1 - 1 / z**2 + 3 / z**4 - 15 / z**6 + 105 / z**8) / (z * mp.sqrt(2 * mp.pi))
    return mp.erfc(z / mp.sqrt(2)) * mp.exp(z * z / 2) / 2


def main():
    tail = chebyshev_series(scaled_tail, 23)
    print("gelu.TAIL =", tuple(float(c) for c in tail))
    in_s = monomials(tail[:13])
    in_u = [mp.fsum(c * mp.binomial(k, j) * (-2) ** j for k, c in enumerate(in_s)) for j in range(13)]  # s = 1 - 2u
    print("gelu.R0..R12 =", [float(c) for c in in_u])
    half_ln2 = mp.log(2) / 2
    powers = monomials(chebyshev_series(lambda s: mp.exp(half_ln2 * s), 6, nodes=40))
    print("exp.C0..C6 =", [float(c / half_ln2**i) for i, c in enumerate(powers)])


if __name__ == "__main__":
    main()
