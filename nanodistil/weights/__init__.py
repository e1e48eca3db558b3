"""From bytes to named arrays: finding, reading, checking and laying out the files of a model."""
