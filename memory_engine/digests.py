"""Keyed hashes that stand for what was erased, so that it can be known again and not be read."""

import hashlib
import hmac
from dataclasses import dataclass

from memory_engine.models import Scope


@dataclass(frozen=True, slots=True)
class Digests:
    """HMAC-SHA-256 (RFC 2104) with this store's key, in hexadecimal."""

    key: bytes

    def of_namespace(self, namespace: str) -> str:
        """Whose a receipt is."""
        return self._of("namespace", namespace)

    def of_message(self, owner: str, message_id: str, text: str) -> str:
        """A message that a backup must not bring back; another one that says the same is not meant.

        Args:
            owner: the hash of its namespace.
            message_id: its id.
            text: what it says.
        """
        return self._of("message", owner, message_id, text)

    def of_name(self, scope: Scope, kind: str, name: str) -> str:
        """The id of a message or a conversation of a scope."""
        return self._of("name", scope.namespace, scope.user or "", kind, name)

    def _of(self, *parts: str) -> str:
        # Each part with its length before it: no two lists of parts are the same bytes.
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        told = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
        return hmac.new(self.key, told, hashlib.sha256).hexdigest()
