"""A run as a small graph of stages, each with a folder and a record of what decided its result.

`settings.py` is the table of config keys, `inputs.py` gives data and weights their digests, `graph.py` names
the stages, `records.py` writes and compares stage.json, `variants.py` and `folders.py` share stages and move
them aside.
"""
