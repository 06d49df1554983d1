"""The built-in catcher."""

import os

import pytest

from fediletter.mail.courier import Accepted, Halt, Later
from fediletter.mail.maildir import caught_mail, read_caught
from fediletter.mail.mailers import open_mailer
from tests.fediletter.mail.sink import ListCourier, Sink

ANA, BO, CLO = "ana@readers.test", "bo@readers.test", "clo@readers.test"


async def test_each_message_is_one_file_that_a_mail_program_reads(tmp_path):
    courier = ListCourier(Sink(), [ANA, BO])

    halt = await open_mailer(f"maildir:{tmp_path}/mail").run(courier)

    assert halt is None
    assert [type(result) for _, result in courier.results] == [Accepted, Accepted]
    assert sorted(mail.subject for mail in caught_mail(tmp_path / "mail")) == [ANA, BO]
    assert list((tmp_path / "mail" / "tmp").iterdir()) == []
    file = next((tmp_path / "mail" / "new").iterdir())
    assert b"\r" not in file.read_bytes()
    assert read_caught(file).text.strip() == "Bonjour"


@pytest.mark.rule("EM-15")
async def test_who_left_is_not_caught_and_holds_nobody_up(tmp_path):
    courier = ListCourier(Sink(), [ANA, BO, CLO], left=(BO,))

    await open_mailer(f"maildir:{tmp_path}").run(courier)

    assert sorted(mail.subject for mail in caught_mail(tmp_path)) == [ANA, CLO]


async def test_the_newest_is_shown_first_and_no_more_than_asked_for(tmp_path):
    await open_mailer(f"maildir:{tmp_path}").run(ListCourier(Sink(), [ANA, BO, CLO]))
    for mail, second in zip(caught_mail(tmp_path), (1, 3, 2), strict=True):
        os.utime(tmp_path / "new" / mail.name, (second, second))

    everything = caught_mail(tmp_path)

    times = [(tmp_path / "new" / mail.name).stat().st_mtime for mail in everything]
    assert times == [3, 2, 1]
    assert caught_mail(tmp_path, limit=1) == everything[:1]


async def test_a_directory_that_cannot_be_written_loses_no_letter(tmp_path):
    (tmp_path / "mail").write_text("a file, not a directory")
    courier = ListCourier(Sink(), [ANA, BO])

    halt = await open_mailer(f"maildir:{tmp_path}/mail").run(courier)

    assert isinstance(halt, Halt)
    assert isinstance(courier.result(ANA), Later)
    assert [to for to, _ in courier.results] == [ANA]


def test_an_empty_catcher_shows_nothing(tmp_path):
    assert caught_mail(tmp_path / "none") == []
