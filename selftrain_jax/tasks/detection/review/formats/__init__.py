"""What annotation tools read and write, a module each: `write_NAME` and `read_NAME` (not in the paper)."""
