from .causal import CausalEffects as CausalEffects
from .causal import causal_effects as causal_effects
from .images import Edited as Edited
from .images import edit_image as edit_image
from .set_areas import SetAreas as SetAreas
from .set_areas import intervene as intervene
