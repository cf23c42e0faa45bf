"""The paper's Table 3 in small, on blood cells: `python -m launch.study_bccd --help`."""
