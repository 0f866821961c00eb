"""The page and the files of an audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.comparison.columns import CHECKS
from unitlens.files import write_whole
from unitlens.pages.document import document

if TYPE_CHECKING:
    from unitlens.comparison.audit_result import Audit

PAGE = "audit.html"

SHAKY_SHOWN = 40
"""Units on the page whose labels change most often; the file has all."""


def write_audit(audit: "Audit", folder: Path) -> Path:
    """Save the tables of an audit and write its page, whose path is returned. An older audit is replaced."""
    audit.save(folder)
    write_whole(folder / PAGE, render_audit(audit, audit.summary()))
    return folder / PAGE


def render_audit(audit: "Audit", summary: dict[str, Any]) -> str:
    """The page as text: one self-contained HTML file without scripts.

    Parameters
    ----------
    audit : Audit
    summary : dict
        What audit.json holds.
    """
    info = audit.run.info
    tables = {
        layer: {name: [row for row in summary[name] if row["layer"] == layer] for name in _BY_LAYER}
        for layer in audit.run.layers
    }
    return document(
        "audit.html",
        version=info["unitlens"],
        categories=[concept["category"] for concept in info["data"]["concepts"]],
        styles=("report.css", "compare.css"),
        info=info,
        layers=audit.run.layers,
        summary=summary,
        tables=tables,
        checks=CHECKS,
        shaky=shaky_units(audit),
        top=max((row["mean_iou"] for row in summary["baselines"]), default=1.0) or 1.0,
    )


_BY_LAYER = ("checks", "baselines", "collisions")


def shaky_units(audit: "Audit") -> list[dict[str, Any]]:
    """Detectors whose labels change under most checks: layer, unit, label, IoU, how many checks, and what they said."""
    table = audit.units[audit.units["verdict"] == "detector"]
    rows = []
    for (layer, unit), own in table.groupby(["layer", "unit"], sort=False):
        changed = own[~own["same_label"].astype(bool)]
        if len(changed):
            first = own.iloc[0]
            said = changed["check_concept"].fillna("no label")
            rows.append(
                {
                    **{"layer": layer, "unit": unit, "changed": len(changed), "checks": len(own)},
                    **{name: first[name] for name in ("concept", "category", "iou")},
                    "became": list(zip(changed["check"], said, strict=True)),
                }
            )
    return sorted(rows, key=lambda row: (-row["changed"], row["iou"]))[:SHAKY_SHOWN]
