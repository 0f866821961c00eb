from .curves import ablation_curve as ablation_curve
from .effects import ablate as ablate
from .effects import importance as importance
from .interventions import Intervention as Intervention
from .interventions import intervening as intervening
from .result import Curve as Curve
from .result import SetEffects as SetEffects
from .result import UnitEffects as UnitEffects
