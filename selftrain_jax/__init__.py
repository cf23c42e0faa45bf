"""Self-training for vision in JAX: teacher, pseudo labels, student.

Paper: Rethinking Pre-training and Self-training (Zoph et al., NeurIPS 2020).
Importing this package loads no TensorFlow and starts no device.
"""

__version__ = "0.1.0"
