"""Training: the backward pass beside the forward one, losses, the optimiser, and the runs made of them."""
