"""What the demo shows while it runs: one line for each stage, with a progress bar on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from driftserve.text import printable

_BAR_WIDTH = 36  # characters; a whole line stays below 100
_COUNT_WIDTH = len("2,000/2,000 requests")  # the longest count; the column keeps this width
_REFRESHES_PER_SECOND = 5  # more would take processor time from the training


class Stage:
    """The progress of one stage; without a total there is no bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def expect(self, total: int) -> None:
        """Set how many steps there are."""
        self._progress.update(self._task, total=total)

    def advance(self) -> None:
        """Count one more step."""
        self._progress.advance(self._task)

    def reach(self, completed: int) -> None:
        """Set how many steps are done; a lower number than before is ignored."""
        done = self._progress.tasks[self._task].completed
        self._progress.update(self._task, completed=max(done, completed))


class Display:
    """Shows the stages: bars on a terminal, plain lines elsewhere. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        is_unicode = console.encoding.startswith("utf")
        self._tick, self._cross = ("✓", "✗") if is_unicode else ("+", "x")
        self._progress = Progress(
            _MarkColumn("dots" if is_unicode else "line"),
            TextColumn("{task.description}"),
            _CountedBarColumn(_BAR_WIDTH),
            _CountColumn(Column(min_width=_COUNT_WIDTH)),
            TextColumn("{task.elapsed:>4.0f} s"),
            console=console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            disable=not console.is_interactive,
        )

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, name: str, subject: str) -> Iterator[Stage]:
        """Show a stage from its start to its end; `subject` names what the stage counts or makes."""
        identifier = self._progress.add_task(f"{name:<14}", total=None, subject=subject, mark=None)
        task = self._progress.tasks[identifier]
        self._print_plain(f"{name}: started")
        try:
            yield Stage(self._progress, identifier)
        except BaseException:
            self._end(task, Text(self._cross, "red"))
            raise
        if task.total is not None:  # the total was a guess: training can end early, and an image can be sent twice
            self._progress.update(identifier, total=max(task.completed, 1))
        self._end(task, Text(self._tick, "green"))
        count = _count(task)
        self._print_plain(f"{name}: done in {task.elapsed:.0f} s{f', {count}' if count else ''}")

    def _end(self, task: Task, mark: Text) -> None:
        self._progress.update(task.id, mark=mark)
        self._progress.stop_task(task.id)

    def _print_plain(self, line: str) -> None:
        if self._progress.disable:
            self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
            self._console.file.flush()


class _MarkColumn(SpinnerColumn):
    def render(self, task: Task) -> RenderableType:
        mark: Text | None = task.fields["mark"]
        return mark or self.spinner.render(task.get_time())


class _CountedBarColumn(BarColumn):
    def render(self, task: Task) -> RenderableType:  # type: ignore[override]  # no bar if nothing is counted
        return task.fields["subject"] if task.total is None else super().render(task)


class _CountColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_count(task))


def _count(task: Task) -> str:
    return "" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f} {task.fields['subject']}"
