from .figures import concept_bars as concept_bars
