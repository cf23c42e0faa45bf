"""How pages are written and pictures drawn, for report.html and doctor.html."""
