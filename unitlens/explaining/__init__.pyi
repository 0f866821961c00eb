from .explanation import Explanation as Explanation
from .explanation import Explanations as Explanations
from .images import explain as explain
