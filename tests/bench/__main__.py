"""`make bench`: ratios measured in one run, interleaved, medians; never a bare time.

`python -m tests.bench [ROW …]`; rows: activities, two-workers, mail, pages, growth, memory, start;
none: all. Loopback only, bounded in count. The method: what is measured runs in a process of its
own, by the program's own path, from the commit of publishing to the last recorded outcome; the far
sides are nginx, smtp-sink and wrk.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from tests.bench.measure import Row, Side, child, interleaved, row, side
from tests.bench.seed import seed, settings_for
from tests.bench.sinks import addresses, inboxes, mail_sink, program, static_site
from tests.needs import need
from tests.postgres import new_database, running_cluster
from tests.shop import free_port

HOSTS = 500
INBOXES = 5_000
LETTERS = 20_000
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
    """25 KB letters with their own links, every answer durable, against smtp-source."""
    with mail_sink() as port:
        seed(settings_for(folder / "mail"), subscribers=LETTERS)
        relay = f"smtp_url=smtp://127.0.0.1:{port}"

        def source() -> Side:
            began = time.perf_counter()
            command = [need("smtp-source"), "-s", "4", "-m", str(LETTERS), "-l", "25000"]
            command += ["-f", "a@shop.test", "-t", "b@mail.test", f"127.0.0.1:{port}"]
            subprocess.run(command, check=True, capture_output=True, timeout=600)
            return Side(LETTERS / (time.perf_counter() - began))

        ratio, pairs = interleaved(
            lambda: side(child("send", str(folder / "mail"), "email", relay)), source
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
    environ = {"FEDILETTER_BASE_URL": f"http://127.0.0.1:{port}"}
    serve = [sys.executable, "-m", "fediletter", "--data", str(data), "serve", "--port", str(port)]
    with _served(serve, port, environ) as base:
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


def growth(folder: Path) -> Iterator[Row]:
    """Cost for each delivery, and the latency of publishing, as readers grow."""
    costs: dict[str, list[float]] = {}
    with mail_sink() as port:
        relay = f"smtp_url=smtp://127.0.0.1:{port}"
        sizes = (1_000, 10_000, 100_000)
        for size in sizes:
            seed(settings_for(folder / f"g{size}"), subscribers=size)
        for _ in range(3):
            for size in sizes:
                found = child("send", str(folder / f"g{size}"), "email", relay)
                costs.setdefault(f"cpu {size}", []).append(found["cpu"] / found["count"])
                costs.setdefault(f"publish {size}", []).append(found["publish_seconds"])
    for what in ("cpu", "publish"):
        least, middle, most = (sorted(costs[f"{what} {size}"])[1] for size in sizes)
        ratio = max(least, middle, most) / min(least, middle, most)
        yield Row(
            f"{what} at 1,000 : 10,000 : 100,000 readers by mail",
            "each other",
            ratio,
            "≤ 1.10",
            ratio <= 1.10,
            f"1 : {middle / least:.2f} : {most / least:.2f}",
        )


def memory(folder: Path) -> Iterator[Row]:
    """Resident memory, idle and while sending."""
    with mail_sink() as port:
        seed(settings_for(folder / "memory"), subscribers=100_000)
        relay = f"smtp_url=smtp://127.0.0.1:{port}"
        idle = child("idle", str(folder / "memory"))["peak_mib"]
        busy = child("send", str(folder / "memory"), "email", relay)["peak_mib"]
    for name, found, most in (("idle", idle, 90), ("sending to 100,000", busy, 150)):
        note = f"{found:.0f} MiB"
        yield Row(f"memory {name}", f"{most} MiB", found / most, "≤ 1", found <= most, note)


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
        environ = {"FEDILETTER_BASE_URL": f"http://127.0.0.1:{port}"}
        command = [sys.executable, "-m", "fediletter", "--data", str(data)]
        began = time.perf_counter()
        with _served([*command, "serve", "--port", str(port)], port, environ):
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
    "mail": mail,
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
                mark = "✓" if one.holds else "✗"
                print(  # noqa: T201
                    f"| {one.work} | {one.against} | {one.ratio:.2f} | {one.reach} | {mark} "
                    f"| {one.note} |",
                    flush=True,
                )


def _urls(port: int, count: int) -> list[str]:
    hosts = addresses(HOSTS)
    return [f"http://{hosts[n % HOSTS]}:{port}/inbox/{n}" for n in range(count)]


@contextlib.contextmanager
def _served(command: list[str], port: int, environ: dict[str, str]) -> Iterator[str]:
    base = f"http://127.0.0.1:{port}"
    more = {"FEDILETTER_ALLOW_ADDRESSES": "127.0.0.0/8", "FEDILETTER_LOG": "error", **environ}
    with program(command, port, environ=more, health=f"{base}/healthz"):
        yield base


def _load(url: str, accept: str) -> Side:
    command = [need("wrk"), "-t1", "-c16", "-d3s", "-H", f"Accept: {accept}", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = float(text.partition("Requests/sec:")[2].split()[0])
    return Side(rate, errors=int("Non-2xx" in text))


if __name__ == "__main__":
    main()
