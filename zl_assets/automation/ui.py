"""`zl ui`: Dagster's webserver and daemon on the loopback interface."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

from zl_assets.automation.instance import prepare_home
from zl_assets.build import build_warehouse
from zl_assets.errors import ConfigurationError
from zl_assets.settings import Settings

HOST = "127.0.0.1"


def serve(settings: Settings, port: int) -> NoReturn:
    """Replace this process by `dagster dev` on the home's instance.

    Raises:
        ConfigurationError: the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} is taken: {error.strerror}", where=HOST, action="choose another with --port"
            ) from error
    build_warehouse(settings).ensure()
    environment = {**os.environ, "DAGSTER_HOME": str(prepare_home(settings)), "ZL_HOME": str(settings.home)}
    environment["ZL_WAREHOUSE"] = settings.warehouse
    if settings.data is not None:
        environment["ZL_DATA"] = str(settings.data)
    print(f"Dagster UI on http://{HOST}:{port} (Ctrl-C to stop)", file=sys.stderr, flush=True)
    arguments = [
        "-m",
        "dagster",
        "dev",
        "-m",
        "zl_assets.definitions",
        "-h",
        HOST,
        "-p",
        str(port),
        "--log-level",
        "warning",
    ]
    # A shell starts background jobs with Ctrl-C ignored; Dagster then ignores SIGTERM too and could only be killed.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(sys.executable, [sys.executable, *arguments], environment)
