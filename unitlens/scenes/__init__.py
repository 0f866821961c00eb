"""A drawn world of scenes, with the truth known at every pixel, and the training of the network that knows it."""

from unitlens.scenes.world import Scenes

__all__ = ["Scenes"]
