"""Routes that the specification names and this build does not have yet: 400, never an empty answer."""

from fastapi import APIRouter

from api.errors import RequestRefused

router = APIRouter(include_in_schema=False)

#: Each of them answers so.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

#: Their paths.
PLANNED = (
    "/v1/memory/contexts/{manifest_id}/diff",
    "/v1/assistants", "/v1/assistants/{rest:path}", "/v1/threads", "/v1/threads/{rest:path}",
    "/v1/files", "/v1/files/{rest:path}", "/v1/vector_stores", "/v1/vector_stores/{rest:path}",
    "/v1/conversations", "/v1/conversations/{rest:path}", "/mcp", "/metrics",
)  # fmt: skip


async def planned() -> None:
    """Say that the route is not there yet."""
    raise RequestRefused(400, "This route is specified and not implemented yet.", code="not_implemented")


for _path in PLANNED:
    router.add_api_route(_path, planned, methods=list(METHODS))
