"""What the paper's rows take together: the graph of their stages, device-hours, money, disk, downloads.

`graph.py` has the stages and what they share, `costs.py` what each takes, `text.py` what the command prints.
"""
