from .audit_result import Audit as Audit
from .auditing import audit as audit
from .comparing import compare as compare
from .result import Comparison as Comparison
