"""The graph of stages worked off by ordinary commands: `python -m selftrain_jax.paper run`, `status`.

`commands.py` maps a stage to its command, `outcomes.py` reads what a command left, `runner.py` works off.
"""
