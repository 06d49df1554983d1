"""The session with a relay, against relays that answer by script and against aiosmtpd."""

import asyncio
import ssl

import pytest
from aiosmtpd.smtp import SMTP

from fediletter.mail.courier import Accepted, Failed, Halt, InDoubt, Later
from fediletter.mail.mailers import open_mailer
from fediletter.mail.relay import Relay, relay_from_url
from fediletter.mail.smtp import SmtpMailer
from tests.fediletter.mail.sink import CLOSE, HOLD, ListCourier, Sink
from tests.peers.certificates import make_certificates

ANA, BO, CLO = "ana@readers.test", "bo@readers.test", "clo@readers.test"
ALL = [ANA, BO, CLO]
BOTH_WAYS = pytest.mark.parametrize("extensions", [("PIPELINING",), ("SIZE 1000000",), ()])


async def deliver(sink: Sink, recipients=ALL, *, left=()) -> tuple[ListCourier, Halt | None]:
    courier = ListCourier(sink, list(recipients), left=left)
    async with sink.running(), asyncio.timeout(10):
        halt = await SmtpMailer(sink.relay()).run(courier)
    return courier, halt


@pytest.mark.rule("TR-6")
@pytest.mark.rule("TR-7")
@pytest.mark.rule("EM-17")
@BOTH_WAYS
async def test_each_reader_gets_one_message_with_one_recipient_over_one_connection(extensions):
    sink = Sink(extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is None
    assert sink.recipients == ALL
    assert [content for _, content in sink.messages] == [
        f"Subject: {to}\r\n\r\nBonjour\r\n".encode() for to in ALL
    ]
    assert sink.connections == 1
    assert [to for to, _ in courier.results] == ALL
    assert all(isinstance(result, Accepted) for _, result in courier.results)
    assert sum(command.startswith("RCPT") for command in sink.commands) == 3


@pytest.mark.rule("TR-7")
async def test_the_next_envelope_travels_with_the_final_dot():
    # The sink answers a dot only when the command after it has arrived: else nobody moves.
    sink = Sink({("DOT", 1): HOLD, ("DOT", 2): HOLD})

    _, halt = await deliver(sink)

    assert halt is None
    assert sink.recipients == ALL


@pytest.mark.rule("TR-7")
async def test_without_pipelining_each_command_waits_for_its_answer():
    sink = Sink({("RCPT", 2): "550 5.1.1 no such reader"}, extensions=())

    await deliver(sink)

    verbs = [command.split()[0] for command in sink.commands]
    assert verbs[:7] == ["EHLO", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "RSET"]


@pytest.mark.rule("TR-20")
@BOTH_WAYS
async def test_a_start_is_committed_between_354_and_the_first_octet_of_the_body(extensions):
    sink = Sink(extensions=extensions)

    await deliver(sink)

    for number in (1, 2, 3):
        at = [sink.events.index((step, number)) for step in ("DATA", "started", "BODY", "DOT")]
        assert at == sorted(at)
        assert sink.events.index(("ended", number)) > at[-1]


@pytest.mark.rule("TR-20")
async def test_an_answer_and_the_next_start_are_one_commit():
    sink = Sink()

    courier, _ = await deliver(sink)

    assert courier.commits == 4  # Start of the first, two advances, end of the last.


@pytest.mark.rule("EM-15")
@pytest.mark.rule("TR-12")
@BOTH_WAYS
async def test_who_left_after_the_envelope_went_gets_nothing_and_holds_nobody_up(extensions):
    sink = Sink(extensions=extensions)

    courier, halt = await deliver(sink, left=(BO,))

    assert halt is None
    assert sink.recipients == [ANA, CLO]
    assert [to for to, _ in courier.results] == [ANA, CLO]
    # Closed without a dot, and without a word that would be text of the message.
    assert sink.discarded == [b""]


@pytest.mark.rule("TR-10")
@BOTH_WAYS
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("550 5.1.1 no such reader", Failed),
        ("553 5.1.3 no", Failed),
        ("450 4.2.1 greylisted", Later),
        ("552 5.2.2 full", Later),  # RFC 5321 §4.5.3.1.10: at RCPT 552 is read as 452.
    ],
)
async def test_a_refused_reader_is_asked_once_and_the_others_are_unharmed(extensions, answer, kind):
    sink = Sink({("RCPT", 2): answer}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is None
    assert sink.recipients == [ANA, CLO]
    result = courier.result(BO)
    assert isinstance(result, kind)
    assert result.answer == answer
    assert courier.started == [ANA, CLO]
    assert sum(BO in command for command in sink.commands) == 1
    assert sink.commands.count("RSET") == 1
    assert sink.connections == 1


@BOTH_WAYS
async def test_refused_first_middle_and_last_each_have_one_result(extensions):
    refused = {("RCPT", number): "550 5.1.1 no" for number in (1, 3, 5)}
    sink = Sink(refused, extensions=extensions)
    five = [f"r{number}@readers.test" for number in range(1, 6)]

    courier, _ = await deliver(sink, five)

    assert [to for to, _ in courier.results] == five
    assert sink.recipients == [five[1], five[3]]


@pytest.mark.rule("TR-9")
@BOTH_WAYS
async def test_a_sender_refused_for_good_is_ours_and_not_the_readers_fault(extensions):
    sink = Sink({("MAIL", 2): "553 5.7.1 not your address"}, extensions=extensions)

    courier, _ = await deliver(sink)

    assert courier.result(BO) == Failed("553 5.7.1 not your address", is_ours=True)
    assert sink.recipients == [ANA, CLO]


@BOTH_WAYS
async def test_a_sender_refused_for_now_rests_the_lane_and_touches_no_delivery(extensions):
    sink = Sink({("MAIL", 2): "451 4.3.0 try later"}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt == Halt("451 4.3.0 try later")
    assert [to for to, _ in courier.results] == [ANA]


@pytest.mark.rule("TR-10")
@BOTH_WAYS
async def test_data_refused_after_the_reader_was_taken_is_ours(extensions):
    sink = Sink({("DATA", 1): "554 5.7.1 no message today"}, extensions=extensions)

    courier, _ = await deliver(sink, [ANA, BO])

    assert courier.result(ANA) == Failed("554 5.7.1 no message today", is_ours=True)
    assert sink.recipients == [BO]


@pytest.mark.rule("TR-11")
async def test_in_data_mode_without_a_recipient_only_the_dot_is_sent():
    script = {("RCPT", 1): "550 5.1.1 no", ("DATA", 1): "354 go on", ("DOT", 1): "554 5.5.1 nobody"}
    sink = Sink(script)

    courier, halt = await deliver(sink, [ANA, BO])

    assert halt is None
    assert courier.result(ANA) == Failed("550 5.1.1 no", at_rcpt=True)
    assert sink.recipients == [BO]
    assert ("BODY", 2) not in sink.events


@BOTH_WAYS
@pytest.mark.parametrize(
    ("answer", "is_ours"),
    [
        ("550 5.1.1 unknown user", False),  # email.md 11.3: a relay that looks only now.
        ("552 5.2.2 mailbox full", False),
        ("554 5.7.1 spam", True),
        ("554 5.5.1 no valid recipients", True),
    ],
)
async def test_a_refusal_of_data_about_the_reader_stops_nobody_else(extensions, answer, is_ours):
    courier, _ = await deliver(Sink({("DATA", 2): answer}, extensions=extensions))

    assert courier.result(BO) == Failed(answer, is_ours=is_ours)


@pytest.mark.rule("TR-13")
@BOTH_WAYS
@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("250 2.0.0 queued as 4F3", Accepted("250 2.0.0 queued as 4F3")),
        ("451 4.3.0 disk", Later("451 4.3.0 disk")),
        ("554 5.7.1 spam", Failed("554 5.7.1 spam")),
    ],
)
async def test_the_answer_to_the_dot_decides(extensions, answer, result):
    sink = Sink({("DOT", 2): answer}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is None
    assert courier.result(BO) == result
    assert isinstance(courier.result(CLO), Accepted)


@pytest.mark.rule("TR-13")
async def test_a_long_answer_is_kept_to_two_hundred_characters():
    courier, _ = await deliver(Sink({("DOT", 1): "250 " + "x" * 400}), [ANA])

    assert len(courier.result(ANA).answer) == 200


@pytest.mark.rule("TR-21")
@BOTH_WAYS
@pytest.mark.parametrize("step", ["BODY", "DOT"])
async def test_a_connection_that_dies_after_the_body_began_leaves_one_message_in_doubt(
    extensions, step
):
    sink = Sink({(step, 2): CLOSE}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is not None
    assert isinstance(courier.result(ANA), Accepted)
    assert isinstance(courier.result(BO), InDoubt)
    assert [to for to, _ in courier.results] == [ANA, BO]
    assert courier.started == [ANA, BO]


@pytest.mark.rule("TR-21")
@BOTH_WAYS
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
async def test_a_connection_that_dies_in_an_envelope_holds_up_that_reader_alone(extensions, step):
    sink = Sink({(step, 2): CLOSE}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is None
    assert [(to, type(result)) for to, result in courier.results] == [
        (ANA, Accepted), (BO, Later), (CLO, Accepted),
    ]  # fmt: skip
    assert courier.started == [ANA, CLO]
    assert sink.connections == 2


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
@BOTH_WAYS
async def test_a_relay_that_hangs_up_on_the_first_envelope_is_left_alone(extensions, step):
    sink = Sink({(step, 1): CLOSE}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is not None
    assert [(to, type(result)) for to, result in courier.results] == [(ANA, Later)]
    assert sink.connections == 1


@pytest.mark.rule("TR-4")
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
@BOTH_WAYS
async def test_421_after_a_message_asks_for_a_new_connection_and_fails_nobody(extensions, step):
    sink = Sink({(step, 2): "421 4.7.0 too many"}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is None
    assert [(to, type(result)) for to, result in courier.results] == [
        (ANA, Accepted), (BO, Accepted), (CLO, Accepted),
    ]  # fmt: skip
    assert sink.connections == 2


@pytest.mark.rule("TR-4")
@pytest.mark.rule("TR-18")
@BOTH_WAYS
async def test_a_relay_that_ends_each_session_after_two_is_asked_for_no_third(extensions):
    enough = "421 4.7.0 two in one session"
    sink = Sink({("MAIL", 3): enough, ("MAIL", 6): enough}, extensions=extensions)
    readers = [f"reader{number}@readers.test" for number in range(8)]

    courier, halt = await deliver(sink, readers)

    assert halt is None
    assert sink.recipients == readers
    assert sink.connections == 4  # The third could have carried all that were left.
    assert courier.slowed == 2


@pytest.mark.rule("TR-4")
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
@BOTH_WAYS
async def test_421_at_once_is_a_relay_that_wants_to_be_left_alone(extensions, step):
    sink = Sink(
        {(step, 1): "421 4.7.0 too many", (step, 2): "421 4.7.0 too many"}, extensions=extensions
    )

    courier, halt = await deliver(sink)

    assert halt == Halt("421 4.7.0 too many")
    assert courier.results == []
    assert sink.connections == 1


@pytest.mark.rule("TR-3")
@BOTH_WAYS
async def test_answers_may_arrive_octet_by_octet(extensions):
    sink = Sink(extensions=extensions, a_reply_per_octet=True)

    await deliver(sink)

    assert sink.recipients == ALL


@pytest.mark.rule("TR-3")
@pytest.mark.rule("TR-8")
@pytest.mark.parametrize(
    "answer", ["250-a\r\n550 b", "hello", "250-" + "x" * 9000 + "\r\n250 y", "999 no", "25"]
)
async def test_an_answer_in_no_known_form_closes_the_session(answer):
    courier, halt = await deliver(Sink({("RCPT", 1): answer}))

    assert halt is not None
    assert [(to, type(result)) for to, result in courier.results] == [(ANA, Later)]
    assert courier.started == []


@pytest.mark.rule("TR-3")
async def test_an_answer_without_end_is_cut():
    endless = "\r\n".join(["250-" + "x" * 4000] * 20) + "\r\n250 y"

    courier, halt = await deliver(Sink({("EHLO", 1): endless}))

    assert halt is not None
    assert courier.started == []


@pytest.mark.parametrize("greeting", ["554 no", "421 busy", "220"])
async def test_a_greeting_other_than_220_rests_the_lane(greeting):
    courier, halt = await deliver(Sink(greeting=greeting))

    assert (halt is None) == greeting.startswith("220")
    assert bool(courier.results) == greeting.startswith("220")


async def test_a_relay_that_is_not_there_rests_the_lane():
    sink = Sink()
    async with sink.running():
        pass  # Its port is free again.
    courier = ListCourier(sink, ALL)

    halt = await SmtpMailer(sink.relay()).run(courier)

    assert halt is not None
    assert "does not answer" in halt.reason
    assert courier.commits == 0


@pytest.mark.rule("EM-5")
@pytest.mark.rule("TR-1")
async def test_nothing_is_said_in_clear_when_a_relay_hides_starttls():
    sink = Sink(extensions=("AUTH PLAIN LOGIN",))
    courier = ListCourier(sink, ALL)
    async with sink.running():
        relay = sink.relay(tls="starttls", user="shop", password="pw")
        halt = await SmtpMailer(relay).run(courier)

    assert halt is not None
    assert "STARTTLS" in halt.reason
    assert not any(command.startswith(("AUTH", "MAIL")) for command in sink.commands)


@pytest.mark.rule("EM-5")
async def test_answers_smuggled_in_before_the_handshake_end_the_session(certificates, trusted):
    sink = Sink(
        {("STARTTLS", 1): "220 ready\r\n250 AUTH PLAIN"}, extensions=("STARTTLS",), tls=certificates
    )
    courier = ListCourier(sink, ALL)
    async with sink.running():
        relay = sink.relay(tls="starttls", user="shop", password="pw")
        halt = await SmtpMailer(relay).run(courier)

    assert halt is not None
    assert not any(command.startswith(("AUTH", "MAIL")) for command in sink.commands)


@pytest.fixture(scope="module")
def certificate_files(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def certificates(certificate_files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_files[1], certificate_files[2])
    return context


@pytest.fixture
def trusted(certificate_files, monkeypatch):
    """This machine trusts the authority of the tests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files[0]))


@pytest.mark.rule("TR-1")
@pytest.mark.rule("TR-2")
@pytest.mark.parametrize("offered", ["AUTH PLAIN LOGIN", "AUTH PLAIN"])
async def test_the_login_goes_through_tls_after_a_second_ehlo(certificates, trusted, offered):
    sink = Sink(extensions=("STARTTLS", offered, "PIPELINING"), tls=certificates)
    courier = ListCourier(sink, ALL)
    async with sink.running():
        relay = sink.relay(tls="starttls", user="shop", password="pw")
        halt = await SmtpMailer(relay).run(courier)

    assert halt is None
    assert [command.split()[0] for command in sink.commands[:4]] == [
        "EHLO",
        "STARTTLS",
        "EHLO",
        "AUTH",
    ]
    assert sink.recipients == ALL


@pytest.mark.rule("EM-5")
@pytest.mark.rule("TR-1")
async def test_a_certificate_that_nobody_vouches_for_is_refused(certificates):
    sink = Sink(extensions=("STARTTLS", "AUTH PLAIN"), tls=certificates)
    courier = ListCourier(sink, ALL)
    async with sink.running():
        relay = sink.relay(tls="starttls", user="shop", password="pw")
        halt = await SmtpMailer(relay).run(courier)

    assert halt is not None
    assert "AUTH" not in " ".join(sink.commands)
    assert courier.commits == 0


@pytest.mark.rule("TR-2")
async def test_a_refused_login_rests_the_lane_and_its_password_is_not_told():
    sink = Sink({("AUTH", 1): "535 5.7.8 no cHc="}, extensions=("AUTH PLAIN",))
    courier = ListCourier(sink, ALL)
    async with sink.running():
        halt = await SmtpMailer(sink.relay(user="shop", password="pw")).run(courier)

    assert halt == Halt("the relay refuses the login: 535", login_refused=True)
    assert courier.commits == 0


@pytest.mark.rule("TR-2")
async def test_a_login_that_asks_in_steps_stops_at_the_first_refusal():
    sink = Sink({("AUTH", 1): "504 5.5.4 not that one"}, extensions=("AUTH LOGIN",))
    courier = ListCourier(sink, ALL)
    async with sink.running():
        halt = await SmtpMailer(sink.relay(user="shop", password="pw")).run(courier)

    assert halt is not None
    assert [command.split()[0] for command in sink.commands] == ["EHLO", "AUTH"]


@pytest.mark.rule("EM-3")
async def test_an_address_with_a_line_break_is_never_written():
    sink = Sink()
    courier, halt = await deliver(sink, ["ana@readers.test>\r\nRCPT TO:<eve@evil.test"])

    assert halt is not None
    assert not any("eve" in command for command in sink.commands)
    assert courier.started == []


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtp://user:p%40ss@mail.example:587", 587, "starttls"),
        ("smtp://mail.example", 587, "starttls"),
        ("smtps://mail.example", 465, "implicit"),
        ("smtp://127.0.0.1", 25, "none"),
        ("smtp://localhost:2525", 2525, "none"),
    ],
)
@pytest.mark.rule("TR-1")
def test_a_relay_is_spoken_to_in_clear_on_this_machine_only(url, port, tls):
    relay = relay_from_url(url)

    assert (relay.port, relay.tls) == (port, tls)
    assert relay.password == ("p@ss" if "user" in url else None)


@pytest.mark.parametrize("url", ["", "http://mail.example", "smtp://", "mail.example:25"])
def test_what_is_no_relay_is_refused(url):
    with pytest.raises(ValueError, match="relay"):
        open_mailer(url)


async def test_a_server_of_others_takes_the_messages():
    class Inbox:
        taken: list[tuple[list[str], bytes]] = []

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 (its name)
            self.taken.append((envelope.rcpt_tos, envelope.content))
            return "250 taken"

    inbox = Inbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(inbox, hostname="other.test"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    courier = ListCourier(Sink(), ALL)
    try:
        halt = await open_mailer(f"smtp://127.0.0.1:{port}", "shop.test").run(courier)
    finally:
        server.close()
        await server.wait_closed()

    assert halt is None
    assert [rcpt_tos for rcpt_tos, _ in inbox.taken] == [[ANA], [BO], [CLO]]


@pytest.mark.rule("TR-19")
async def test_the_second_relay_helps_out_only_while_the_first_is_not_there(unused_tcp_port):
    second = Sink()
    courier = ListCourier(second, ALL)
    gone = Relay("127.0.0.1", unused_tcp_port, "none", None, None, "shop.test")
    async with second.running():
        assert await SmtpMailer(gone, second.relay()).run(courier) is None
    assert second.recipients == ALL

    refusing, second = Sink(greeting="554 not you"), Sink()
    courier = ListCourier(second, ALL)
    async with refusing.running(), second.running():
        halt = await SmtpMailer(refusing.relay(), second.relay()).run(courier)
    assert halt is not None
    assert second.connections == 0


@pytest.mark.rule("BO-11")
@pytest.mark.rule("MI-8")
async def test_parameters_are_given_only_where_they_are_offered():
    sink = Sink(extensions=("PIPELINING", "SIZE 1000000", "DSN"))
    await deliver(sink, ["a+b=c@readers.test"])

    assert sink.commands[1] == "MAIL FROM:<bounce+tag@shop.test> SIZE=40 RET=HDRS ENVID=tag"
    assert sink.commands[2] == (
        "RCPT TO:<a+b=c@readers.test> NOTIFY=FAILURE ORCPT=rfc822;a+2Bb+3Dc@readers.test"
    )


@BOTH_WAYS
@pytest.mark.parametrize("refused", ["MAIL", "RCPT"])
@pytest.mark.parametrize("answer", ["555 5.5.4 no such parameter", "501 5.5.4 what is DSN"])
async def test_a_parameter_that_is_refused_is_left_out_and_asked_once_more(
    extensions, refused, answer
):
    sink = Sink({(refused, 1): answer}, extensions=("DSN", *extensions))

    courier, halt = await deliver(sink)

    assert halt is None
    assert sink.recipients == ALL
    assert sink.connections == 1
    assert sum("ENVID" in command for command in sink.commands) == 1
    assert all(isinstance(result, Accepted) for _, result in courier.results)


@pytest.mark.rule("TR-4")
@BOTH_WAYS
async def test_a_relay_that_has_had_enough_of_a_connection_gets_another(extensions):
    sink = Sink({("RCPT", 3): "452 4.5.3 too many"}, extensions=extensions)

    courier, halt = await deliver(sink)

    assert halt is None
    assert sink.recipients == ALL
    assert sink.connections == 2
    assert len(courier.results) == 3


@pytest.mark.rule("TR-25")
@BOTH_WAYS
async def test_an_international_address_goes_only_where_it_is_understood(extensions):
    mixed = [ANA, "zoé@readers.test", CLO]
    sink = Sink(extensions=("SMTPUTF8", *extensions))
    courier, _ = await deliver(sink, mixed)
    assert sink.recipients == mixed
    assert sum("SMTPUTF8" in command for command in sink.commands) == 1

    sink = Sink(extensions=extensions)
    courier, halt = await deliver(sink, mixed)
    assert halt is None
    assert sink.recipients == [ANA, CLO]
    assert isinstance(courier.result("zoé@readers.test"), Failed)
    assert not any("zo" in command for command in sink.commands)
