"""What a run takes, from shapes and files: memory, disk, time. Nothing is computed and nothing written.

`memory.py` and `disk.py` estimate from shapes and samples, `speed.py` reads what earlier stages measured.
"""
