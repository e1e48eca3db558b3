"""The meaning: every op, and its derivative, in plain NumPy. Imports nothing but NumPy; float64 works too."""
