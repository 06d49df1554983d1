"""Which addresses letters are sent to."""

import pytest

from fediletter.mail.addresses import BadAddress, canonical_for_limits, mask, parse_address


@pytest.mark.rule("EM-3")
@pytest.mark.rule("TR-25")
@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ana.Lopez@Example.ORG ", "Ana.Lopez@example.org"),
        ("ana+sacs@example.org", "ana+sacs@example.org"),
        ("o'brien@example.ie", "o'brien@example.ie"),
        ("info@café.example", "info@xn--caf-dma.example"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("x" * 64 + "@example.org", "x" * 64 + "@example.org"),
    ],
)
def test_an_address_is_kept_as_typed_with_its_domain_in_ascii(typed, kept):
    assert str(parse_address(typed)) == kept


@pytest.mark.rule("EM-3")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "ana",
        "@example.org",
        "ana@",
        "ana@localhost",
        "ana@[192.0.2.1]",
        "ana@192.0.2.1",
        '"ana b"@example.org',
        "ana b@example.org",
        "ana,bo@example.org",
        "ana%bo@example.org",
        "ana(x)@example.org",
        ".ana@example.org",
        "ana.@example.org",
        "a..b@example.org",
        "a@b@example.org",
        "ana@example.org\r\nRCPT TO:<eve@evil.test>",
        "ana\r\n@example.org",
        "ana\x00@example.org",
        "añá@example.org",
        "ana@-x.example",
        "ana@exa_mple.org",
        "ana@example..org",
        "x" * 65 + "@example.org",
        "ana@" + "a" * 63 + "." + ("b" * 60 + ".") * 4 + "org",
        "<ana@example.org>",
    ],
)
def test_what_letters_cannot_be_sent_to_is_refused_with_words(text):
    with pytest.raises(BadAddress) as refused:
        parse_address(text)
    assert refused.value.words.endswith(".")


@pytest.mark.rule("TR-26")
def test_identity_is_lower_case_and_keeps_plus_and_dots():
    assert parse_address("Ana.B+x@Example.org").identity == "ana.b+x@example.org"


@pytest.mark.rule("OP-1")
@pytest.mark.parametrize(
    ("typed", "counted"),
    [
        ("A.na+x@gmail.com", "ana@gmail.com"),
        ("a.na@googlemail.com", "ana@gmail.com"),
        ("A.na+x@example.org", "a.na@example.org"),
    ],
)
def test_spellings_of_one_mailbox_count_as_one(typed, counted):
    assert canonical_for_limits(parse_address(typed)) == counted


def test_a_masked_address_shows_one_letter_and_the_domain():
    assert mask("ana@example.org") == "a…@example.org"
