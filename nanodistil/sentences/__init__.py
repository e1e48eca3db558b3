"""Folders of sentence-transformers: a model of words with steps behind it, which make vectors or scores of its texts.

folder.py reads what a folder says of itself, steps.py, pooling.py and activations.py are what can stand behind the
model, encoding.py puts texts through both. encoder.py, cross_encoder.py and sparse_encoder.py are the three classes a
user loads; similarity.py, precision.py, searching.py and index.py, what is done with vectors.
"""
