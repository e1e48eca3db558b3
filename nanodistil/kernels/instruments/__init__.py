"""What measures and examines: the machine's limits, the ladder to the fast kernel, the self-test."""
