"""What a session costs while it runs: call `meter.metered`; compilations and energy are counted beside it."""
