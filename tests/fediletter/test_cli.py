"""The command line as operators script it: exit codes, one clear line, nothing half done."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from fediletter.cli import _COMMANDS
from fediletter.settings import _NAMES, load
from tests.fediletter.lists import known
from tests.shop import free_port

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fediletter", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=90,
        env={"PATH": os.environ["PATH"], "FEDILETTER_LANGUAGE": "en"} | environ,
        check=False,
    )


@pytest.mark.slow
def test_the_demos_whole_round_works():
    answer = run("demo", "--check")

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count("✓") == 13
    assert answer.stderr == ""


@pytest.mark.slow
def test_the_demo_is_filled_says_where_to_click_and_finds_all_again(tmp_path):
    port = 0
    while not port:  # The reader's server takes the next one.
        first = free_port()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", first + 1)):
            port = first
    for start in ("first", "second"):
        demo = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fediletter",
                *("demo", "--port", str(port), "--data", str(tmp_path / "demo")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "FEDILETTER_LANGUAGE": "en"},
        )
        said = [demo.stdout.readline() for _ in range(7)]
        front = (
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=60).text
            if said[6]
            else ""
        )
        mails = httpx.get(
            f"http://127.0.0.1:{port + 1}/mail", trust_env=False, timeout=60
        ).status_code
        demo.send_signal(signal.SIGINT)
        _, trouble = demo.communicate(timeout=60)

        assert (demo.returncode, trouble) == (0, ""), start
        assert said[0] == f"The shop's letters: http://127.0.0.1:{port}/\n"
        assert said[6].startswith("Ctrl-C ends it")
        assert len(set(re.findall(r'href="[^"]*/letters/([^"]+)"', front))) == 2, start
        assert mails == 200


def test_a_busy_port_is_said_in_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        answer = run("demo", "--port", port, "--data", str(tmp_path / "demo"))

    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert port in answer.stderr


@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_every_command_explains_itself(command):
    answer = run(command, "--help")

    assert answer.returncode == 0
    assert "Usage: fediletter" in answer.stdout


@pytest.mark.slow
def test_help_speaks_the_language_of_the_terminal():
    french, english = (
        run("subscribers", "--help", FEDILETTER_LANGUAGE=language).stdout
        for language in ("fr", "en")
    )
    deep = run("subscribers", "import", "--help", FEDILETTER_LANGUAGE="fr").stdout
    by_locale = run("--help", FEDILETTER_LANGUAGE="", LANG="fr_FR.UTF-8").stdout

    assert "Usage\u00a0: fediletter subscribers [OPTIONS] COMMANDE" in french
    assert "Abonnés par courriel\u00a0: importer et exporter." in french
    assert "Commandes\u00a0:" in french
    assert "  export  Écrire tous les abonnés" in french
    assert "Afficher cette aide et quitter." in french
    assert "Ces personnes ont déjà accepté" in deep
    assert "Un CSV, ou le zip" in deep
    assert "Un texte dans un formulaire" in by_locale
    assert "Subscribers by mail: import and export." in english


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("publish",), "Il manque FILE."),
        (("--nothing",), "Il n’y a pas d’option --nothing."),
        (("founder", "list", "--nothing"), "Il n’y a pas d’option --nothing."),
        (("nothing",), "Il n’y a pas de commande nothing."),
        (("serve", "--port", "x"), "--port ne peut pas être cela\u00a0: 'x' n’est pas un nombre."),
        (("publish", "/none.md"), "file ne peut pas être cela\u00a0: '/none.md' n’existe pas."),
        (("founder", "add", "x", "--role", "x"), "n’est pas l’un de ceux-ci\u00a0: 'founder'"),
        (("status", "--json=x"), "L’option '--json' ne prend pas de valeur."),
        (("serve", "--port"), "L’option '--port' demande une valeur."),
        (("migrate", "x"), "Il y a un argument de trop (x)"),
        (("publish", "pyproject.toml", "--to", "x"), "--to prend web, fediverse et email"),
    ],
)
def test_wrong_usage_is_told_in_the_language_of_the_terminal(arguments, told):
    answer = run(*arguments, FEDILETTER_LANGUAGE="fr")

    assert answer.returncode == 2
    assert told in answer.stderr
    assert "--help" in answer.stderr
    assert answer.stdout == ""


def test_wrong_settings_are_told_in_the_language_of_the_terminal():
    wrong = {"FEDILETTER_BASE_URL": "x", "FEDILETTER_SMTP_URL": "x", "FEDILETTER_NONE": "x"}
    told = run("status", FEDILETTER_LANGUAGE="fr", **wrong).stderr

    assert "FEDILETTER_BASE_URL: doit être une adresse" in told
    assert "FEDILETTER_NONE: ce réglage n’existe pas" in told
    assert "must" not in told


def test_wrong_usage_is_2_and_wrong_settings_are_1_all_named_and_nothing_made(tmp_path):
    assert run("publish").returncode == 2
    assert run("nonsense").returncode == 2

    answer = run(
        "--data",
        str(tmp_path / "new"),
        "init",
        FEDILETTER_BASE_URL="http://letters.example.org",
        FEDILETTER_SECOND_THOUGHTS="25h",
        FEDILETTER_MAIL_FROM="shop@gmail.com",
        FEDILETTER_NONSENSE="1",
    )

    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    for name in ("BASE_URL", "SECOND_THOUGHTS", "MAIL_FROM", "NONSENSE"):
        assert f"FEDILETTER_{name}" in answer.stderr
    assert not (tmp_path / "new").exists()


def test_an_unusable_database_is_one_clear_line(tmp_path):
    answer = run(
        "--data", str(tmp_path), "init", FEDILETTER_DATABASE_URL="sqlite:////nowhere/at/all.db"
    )

    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "database" in answer.stderr


@pytest.mark.rule("CL-4")
def test_init_keeps_secrets_to_their_owner_and_prints_a_link_until_somebody_may_enter(tmp_path):
    data = tmp_path / "data"
    first = run("--data", str(data), "init")
    assert re.search(r"/desk/setup/\S{20,}", first.stdout)
    assert data.stat().st_mode & 0o077 == 0
    assert (data / "secret").stat().st_mode & 0o777 == 0o600
    assert (data / "fediletter.db").stat().st_mode & 0o077 == 0
    secret = (data / "secret").read_text()

    again = run(
        "--data", str(data), "init", "--founder-email", "a@shop.test", "--password-stdin",
        stdin="a long enough password\n",
    )  # fmt: skip

    assert (again.returncode, "setup" in again.stdout) == (0, False)
    assert (data / "secret").read_text() == secret
    assert run("--data", str(data), "founder", "list").stdout == "a@shop.test\tfounder\n"


def test_publish_makes_topics_and_prints_the_address(tmp_path):
    data = str(tmp_path / "data")
    run("--data", data, "init")
    letter = tmp_path / "letter.md"
    letter.write_text("---\ntitle: Du lin\ntopics: Lin, Cuir végétal\nlanguage: fr\n---\nBonjour\n")

    answer = run("--data", data, "publish", str(letter))
    status = run("--data", data, "status", "--json")

    assert answer.stdout == "http://127.0.0.1:8000/letters/du-lin\n"
    assert json.loads(status.stdout)["mail"]["waiting"] == 0
    letter.write_text("---\ntitle: Du lin\nnonsense: 1\n---\nBonjour\n")
    assert run("--data", data, "publish", str(letter)).returncode == 1
    assert run("--data", data, "publish", str(letter), "--to", "pigeon").returncode == 2


@pytest.mark.slow
def test_subscribers_come_in_and_go_out_without_loss_and_nobody_who_left_comes_back(tmp_path):
    data = str(tmp_path / "data")
    run("--data", data, "init")
    source = tmp_path / "list.csv"
    source.write_text(
        "email,subscribed_to_emails,labels,created_at,deleted_at\n"
        "ana@example.org,true,Lin,2024-01-02T03:04:05Z,\n"
        "left@example.org,false,,2024-01-02T03:04:05Z,\n"
        "ana@example.org,true,,2024-01-02T03:04:05Z,\n"
        "nonsense,true,,2024-01-02T03:04:05Z,\n",
        encoding="utf-8",
    )
    dry = run("--data", data, "subscribers", "import", str(source), "--dry-run")
    assert "Ghost: 2 added" in dry.stdout
    assert "subscribed there: 1; left there: 1" in dry.stdout
    assert run("--data", data, "subscribers", "export").stdout.count("\n") == 1
    assert run("--data", data, "subscribers", "import", str(source), "--confirmed").returncode == 2
    proof = ("--confirmed", "--proof", "Ghost, double opt-in")
    once = run("--data", data, "subscribers", "import", str(source), *proof)
    again = run("--data", data, "subscribers", "import", str(source), *proof)
    assert "2 added, 0 known already, 2 refused" in once.stdout
    assert "line 5" in once.stdout
    assert "0 added, 2 known already" in again.stdout

    out = run("--data", data, "subscribers", "export").stdout
    copy = tmp_path / "copy.csv"
    copy.write_text(out, newline="")
    other = str(tmp_path / "other")
    run("--data", other, "init")
    run("--data", other, "subscribers", "import", str(copy))

    assert known(run("--data", other, "subscribers", "export").stdout.encode()) == known(
        out.encode()
    )


@pytest.mark.slow
@pytest.mark.rule("RE-16")
def test_a_backup_comes_back_whole_and_never_over_something(tmp_path):
    data, archive = tmp_path / "data", tmp_path / "backup.tgz"
    run("--data", str(data), "init")
    letter = tmp_path / "letter.md"
    letter.write_text("---\ntitle: Du lin\n---\nBonjour\n")
    run("--data", str(data), "publish", str(letter))
    assert run("--data", str(data), "backup", str(archive)).returncode == 0
    assert archive.stat().st_mode & 0o077 == 0

    restored = tmp_path / "restored"
    assert run("--data", str(restored), "restore", str(archive)).returncode == 0
    assert run("--data", str(restored), "restore", str(archive)).returncode == 1
    run("--data", str(restored), "export", str(tmp_path / "out"))

    assert (tmp_path / "out" / "posts" / "du-lin.md").read_text().endswith("Bonjour\n")
    assert (restored / "secret").read_text() == (data / "secret").read_text()


def test_every_setting_and_command_is_documented():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in _NAMES:
        assert f"`FEDILETTER_{name.upper()}`" in readme
    for command in _COMMANDS:
        assert re.search(rf"`{command}[ `]", readme), command


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    (tmp_path / "fediletter.toml").write_text('language = "en"\nsecond_thoughts = "1h"\n')

    settings = load({"FEDILETTER_SECOND_THOUGHTS": "90s"}, data=tmp_path)

    assert settings.language == "en"
    assert settings.second_thoughts.total_seconds() == 90


@pytest.mark.rule("PR-3")
def test_logs_hold_neither_addresses_nor_tokens():
    from fediletter.logs import scrub

    text = scrub("ana@example.org https://a.b/unsubscribe/abcDEF-_1 /confirm/x1")

    assert "ana" not in text
    assert "abcDEF" not in text
    assert "x1" not in text
