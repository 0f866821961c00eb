"""What the individual units of a trained vision network look for, how sure that is, and what they are used for."""

__version__ = "0.1.0"
