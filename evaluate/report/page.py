"""The page: one HTML file with everything inside, made from a template that escapes whatever it is given."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from evaluate.report import words
from evaluate.report.charts import accuracy_chart
from evaluate.report.findings import Findings
from evaluate.report.identity import graph_size
from evaluate.report.together import beside_first, worst_share
from evaluate.report.view import served_graph, served_row, view_of
from evaluate.tables import short, size
from serve.legible import escape_unfit
from serve.parity import MAX_FACTOR, RMSE_FACTOR

_FOLDER = Path(__file__).parent
_DIGITS_OF_DIGEST = 8
_PARTS = {  # of a bundle, as the contents call them
    "proof": "proof",
    "accuracy": "accuracy",
    "samples": "samples",
    "error": "error along the graph",
    "speed": "speed",
    "origin": "origin",
}


def page_of(all_found: Sequence[Findings]) -> str:
    """Return the page.

    Args:
        all_found: What was found of each bundle, at least one.
    """
    titles = _titles(all_found)
    views = [
        view_of(found, anchor=f"bundle-{place + 1}", title=title)
        for place, (found, title) in enumerate(zip(all_found, titles, strict=True))
    ]
    several = len(views) > 1
    measured = several and any(view.shown is not None for view in views)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            views=views,
            title=f"{views[0].title}: report" if not several else f"{len(views)} bundles: report",
            created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            style=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - a file of this package
            shade=words.overall_shade(all_found),
            mark=words.overall_mark(all_found),
            sentence=words.overall_sentence(all_found) if several else views[0].sentence,
            beside=beside_first(tuple(all_found)),
            accuracies=accuracy_chart(titles, [view.shown for view in views], name="accuracies") if measured else None,
            passed=words.PASSED,
            parts=_PARTS,
            rmse_factor=RMSE_FACTOR,
            max_factor=MAX_FACTOR,
        )
    )


def _titles(all_found: Sequence[Findings]) -> list[str]:
    """Return a title for each bundle; those of the same name say their digest, too."""
    names = Counter(found.manifest.name for found in all_found)
    return [
        name if names[name] == 1 else f"{name} {found.manifest.sha256[:_DIGITS_OF_DIGEST]}"
        for found in all_found
        for name in (found.manifest.name,)
    ]


def _shown(value: object) -> object:
    """Let no name of a bundle turn or hide what stands beside it."""
    return escape_unfit(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "percents": words.percents,
        "share": words.share,
        "sure": words.sure,
        "deviation": words.deviation,
        "moment": words.moment,
        "number": words.number,
        "numbers": words.numbers,
        "ms": words.milliseconds,
        "times": words.times,
        "bar": words.bar,
        "clamp": words.clamp,
        "size": size,
        "short": short,
        "beside": words.beside_sentence,
        "worst_share": worst_share,
        "served_row": served_row,
        "served_graph": served_graph,
    }
    environment.globals["graph_size"] = graph_size
    return environment
