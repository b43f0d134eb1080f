"""Makes grafana/dashboards/*.json from dashboards.toml, as `make dashboards` does."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE / "dashboards.toml"
TARGET = HERE / "grafana" / "dashboards"

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
HEIGHTS = {"stat": 4, "state": 8, "timeseries": 8}
PLUGINS = {"stat": "stat", "state": "state-timeline", "timeseries": "timeseries"}
STATE_COLOURS = ("blue", "orange", "green")
KEYS = {
    *("title", "description", "unit", "kind", "width", "thresholds", "max", "decimals", "right"),
    *("queries", "quantiles", "window", "shows", "none", "states", "stacked"),
}


def dashboards() -> dict[str, dict[str, Any]]:
    """Each dashboard by its name, as Grafana takes it."""
    described = tomllib.loads(SOURCE.read_text())
    return {name: _dashboard(each) for name, each in described.items()}


def text_of(dashboard: dict[str, Any]) -> str:
    """The file's text."""
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def _dashboard(described: dict[str, Any]) -> dict[str, Any]:
    return {
        "uid": described["uid"],
        "title": described["title"],
        "description": described["description"],
        "tags": ["kvraft"],
        "schemaVersion": 39,  # Grafana 11; newer ones bring it up to theirs
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all panels
        "time": {"from": "now-15m", "to": "now"},
        "refresh": "5s",
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": [_elections()]},
        "templating": {"list": _variables()},
        "links": [
            {
                "title": "kvraft",
                "type": "dashboards",
                "tags": ["kvraft"],
                "asDropdown": False,
                "keepTime": True,
                "includeVars": True,
                "icon": "external link",
                "targetBlank": False,
                "tooltip": "",
                "url": "",
            }
        ],
        "panels": _panels(described["row"]),
    }


def _elections() -> dict[str, Any]:
    """A mark on all panels where a leader was elected."""
    return {
        "name": "Elections",
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "orange",
        "expr": "changes(raft_leader_elected_total[$__rate_interval]) > 0",
        "step": "5s",
        "titleFormat": "node {{node}} was elected",
    }


def _variables() -> list[dict[str, Any]]:
    def labels(name: str, title: str, query: str, hide: int, everything: str | None) -> dict[str, Any]:
        return {
            "name": name,
            "label": title,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 2,  # with the time range
            "sort": 3,  # by number
            "multi": True,
            "includeAll": True,
            **({"allValue": everything} if everything else {}),
            "current": {"text": ["All"], "value": ["$__all"]},
            "options": [],
            "hide": hide,
        }

    datasource = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "kvraft-prometheus"},  # grafana/provisioning/datasources
        "options": [],
        "hide": 0,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    }
    # Series of the store have no label node: those of the chosen nodes are told by where Prometheus found them.
    return [
        datasource,
        labels("node", "Node", "label_values(raft_current_term,node)", 0, ".*"),
        labels("instance", "Instance", 'label_values(raft_current_term{node=~"$node"},instance)', 2, None),
    ]


def _panels(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        x = height = 0
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row["title"],
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        for described in row["panel"]:
            if unknown := described.keys() - KEYS:
                raise ValueError(f"panel {described['title']!r} has {', '.join(sorted(unknown))}, which means nothing")
            kind, width = described.get("kind", "timeseries"), described.get("width", 8)
            if x + width > 24:
                x, y = 0, y + height
            height = HEIGHTS[kind]
            place = {"h": height, "w": width, "x": x, "y": y}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(described, kind)})
            x += width
        y += height
    return panels


def _panel(described: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "type": PLUGINS[kind],
        "title": described["title"],
        "description": described["description"],
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": _defaults(described, kind), "overrides": _overrides(described)},
        "options": _options(described, kind),
        "targets": [_target(number, query, kind) for number, query in enumerate(_queries(described))],
    }


def _queries(described: dict[str, Any]) -> list[dict[str, Any]]:
    if "queries" in described:
        return list(described["queries"])
    of, where = described["quantiles"]["of"], described["quantiles"]["where"]
    window = described.get("window", "$__rate_interval")

    def rate(series: str, by: str = "") -> str:
        return f"sum{by}(rate({series}{{{where}}}[{window}]))"

    buckets = rate(f"{of}_bucket", " by (le) ")
    found = [
        {"legend": f"p{each * 100:g}", "expr": f"histogram_quantile({each}, {buckets})"} for each in (0.5, 0.95, 0.99)
    ]
    return [*found, {"legend": "mean", "expr": f"{rate(f'{of}_sum')} / {rate(f'{of}_count')}"}]


def _target(number: int, query: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "refId": "ABCDEFGH"[number],
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query["expr"],
        "legendFormat": query["legend"],
        "range": kind != "stat",
        "instant": kind == "stat",
    }


def _defaults(described: dict[str, Any], kind: str) -> dict[str, Any]:
    steps = [
        {"color": colour, "value": value[0] if value else None}
        for colour, *value in described.get("thresholds", [["green"]])
    ]
    defaults: dict[str, Any] = {
        "unit": described.get("unit", "none"),
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
        "mappings": [],
    }
    if "decimals" in described:
        defaults["decimals"] = described["decimals"]
    if "none" in described:
        defaults["noValue"] = described["none"]
    if kind == "timeseries":
        defaults["min"] = 0
        if "max" in described:
            defaults["max"] = described["max"]
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if described.get("stacked") else 8,
            "showPoints": "auto",
            "spanNulls": False,
            "stacking": {"mode": "normal" if described.get("stacked") else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if "thresholds" in described else "off"},
        }
    if kind == "state":
        defaults["custom"] = {"fillOpacity": 70, "lineWidth": 0}
        states = {
            str(number): {"text": text, "color": STATE_COLOURS[number], "index": number}
            for number, text in enumerate(described["states"])
        }
        defaults["mappings"] = [{"type": "value", "options": states}]
    return defaults


def _overrides(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Queries whose values belong to the axis on the right."""
    return [
        {
            "matcher": {"id": "byFrameRefID", "options": "ABCDEFGH"[number]},
            "properties": [
                {"id": "unit", "value": described["right"]},
                {"id": "custom.axisPlacement", "value": "right"},
            ],
        }
        for number, query in enumerate(described.get("queries", ()))
        if query.get("right")
    ]


def _options(described: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": described.get("shows", "value"),
            "percentChangeColorMode": "standard",
            "showPercentChange": False,
            "wideLayout": True,
        }
    if kind == "state":
        return {
            "alignValue": "left",
            "mergeValues": True,
            "rowHeight": 0.8,
            "showValue": "auto",
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
            "tooltip": {"mode": "single", "sort": "none"},
        }
    return {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, dashboard in dashboards().items():
        (TARGET / f"{name}.json").write_text(text_of(dashboard))


if __name__ == "__main__":
    main()
