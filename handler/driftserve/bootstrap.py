"""The one place that wires: settings in, working objects out.

Imports stand inside the functions where they are dear: a worker does not pay for scipy and
boto3 (2 s at start), the monitor not for torch (2 s, 200 MB).
"""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from driftserve.contract import contract_from_json
from driftserve.logs import JsonFormatter, log_uncaught
from driftserve.settings import Settings, SinkName

if TYPE_CHECKING:  # names only: what they import is dear
    from driftserve.metrics import Sink
    from driftserve.monitor_process import MonitorProcess
    from driftserve.service import Service


def configure_logging(settings: Settings) -> None:
    """Write our log lines to stderr, as JSON, from the level that was set; libraries from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    log_uncaught()
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # of a bad image the answer says all
    logging.getLogger("driftserve").setLevel(settings.log_level)


def build_service(model_dir: Path, settings: Settings) -> "Service":
    """The service for an unpacked archive, watched where a runtime directory is set.

    Raises:
        ArchiveError: the directory does not hold what its contract says.
    """
    from driftserve.archive import CONTRACT_FILE, MODEL_FILE, directory_digest
    from driftserve.channel import SOCKET_FILE, Sender
    from driftserve.decode import ImageLimits
    from driftserve.model import Model
    from driftserve.runtime import write_contract
    from driftserve.service import RequestLimits, Service, refuse_misfit

    contract = contract_from_json((model_dir / CONTRACT_FILE).read_bytes())
    model = Model(model_dir / MODEL_FILE, contract.image_spec.height, contract.image_spec.width)
    refuse_misfit(contract, model)
    observe = None
    if settings.runtime_dir is not None:
        digest = directory_digest(model_dir, contract)
        write_contract(settings.runtime_dir, digest, contract)
        observe = Sender(settings.runtime_dir / SOCKET_FILE, digest).send
    image = ImageLimits(settings.max_image_pixels, settings.max_image_side, settings.max_image_frames)
    limits = RequestLimits(settings.max_request_bytes, settings.max_instances, settings.max_decode_seconds, image)
    return Service(contract, model, observe, limits)


def build_monitor(settings: Settings, runtime_dir: Path) -> "MonitorProcess":
    """The monitor process for a runtime directory, with the sinks that are set."""
    from driftserve.metrics import common_dimensions
    from driftserve.monitor import Monitor
    from driftserve.monitor_process import MonitorProcess
    from driftserve.publisher import Publisher
    from driftserve.recorder import Recorder
    from driftserve.runtime import find_contract

    monitor = Monitor(
        partial(find_contract, runtime_dir),
        settings.endpoint_name,
        settings.variant_name,
        settings.window_size,
        settings.windows_between_false_alarms,
    )
    dimensions = common_dimensions(settings.endpoint_name, settings.variant_name)
    publisher = Publisher([_build_sink(name, settings) for name in settings.sinks], dimensions)
    recorder = None
    if settings.record_dir is not None:
        recorder = Recorder(
            settings.record_dir,
            settings.record_max_bytes,
            settings.window_size,
            settings.windows_between_false_alarms,
        )
    return MonitorProcess(monitor, publisher, runtime_dir, settings.metrics_period_seconds, dimensions, recorder)


def _build_sink(name: SinkName, settings: Settings) -> "Sink":
    if name == "cloudwatch":
        from driftserve.sinks.cloudwatch import CloudWatchSink

        return CloudWatchSink(settings.cloudwatch_namespace)
    if name == "emf":
        from driftserve.sinks.emf import EmfSink

        return EmfSink(settings.cloudwatch_namespace, sys.stdout)
    from driftserve.sinks.log import LogSink

    return LogSink()
