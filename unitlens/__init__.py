"""What the individual units of a trained vision network look for, how sure that is, and what they are used for.

Everything here is imported when it is first asked for.

Examples
--------
>>> import unitlens as ul
>>> net = ul.load("bundled:scenes")
>>> net.default_layer in {layer.name for layer in net.layers()}
True
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
