"""`make bench`: ratios measured in one run, interleaved, medians; never a bare time.

`python -m tests.bench [ROW …]`; rows: activities, two-workers, fedify, mail, inbox, pages, growth,
memory, start; none: all. Loopback only, bounded in count. The method: what is measured runs in a
process of its own, by the program's own path, from the commit of publishing to the last recorded
outcome; the far sides are nginx, smtp-sink and wrk, and Fedify on Node.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx

from tests.bench.intake import SENDERS, keep_hosts, load, write_requests
from tests.bench.measure import (
    ROUNDS,
    Row,
    Side,
    child,
    cpu_seconds,
    interleaved,
    peak_mib,
    row,
    side,
)
from tests.bench.seed import seed, settings_for
from tests.bench.sinks import addresses, inboxes, mail_sink, program, static_site
from tests.needs import need
from tests.peers.fedify_peer import FOLDER, installed
from tests.postgres import new_database, running_cluster
from tests.shop import free_port

HOSTS = 500
INBOXES = 5_000
LETTERS = 20_000
FEDIFY_INBOXES = 1_000
INTAKE = 16_000
SECONDS = "3"


def activities(folder: Path) -> Iterator[Row]:
    """One Article to 5,000 inboxes on 500 hosts, one process, against one core's signatures."""
    with inboxes(folder / "nginx", HOSTS) as (port, _, _):
        seed(settings_for(folder / "shop"), inboxes=_urls(port, INBOXES))
        ratio, pairs = interleaved(
            lambda: side(child("send", str(folder / "shop"), "activities")),
            lambda: side(child("sign", SECONDS)),
        )
    yield row(
        "one Article to 5,000 inboxes on 500 hosts, one process",
        "RSA-2048 signatures of one core",
        0.60,
        ratio,
        pairs,
        unit="deliveries",
    )


def two_workers(folder: Path) -> Iterator[Row]:
    """The same by two processes on PostgreSQL, against two cores' signatures."""
    with (
        running_cluster(fsync=True) as server,
        inboxes(folder / "nginx", HOSTS) as (port, _, _),
    ):
        url = new_database(server.url)
        database = f"database_url={url}"
        seed(settings_for(folder / "two", database_url=url), inboxes=_urls(port, INBOXES))

        def ours() -> Side:
            other = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.child", "work", str(folder / "two"), database],
                stdin=subprocess.PIPE,
            )
            try:
                time.sleep(3.0)
                return side(child("send", str(folder / "two"), "activities", database))
            finally:
                other.communicate(timeout=60)  # Its end of input.

        def theirs() -> Side:
            command = [sys.executable, "-m", "tests.bench.child", "sign", SECONDS]
            other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            mine = side(child("sign", SECONDS))
            other.wait(60)
            return Side(2 * mine.rate)

        ratio, pairs = interleaved(ours, theirs)
    yield row(
        "the same, two worker processes",
        "signatures of two cores",
        0.50,
        ratio,
        pairs,
        unit="deliveries",
    )


def mail(folder: Path) -> Iterator[Row]:
    """25 KB letters with their own links, against smtp-source: on the wire alone, and durable."""
    with mail_sink() as port:
        seed(settings_for(folder / "mail"), subscribers=LETTERS)
        seed(settings_for(folder / "alone"))
        relay = f"smtp_url=smtp://127.0.0.1:{port}"

        def source() -> Side:
            began = time.perf_counter()
            command = [need("smtp-source"), "-s", "4", "-m", str(LETTERS), "-l", "25000"]
            command += ["-f", "a@shop.test", "-t", "b@mail.test", f"127.0.0.1:{port}"]
            subprocess.run(command, check=True, capture_output=True, timeout=600)
            return Side(LETTERS / (time.perf_counter() - began))

        alone, alone_pairs = interleaved(
            lambda: side(child("transport", str(folder / "alone"), str(LETTERS), relay)), source
        )
        ratio, pairs = interleaved(
            lambda: side(child("send", str(folder / "mail"), "email", relay)), source
        )
    yield row(
        "20,000 letters of 25 KB with their own links, transport alone",
        "Postfix's smtp-source into the same sink",
        0.90,
        alone,
        alone_pairs,
        unit="messages",
    )
    yield row(
        "20,000 letters of 25 KB, each answer durable before the next counts",
        "Postfix's smtp-source into the same sink",
        0.60,
        ratio,
        pairs,
        unit="messages",
    )


def pages(folder: Path) -> Iterator[Row]:
    """A letter's page and its Article, against nginx with the same bytes."""
    data = folder / "pages"
    seed(settings_for(data))
    found = child("publish", str(data))
    port = free_port()
    serve = [sys.executable, "-m", "fediletter", "--data", str(data), "serve", "--port", str(port)]
    with _served(serve, port) as base:
        for name, path, accept in (
            ("letter page", found["page"], "text/html"),
            ("Article", found["object"], "application/activity+json"),
        ):
            answer = httpx.get(base + path, headers={"Accept": accept}, trust_env=False)
            answer.raise_for_status()
            site = folder / f"www-{accept.partition('/')[2]}"
            site.mkdir()
            (site / "file").write_bytes(answer.content)
            with static_site(site) as static:
                ratio, pairs = interleaved(
                    lambda path=path, accept=accept: _load(base + path, accept),
                    lambda static=static: _load(f"http://127.0.0.1:{static}/file", "*/*"),
                )
            yield row(name, "nginx, the same bytes", 0.30, ratio, pairs, unit="answers")


def fedify(folder: Path) -> Iterator[Row]:
    """TLS on half of the hosts, by Fedify's queue and by us: first contact, and after."""
    node = installed()
    with inboxes(folder / "nginx", HOSTS) as (port, tls_port, authority):
        urls = [
            one if number % 2 else one.replace("http:", "https:").replace(str(port), str(tls_port))
            for number, one in enumerate(_urls(port, FEDIFY_INBOXES))
        ]
        listed = folder / "inboxes.json"
        listed.write_text(json.dumps(urls))
        seed(settings_for(folder / "half"), inboxes=urls)
        rates: list[tuple[Side, Side, Side, Side]] = []
        for _ in range(ROUNDS):
            ours = child(
                "issues", str(folder / "half"), "activities", "2",
                environ={"SSL_CERT_FILE": str(authority)},
            )  # fmt: skip
            theirs = subprocess.run(
                [node, "sender.mjs", str(listed), "2"],
                cwd=FOLDER, check=True, capture_output=True, text=True, timeout=600,
                env={**os.environ, "NODE_EXTRA_CA_CERTS": str(authority)},
            )  # fmt: skip
            first, second = (FEDIFY_INBOXES / one for one in json.loads(theirs.stdout))
            rates.append((side(ours[0]), Side(first), side(ours[1]), Side(second)))
    for what, at in (("first contact", 0), ("second issue", 2)):
        pairs = [(one[at], one[at + 1]) for one in rates]
        ratio = statistics.median(a.rate / b.rate for a, b in pairs)
        work = f"one Article to {FEDIFY_INBOXES:,} inboxes, TLS on half of the hosts, {what}"
        yield row(work, "Fedify's in-process queue", 5, ratio, pairs, unit="deliveries")


def inbox(folder: Path) -> Iterator[Row]:
    """Signed Likes of many hosts, verified and durable, against a server with nothing behind."""
    data, port, bare = folder / "inbox", free_port(), free_port()
    base = f"http://127.0.0.1:{port}"
    seed(settings_for(data, base_url=base))
    keep_hosts(settings_for(data, base_url=base))
    command = [sys.executable, "-m", "fediletter", "--data", str(data)]
    nothing = [sys.executable, "-m", "tests.bench.child", "bare", str(bare)]
    rounds = iter(range(100))

    def ours() -> Side:
        requests, warm, run = folder / "requests", folder / "warm", f"r{next(rounds)}"
        write_requests(requests, base, INTAKE, run)
        write_requests(warm, base, 2 * SENDERS, f"w{run}")
        # A server of its own for each round: a host may write only so often (L-15).
        serve = [*command, "serve", "--no-workers", "--port", str(port)]
        with program(serve, port, environ=_environ(port), health="/healthz") as server:
            load(base, warm, 1)  # Every key has proved something.
            before = cpu_seconds(server.pid)
            found = load(base, requests, 2)
            cpu = (cpu_seconds(server.pid) - before) / (2 * found.rate)
            return replace(found, cpu_seconds=cpu, peak_mib=peak_mib(server.pid))

    with program(nothing, bare):
        ratio, pairs = interleaved(
            ours, lambda: load(f"http://127.0.0.1:{bare}", folder / "requests", 2)
        )
    late = statistics.median(one.extra["p99 ms"] for one, _ in pairs)
    found = row(
        "signed activities taken in: verified, durable, 202",
        "the bare server answering 202",
        0.15,
        ratio,
        pairs,
        unit="requests",
    )
    yield replace(found, reach="≥ 0.15, p99 < 50 ms", holds=found.holds and late < 50)


def growth(folder: Path) -> Iterator[Row]:
    """Cost for each delivery, latency of publishing and memory, as readers grow."""
    sizes = {100: 20, 10_000: 1, 100_000: 1}  # Readers, and letters sent to them in a round.
    costs: dict[tuple[str, int], list[float]] = {}
    peak = 0.0
    with mail_sink() as port:
        relay = f"smtp_url=smtp://127.0.0.1:{port}"
        for size in sizes:
            seed(settings_for(folder / f"g{size}"), subscribers=size)
        for turn in range(ROUNDS):
            for size, letters in sizes.items():
                if size == 100_000 and turn:
                    continue  # Once: its own length is its median.
                found = child("issues", str(folder / f"g{size}"), "email", str(letters), relay)
                cpu = sum(one["cpu"] for one in found) / sum(one["count"] for one in found)
                costs.setdefault(("cpu", size), []).append(cpu)
                latency = statistics.median(one["publish_seconds"] for one in found)
                costs.setdefault(("publish", size), []).append(latency)
                peak = max(one["peak_mib"] for one in found) if size == 100_000 else peak
    for what in ("cpu", "publish"):
        least, middle, most = (statistics.median(costs[what, size]) for size in sizes)
        ratio = max(least, middle, most) / min(least, middle, most)
        yield Row(
            f"{what} at 100 : 10,000 : 100,000 readers by mail",
            "each other",
            ratio,
            "≤ 1.10",
            ratio <= 1.10,
            f"1 : {middle / least:.2f} : {most / least:.2f}",
        )
    yield _resident("while sending to 100,000", peak, 150)


def memory(folder: Path) -> Iterator[Row]:
    """Resident memory of the whole server with nothing to do."""
    data, port = folder / "memory", free_port()
    seed(settings_for(data))
    command = [sys.executable, "-m", "fediletter", "--data", str(data), "serve"]
    with program(
        [*command, "--port", str(port)], port, environ=_environ(port), health="/healthz"
    ) as server:
        time.sleep(5)
        status = Path(f"/proc/{server.pid}/status").read_text()
    yield _resident("idle", int(status.partition("VmRSS:")[2].split()[0]) / 1024, 90)


def _resident(name: str, found: float, most: int) -> Row:
    ratio = found / most
    return Row(f"memory {name}", f"{most} MiB", ratio, "≤ 1", found <= most, f"{found:.0f} MiB")


def start(folder: Path) -> Iterator[Row]:
    """Until /healthz is 200, against importing the dependencies."""
    data = folder / "start"
    seed(settings_for(data))
    imports = "import starlette.applications, httpx, sqlalchemy, bleach, jinja2, uvicorn, uvloop, "
    imports += (
        "httptools, cryptography.hazmat.primitives.asymmetric.rsa, babel.dates, nh3, css_inline, "
    )
    imports += "apscheduler.schedulers.asyncio, markdown_it, feedgen.feed, click, python_multipart"

    def bare() -> Side:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", imports], check=True)
        return Side(1 / (time.perf_counter() - began))

    def whole() -> Side:
        port = free_port()
        command = [sys.executable, "-m", "fediletter", "--data", str(data)]
        began = time.perf_counter()
        with _served([*command, "serve", "--port", str(port)], port):
            return Side(1 / (time.perf_counter() - began))

    ratio, _ = interleaved(bare, whole, rounds=5)
    yield Row(
        "start until /healthz is 200",
        "importing the dependencies",
        ratio,
        "≤ 1.5",
        ratio <= 1.5,
        "wall clock of whole processes",
    )


ROWS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "activities": activities,
    "two-workers": two_workers,
    "fedify": fedify,
    "mail": mail,
    "inbox": inbox,
    "pages": pages,
    "growth": growth,
    "memory": memory,
    "start": start,
}


def main() -> None:
    """Measure the named rows and print the table."""
    wanted = sys.argv[1:] or list(ROWS)
    print("| work | against | ratio | reach | | of the median round |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="fediletter-bench-") as folder:
            for one in ROWS[name](Path(folder)):
                mark = "reached" if one.holds else "not reached"
                print(  # noqa: T201
                    f"| {one.work} | {one.against} | {one.ratio:.2f} | {one.reach} | {mark} "
                    f"| {one.note} |",
                    flush=True,
                )


def _urls(port: int, count: int) -> list[str]:
    hosts = addresses(HOSTS)
    return [f"http://{hosts[n % HOSTS]}:{port}/inbox/{n}" for n in range(count)]


@contextlib.contextmanager
def _served(command: list[str], port: int) -> Iterator[str]:
    base = f"http://127.0.0.1:{port}"
    with program(command, port, environ=_environ(port), health="/healthz"):
        yield base


def _environ(port: int) -> dict[str, str]:
    return {
        "FEDILETTER_BASE_URL": f"http://127.0.0.1:{port}",
        "FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8",
        "FEDILETTER_LOG": "error",
    }


def _load(url: str, accept: str) -> Side:
    command = [need("wrk"), "-t1", "-c16", "-d3s", "-H", f"Accept: {accept}", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = float(text.partition("Requests/sec:")[2].split()[0])
    return Side(rate, errors=int("Non-2xx" in text))


if __name__ == "__main__":
    main()
