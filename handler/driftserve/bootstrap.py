"""Builds the service, the Lambda function and the monitor from the settings; no other module wires objects.

Slow imports are inside the functions: a worker does not import scipy and boto3 (2 s at start), and the monitor does not
import torch (2 s, 200 MB).
"""

import logging
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from driftserve.archive.contract import contract_from_json
from driftserve.errors import SettingsError
from driftserve.logs import JsonFormatter, log_uncaught
from driftserve.settings import Settings, SinkName

if TYPE_CHECKING:  # only for annotations, because these imports are slow
    from driftserve.drift.overrides import DriftOverrides
    from driftserve.inference.service import Observe, Service
    from driftserve.metrics.definitions import Sink
    from driftserve.monitoring.process import MonitorProcess


def configure_logging(settings: Settings) -> None:
    """Log to stderr as JSON: driftserve from `settings.log_level`, libraries from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    log_uncaught()
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # the response already describes a bad image
    logging.getLogger("driftserve").setLevel(settings.log_level)


def build_service(
    model_dir: Path, settings: Settings, observe: "Observe | None" = None, server_name: str = ""
) -> "Service":
    """Return the service for an unpacked archive.

    The service's observations go to `observe`. If it is None, they go to the monitor of the runtime directory, if the
    settings have one. `server_name` is as in `served_key`.

    Raises:
        ArchiveError: the directory does not match its contract.
    """
    from driftserve.archive.reading import CONTRACT_FILE, directory_digest
    from driftserve.archive.served import served_key
    from driftserve.images.decode import ImageLimits
    from driftserve.inference.model import load_model
    from driftserve.inference.service import RequestLimits, Service
    from driftserve.inference.verification import check_fit
    from driftserve.observations.channel import SOCKET_FILE, Sender
    from driftserve.runtime.directory import write_contract

    contract = contract_from_json((model_dir / CONTRACT_FILE).read_bytes())
    model = load_model(model_dir, contract)
    check_fit(contract, model)
    if observe is None and settings.runtime_dir is not None:
        key = served_key(directory_digest(model_dir, contract), server_name)
        write_contract(settings.runtime_dir, key, contract)
        observe = Sender(settings.runtime_dir / SOCKET_FILE, key).send
    image = ImageLimits(settings.max_image_pixels, settings.max_image_side, settings.max_image_frames)
    limits = RequestLimits(settings.max_request_bytes, settings.max_instances, settings.max_decode_seconds, image)
    return Service(contract, model, observe, limits)


def build_function(settings: Settings) -> "Service":
    """Return the service of a Lambda function, with a verified archive and a monitor in this process.

    Raises:
        ArchiveError: there is no archive, or it is rejected.
        SettingsError: a setting does not work on Lambda, or other users can write to the temporary directory.
    """
    from driftserve.archive.reading import find_archive
    from driftserve.inference.verification import verify_archive
    from driftserve.monitoring.inline import InlineMonitor
    from driftserve.monitoring.monitor import Monitor
    from driftserve.runtime.directory import own_runtime_dir

    _check_function_settings(settings)
    sinks = settings.sinks if "sinks" in settings.model_fields_set else ("emf",)
    # This call also removes the files of killed processes, because Lambda may start the next process on the same disk.
    directory = own_runtime_dir()
    shutil.rmtree(directory, ignore_errors=True)  # from a process that had the same process id
    try:
        verified = verify_archive(find_archive(settings.model_dir), directory, settings.archive_sha256)
        monitor = Monitor(
            {verified.digest: verified.contract}.get,
            settings.endpoint_name,
            settings.variant_name,
            drift_overrides(settings),
        )
        inline = InlineMonitor(monitor, verified.digest, [_build_sink(name, settings) for name in sinks])
        return build_service(directory, settings, inline.observe)
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # the model is in memory now, and the disk may be small


def _check_function_settings(settings: Settings) -> None:
    """Raise SettingsError if a setting does not work on Lambda."""
    if "cloudwatch" in settings.sinks:
        raise SettingsError(
            "DRIFTSERVE_SINKS: expected `emf` or `log` on Lambda, got `cloudwatch`, which would add an API call to "
            "every response; use `emf`"
        )
    if settings.record_dir is not None:
        raise SettingsError(
            f"DRIFTSERVE_RECORD_DIR: expected no directory on Lambda, where the disk is temporary, got "
            f"{settings.record_dir}; unset it: the function's log has the observations, for `driftserve replay --log`"
        )


def drift_overrides(settings: Settings) -> "DriftOverrides":
    """Return the operator's settings for drift detection."""
    from driftserve.drift.overrides import DriftOverrides

    return DriftOverrides(settings.window_size, settings.windows_between_false_alarms, settings.label_shift)


def build_monitor(settings: Settings, runtime_dir: Path) -> "MonitorProcess":
    """Return the monitor process for a runtime directory, with the sinks from the settings."""
    from driftserve.metrics.definitions import common_dimensions
    from driftserve.metrics.publisher import Publisher
    from driftserve.monitoring.monitor import Monitor
    from driftserve.monitoring.process import MonitorProcess
    from driftserve.observations.recorder import Recorder
    from driftserve.runtime.calibrations import find_calibration
    from driftserve.runtime.directory import find_contract

    monitor = Monitor(
        partial(find_contract, runtime_dir),
        settings.endpoint_name,
        settings.variant_name,
        drift_overrides(settings),
        partial(find_calibration, runtime_dir),
    )
    dimensions = common_dimensions(settings.endpoint_name, settings.variant_name)
    publisher = Publisher([_build_sink(name, settings) for name in settings.sinks], dimensions)
    recorder = None
    if settings.record_dir is not None:
        recorder = Recorder(settings.record_dir, settings.record_max_bytes, drift_overrides(settings))
    return MonitorProcess(monitor, publisher, runtime_dir, settings.metrics_period_seconds, dimensions, recorder)


def _build_sink(name: SinkName, settings: Settings) -> "Sink":
    if name == "cloudwatch":
        from driftserve.metrics.sinks.cloudwatch import CloudWatchSink

        return CloudWatchSink(settings.cloudwatch_namespace)
    if name == "emf":
        from driftserve.metrics.sinks.emf import EmfSink

        return EmfSink(settings.cloudwatch_namespace, sys.stdout)
    from driftserve.metrics.sinks.log import LogSink

    return LogSink()
