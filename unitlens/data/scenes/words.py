"""The words of the drawn world: its concepts, and what its colours look like."""

from collections.abc import Mapping

from unitlens.data.concepts import Concept

# fmt: off
OBJECTS = (
    "sky", "cloud", "sun", "mountain", "hill", "sea", "field", "road", "pavement", "path", "quay",
    "tree", "palm", "bush", "flower", "rock", "log", "person", "cow", "sheep", "dog", "cat", "bird",
    "house", "skyscraper", "barn", "lighthouse", "street lamp", "fence", "bench", "tent", "campfire", "umbrella",
    "car", "bus", "tractor", "boat", "crane", "chairlift", "skis", "hay bale", "slide", "swing", "ball",
    "wall", "floor", "curtain", "rug", "painting", "lamp", "plant", "sofa", "armchair", "table", "chair",
    "bookcase", "television", "bed", "wardrobe", "cupboard", "oven", "fridge", "sink", "pot", "bottle",
    "bathtub", "toilet", "mirror", "towel",
)
PARTS = (
    "wheel", "window", "door", "roof", "chimney", "mast", "sail", "hull", "headlight", "pole", "flag",
    "trunk", "crown", "head", "torso", "leg", "arm", "tail",
    "handle", "cushion", "pillow", "drawer", "shelf", "screen", "shade", "frame", "tap",
)
MATERIALS = (
    "brick", "wood", "grass", "sand", "water", "snow", "tile",
    "asphalt", "stone", "foliage", "fabric", "glass", "metal",
)
# fmt: on
COLORS = ("black", "white", "grey", "red", "green", "blue", "yellow", "orange", "brown", "pink", "purple")
PAINTS = tuple(color for color in COLORS if color != "black")

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "object": OBJECTS,
    "part": PARTS,
    "material": MATERIALS,
    "color": COLORS,
}
CONCEPTS = tuple(
    Concept(category, label, name) for category, names in CATEGORIES.items() for label, name in enumerate(names, 1)
)

RGB = tuple[int, int, int]
PALETTE: Mapping[str, tuple[RGB, ...]] = {
    "black": ((34, 36, 44), (30, 28, 34), (44, 42, 48)),
    "white": ((244, 243, 238), (238, 241, 245), (250, 246, 238)),
    "grey": ((140, 144, 150), (122, 124, 130), (160, 162, 164)),
    "red": ((202, 56, 50), (180, 42, 52), (214, 74, 62)),
    "green": ((92, 152, 78), (66, 128, 76), (122, 168, 84), (54, 106, 68)),
    "blue": ((74, 134, 200), (56, 102, 172), (122, 178, 222), (94, 154, 206)),
    "yellow": ((244, 208, 92), (236, 196, 70), (246, 220, 124)),
    "orange": ((236, 142, 56), (226, 122, 44), (240, 156, 80)),
    "brown": ((126, 86, 56), (150, 106, 72), (102, 70, 48)),
    "pink": ((238, 152, 178), (230, 132, 162), (244, 176, 192)),
    "purple": ((122, 86, 162), (146, 106, 180), (98, 72, 142)),
}
