"""Set units to other values, and measure what that does to the outputs of the network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
