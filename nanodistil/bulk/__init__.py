"""Tables of millions of rows, by whatever engine cuts them up: predictor.py, what is sent; loaded.py, what stays."""
