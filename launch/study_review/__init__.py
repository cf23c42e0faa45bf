"""What correcting pseudo labels by hand gains: the least sure images against random ones against none."""
