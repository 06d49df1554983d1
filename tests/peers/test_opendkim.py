"""Our signatures judged by OpenDKIM, which many receivers run; by way of real DNS packets."""

import json
import os
import subprocess
import sys

import pytest

from federation.keys import RsaPrivateKey
from fediletter.mail.dkim import Canonical, DkimKey, dns_record
from tests.fediletter.mail.kinds import every_kind
from tests.fediletter.mail.test_dkim import KEYS, NOW, RECORDS, signed_issue
from tests.needs import need, need_root
from tests.shop import running_shop


@pytest.mark.slow
@pytest.mark.rule("DK-2")
@pytest.mark.rule("DK-6")
@pytest.mark.rule("HD-20")
async def test_opendkim_finds_each_kind_of_mail_signed_well_and_a_changed_one_not(tmp_path):
    need("OpenDKIM's tools", "opendkim-testmsg")
    need_root()
    folder = tmp_path / "mail"
    folder.mkdir()
    async with running_shop(tmp_path / "shop", workers=False, mail_from="n@shop.example") as shop:
        for name, raw in (await every_kind(shop)).items():
            made = Canonical(raw).signatures({}, domain="shop.example", keys=KEYS[:1], now=NOW)
            (folder / f"{name}.eml").write_bytes(made + raw)
    good = signed_issue()
    (folder / "both-keys.eml").write_bytes(good)
    (folder / "x-subject.eml").write_bytes(good.replace(b"\r\nSubject: ", b"\r\nSubject: x"))
    (folder / "x-body.eml").write_bytes(good.replace(b"Bonjour", b"Bonsoir"))
    (folder / "x-second-from.eml").write_bytes(b"From: eve@evil.test\r\n" + good)
    other = (DkimKey("fl-2026a", RsaPrivateKey.generate()),)
    stranger = Canonical(raw).signatures({}, domain="shop.example", keys=other, now=NOW)
    (folder / "x-key.eml").write_bytes(stranger + raw)
    assert dns_record(KEYS[0].key).encode() in RECORDS.values()
    records = {name.decode(): record.decode() for name, record in RECORDS.items()}
    (folder / "records.json").write_text(json.dumps(records))

    done = subprocess.run(
        ["unshare", "--mount", "--net", sys.executable, "-m", "tests.peers.opendkim", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )

    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    assert len(found) == 33
    good_ones = {name: said for name, said in found.items() if not name.startswith("x-")}
    assert {name: said for name, said in good_ones.items() if said.strip() != "0"} == {}
    bad_ones = {name: said for name, said in found.items() if name.startswith("x-")}
    assert {name for name, said in bad_ones.items() if said.strip() == "0"} == set()
