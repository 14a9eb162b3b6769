"""Names the person behind a request to whatever records events while it is answered."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from arcweb.events.actors import Actor, acting_as, request_origin


def actor_of(request: HttpRequest) -> Actor:
    """The request's user with address and user agent; reads request.user, which may query once."""
    origin = request_origin(request.META, behind_proxy=settings.ARC_BEHIND_PROXY)
    return Actor.of_user(getattr(request, "user", None), origin)


class ActorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with acting_as(lambda: actor_of(request)):
            return self.get_response(request)
