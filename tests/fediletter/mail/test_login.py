"""Logging in at a relay, against the vectors of the standards."""

import base64

import pytest

from fediletter.mail.login import NoLogin, login


def talk(mechanism, answers, *, user="user", password="pencil", nonce="n"):  # noqa: S107
    exchange = login([mechanism, "PLAIN"], user, password, nonce)
    said = [next(exchange)]
    for answer in answers:
        try:
            said.append(exchange.send(answer))
        except StopIteration:
            break
    return said


def b64(text):
    return base64.b64encode(text.encode()).decode()


def plain(line):
    return base64.b64decode(line.rpartition(" ")[2]).decode()


@pytest.mark.rule("TR-2")
@pytest.mark.parametrize(
    ("mechanism", "nonce", "first", "proof", "last"),
    [
        (  # RFC 7677 §3
            "SCRAM-SHA-256",
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
        (  # RFC 5802 §5
            "SCRAM-SHA-1",
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
    ],
)
def test_scram_says_what_the_standard_says(mechanism, nonce, first, proof, last):
    said = talk(
        mechanism, [(334, b64(first)), (334, b64(last)), (235, "2.7.0 welcome")], nonce=nonce
    )

    assert plain(said[0]) == f"n,,n=user,r={nonce}"
    assert plain(said[1]).endswith(f",p={proof}")
    assert said[2] == ""
    assert len(said) == 3


@pytest.mark.rule("TR-2")
def test_a_relay_that_does_not_know_the_password_is_found_out():
    first = "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    with pytest.raises(NoLogin, match="prove"):
        talk(
            "SCRAM-SHA-256",
            [(334, b64(first)), (334, b64("v=AAAA"))],
            nonce="rOprNGfwEbeRWgbNEkqO",
        )


@pytest.mark.rule("TR-2")
@pytest.mark.parametrize(
    "first", ["r=other,s=QSXCR+Q6sek8bf92,i=4096", "r=nx,s=QSXC,i=1", "r=nx,s=QSXC,i=99999999", "x"]
)
def test_a_first_answer_that_weakens_the_proof_is_refused(first):
    with pytest.raises(NoLogin):
        talk("SCRAM-SHA-256", [(334, b64(first))])


@pytest.mark.rule("TR-2")
def test_the_strongest_that_is_offered_is_taken():
    for offered, taken in (
        (["LOGIN", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"], "AUTH SCRAM-SHA-256 "),
        (["LOGIN", "PLAIN", "SCRAM-SHA-1"], "AUTH SCRAM-SHA-1 "),
        (["LOGIN", "PLAIN"], "AUTH PLAIN "),
        (["LOGIN"], "AUTH LOGIN"),
    ):
        assert next(login(offered, "a", "b", "n")).startswith(taken)
    with pytest.raises(NoLogin):
        login(["XOAUTH2"], "a", "b", "n")
