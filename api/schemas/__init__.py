"""The bodies of requests and responses, as specs/memory-api names them."""
