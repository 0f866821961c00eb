from .auditing import Audit as Audit
from .auditing import audit as audit
from .comparing import Comparison as Comparison
from .comparing import compare as compare
