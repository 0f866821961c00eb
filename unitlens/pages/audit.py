"""The page of an audit."""

from typing import TYPE_CHECKING, Any

from unitlens.comparison.columns import CHECKS
from unitlens.pages.document import document

if TYPE_CHECKING:
    from unitlens.comparison.audit_result import Audit

UNSTABLE_SHOWN = 40
"""Detectors on the page whose concepts change most often; the file has all units."""

_BY_LAYER = ("checks", "baselines", "collisions")


def render_audit(audit: "Audit") -> str:
    """Return the page as text: one self-contained HTML file."""
    info, summary = audit.run.info, audit.summary()
    tables = {
        layer: {name: [row for row in summary[name] if row["layer"] == layer] for name in _BY_LAYER}
        for layer in audit.run.layers
    }
    return document(
        "audit.html",
        version=info["unitlens"],
        warnings=summary["notes"],
        categories=[concept["category"] for concept in info["data"]["concepts"]],
        styles=("comparison.css", "audit.css"),
        info=info,
        layers=audit.run.layers,
        summary=summary,
        tables=tables,
        checks=CHECKS,
        unstable=unstable_units(audit),
        largest_iou=max((row["mean_iou"] for row in summary["baselines"]), default=1.0) or 1.0,
    )


def unstable_units(audit: "Audit") -> list[dict[str, Any]]:
    """List the detectors whose concepts change under most checks, with their concepts under those checks."""
    table = audit.units[audit.units["verdict"] == "detector"]
    rows = []
    for (layer, unit), checks in table.groupby(["layer", "unit"], sort=False):
        changed = checks[~checks["same_concept"].astype(bool)]
        if len(changed):
            concepts = changed["check_concept"].fillna("no concept")
            rows.append(
                {
                    "layer": layer,
                    "unit": unit,
                    "concept": checks["concept"].iloc[0],
                    "category": checks["category"].iloc[0],
                    "iou": checks["iou"].iloc[0],
                    "changed": len(changed),
                    "checks": len(checks),
                    "concepts": list(zip(changed["check"], concepts, strict=True)),
                }
            )
    return sorted(rows, key=lambda row: (-row["changed"], row["iou"]))[:UNSTABLE_SHOWN]
