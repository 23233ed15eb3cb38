"""The worklist: films, the most urgent first."""

from starlette.responses import Response

from worker.instances import list_instances
from worker.web.page import Ask, Page
from worker.web.people import WebRole


def worklist(ask: Ask) -> Response:
    films = list_instances(ask.site.database, limit=100, newest_first=True)
    return ask.site.page("worklist.html", ask, films=films)


PAGES = (Page(path="/", least=WebRole.VIEWER, answer=worklist),)
