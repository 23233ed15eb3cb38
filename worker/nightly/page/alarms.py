"""Alarms in the night's page: what this report found, what stood on its day, and who did not hear of it."""

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from model.pages.html import paragraph, table
from worker.alarms.faults import in_words
from worker.nightly.headline import with_reason
from worker.nightly.page.film_sections import whole
from worker.nightly.page.words import at_the_end, local


def section(content: dict[str, Any]) -> Iterable[Markup]:
    if content["conditions"]:
        known = {(one["rule"], one["subject"]): one for one in content["acknowledged"]}
        rows = [
            (one["rule"], _about(one), _what(one, known.get((one["rule"], one["subject"])), content))
            for one in content["conditions"]
        ]
        yield table(("rule", "about", "what"), rows, caption="Found by this report")
    if content["alarms"]:
        stood = [
            (
                one["rule"],
                _about(one),
                whole(local(one["raised_at"], content)),
                whole(local(one["cleared_at"], content)) if one["cleared_at"] else "",
                "open" if one["open_at_end"] else "over",
                _what(one, one["acknowledged"], content),
            )
            for one in content["alarms"]
        ]
        columns = ("rule", "about", "raised", "cleared", at_the_end(content), "what")
        yield table(columns, stood, caption="Alarms that stood at some time of this day")
    if not content["conditions"] and not content["alarms"]:
        yield paragraph("None stood on this day.")
    if content["undelivered"]:
        lost = [
            (
                whole(local(one["at"], content)),
                one["channel"],
                one["rule"],
                _about(one),
                one["state"],
                in_words(one["reason"]),
            )
            for one in content["undelivered"]
        ]
        yield table(
            ("given up", "channel", "rule", "about", "message", "why"),
            lost,
            caption="Messages about alarms that did not arrive; 'xrayq alarm test' tries it now",
        )


def _what(one: dict[str, Any], kept: dict[str, str] | None, content: dict[str, Any]) -> Markup:
    return Markup('<span class="breaks">{}</span>').format(with_reason(one["text"], kept, content))


def _about(one: dict[str, Any]) -> str:
    return one["subject"] or "the service"
