"""What compiled kernels live on: a compiler and its cache, threads, calls by address, memory used again."""
