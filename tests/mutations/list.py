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
                "sock_connect(line, (address, url.port))",
                "sock_connect(line, ((await self._resolve(url.host, url.port))[0], url.port))",
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
                "            for _ in range(REDIRECTS + 1):\n",
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
    # Beyond 13.6: one enforcement each.
    Mutation(
        "IN-4",
        "a signature may be made for another host (draft-cavage)",
        (
            (
                "federation/signatures/cavage.py",
                "    if host is None or host.lower() not in hosts:\n",
                "    if host is None:\n",
            ),
        ),
        ("tests/hostile/test_signatures.py::test_a_signature_for_another_host_or_inbox_is_401",),
    ),
    Mutation(
        "IN-4",
        "a signature may be made for another host (RFC 9421)",
        (
            (
                "federation/signatures/rfc9421.py",
                "    if host is None or host.lower() not in hosts:\n",
                "    if host is None:\n",
            ),
        ),
        ("tests/hostile/test_signatures.py::test_a_signature_for_another_host_or_inbox_is_401",),
    ),
    Mutation(
        "IN-4",
        "a query may be another than signed",
        (
            (
                "federation/signatures/cavage.py",
                "targets = (request.target, path) if query else (request.target,)",
                'targets = (path + "?x=1", path)',
            ),
        ),
        (
            "tests/hostile/test_signatures.py::test_a_query_is_as_signed_or_not_signed_at_all_by_the_draft",
        ),
    ),
    Mutation(
        "IN-5",
        "a field of trust may stand twice",
        (("federation/inbox.py", "    request.check_single()\n", ""),),
        (
            "tests/hostile/test_edges_of_reading.py::test_a_field_of_trust_that_nobody_reads_may_not_stand_twice_either",
        ),
    ),
    Mutation(
        "IN-6",
        "a capture is good for ever",
        (
            (
                "federation/signatures/request.py",
                "    if abs(now - moment) > SIGNATURE_WINDOW:\n",
                "    if False:\n",
            ),
        ),
        ("tests/hostile/test_signatures.py::test_a_capture_is_good_for_65_minutes_either_way",),
    ),
    Mutation(
        "IN-6",
        "a capture of the future is good",
        (
            (
                "federation/signatures/request.py",
                "    if abs(now - moment) > SIGNATURE_WINDOW:\n",
                "    if now - moment > SIGNATURE_WINDOW:\n",
            ),
        ),
        ("tests/hostile/test_signatures.py::test_a_capture_is_good_for_65_minutes_either_way",),
    ),
    Mutation(
        "IN-6",
        "expires is not capped",
        (("federation/signatures/request.py", "expires - created > SIGNATURE_LIFE", "False"),),
        ("tests/hostile/test_signatures.py::test_created_and_expires_are_honoured_and_capped",),
    ),
    Mutation(
        "IN-9",
        "a key that failed is asked for again",
        (
            (
                "fediletter/inbound/keys.py",
                "if failure is not None and now - failure[0] < NEGATIVE_KEY_CACHE:",
                "if failure is None and False:",
            ),
        ),
        ("tests/hostile/test_keys.py::test_an_unknown_key_costs_two_fetches_and_then_none",),
    ),
    Mutation(
        "IN-9",
        "who asks at the same time asks again",
        (("fediletter/inbound/keys.py", "        if task is None:\n", "        if True:\n"),),
        ("tests/hostile/test_keys.py::test_an_unknown_key_costs_two_fetches_and_then_none",),
    ),
    Mutation(
        "IN-9",
        "a deleted account's document is kept again",
        (("storage/peers.py", ", where=remote_actor.c.deleted_at.is_(None)\n", "\n"),),
        (
            "tests/hostile/test_keys.py::test_the_key_of_a_deleted_account_is_asked_for_once_though_it_is_served",
        ),
    ),
    Mutation(
        "IN-10",
        "an owner need not list a key that has an address",
        (
            (
                "federation/fetch.py",
                "if linked is None or key_id not in actor.key_links:",
                "if linked is None:",
            ),
        ),
        (
            "tests/hostile/test_keys.py::test_a_key_that_is_listed_by_its_address_must_be_what_is_there",
        ),
    ),
    Mutation(
        "IN-12",
        "a key id may be anything",
        (("federation/inbox.py", "    _check_key_id(signature.key_id, schemes)\n", ""),),
        (
            "tests/hostile/test_keys.py::test_a_key_id_that_is_no_address_is_refused_without_a_fetch",
        ),
    ),
    Mutation(
        "IN-14",
        "a graph is read",
        (("federation/reading.py", "if name in _GRAPH:", "if False:"),),
        (
            "tests/hostile/test_inbox_threats.py::test_graph_keywords_are_400_and_linked_data_signatures_count_for_nothing",
        ),
    ),
    Mutation(
        "IN-15",
        "depth has no end",
        (("federation/reading.py", "if depth > JSON_DEPTH:", "if False:"),),
        ("tests/hostile/test_bodies.py::test_signed_json_at_its_limits",),
    ),
    Mutation(
        "IN-15",
        "a name may stand twice",
        (("federation/reading.py", "        if name in found:\n", "        if False:\n"),),
        ("tests/hostile/test_bodies.py::test_signed_json_at_its_limits",),
    ),
    Mutation(
        "IN-22",
        "a stranger's own Delete is looked into",
        (
            (
                "fediletter/inbound/receive.py",
                "if claim.is_about_itself and not await self._is_known(claim.actor):",
                "if False:",
            ),
        ),
        (
            "tests/hostile/test_inbox_threats.py::test_deletes_of_strangers_are_202_without_a_fetch_or_a_write",
        ),
    ),
    Mutation(
        "IN-23",
        "no mark stays of what was deleted",
        (
            (
                "fediletter/inbound/removal.py",
                "        bury(tx, target, activity.actor, now=now)\n",
                "",
            ),
        ),
        (
            "tests/hostile/test_object_threats.py::test_a_delete_without_an_id_is_applied_once_and_a_late_create_stays_dead",
        ),
    ),
    Mutation(
        "IN-24",
        "a 404 is proof",
        (
            (
                "fediletter/inbound/keys.py",
                'return "gone" if gone.proven else "missing"',
                'return "gone"',
            ),
        ),
        (
            "tests/hostile/test_inbox_threats.py::test_a_delete_that_nobody_can_prove_counts_only_with_a_410",
        ),
    ),
    Mutation(
        "IN-26",
        "a boost of what is not public counts",
        (
            (
                "fediletter/inbound/reaction.py",
                ' or (kind == "announce" and post.audience not in SHOWN)',
                "",
            ),
        ),
        ("tests/hostile/test_versions.py::test_a_boost_of_an_answer_to_one_person_is_not_counted",),
    ),
    Mutation(
        "IN-28",
        "a Follow counts in anybody's inbox",
        (
            (
                "fediletter/inbound/receive.py",
                'activity.type == "Follow" and owner not in (None, activity.object_id)',
                "False",
            ),
        ),
        ("tests/hostile/test_follows.py::test_a_follow_in_anothers_inbox_is_202_and_ignored",),
    ),
    Mutation(
        "IN-29",
        "a host may bring any number",
        (
            (
                "fediletter/inbound/follow.py",
                "if recent_from_host(tx, host, now=now) >= FOLLOWS_PER_HOST_HOUR:",
                "if False:",
            ),
        ),
        (
            "tests/hostile/test_follows.py::test_more_followers_of_a_host_than_people_are_parked_without_an_accept",
        ),
    ),
    Mutation(
        "IN-30",
        "an inbox may be anywhere",
        (
            (
                "federation/actors.py",
                'return mine.scheme == "https" and is_related_host(mine.host, theirs.host)',
                "return True",
            ),
        ),
        ("tests/hostile/test_follows.py::test_a_foreign_inbox_makes_no_follower",),
    ),
    Mutation(
        "IN-31",
        "the target of a Move need not name its origin",
        (("fediletter/inbound/profile.py", " or origin not in found.also_known_as", ""),),
        (
            "tests/hostile/test_moves.py::test_nobody_moves_another_and_not_to_whom_does_not_name_him",
        ),
    ),
    Mutation(
        "IN-35",
        "a key of any size is a key",
        (
            (
                "federation/keys.py",
                "if not low <= key.key_size <= high or numbers.e.bit_length() > 32:",
                "if False:",
            ),
        ),
        ("tests/hostile/test_keys.py::test_a_weak_or_huge_key_is_401_and_not_kept",),
    ),
    Mutation(
        "IN-36",
        "who was blocked meanwhile still acts",
        (
            (
                "fediletter/inbound/dispatch.py",
                "if is_blocked(tx, activity.actor, host_of(activity.actor)):",
                "if False:",
            ),
        ),
        (
            "tests/hostile/test_object_threats.py::test_what_waits_of_somebody_blocked_meanwhile_is_dropped",
        ),
    ),
    Mutation(
        "FE-4",
        "one good address among bad ones is enough",
        (
            (
                "federation/addresses.py",
                "        if not is_allowed and (odd or not is_public(address)):\n            raise ForbiddenAddress",
                "        if not any(allowed) and (odd or not is_public(address)):\n            raise ForbiddenAddress",
            ),
        ),
        (
            "tests/hostile/test_documents_refused.py::test_a_name_that_leads_inside_leaves_nothing_and_no_connection",
        ),
    ),
    Mutation(
        "FE-9",
        "any port is reached",
        (("federation/addresses.py", " or url.port not in policy.ports", ""),),
        ("tests/federation/test_network.py::test_only_the_port_of_https_is_reached",),
    ),
    Mutation(
        "FE-11",
        "connection and TLS share their time",
        (
            (
                "federation/network.py",
                "            async with asyncio.timeout(STEP_SECONDS):\n                _, wire",
                "            if True:\n                _, wire",
            ),
        ),
        ("tests/federation/test_network.py::test_the_connection_and_tls_have_five_seconds_each",),
    ),
    Mutation(
        "FE-11",
        "no end to the whole",
        (
            (
                "federation/wire.py",
                "        self._total = self._loop.call_later(seconds, self._fail_late)\n",
                "",
            ),
        ),
        ("tests/federation/test_network.py::test_a_stalled_and_an_endless_answer_are_cut",),
    ),
    Mutation(
        "FE-12",
        "an answer may be of any size",
        (
            (
                "federation/wire.py",
                "        if len(self._body) > ANSWER_BYTES:\n",
                "        if False:\n",
            ),
        ),
        (
            "tests/federation/test_network.py::test_an_oversize_or_malformed_answer_ends_the_connection",
        ),
    ),
    Mutation(
        "FE-13",
        "gzip may unpack to any size",
        (
            (
                "federation/network.py",
                "if len(body) > ANSWER_BYTES or not unpacker.eof",
                "if not unpacker.eof",
            ),
        ),
        ("tests/federation/test_network.py::test_a_bomb_or_another_encoding_is_refused",),
    ),
    Mutation(
        "FE-15",
        "every fetcher has ten requests of its own",
        (
            (
                "fediletter/inbound/keys.py",
                "return Fetcher(services.network, instance.rsa, budget)",
                "return Fetcher(services.network, instance.rsa)",
            ),
        ),
        (
            "tests/hostile/test_keys.py::test_what_its_key_cost_is_not_left_for_what_an_activity_needs_later",
        ),
    ),
    Mutation(
        "FE-15",
        "what the door asked for is forgotten",
        (
            (
                "fediletter/inbound/receive.py",
                "        fetches = FETCHES - budget.left\n",
                "        fetches = 0\n",
            ),
        ),
        (
            "tests/hostile/test_keys.py::test_what_its_key_cost_is_not_left_for_what_an_activity_needs_later",
        ),
    ),
    Mutation(
        "FE-15",
        "each try has ten requests of its own",
        (
            (
                "fediletter/inbound/dispatch.py",
                "    attempts = max(FETCHES - budget.left, row.attempts + 1)\n",
                "    attempts = 1\n",
            ),
        ),
        (
            "tests/hostile/test_keys.py::test_a_server_that_is_away_is_asked_ten_times_in_all_for_one_activity",
        ),
    ),
    Mutation(
        "FE-17",
        "our own host is asked",
        (("federation/addresses.py", "if url.authority in policy.own_hosts:", "if False:"),),
        ("tests/hostile/test_keys.py::test_a_key_at_our_own_host_is_never_asked_for",),
    ),
    Mutation(
        "FE-18",
        "any certificate is good",
        (
            (
                "federation/network.py",
                "        self.load_default_certs()\n",
                "        self.load_default_certs()\n        self.check_hostname = False\n        self.verify_mode = ssl.CERT_NONE\n",
            ),
        ),
        (
            "tests/hostile/test_documents_refused.py::test_a_certificate_that_nobody_trusts_leaves_nothing",
        ),
    ),
    Mutation(
        "HT-7",
        "a link does not show its host",
        (("fediletter/newsletter/html.py", 'return f"{found[0]} ({host})"', "return found[0]"),),
        ("tests/hostile/test_markup.py::test_a_link_shows_the_host_that_it_leads_to",),
    ),
)
