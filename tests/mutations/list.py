"""What is taken away, one at a time, and which tests must notice.

Each mutation removes the enforcement of one rule by small replacements, each of a text that stands
exactly once in its file. Where two layers hold a rule, both go, or each has a mutation of its own.
"""

from dataclasses import dataclass

INBOX = "tests/hostile/test_inbox_threats.py"
SIGNATURES = "tests/hostile/test_signatures.py"
KEYS = "tests/hostile/test_keys.py"
OBJECTS = "tests/hostile/test_object_threats.py"
REFUSED = "tests/hostile/test_documents_refused.py"
FETCH = "tests/federation/test_fetch.py"
NETWORK = "tests/federation/test_network.py"
CAVAGE = "federation/signatures/cavage.py"
RFC9421 = "federation/signatures/rfc9421.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One enforcement that is removed.

    Args:
        rule: Of security.md.
        name: What is not enforced any more.
        edits: File, text and replacement.
        tests: Of which at least one must fail.
    """

    rule: str
    name: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "IN-2",
        "Digest is not compared (draft-cavage)",
        ((CAVAGE, "        check_digest(digest, request.body)\n", "        pass\n"),),
        (f"{SIGNATURES}::test_a_body_that_was_not_signed_is_401",),
    ),
    Mutation(
        "IN-2",
        "Content-Digest is not compared (RFC 9421)",
        ((RFC9421, "        check_content_digest(digest, request.body)\n", "        pass\n"),),
        (f"{SIGNATURES}::test_a_body_that_was_not_signed_is_401",),
    ),
    Mutation(
        "IN-3",
        "target and host need not be covered (draft-cavage)",
        (
            (
                CAVAGE,
                'if "(request-target)" not in covered or "host" not in covered:',
                "if False:",
            ),
        ),
        (f"{SIGNATURES}::test_a_signature_that_covers_too_little_is_401",),
    ),
    Mutation(
        "IN-3",
        "the digest need not be covered (draft-cavage)",
        ((CAVAGE, 'if "digest" not in covered or digest is None:', "if digest is None:"),),
        (f"{SIGNATURES}::test_a_signature_that_covers_too_little_is_401",),
    ),
    Mutation(
        "IN-3",
        "method and target need not be covered (RFC 9421)",
        ((RFC9421, 'if "@method" not in covered or not whole:', "if False:"),),
        (f"{SIGNATURES}::test_a_signature_by_rfc_9421_that_covers_too_little_is_401",),
    ),
    Mutation(
        "IN-3",
        "the digest need not be covered (RFC 9421)",
        (
            (
                RFC9421,
                'if "content-digest" not in covered or digest is None:',
                "if digest is None:",
            ),
        ),
        (f"{SIGNATURES}::test_a_signature_by_rfc_9421_that_covers_too_little_is_401",),
    ),
    Mutation(
        "IN-10",
        "a key document's own claim is believed",
        (
            (
                "federation/fetch.py",
                '        raise NotProven("the owner does not list the key")\n',
                "        from federation.keys import public_key\n\n"
                '        found = public_key(document["publicKeyPem"])\n'
                "        return KnownKey(key_id, owner, found), actor\n",
            ),
        ),
        (f"{KEYS}::test_a_key_document_that_names_another_owner_proves_nothing",),
    ),
    Mutation(
        "IN-10",
        "a key may be of another host than its owner",
        (
            (
                "federation/fetch.py",
                "        if not same_origin(owner, key_id):\n",
                "        if False:\n",
            ),
        ),
        (f"{FETCH}::test_a_key_that_its_owner_does_not_list_is_not_proven",),
    ),
    Mutation(
        "IN-11",
        "any file of a host may say that it is an actor",
        (
            (
                "federation/fetch.py",
                "self._usable(document) if id_of(document) == owner == place else None",
                "self._usable(document)",
            ),
        ),
        (f"{KEYS}::test_an_actor_id_that_shows_another_actor_is_401",),
    ),
    Mutation(
        "IN-11",
        "a document of another id counts as the one asked for",
        (("federation/fetch.py", "        if found != url:\n", "        if False:\n"),),
        (f"{FETCH}::test_a_document_counts_only_at_its_own_id",),
    ),
    Mutation(
        "IN-13",
        "the signer need not be the activity's actor",
        (("federation/inbox.py", "    if key.owner != claim.actor:\n", "    if False:\n"),),
        (f"{INBOX}::test_another_actors_activity_is_202_and_a_foreign_id_400",),
    ),
    Mutation(
        "IN-13",
        "an activity's id may be of another origin",
        (
            (
                "federation/inbox.py",
                "    if not same_origin(given, actor):\n",
                "    if False:\n",
            ),
        ),
        (f"{INBOX}::test_another_actors_activity_is_202_and_a_foreign_id_400",),
    ),
    Mutation(
        "IN-20",
        "an object may be of another host than its actor",
        (
            (
                "fediletter/inbound/reply.py",
                "    if uri is None or not same_origin(uri, actor):\n",
                "    if uri is None:\n",
            ),
        ),
        (f"{OBJECTS}::test_an_object_of_another_host_or_author_is_not_kept",),
    ),
    Mutation(
        "IN-20",
        "an object may be attributed to somebody else",
        (
            (
                "fediletter/inbound/reply.py",
                '    if id_of(first(note.get("attributedTo"))) != actor:\n',
                "    if False:\n",
            ),
        ),
        (f"{OBJECTS}::test_an_object_of_another_host_or_author_is_not_kept",),
    ),
    Mutation(
        "IN-21",
        "anybody of the host may edit an answer",
        (
            (
                "fediletter/inbound/reply.py",
                "        if found.actor_uri != activity.actor:\n",
                "        if False:\n",
            ),
        ),
        (f"{OBJECTS}::test_nobody_updates_deletes_or_undoes_what_is_anothers",),
    ),
    Mutation(
        "IN-21",
        "anybody of the host may delete an answer",
        (
            (
                "fediletter/inbound/removal.py",
                "        if found.actor_uri != activity.actor:\n",
                "        if False:\n",
            ),
        ),
        (f"{OBJECTS}::test_nobody_updates_deletes_or_undoes_what_is_anothers",),
    ),
    Mutation(
        "IN-27",
        "an Undo counts for whom it names, not for who signed it",
        (
            (
                "fediletter/inbound/removal.py",
                'id_of(inner.get("actor")) not in (None, activity.actor):',
                "False:",
            ),
            (
                "fediletter/inbound/removal.py",
                "bool(remove_follower(tx, activity.actor, actor_id=target))",
                'bool(remove_follower(tx, id_of(inner.get("actor")) or "", actor_id=target))',
            ),
        ),
        (f"{OBJECTS}::test_nobody_updates_deletes_or_undoes_what_is_anothers",),
    ),
    Mutation(
        "FE-1",
        "every address is public",
        (
            (
                "federation/addresses.py",
                "    if isinstance(address, IPv4Address):\n",
                "    if True:\n        return True\n    if isinstance(address, IPv4Address):\n",
            ),
        ),
        (
            f"{NETWORK}::test_an_inbox_at_a_private_address_is_refused_without_a_connection",
            f"{NETWORK}::test_addresses_that_are_not_public_are_known",
        ),
    ),
    Mutation(
        "FE-1",
        "addresses are not looked at before connecting",
        (
            (
                "federation/network.py",
                "        return check_addresses(url, found, self.policy)\n",
                "        return list(found)\n",
            ),
        ),
        (
            f"{NETWORK}::test_an_inbox_at_a_private_address_is_refused_without_a_connection",
            f"{KEYS}::test_a_key_at_a_forbidden_address_is_401_and_never_connected_to",
        ),
    ),
    Mutation(
        "FE-3",
        "the name is resolved again at connect",
        (
            (
                "federation/network.py",
                "                Wire,\n                address,\n",
                "                Wire,\n                url.host,\n",
            ),
        ),
        (f"{NETWORK}::test_a_name_is_resolved_once_and_the_checked_address_is_connected_to",),
    ),
    Mutation(
        "FE-6",
        "a redirect may lead to another origin",
        (
            (
                "federation/fetch.py",
                "    if target.origin != url.origin:\n",
                "    if False:\n",
            ),
        ),
        (f"{REFUSED}::test_a_redirect_to_another_host_gets_neither_signature_nor_question",),
    ),
    Mutation(
        "FE-6",
        "redirects are followed without end",
        (
            (
                "federation/fetch.py",
                "            for _ in range(_REDIRECTS + 1):\n",
                "            for _ in range(9):\n",
            ),
        ),
        (f"{FETCH}::test_three_redirects_are_followed_and_not_a_fourth",),
    ),
    Mutation(
        "FE-10",
        "any media type may be an actor",
        (
            (
                "federation/fetch.py",
                '    if not is_activity_type(response.headers.get("content-type", "")):\n',
                "    if False:\n",
            ),
        ),
        (f"{FETCH}::test_only_an_activitystreams_type_makes_a_document",),
    ),
)
