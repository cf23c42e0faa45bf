"""The paper's tables and figures as data, and the run behind each of their rows."""
