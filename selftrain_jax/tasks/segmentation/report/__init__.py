"""The segmentation part of report.html."""
