"""Array arithmetic: every op as a plain NumPy definition, and the same names on faster machinery."""
