"""The detection part of report.html; `sections` has the two functions to call."""
