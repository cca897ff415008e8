"""The demo's server for the tests: the same moto, without the work it repeats at every request.

It answers in a third of the time; with plain moto, half of what tests with an engine took was the server. Started as
`python tests/quick_moto.py PORT`, like `python -m runbook_lib.demo.server PORT`.
"""

import functools

from moto import backends
from moto.core import responses, serialize
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server import werkzeug_app
from werkzeug import Response

from runbook_lib.demo import server


class Dispatcher(werkzeug_app.DomainDispatcherApplication):
    """Hands what names a DynamoDB operation to its handler, past Flask's routing; the rest goes the usual way."""

    def __call__(self, environ, start_response):
        if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_20120810."):
            return super().__call__(environ, start_response)
        request = werkzeug_app.BackendRequest(environ)
        status, headers, body = DynamoHandler.dispatch(request, request.raw_url, dict(request.headers))
        return Response(body, status, headers)(environ, start_response)


def by_members(by_shape):
    """Return moto's serializer of structures; it looks for the members that a dict has, not for all there could be."""

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


if __name__ == "__main__":
    backends.list_of_moto_modules = functools.cache(lambda found=backends.list_of_moto_modules: tuple(found()))
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)
    kind = serialize.BaseJSONSerializer
    kind._serialize_type_structure = by_members(kind._serialize_type_structure)
    werkzeug_app.DomainDispatcherApplication = Dispatcher
    server.main()
