"""The detection part of report.html."""
