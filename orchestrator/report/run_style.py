"""The style of pages about a run: light and dark, wide and narrow."""

from __future__ import annotations

# By status: fill and line on a light background, then on a dark one.
STATES = {
    "success": ("#cfe8d4", "#3f7d4e", "#1f3d28", "#7fbf8e"),
    "error": ("#f9cfcb", "#b3261e", "#57211d", "#f28b82"),
    "cancelled": ("#fde9bf", "#9a6b00", "#45371a", "#e0b656"),
    "waiting": ("#d5e3fb", "#1f5fbf", "#1d3050", "#7fb0ff"),
    "skipped": ("#eceef1", "#6b7280", "#2a2e35", "#9aa3b0"),
    "none": ("#ffffff", "#9aa1ad", "#14161a", "#6b7280"),
}
_BASE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #16181d; --soft: #4a505c; --line: #d4d8de;
  --edge: #9aa1ad; --wait: #c2c8d0; --code: #f4f5f7; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --ink: #eceef1; --soft: #b9c0cb;
  --line: #363b44; --edge: #6b7280; --wait: #4b525d; --code: #1d2026; --bad: #f28b82 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p, li { overflow-wrap: anywhere }
.soft { color: var(--soft) }
.failure { border-left: 4px solid var(--bad); padding: .1rem 1rem; background: var(--code) }
.scroll { overflow: auto; max-height: 75vh }
table { border-collapse: collapse; font-size: .9rem }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
pre, code { font: 13px/1.45 ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace }
pre { background: var(--code); padding: .6rem; margin: .3rem 0; white-space: pre-wrap;
  overflow-wrap: anywhere; max-height: 30rem; overflow: auto }
summary { cursor: pointer }
.state { display: inline-block; padding: 0 .5rem; border: 1px solid; border-radius: .7rem;
  font-size: .85rem; white-space: nowrap }
svg { display: block }
svg.timeline { max-width: none }
svg text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace;
  fill: var(--ink) }
svg .small { font-size: 11px; fill: var(--soft) }
.edge { fill: none; stroke: var(--edge); stroke-width: 1.2 }
.tip { fill: var(--edge) }
.edge.path { stroke: var(--ink); stroke-width: 2.6 }
.tip.path { fill: var(--ink) }
.box { stroke-width: 1.2 }
.box.path { stroke-width: 3 }
.bar.path { stroke-width: 2 }
.wait { fill: var(--wait) }
.tick { stroke: var(--line) }
@media (max-width: 40rem) { body { padding: .6rem; font-size: 14px } .wide { display: none } }
"""


def _states(at: int) -> str:
    lines = []
    for name, colors in STATES.items():
        fill, line = colors[at : at + 2]
        lines.append(f".{name} {{ fill: {fill}; stroke: {line} }}")
        lines.append(f".state.{name} {{ background: {fill}; border-color: {line} }}")
    return "\n".join(lines)


STYLE = f"{_BASE}{_states(0)}\n@media (prefers-color-scheme: dark) {{\n{_states(2)}\n}}\n"
