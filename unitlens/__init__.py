"""What the individual units of a trained vision network look for, how sure that is, and what they are used for.

Examples
--------
>>> import unitlens as ul
>>> net = ul.load("bundled:scenes")
>>> net.default_layer in {layer.name for layer in net.layers()}
True
"""

from unitlens.ablation_curves import Curve, ablation_curve
from unitlens.auditing import Audit, audit
from unitlens.checked import Check
from unitlens.checking import check
from unitlens.comparison import Comparison, compare
from unitlens.concepts import Concept, Data, Example
from unitlens.dissection import dissect
from unitlens.effect_result import Effects
from unitlens.effects import ablate, importance
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.folder import annotated
from unitlens.hooks import edit, record
from unitlens.interventions import Intervention, intervening
from unitlens.network import Network, Preprocessing, classifier, evaluating, load
from unitlens.page import report
from unitlens.planning import Plan, plan
from unitlens.readers import from_torchvision, pictures_only
from unitlens.result import Dissection, open_run
from unitlens.sources import open_data
from unitlens.stacking import with_concepts

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "Check",
    "Comparison",
    "Concept",
    "Curve",
    "Data",
    "Dissection",
    "Effects",
    "Example",
    "Intervention",
    "Network",
    "Plan",
    "Preprocessing",
    "UnitlensError",
    "UnitlensWarning",
    "ablate",
    "ablation_curve",
    "annotated",
    "audit",
    "check",
    "classifier",
    "compare",
    "dissect",
    "edit",
    "evaluating",
    "from_torchvision",
    "importance",
    "intervening",
    "load",
    "open_data",
    "open_run",
    "pictures_only",
    "plan",
    "record",
    "report",
    "with_concepts",
]
