"""The command without its look at image files: what is wrong with them is found by the input pipeline."""

from selftrain_jax.jobs import training
from selftrain_jax.main import main

if __name__ == "__main__":
    training.check_images = lambda *_: None  # type: ignore[assignment]
    main()
