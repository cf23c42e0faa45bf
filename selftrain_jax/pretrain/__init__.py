"""Weights of the official networks, and of others, brought into ours."""
