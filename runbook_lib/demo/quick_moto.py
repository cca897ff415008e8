"""moto without the work that it repeats at every request: it answers in a third of the time."""

import functools
from collections.abc import Callable
from typing import Any


def application() -> Callable[..., Any]:
    """moto's server as a WSGI application. It changes moto for this whole process."""
    from moto import backends
    from moto.core import responses, serialize
    from moto.dynamodb.responses import DynamoHandler
    from moto.moto_server import werkzeug_app
    from werkzeug import Response

    class Dispatcher(werkzeug_app.DomainDispatcherApplication):
        """Hands what names a DynamoDB operation to its handler, past Flask's routing; the rest goes the usual way."""

        def __call__(self, environ, start_response):
            if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_20120810."):
                return super().__call__(environ, start_response)
            request = werkzeug_app.BackendRequest(environ)
            status, headers, body = DynamoHandler.dispatch(request, request.raw_url, dict(request.headers))
            return Response(body, status, headers)(environ, start_response)

    backends.list_of_moto_modules = functools.cache(lambda found=backends.list_of_moto_modules: tuple(found()))
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)
    kind = serialize.BaseJSONSerializer
    kind._serialize_type_structure = _by_members(kind._serialize_type_structure)
    return Dispatcher(werkzeug_app.create_backend_app)


def _by_members(by_shape: Callable[..., None]) -> Callable[..., None]:
    """moto's serializer of structures; it looks for the members that a dict has, not for all there could be."""

    def serialized(self, serialized, value, shape, key):
        if key and isinstance(value, dict) and value.keys() <= shape.members.keys():
            wrapper = self.MAP_TYPE()
            for name, member in value.items():
                if member is not None:
                    self._serialize(wrapper, member, shape.members[name], name)
            self._default_serialize(serialized, wrapper, shape, key)
        else:
            by_shape(self, serialized, value, shape, key)

    return serialized
