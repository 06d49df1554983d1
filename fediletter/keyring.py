"""Our own keys, loaded once: parsing a private key costs as much as 145 signatures."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from federation.keys import PrivateKey, Signer, private_key
from fediletter.links import Links
from fediletter.sealing import Vault
from storage.errors import NotThere
from storage.ids import ActorId
from storage.newsletters import LocalActor, keys_of, local_actors
from storage.store import Store, Tx


@dataclass(frozen=True, slots=True)
class OwnActor:
    """An actor of ours with its loaded keys; `ed25519` is for integrity proofs."""

    row: LocalActor
    uri: str
    rsa: Signer
    ed25519: Signer

    @property
    def id(self) -> ActorId:
        return self.row.id


class KeyRing:
    """All actors of ours. Loaded at the first question; a new topic's actor at its first."""

    def __init__(self, store: Store, vault: Vault, links: Links) -> None:
        self._store = store
        self._vault = vault
        self._links = links
        self._actors: dict[ActorId, OwnActor] = {}

    async def newsletter(self) -> OwnActor:
        """The newsletter's own actor."""
        return await self._one(lambda row: row.kind == "newsletter")

    async def instance(self) -> OwnActor:
        """The actor that signs our GETs."""
        return await self._one(lambda row: row.kind == "instance")

    async def by_name(self, username: str) -> OwnActor | None:
        """The actor of a name, in any case of letters."""
        return await self._found(lambda one: one.row.username.lower() == username.lower())

    async def by_uri(self, uri: str | None) -> OwnActor | None:
        """The actor of an id."""
        if uri is None or not uri.startswith(f"{self._links.base}/ap/"):
            return None
        return await self._found(lambda one: one.uri == uri)

    async def _found(self, fits: Callable[[OwnActor], bool]) -> OwnActor | None:
        for known in await self.all():
            if fits(known):
                return known
        await self._load()  # Another process may have made it.
        return next((one for one in self._actors.values() if fits(one)), None)

    async def by_id(self, actor_id: ActorId) -> OwnActor:
        """The actor of a row. Raises NotThere."""
        if actor_id not in self._actors:
            await self._load()
        if actor_id not in self._actors:
            raise NotThere(str(actor_id))
        return self._actors[actor_id]

    async def all(self) -> list[OwnActor]:
        """Every actor of ours, the oldest first."""
        if not self._actors:
            await self._load()
        return list(self._actors.values())

    async def reload(self) -> None:
        """Look again: an actor was added."""
        await self._load()

    async def _one(self, fits: Callable[[LocalActor], bool]) -> OwnActor:
        for known in await self.all():
            if fits(known.row):
                return known
        raise NotThere("actor")

    async def _load(self) -> None:
        def work(tx: Tx) -> list[tuple[LocalActor, dict[str, tuple[str, bytes]]]]:
            return [
                (
                    row,
                    {key.kind: (key.fragment, key.sealed_private) for key in keys_of(tx, row.id)},
                )
                for row in local_actors(tx)
            ]

        for row, keys in await self._store.read(work):
            if row.id in self._actors:
                self._actors[row.id] = replace(self._actors[row.id], row=row)
                continue
            uri = self._links.actor(row.username)
            self._actors[row.id] = OwnActor(
                row,
                uri,
                Signer(self._links.key(uri, keys["rsa"][0]), self._open(keys["rsa"][1])),
                Signer(self._links.key(uri, keys["ed25519"][0]), self._open(keys["ed25519"][1])),
            )

    def _open(self, sealed: bytes) -> PrivateKey:
        return private_key(self._vault.open(sealed, "actor-key"))
