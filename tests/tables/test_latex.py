"""LaTeX of tables: every name is escaped, and no table is wider than its column."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from unitlens.tables.latex import escape_latex, latex_table

BACK = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<"}
BACK |= {r"\textgreater{}": ">", r"\textbar{}": "|", r"\char34{}": '"', **{f"\\{c}": c for c in "&%$#_{}"}}


def unescaped(text):
    return re.sub("|".join(map(re.escape, sorted(BACK, key=len, reverse=True))), lambda found: BACK[found[0]], text)


@given(st.text())
def test_escaping_can_be_undone_and_holds_no_command(text):
    plain = "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else escape_latex(c) for c in text)
    escaped = escape_latex(text)
    assert unescaped(escaped) == plain
    assert "\n" not in escaped
    without = re.sub("|".join(map(re.escape, sorted(BACK, key=len, reverse=True))), "", escaped)
    assert not re.search(r"[&%$#_{}~^\\<>|\"]", without)


@given(st.lists(st.tuples(st.text(), st.floats(), st.integers(-5, 5)), max_size=4))
def test_every_row_has_as_many_cells_as_there_are_columns(rows):
    table = pd.DataFrame(rows, columns=["a name", "a_number", "count"])
    lines = latex_table(table).splitlines()
    cells = [re.split(r"(?<!\\)&", line) for line in lines if line.endswith(r"\\")]
    assert len(cells) == 1 + len(rows)
    assert {len(row) for row in cells} == {3}


def test_numbers_that_are_missing_and_below_zero():
    table = pd.DataFrame({"x": [-0.5, np.nan], "n": pd.array([-3, None], "Int64"), "d": [True, False]})
    lines = latex_table(table, digits=1).splitlines()
    assert lines[6:8] == [r"$-$0.5 & $-$3 & yes \\", r"-- & -- & no \\"]


def test_a_table_of_numbers_alone_is_stretched():
    text = latex_table(pd.DataFrame({"unit": [1], "iou": [0.5]}), width="8cm")
    assert r"\begin{tabular*}{8cm}{@{\extracolsep{\fill}}rr@{}}" in text
    assert r"\end{tabular*}" in text


def test_detectors_of_a_run(dissection):
    text = dissection["0"].to_latex(rows=2, digits=2)
    lines = text.splitlines()
    assert lines[2].startswith(
        r"\begin{tabularx}{\columnwidth}{@{}r>{\raggedright\arraybackslash\hspace{0pt}}Xrrrr@{}}"
    )
    assert lines[4] == r"unit & concept & IoU & low & high & held out \\"
    best = dissection["0"].detectors().iloc[0]
    assert lines[6].startswith(f"{best['unit']} & {best['concept']} & {best['iou']:.2f} & {best['iou_low']:.2f} & ")
    assert len(lines) == 10
    assert "layer & unit" in dissection.to_latex()


def test_columns_are_chosen_and_headed(dissection):
    text = ul.latex_table(dissection.detectors(), columns={"unit": "Unit", "iou": r"$\mathrm{IoU}$"}, rows=1)
    assert r"Unit & $\mathrm{IoU}$ \\" in text
    with pytest.raises(ul.UnitlensError, match=r"no column 'io' \(did you mean iou\?\); it has layer, unit"):
        ul.latex_table(dissection.detectors(), columns=["io"])


PAPER = r"""\documentclass[twocolumn,10pt]{article}
\usepackage[letterpaper,textwidth=7in,columnsep=0.25in]{geometry}
\usepackage{booktabs, tabularx}
\begin{document}
"""


def in_paper(table):
    return f"\\begin{{table}}[t]\n{table}\n\\end{{table}}\n"


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="there is no pdflatex: apt-get install texlive-latex-recommended"
)
def test_pdflatex_sets_tables_without_an_error_and_in_a_column(dissection, tmp_path):
    odd = pd.DataFrame({"unit": [1, 2], "concept": ["".join(BACK.values()), "n\u00e9v\u00e9"], "iou": [-0.5, np.nan]})
    long = dissection.detectors().assign(
        layer="features.denseblock4.denselayer16.conv2", concept="swimming pool / indoor (natatorium)"
    )
    columns = ["layer", "unit", "concept", "iou", "iou_low", "iou_high", "heldout_iou"]
    word = pd.DataFrame({"unit": [1], "concept": ["incomprehensibilities_of_electroencephalography"], "iou": [0.5]})
    tables = [dissection["0"].to_latex(), dissection.to_latex(), *map(latex_table, (odd, word, word[["unit", "iou"]]))]
    tables.append(latex_table(long, columns=columns))
    (tmp_path / "paper.tex").write_text(PAPER + "".join(map(in_paper, tables)) + "\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide", done.stdout)]
    assert max(wide, default=0) < 1, done.stdout
