"""Pictures and one HTML page from a finished or running workdir."""
