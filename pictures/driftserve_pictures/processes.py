"""Draw the processes of a server: which process starts which, and how they communicate."""

from driftserve_pictures.drawing import Box, Drawing, Text, title

_SUPERVISOR = Box(14, 14, 640, 100)
_PROBE = Box(524, 28, 116, 72)
_CLIENTS = Box(676, 14, 150, 100)
_VERIFY, _MONITOR, _GUARD = (Box(x, 178, 152, 112) for x in (14, 182, 350))
_JVM = Box(548, 178, 278, 112)
_DIRECTORY = Box(0, 336, 446, 190)
_MODEL = Box(14, 388, 152, 124)
_SOCKET = Box(182, 388, 250, 52)
_FILES = Box(182, 460, 250, 52)
_WORKERS = Box(548, 388, 264, 110)


def draw_processes() -> Drawing:
    """Return the picture: the supervisor and its children above, the runtime directory and the workers below."""
    drawing = Drawing(
        "The processes of driftserve",
        "The supervisor, driftserve serve, starts three children and sends them signals. Verify checks the archive, "
        "unpacks it into the runtime directory, and ends. The monitor watches for drift and publishes metrics. The "
        "guard runs the server's JVM, TorchServe or MMS, and stops it when the supervisor ends. The JVM starts the "
        "workers. Clients send images to the JVM by HTTP; the probe, a thread of the supervisor, sends it golden "
        "images. The workers load the model from the runtime directory, and send datagrams to the monitor's socket.",
        840,
        526,
    )
    _draw_parents(drawing)
    _draw_children(drawing)
    _draw_directory(drawing)
    _draw_workers(drawing)
    return drawing


def _draw_parents(drawing: Drawing) -> None:
    drawing.box(_SUPERVISOR, [])
    drawing.text(title("supervisor"), (34, 58))
    drawing.text(Text("driftserve serve: restarts a monitor that ended"), (34, 84))
    drawing.box(_PROBE, [title("probe"), Text("a thread")], "serve", "serve-fill")
    drawing.box(_CLIENTS, [title("clients"), Text("HTTP")])
    for box in (_VERIFY, _MONITOR, _GUARD):
        drawing.arrow((box.center, _SUPERVISOR.bottom + 3), (box.center, box.y - 3))
    drawing.text(Text("starts, signals"), (_VERIFY.center + 12, 151))
    drawing.arrow((_PROBE.center, _PROBE.bottom + 3), (_PROBE.center, _JVM.y - 3), "serve")
    drawing.text(Text("golden images", 16, "serve"), (_PROBE.center + 12, 151))
    drawing.arrow((_CLIENTS.center, _CLIENTS.bottom + 3), (_CLIENTS.center, _JVM.y - 3), "serve")
    drawing.text(Text("images", 16, "serve"), (_CLIENTS.center + 12, 151))


def _draw_children(drawing: Drawing) -> None:
    drawing.box(_VERIFY, [title("verify"), Text("checks, unpacks,"), Text("then ends")])
    drawing.box(
        _MONITOR,
        [title("monitor"), Text("finds drift,"), Text("sends metrics")],
        "watch",
        "watch-fill",
    )
    drawing.box(_GUARD, [title("guard"), Text("ends the JVM with"), Text("the supervisor")])
    drawing.box(_JVM, [title("JVM"), Text("TorchServe or MMS")], "serve", "serve-fill")
    drawing.arrow((_GUARD.right + 3, _JVM.middle), (_JVM.x - 3, _JVM.middle))


def _draw_directory(drawing: Drawing) -> None:
    drawing.panel(_DIRECTORY)
    drawing.text(Text("runtime directory", 16, "ink", is_bold=True), (_MONITOR.center + 16, 372))
    drawing.box(_MODEL, [title("model"), Text("unpacked,"), Text("verified")])
    drawing.box(_SOCKET, [Text("socket", 18, "ink", is_bold=True)], "watch", "watch-fill")
    drawing.box(_FILES, [Text("contracts, locks, status", 16, "ink")])
    drawing.arrow((_VERIFY.center, _VERIFY.bottom + 3), (_VERIFY.center, _MODEL.y - 3))
    drawing.arrow((_MONITOR.center, _SOCKET.y - 3), (_MONITOR.center, _MONITOR.bottom + 3), "watch")


def _draw_workers(drawing: Drawing) -> None:
    drawing.box(Box(_WORKERS.x + 14, _WORKERS.y + 14, _WORKERS.width, _WORKERS.height), [], "serve", "serve-fill")
    drawing.box(
        _WORKERS,
        [title("workers"), Text("decode, preprocess,"), Text("network, response")],
        "serve",
        "serve-fill",
    )
    drawing.arrow((_JVM.center, _JVM.bottom + 3), (_JVM.center, _WORKERS.y - 3), "serve")
    drawing.text(Text("requests", 16, "serve"), (_JVM.center + 12, 345))
    drawing.arrow((_WORKERS.x - 3, _SOCKET.middle), (_SOCKET.right + 3, _SOCKET.middle), "watch")
    drawing.text(Text("datagrams", 16, "watch"), (497, _SOCKET.middle - 10), "middle")
    drawing.arrow((_DIRECTORY.right + 3, _FILES.middle), (_WORKERS.x - 3, _FILES.middle))
    drawing.text(Text("model"), (497, _FILES.middle - 10), "middle")
