"""Delivery reports of many servers, and what each means."""

import sys
from collections import Counter
from email import message_from_bytes
from pathlib import Path

import pytest

from fediletter.mail.parts import parse
from fediletter.mail.reports import Verdict, judge_answer, read_report

HERE = Path(__file__).parent / "reports"
CLASSES = (
    *("gone!", "gone", "nowhere", "inactive", "full", "later"),
    *("unknown", "content", "policy", "ours", "note"),
)


def cases() -> list[tuple[str, str, str, str, str]]:
    lines = (HERE / "cases.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            shape, expected, action, status, diagnostic = line.split(" | ", 4)
            found.append((shape, expected, action, status, diagnostic))
    return found


def message_of(shape: str, action: str, status: str, diagnostic: str):
    text = (HERE / "shapes" / f"{shape}.eml").read_text(encoding="utf-8")
    for name, value in (("action", action), ("status", status), ("diagnostic", diagnostic)):
        text = text.replace("{" + name + "}", value.replace("\\n", "\n"))
    return parse(text.replace("\n", "\r\n").encode())


def name_of(verdict: Verdict | None) -> str:
    if verdict is None:
        return "none"
    return verdict.kind + ("!" if verdict.kind == "gone" and verdict.certain else "")


@pytest.mark.rule("BO-4")
@pytest.mark.rule("BO-5")
@pytest.mark.rule("BO-6")
def test_two_hundred_reports_of_twenty_servers_are_read_as_expected(capsys):
    found = [
        (name_of(read_report(message_of(shape, *rest))), expected, shape, rest[-1])
        for shape, expected, *rest in cases()
    ]

    with capsys.disabled():
        sys.stdout.write(
            "\n" + matrix(Counter((expected, got) for got, expected, _, _ in found)) + "\n"
        )
    assert len(found) >= 200
    assert len({shape for _, _, shape, _ in found}) >= 12
    assert [one for one in found if one[0] != one[1]] == []


def matrix(counts: Counter) -> str:
    """Expected classes down, read classes across."""
    rows = ["expected \\ read " + "".join(f"{name[:8]:>9}" for name in CLASSES)]
    for expected in CLASSES:
        cells = "".join(f"{counts[expected, got] or '·':>9}" for got in CLASSES)
        rows.append(f"{expected:<16}{cells}")
    return "\n".join(rows)


@pytest.mark.rule("BO-2")
def test_several_recipients_in_a_report_the_worst_failure_counts():
    text = (HERE / "shapes" / "postfix.eml").read_text(encoding="utf-8")
    second = (
        "Final-Recipient: rfc822; other@reader.test\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 unknown\n\n"
    )
    text = text.replace(
        "--4XYZ.1764/relay\nContent-Description: Undelivered",
        second + "--4XYZ.1764/relay\nContent-Description: Undelivered",
    )
    for name, value in (("action", "delayed"), ("status", "4.4.1"), ("diagnostic", "timed out")):
        text = text.replace("{" + name + "}", value)

    verdict = read_report(message_from_bytes(text.encode()))

    assert verdict is not None
    assert (verdict.kind, verdict.certain) == ("gone", True)


@pytest.mark.rule("BO-3")
@pytest.mark.parametrize(
    ("action", "status", "diagnostic", "kind"),
    [
        ("mystery", "5.1.1", "550 5.1.1 unknown", "gone"),
        ("mystery", "4.1.1", "450 4.1.1 later", "note"),
        ("delayed", "5.1.1", "550 5.1.1 unknown", "note"),
    ],
)
def test_an_unknown_action_counts_only_beside_a_permanent_code(action, status, diagnostic, kind):
    verdict = read_report(message_of("postfix", action, status, diagnostic))

    assert verdict is not None
    assert verdict.kind == kind


@pytest.mark.parametrize(
    ("answer", "at_rcpt", "expected"),
    [
        ("550 5.1.1 no such reader", True, "gone!"),
        ("550 no", True, "gone"),  # Bare, but to RCPT.
        ("553 no", True, "gone"),
        ("550 no", False, "unknown"),
        ("550 blocked by spamhaus", True, "policy"),
        ("554 5.7.1 spam", False, "policy"),
        ("552 5.3.4 too large", False, "content"),
        ("552 5.2.2 mailbox full", True, "full"),
        ("521 5.0.0 takes no mail", True, "gone!"),
        ("554 5.6.7 needs SMTPUTF8", True, "ours"),
        ("550 5.7.1 relaying denied", True, "ours"),
        ("550 5.2.1 mailbox disabled", True, "inactive"),
    ],
)
def test_the_answer_on_the_wire_goes_to_the_same_judge(answer, at_rcpt, expected):
    assert name_of(judge_answer(answer, at_rcpt=at_rcpt)) == expected


def test_no_address_of_a_person_is_kept_of_what_was_said():
    verdict = judge_answer("550 5.1.1 <ana.b@reader.test> unknown " + "x" * 5000, at_rcpt=True)

    assert "ana" not in verdict.excerpt
    assert "@reader.test" in verdict.excerpt
    assert len(verdict.excerpt) <= 2000


@pytest.mark.parametrize(
    "text",
    [
        "From: ana@reader.test\nSubject: Re: Du lin\n\nIn 1999 we sold 550 pieces for 5.50.",
        "From: ana@reader.test\nSubject: Re: Du lin\n\nMy mailbox is full of flax, 550 5 1 1.",
        "From: ana@reader.test\nSubject: Re: 550 5.1.1 user unknown\n\nHello",
        "From: ana@reader.test\nSubject: Re\n\nI read: the number 550 5.1.1 means unknown.",
    ],
)
def test_what_a_person_writes_is_no_report(text):
    assert read_report(message_from_bytes(text.encode())) is None


def test_a_report_in_base64_is_read():
    import base64

    fields = base64.b64encode(
        b"Reporting-MTA: dns; odd.test\n\nFinal-Recipient: rfc822; ana@reader.test\n"
        b"Action: failed\nStatus: 5.1.1\n"
    ).decode()
    text = (
        "From: postmaster@odd.test\nContent-Type: multipart/report; boundary=b\n\n--b\n"
        "Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
        f"{fields}\n--b--\n"
    )

    assert name_of(read_report(parse(text.encode()))) == "gone!"


@pytest.mark.slow
def test_no_report_however_broken_is_more_than_refused():
    """Cut anywhere, lines doubled, bytes flipped: a verdict, None or Unreadable, and quickly."""
    import random
    import time

    from fediletter.mail.parts import Unreadable

    chance = random.Random(7)  # noqa: S311 (a test)
    started = time.perf_counter()
    for shape in sorted((HERE / "shapes").glob("*.eml")):
        raw = shape.read_bytes()
        for _ in range(30):
            octets = bytearray(raw[: chance.randrange(len(raw))])
            for _ in range(20):
                if octets:
                    octets[chance.randrange(len(octets))] = chance.randrange(256)
            try:
                read_report(parse(bytes(octets)))
            except Unreadable:
                pass
    assert time.perf_counter() - started < 60


@pytest.mark.parametrize(
    "raw",
    [
        b"X: y\r\n" * 1100 + b"\r\n",
        b"".join(
            b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n)
            for n in range(400)
        ),
    ],
    ids=["header lines", "depth"],
)
def test_what_cannot_be_read_within_the_limits_says_so(raw):
    from fediletter.mail.parts import Unreadable

    with pytest.raises(Unreadable):
        parse(raw)


@pytest.mark.parametrize(
    "line",
    [b"550 \r\n", b"-" * 70 + b"\r\n", b"\r\n", b"<", b"a", b"ana@", b"5.1.1.", b"account is "],
)
def test_two_megabytes_of_whatever_are_read_within_a_second(line):
    import time

    raw = b"From: postmaster@x.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
    started = time.process_time()

    read_report(parse(raw + line * (2_000_000 // len(line))))

    assert time.process_time() - started < 1.0
