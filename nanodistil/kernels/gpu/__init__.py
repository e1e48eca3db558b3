"""The same names on an NVIDIA GPU: cupy_ops and cupy_backward, on cuBLASLt and the CUDA C in cuda/."""
