"""Training of any `Task`: start with `loop.train`."""
