"""The far sides: faster than what is measured, and counting what they get."""

import contextlib
import http.client
import ipaddress
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.needs import need
from tests.shop import free_port


def addresses(hosts: int) -> list[str]:
    """Loopback addresses that stand for hosts."""
    return [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(hosts)]


@contextlib.contextmanager
def inboxes(folder: Path, hosts: int) -> Iterator[tuple[int, int, Path]]:
    """nginx that reads each activity and answers 202, on every loopback address.

    Yields:
        Its port, its port with TLS, and the certificate authority.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority, certificate, key = certificates(folder, addresses(hosts))
    port, tls_port = free_port(), free_port()
    answer = "if ($request_method = POST) { return 202; } return 200 ok;"
    common = (
        "access_log off; default_type text/plain; "
        f"location / {{ {answer} }} location = /count {{ stub_status; }}"
    )
    (folder / "nginx.conf").write_text(
        f"worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log error;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        "keepalive_requests 1000000; keepalive_timeout 300s; client_body_buffer_size 128k;\n"
        "ssl_session_cache shared:S:20m; ssl_session_timeout 1h; ssl_protocols TLSv1.2 TLSv1.3;\n"
        f"server {{ listen {port} backlog=4096; {common} }}\n"
        f"server {{ listen {tls_port} ssl backlog=4096; ssl_certificate {certificate};\n"
        f"ssl_certificate_key {key}; {common} }} }}\n"
    )
    with program([need("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)], port):
        yield port, tls_port, authority


@contextlib.contextmanager
def static_site(folder: Path) -> Iterator[int]:
    """nginx that serves the files of `folder`."""
    port, own = free_port(), folder / "nginx"
    own.mkdir(parents=True, exist_ok=True)
    own.joinpath("nginx.conf").write_text(
        f"user root; worker_processes 1; daemon off; pid {own}/pid; error_log {own}/log error;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ client_body_temp_path {own}/b; proxy_temp_path {own}/p; access_log off;\n"
        f"fastcgi_temp_path {own}/f; uwsgi_temp_path {own}/u; scgi_temp_path {own}/s;\n"
        "keepalive_requests 1000000; open_file_cache max=9;\n"
        f"server {{ listen {port}; root {folder}; }} }}\n"
    )
    with program([need("nginx"), "-c", str(own / "nginx.conf"), "-p", str(own)], port):
        yield port


@contextlib.contextmanager
def mail_sink() -> Iterator[int]:
    """Postfix's smtp-sink on loopback."""
    port = free_port()
    with program([need("smtp-sink"), "-u", "root", f"127.0.0.1:{port}", "1000"], port):
        yield port


@contextlib.contextmanager
def program(
    command: list[str], port: int, *, environ: dict[str, str] | None = None, health: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on a port, until the block ends; with `health` until it says 200."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environ or {})},
    )
    try:
        for _ in range(2000):
            if health:
                if _is_well(port, health):
                    break
            else:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}")
            time.sleep(0.01)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _is_well(port: int, path: str) -> bool:
    """Asked without a client of weight: it would compete with the start that it waits for."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def certificates(folder: Path, names: list[str]) -> tuple[Path, Path, Path]:
    """An authority, and one certificate for all the addresses."""
    now = datetime.now(UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark authority")])
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def builder(subject, public):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
        )

    authority = (
        builder(issuer, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    found = [x509.IPAddress(ipaddress.ip_address(name)) for name in names]
    own = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")]), key.public_key())
        .add_extension(x509.SubjectAlternativeName(found), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    paths = folder / "authority.pem", folder / "own.pem", folder / "own.key"
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(authority.public_bytes(pem))
    paths[1].write_bytes(own.public_bytes(pem))
    paths[2].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
