"""Our runs beside the paper: `results.py` reads them; tables, figures and findings show them.

`command.py` has what the command prints.
"""
