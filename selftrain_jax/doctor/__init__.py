"""Looks at a data set before training: faults, leaks between splits, statistics, a page."""
