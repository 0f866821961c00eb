from .labels.sheets import sheet as sheet
from .writing import report as report
