"""The sample conversations, one file each, in the shape of POST /v1/memory/messages."""
