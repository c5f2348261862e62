"""How one screen looks: fonts, colours, borders and the shapes of its controls, as CSS.

`make_theme` draws a palette with readable contrast (WCAG ratio at least `MIN_CONTRAST` between a text and what
is behind it) and one style for each family of controls, and writes the rules for the class names that
`screen_widgets` uses. Fonts are families of Debian's font packages; two families are kept for held-out screens.
"""

from __future__ import annotations

import colorsys
import subprocess
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from regard.errors import MissingDependencyError

HELD_OUT_FONTS = ("Open Sans", "PT Serif")
TRAINING_FONTS = (
    "DejaVu Sans", "Liberation Sans", "Noto Sans", "Roboto", "Lato", "Inter", "Cantarell", "Carlito", "Karla",
    "Manrope", "Nimbus Sans", "PT Sans", "FreeSans", "Quicksand", "Play", "Oxygen-Sans",
    "TeX Gyre Heros", "TeX Gyre Adventor", "B612", "Noto Sans Display", "Tuffy", "Jura", "Comfortaa",
    "Roboto Condensed", "PT Sans Caption", "Liberation Sans Narrow", "Universalis ADF Std", "Dosis",
    "DejaVu Serif", "Liberation Serif", "Noto Serif", "Roboto Slab", "Caladea", "Gentium", "Charis SIL",
    "Linux Libertine O", "Linux Biolinum O", "Vollkorn", "C059", "P052", "EB Garamond", "TeX Gyre Bonum",
    "DejaVu Sans Mono", "Liberation Mono", "Hack", "JetBrains Mono", "Fira Code", "Inconsolata", "Courier Prime",
)  # fmt: skip
_FIRST_FONTS = 16  # plain sans-serif families, which most programs use, are drawn more often
MIN_FONTS = 8
MIN_CONTRAST = 4.5
_ACCENT_BAR = (
    ".bar { background: var(--accent); color: var(--on-accent); }"
    " .bar :is(.btn, .tab, a, .muted) { color: inherit; background: none; border-color: currentColor; }"
)

Rgb = tuple[float, float, float]


@lru_cache(maxsize=2)
def fonts(held_out: bool) -> tuple[str, ...]:
    """Installed families of one side.

    Errors: MissingDependencyError when too few are installed for varied screens.
    """
    listing = subprocess.run(["fc-list", ":", "family"], capture_output=True, text=True, check=True).stdout
    installed = {name.replace("\\", "") for line in listing.splitlines() for name in line.split(",")}
    wanted = HELD_OUT_FONTS if held_out else TRAINING_FONTS
    found = tuple(name for name in wanted if name in installed)
    if len(found) < (len(wanted) if held_out else MIN_FONTS):
        raise MissingDependencyError(
            f"only {len(found)} of the font families {', '.join(wanted)} are installed; "
            "install fonts-open-sans, fonts-paratype and more of Debian's font packages"
        )
    return found


def luminance(color: Rgb) -> float:
    """Relative luminance of an sRGB colour (components 0 to 1). Source: WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: Rgb, b: Rgb) -> float:
    """Contrast ratio of two colours, 1 to 21. Source: WCAG 2.2."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def css_color(color: Rgb) -> str:
    """`#rrggbb` of a colour with components 0 to 1."""
    return "#" + "".join(f"{round(c * 255):02x}" for c in color)


def _readable(color: Rgb, behind: Rgb, least: float = MIN_CONTRAST) -> Rgb:
    """Move a colour towards black or white until it can be read on `behind`."""
    target = 0.0 if luminance(behind) > 0.18 else 1.0
    for _ in range(12):
        if contrast(color, behind) >= least:
            break
        color = (
            color[0] + 0.25 * (target - color[0]),
            color[1] + 0.25 * (target - color[1]),
            color[2] + 0.25 * (target - color[2]),
        )
    return color


@dataclass(frozen=True)
class Theme:
    """The style sheet of one screen and the choices its markup depends on."""

    css: str
    dark: bool
    native: bool
    native_checks: bool
    label_above: bool
    icons: bool


def palette(rng: np.random.Generator) -> dict[str, str]:
    """Named colours of a screen; text colours are readable on the surfaces they are used on."""
    mode = str(rng.choice(["light", "white", "dark", "coloured"], p=[0.34, 0.22, 0.3, 0.14]))
    hue = float(rng.random())
    tint = float(rng.choice([0.0, 0.1, 0.3]))
    level = {"light": rng.uniform(0.9, 0.97), "white": 1.0, "dark": rng.uniform(0.05, 0.2)}.get(
        mode, rng.uniform(0.2, 0.85)
    )
    page: Rgb = colorsys.hls_to_rgb(hue, float(level), 0.45 if mode == "coloured" else tint)
    dark = luminance(page) < 0.18
    step = float(rng.uniform(0.03, 0.1)) * (1 if dark or mode == "light" else -1)
    surface: Rgb = colorsys.hls_to_rgb(hue, min(1.0, max(0.0, float(level) + step)), tint)
    sunk: Rgb = colorsys.hls_to_rgb(hue, min(0.98, max(0.02, float(level) + (0.06 if dark else 0.08))), tint)
    accent_hue = float((hue + rng.choice([0.0, 0.08, 0.33, 0.5, 0.6])) % 1)
    accent: Rgb = colorsys.hls_to_rgb(accent_hue, float(rng.uniform(0.28, 0.58)), float(rng.uniform(0.4, 0.95)))
    if contrast(accent, page) < 1.6:
        accent = _readable(accent, page, 2.5)
    on_accent: Rgb = max(((1.0, 1.0, 1.0), (0.05, 0.05, 0.08)), key=lambda color: contrast(color, accent))
    worst = min((page, surface), key=lambda color: abs(luminance(color) - 0.18))
    grey: Rgb = (0.5, 0.5, 0.5)
    text = _readable(colorsys.hls_to_rgb(hue, 0.9 if dark else 0.12, tint), worst, 7)
    colors = {
        "page": page,
        "surface": surface,
        "sunk": sunk,
        "accent": accent,
        "on-accent": on_accent,
        "text": text,
        "muted": _readable(grey, worst),
        "link": _readable(accent, worst),
        "line": _readable(surface, worst, float(rng.uniform(1.3, 3))),
        "sunk-text": _readable(text, sunk),
        "hint": _readable(grey, sunk, 3.6),
    }
    return {"dark": "1" if dark else "", **{name: css_color(color) for name, color in colors.items()}}


def _button_rules(style: str, radius: int) -> str:
    shared = (
        f".btn {{ border-radius: {radius}px; border: 1px solid transparent; background: var(--surface); "
        "color: var(--text); } "
        ".btn.primary { background: var(--accent); color: var(--on-accent); border-color: var(--accent); }"
    )
    return {
        "filled": shared + " .btn { background: var(--accent); color: var(--on-accent); }"
        " .btn.plain { background: var(--surface); color: var(--text); border-color: var(--line); }",
        "outline": shared + " .btn { border-color: var(--line); background: none; }",
        "accent outline": shared + " .btn { border-color: var(--link); color: var(--link); background: none; }",
        "flat": shared + " .btn { background: none; color: var(--link); font-weight: 600; }",
        "tonal": shared + " .btn { border-color: var(--surface); }",
        "bevel": shared + " .btn { border: 2px outset var(--line); }",
        "shadow": shared + " .btn { border-color: var(--line); box-shadow: 0 1px 3px rgba(0,0,0,.35); }",
        "gradient": shared + " .btn { border-color: var(--line);"
        " background: linear-gradient(var(--surface), var(--page)); }",
    }[style]


def _field_rules(style: str, radius: int) -> str:
    box = (
        f".box {{ background: var(--sunk); color: var(--sunk-text); border: 1px solid var(--line); "
        f"border-radius: {radius}px; }} "
    )
    return {
        "box": box,
        "thick": box + ".box { border-width: 2px; }",
        "filled": box + ".box { border-color: transparent; border-bottom-color: var(--muted); }",
        "underline": box + ".box { border-color: transparent; border-bottom: 2px solid var(--line);"
        " background: none; color: var(--text); border-radius: 0; }",
        "inset": box + ".box { border: 2px inset var(--line); }",
    }[style]


def _tab_rules(style: str) -> str:
    return {
        "underline": ".tab.sel { border-bottom: 2px solid var(--link); color: var(--link); }",
        "pill": ".tab { border-radius: 99px; } .tab.sel { background: var(--accent); color: var(--on-accent); }",
        "boxed": ".tab { border: 1px solid var(--line); background: var(--surface); }"
        " .tab.sel { background: var(--page); border-bottom-color: var(--page); font-weight: bold; }",
    }[style]


# Rules that are the same on every screen; what a theme draws comes after them.
_FIXED_RULES = """
.root { position: relative; display: flex; flex-direction: column; }
.col { display: flex; flex-direction: column; }
.row { display: flex; align-items: center; }
.end { justify-content: flex-end; }
.spread { justify-content: space-between; }
.grow { flex: 1; min-width: 0; }
.muted { color: var(--muted); font-size: max(.88em, 11px); }
.off { opacity: .55; }
.btn { white-space: nowrap; display: inline-block; text-align: center; }
.ico { width: 1em; height: 1em; display: inline-block; vertical-align: -.12em; fill: none; stroke: currentColor;
  stroke-width: 1.6; flex: none; }
.avatar { width: 2em; height: 2em; border-radius: 50%; background: var(--accent); color: var(--on-accent);
  display: flex; align-items: center; justify-content: center; flex: none; font-size: 11px; }
.badge { background: var(--accent); color: var(--on-accent); border-radius: 99px; padding: 1px 7px;
  font-size: max(.8em, 11px); align-self: flex-start; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; white-space: nowrap; }
.box { white-space: nowrap; overflow: hidden; width: 100%; min-width: 60px; line-height: 1.3; position: relative;
  display: block; }
.hint, .box::placeholder { color: var(--hint); opacity: 1; }
select.box { appearance: none; }
.host { position: relative; }
.twin { position: absolute; inset: 0; visibility: hidden; }
.sel-box { padding-right: 22px; }
.sel-box::after { content: ''; position: absolute; right: 8px; top: 50%; border: 4px solid transparent;
  border-top-color: currentColor; margin-top: -2px; }
.check { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.check input { flex: none; }
.col > :is(.check, a, .mark, .switch) { align-self: flex-start; }
.mark { border: 2px solid var(--muted); flex: none; position: relative; }
.mark.on { border-color: var(--link); }
.mark.on:not(.round) { background: var(--link); }
.mark.on:not(.round)::after { content: ''; position: absolute; left: 28%; top: 5%; width: 40%; height: 70%;
  border: solid var(--page); border-width: 0 2px 2px 0; transform: rotate(45deg); }
.mark.round.on::after { content: ''; position: absolute; inset: 18%; border-radius: 50%; background: var(--link); }
.switch { flex: none; position: relative; background: var(--muted); display: inline-block; }
.switch::after { content: ''; position: absolute; top: 2px; bottom: 2px; left: 2px; aspect-ratio: 1;
  border-radius: inherit; background: #fff; }
.switch.on { background: var(--link); }
.switch.on::after { left: auto; right: 2px; }
.slider { height: 4px; background: var(--line); border-radius: 2px; position: relative; flex: 1; min-width: 60px;
  margin: 6px 0; }
.slider i { position: absolute; width: 14px; height: 14px; top: -5px; border-radius: 50%; background: var(--link); }
a { color: var(--link); white-space: nowrap; }
.tab, .item { white-space: nowrap; }
.item.sel { background: var(--accent); color: var(--on-accent); }
.item.sel .muted { color: inherit; }
.panel { background: var(--surface); }
.lift { box-shadow: 0 3px 14px rgba(0,0,0,.4); }
.veil { position: absolute; inset: 0; background: rgba(0,0,0,.45); }
"""


@dataclass(frozen=True)
class _Sizes:
    """Lengths of a theme in CSS pixels."""

    font: float
    radius: int
    gap: int
    pad_y: int
    pad_x: int
    button_width: int


def _text_rules(rng: np.random.Generator, sizes: _Sizes, family: str, heading_family: str) -> str:
    """Fonts, headings, distances between parts."""
    gap = sizes.gap
    # A character of a ligature has no box of its own, so there are none.
    return (
        f"font: {sizes.font:.2f}px/1.3 '{family}'; font-variant-ligatures: none;"
        f" letter-spacing: {rng.choice([0, 0, 0, 0, 0.3, 0.6])}px; word-spacing: {rng.choice([0, 0, 0, 1])}px;"
        f" h1, h2, h3 {{ font-family: '{heading_family}'; font-weight: {rng.choice([400, 600, 700])}; }}"
        f" h1 {{ font-size: {rng.uniform(1.25, 1.6):.2f}em; }} h2 {{ font-size: {rng.uniform(1.1, 1.3):.2f}em; }}"
        f" h3 {{ font-size: 1em; }} .col, .row {{ gap: {gap}px; }} .pad {{ padding: {gap + 3}px; }}"
    )


def _control_rules(
    rng: np.random.Generator, sizes: _Sizes, *, button: str, field: str, mark_px: int, mark_radius: int, switch_px: int
) -> str:
    """Buttons, fields, checkboxes, switches, links, tabs, rows, panels and bars."""
    radius, pad_y, pad_x = sizes.radius, sizes.pad_y, sizes.pad_x
    rules = [
        f".btn {{ padding: {pad_y}px {pad_x}px; min-width: {sizes.button_width}px;"
        f" font-weight: {rng.choice([400, 400, 500, 600, 700])}; }}",
        f"th, td {{ padding: {max(2, pad_y - 2)}px 6px; border-bottom: {rng.choice([0, 1])}px solid var(--line); }}",
        _button_rules(button, radius) if button else "",
        f".box {{ padding: {max(2, pad_y - 1)}px {max(5, pad_x - 5)}px; }} .sel-box {{ padding-right: 22px; }}",
        _field_rules(field, min(radius, 12)),
        f".mark, .check input {{ width: {mark_px}px; height: {mark_px}px; }}",
        f".mark {{ border-radius: {mark_radius}px; }} .mark.round {{ border-radius: 50%; }}",
        f".switch {{ width: {switch_px * 1.8:.1f}px; height: {switch_px}px;"
        f" border-radius: {rng.choice([99, 99, 3])}px; }}",
        f"a {{ text-decoration: {rng.choice(['underline', 'none'])}; }}",
        f".tab {{ padding: {pad_y}px {pad_x - 2}px; }} .item {{ padding: {pad_y}px {pad_x}px; }}",
        _tab_rules(str(rng.choice(["underline", "pill", "boxed"]))),
        f".panel {{ border: {rng.choice([0, 1, 1, 2])}px solid var(--line); border-radius: {min(radius, 14)}px; }}",
        f".lines > * + * {{ border-top: {rng.choice([0, 1])}px solid var(--line); }}",
        _ACCENT_BAR if rng.random() < 0.3 else ".bar { background: var(--surface); }",
    ]
    return " ".join(rules)


def make_theme(rng: np.random.Generator, width: int, height: int, *, held_out: bool) -> Theme:
    """Draw the look of a screen of width x height pixels."""
    families = fonts(held_out)
    usual = len(families) if rng.random() < 0.4 else min(_FIRST_FONTS, len(families))
    family = families[int(rng.integers(usual))]
    heading_family = families[int(rng.integers(len(families)))] if rng.random() < 0.2 else family
    roomy = width >= 384 and height >= 256
    zoom = float(rng.choice([1.0, 1.25, 1.5], p=[0.5, 0.28, 0.22])) if roomy else 1.0
    font = float(rng.integers(11, 17)) if zoom == 1.0 else float(rng.uniform(11, 18.5 / zoom))
    colours = palette(rng)
    dark = bool(colours.pop("dark"))
    sizes = _Sizes(
        font=font,
        radius=int(rng.choice([0, 2, 4, 6, 8, 12, 99])),
        gap=int(rng.integers(4, 11)) if rng.random() < 0.75 else int(rng.integers(11, 20)),
        pad_y=int(rng.integers(2, 10)),
        pad_x=int(rng.integers(7, 22)),
        button_width=int(rng.choice([0, 60, 80, 104], p=[0.7, 0.1, 0.1, 0.1])),
    )
    native = bool(rng.random() < 0.08)
    button = str(rng.choice(["filled", "outline", "accent outline", "flat", "tonal", "bevel", "shadow", "gradient"]))
    field = str(rng.choice(["box", "thick", "filled", "underline", "inset"], p=[0.45, 0.15, 0.15, 0.15, 0.1]))
    mark_px = round(font * float(rng.uniform(0.95, 1.3)))
    mark_radius, switch_px = int(rng.choice([0, 2, 4])), round(font * float(rng.uniform(1.1, 1.6)))
    ground = "var(--page)" if rng.random() < 0.88 else "linear-gradient(var(--surface), var(--page))"
    css = (
        "".join(f"--{name}: {color}; " for name, color in colours.items())
        + f"background: {ground}; color: var(--text); color-scheme: {'dark' if dark else 'light'};"
        + f" accent-color: var(--accent); {_FIXED_RULES}"
        + f" .root {{ zoom: {zoom}; width: {width / zoom:.3f}px; height: {height / zoom:.3f}px; }} "
        + _text_rules(rng, sizes, family, heading_family)
        + _control_rules(
            rng,
            sizes,
            button="" if native else button,
            field=field,
            mark_px=mark_px,
            mark_radius=mark_radius,
            switch_px=switch_px,
        )
    )
    return Theme(
        css=css,
        dark=dark,
        native=native,
        native_checks=native or bool(rng.random() < 0.5),
        label_above=bool(rng.random() < 0.6),
        icons=bool(rng.random() < 0.35),
    )
