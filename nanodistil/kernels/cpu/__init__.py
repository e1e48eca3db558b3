"""The same names on kernels compiled by Numba: numba_ops and numba_backward, and linear maps in fewer bits."""
