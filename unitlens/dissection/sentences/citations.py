"""What the methods paragraph of a run cites, with BibTeX entries."""

from typing import NamedTuple


class Citation(NamedTuple):
    """A publication, as it is cited in a text, and its BibTeX entry."""

    text: str
    bibtex: str


UNITS_2020 = Citation(
    "Bau et al., 2020",
    """@article{bau2020units,
  author = {Bau, David and Zhu, Jun-Yan and Strobelt, Hendrik and Lapedriza, Agata and Zhou, Bolei
            and Torralba, Antonio},
  title = {Understanding the role of individual units in a deep neural network},
  journal = {Proceedings of the National Academy of Sciences},
  volume = {117}, number = {48}, pages = {30071--30078}, year = {2020},
}""",
)
DISSECTION_2017 = Citation(
    "Bau, Zhou et al., 2017",
    """@inproceedings{bau2017dissection,
  author = {Bau, David and Zhou, Bolei and Khosla, Aditya and Oliva, Aude and Torralba, Antonio},
  title = {Network Dissection: Quantifying Interpretability of Deep Visual Representations},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2017},
}""",
)
FALSE_DISCOVERIES = Citation(
    "Benjamini and Hochberg, 1995",
    """@article{benjamini1995controlling,
  author = {Benjamini, Yoav and Hochberg, Yosef},
  title = {Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing},
  journal = {Journal of the Royal Statistical Society. Series B},
  volume = {57}, number = {1}, pages = {289--300}, year = {1995},
}""",
)
FAMILIES = Citation(
    "Benjamini and Bogomolov, 2014",
    """@article{benjamini2014selective,
  author = {Benjamini, Yoav and Bogomolov, Marina},
  title = {Selective Inference on Multiple Families of Hypotheses},
  journal = {Journal of the Royal Statistical Society. Series B},
  volume = {76}, number = {1}, pages = {297--318}, year = {2014},
}""",
)
JACKKNIFE = Citation(
    "Efron and Stein, 1981",
    """@article{efron1981jackknife,
  author = {Efron, Bradley and Stein, Charles},
  title = {The Jackknife Estimate of Variance},
  journal = {The Annals of Statistics},
  volume = {9}, number = {3}, pages = {586--596}, year = {1981},
}""",
)
ROTATIONS = Citation(
    "Mezzadri, 2007",
    """@article{mezzadri2007how,
  author = {Mezzadri, Francesco},
  title = {How to Generate Random Matrices from the Classical Compact Groups},
  journal = {Notices of the American Mathematical Society},
  volume = {54}, number = {5}, pages = {592--604}, year = {2007},
}""",
)
