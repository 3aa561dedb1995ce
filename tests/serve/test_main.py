"""``python -m serve`` as an operator meets it: what it says, how it fails, how it stops."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serve import batch
from serve.__main__ import main
from serve.announce import describe
from serve.bundle import CertifiedGraph, read_bundle
from serve.classifier import Classifier
from serve.listen import AddressError, bind, url_of
from tests.serve.certificates import certify, ran
from tests.serve.tiny_bundle import write_tiny_bundle
from tests.serving import serving

START_S = 30
CPU = ("--provider", "cpu", "--threads", "1")


def get(url: str | urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def lets_in(url: str) -> bool:
    try:
        get(f"{url}/v2/health/live")
    except OSError:  # refused, or reset while the server closed its socket
        return False
    return True


def test_it_says_what_it_serves_and_stops_cleanly(tiny_path: Path) -> None:
    with serving(str(tiny_path), *CPU) as served:
        assert get(f"{served.url}/v2/health/ready") == (200, {"ready": True})
        assert f"tiny  {tiny_path}" in served.said
        assert f"sha256 {read_bundle(tiny_path).manifest.sha256}" in served.said
        assert "CPUExecutionProvider, float32 (asked for)" in served.said
        assert "certificate  none, so not certified; make one with `python -m evaluate parity" in served.said
        assert re.search(
            r"golden +12 inputs reproduced at batch sizes 1 and 64, error at most 0\.\d\d x bound", served.said
        )
        assert f"page   {served.url}/" in served.said
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(START_S) == 0
        assert served.process.stderr is not None
        assert served.process.stderr.read() == "stopped, after every accepted request was answered\n"


def test_interrupt_stops_it_too(tiny_path: Path) -> None:
    with serving(str(tiny_path), "--no-page", *CPU) as served:
        assert "page " not in served.said
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(START_S) == 0


def test_what_was_accepted_is_answered_after_sigterm(tiny_path: Path) -> None:
    with serving(str(tiny_path), "--no-page", *CPU) as served:
        host, port = served.url.removeprefix("http://").split(":")
        body = bytes(64 * 2)
        head = (
            "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: localhost\r\n"
            f"Inference-Header-Content-Length: 0\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=START_S) as connection:
            connection.sendall(head.encode() + body[:64])
            get(f"{served.url}/v2/health/live")  # answered, so the request above has been taken up
            served.process.send_signal(signal.SIGTERM)
            while lets_in(served.url):
                pass
            connection.sendall(body[64:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert served.process.wait(START_S) == 0


def test_a_failed_golden_check_stays_up_and_says_why(tmp_path: Path) -> None:
    with serving(str(write_tiny_bundle(tmp_path / "b", perturbed=0.01)), "--no-page", *CPU) as served:
        assert "golden       NOT READY: model tiny does not reproduce its golden outputs on this machine" in served.said
        status, body = get(f"{served.url}/v2/health/ready")
        assert status == 503
        assert "does not reproduce" in body["error"]
        assert get(f"{served.url}/v2/health/live")[0] == 200
        served.process.terminate()
        assert served.process.wait(START_S) == 0


def test_a_foreign_name_is_refused_unless_allowed(tiny_path: Path) -> None:
    with serving(str(tiny_path), "--no-page", "--allow-host", "my.proxy", *CPU) as served:
        for host, status in (("my.proxy", 200), ("evil.example", 403)):
            assert get(urllib.request.Request(f"{served.url}/v2", headers={"Host": host}))[0] == status


@pytest.mark.parametrize(
    ("graphs", "asked", "served", "certified"),
    [
        pytest.param((ran((64, 2048)),), None, 64, None, id="the default is certified"),
        pytest.param((ran((64, 2048)),), 64, 64, None, id="at the bound"),
        pytest.param((ran((64, 2048)),), 65, 65, 64, id="above it"),
        pytest.param((ran((1, 64), (32, 32), (64, 24)),), None, 32, None, id="the default goes no further"),
        pytest.param((ran((1, 64), (32, 32), (64, 24)),), 64, 64, 32, id="few rows fill no batch"),
        pytest.param((ran((128, 128)),), None, 64, None, id="the default goes no further than 64"),
        pytest.param((ran((8, 8)), ran((64, 64), provider="CUDAExecutionProvider")), 9, 9, 8, id="this provider"),
        pytest.param((ran((8, 8), provider="CUDAExecutionProvider"),), 9, 9, 8, id="another provider"),
        pytest.param(
            (ran((32, 64), verdict="fail"), ran((8, 8), provider="CUDAExecutionProvider")), 9, 9, None, id="failed here"
        ),
        pytest.param(
            (ran((32, 64), optimized=False), ran((8, 8), provider="CUDAExecutionProvider")), 9, 9, 8, id="not run here"
        ),
        pytest.param((ran((8, 8)), ran((64, 64), optimized=False)), 9, 9, 8, id="not as it is served"),
        pytest.param((ran((8, 8)), ran((64, 64), graph="graph.int8.onnx")), 9, 9, 8, id="another graph"),
        pytest.param((ran((8, 8)), ran((64, 64), verdict="unproven")), 9, 9, 8, id="unproven"),
        pytest.param((), 1000, 1000, None, id="nothing is said of runs"),
    ],
)
def test_no_more_rows_run_together_than_certified_without_a_word(
    tmp_path: Path, graphs: tuple[CertifiedGraph, ...], asked: int | None, served: int, certified: int | None
) -> None:
    path = certify(write_tiny_bundle(tmp_path / "b"), passed=True, graphs=graphs)
    with Classifier.open(path, provider="cpu", threads=1, max_batch=asked) as classifier:
        assert classifier.batcher.max_batch == served
        said = [line for line in describe(classifier).splitlines() if "rows are run together" in line]
    assert said == (
        []
        if certified is None
        else [
            f"  batches      up to {served} rows are run together, but the certificate speaks of at most {certified}; "
            f"lower --max-batch to {certified}"
        ]
    )


def test_the_start_names_batches_beyond_the_certificate(tmp_path: Path) -> None:
    path = certify(write_tiny_bundle(tmp_path / "b"), passed=True, graphs=(ran((64, 2048)),))
    with serving(str(path), "--no-page", "--max-batch", "100", *CPU) as served:
        assert "up to 100 rows are run together, but the certificate speaks of at most 64; lower" in served.said
        assert "inputs reproduced at batch sizes 1 and 100" in served.said
    with serving(str(path), "--no-page", *CPU) as served:
        assert "rows are run together" not in served.said


def test_a_certificate_is_named(tmp_path: Path) -> None:
    certify(write_tiny_bundle(tmp_path / "b"), passed=True)
    with serving(str(tmp_path / "b"), "--no-page", *CPU) as served:
        assert "certificate  passed" in served.said


def test_a_failed_certificate_is_served_on_demand_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certify(write_tiny_bundle(tmp_path / "b"), passed=False)
    assert fail(capsys, tmp_path / "b").endswith(
        "has a certificate that says parity failed, so this is not the model that was trained; "
        "see `python -m evaluate parity`, or use it all the same with --allow-failed"
    )
    with serving(str(tmp_path / "b"), "--no-page", "--allow-failed", *CPU) as served:
        assert "certificate  FAILED: this is not the model that was trained" in served.said


def fail(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run a command that cannot be carried out; return its one sentence."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main([*map(str, args), "--port", "0", "--provider", "cpu"]) == 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    said = capsys.readouterr()
    assert said.out == ""
    *_, last = said.err.splitlines()
    assert last.startswith("error: ")
    return last.removeprefix("error: ")


def test_no_bundle_at_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist, but a bundle directory was expected; make one with `python -m export RUN`" in fail(
        capsys, tmp_path / "nothing"
    )
    assert fail(capsys).startswith("no bundle is given, but at least one was expected; make one with")


@pytest.mark.parametrize("name", ["manifest.json", "graph.onnx", "golden.npz", "model-card.md"])
def test_an_altered_bundle(tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    bundle = Path(shutil.copytree(tiny_path, tmp_path / "b"))
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert re.search(rf"{re.escape(name)} has sha256 .{{12}}…, but ", fail(capsys, bundle))


def test_two_bundles_of_one_name(tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_tiny_bundle(tmp_path / "other")
    assert fail(capsys, tiny_path, other) == (
        f"{tiny_path} and {other} are both named tiny, but each name is served once; "
        "leave one out, or export one under another name"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--threads", 0), "--threads is 0, but must be at least 1"),
        (("--max-batch", 0), "--max-batch is 0, but must be at least 1"),
        (("--max-queue-rows", -1), "--max-queue-rows is -1, but must be at least 1"),
        (("--max-body-mib", 0), "--max-body-mib is 0, but must be at least 1"),
        (("--host", "no.such.host.invalid"), "host no.such.host.invalid cannot be resolved"),
        (("--host", "a..b"), "host a..b cannot be resolved ("),
        (("--host", "x" * 64), f"host {'x' * 64} cannot be resolved ("),
    ],
)
def test_flags(tiny_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[object, ...], message: str) -> None:
    assert fail(capsys, tiny_path, *flags).startswith(message)


def test_addresses() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            AddressError, match=rf"port {port} of 127\.0\.0\.1 is in use by another program; stop that, or use"
        ):
            bind("127.0.0.1", port)
    with pytest.raises(
        AddressError, match=r"port 0 of 192\.0\.2\.1 cannot be listened on \(.*\); use another --host or"
    ):
        bind("192.0.2.1", 0)
    with bind("0.0.0.0", 0) as everywhere:  # noqa: S104 - for an instant, and nobody listens
        assert url_of(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}"


def test_a_port_in_use_exits_2(tiny_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "serve", str(tiny_path), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd(), env=os.environ)
    assert done.returncode == 2
    assert re.fullmatch(r"error: port \d+ of 127\.0\.0\.1 is in use by another program; .*\n", done.stderr)
    assert done.stdout == ""


def test_a_port_out_of_range(tiny_path: Path) -> None:
    command = [sys.executable, "-m", "serve", str(tiny_path), "--port", "65536"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert (done.returncode, done.stderr) == (2, "error: --port is 65536, but must lie in 0 to 65535\n")


def test_help_is_light() -> None:
    code = """
import sys
import time
sys.argv = ["serve", "--help"]
from serve import batch
from serve.__main__ import main
try:
    main()
except SystemExit as stop:
    print(stop.code, {"numpy", "onnxruntime", "starlette", "uvicorn", "gradio", "torch"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.endswith("0 set()\n")


@pytest.mark.parametrize("command", [main, batch.main])
def test_help_names_no_type_and_no_default_that_is_empty(
    command: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        command(["--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--provider" in said
    assert not re.findall(r"\(default: \)|\{None\}|\b(?:INT|STR|FLOAT)\b", said)


def test_a_half_sent_body_does_not_hold_up_the_stop(tiny_path: Path) -> None:
    """`serving` asserts exit code 0 after SIGTERM; an idle client must not make that last until it is killed."""
    with socket.socket() as client:
        with serving(str(tiny_path), "--no-page", "--provider", "cpu") as served:
            host, _, port = served.url.removeprefix("http://").partition(":")
            client.connect((host, int(port)))
            client.sendall(b"POST /predict/tiny HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\nab")
            started = time.monotonic()
        assert time.monotonic() - started < 20


def test_a_bundle_that_is_not_ready_is_not_called_ready(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "tiny", perturbed=0.5)
    process = subprocess.Popen(
        [sys.executable, "-m", "serve", str(path), "--no-page", "--provider", "cpu", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    last = next(line for line in process.stderr if "stop with Ctrl-C" in line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert last.startswith("listening, but NOT READY: tiny in ")
