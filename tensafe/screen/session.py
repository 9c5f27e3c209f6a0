"""A whole screening on its own: subject, engine, both models, six layers, files.

Owns what `tensafe screen` does. The adapter is always the one in the files, never a checkpoint
that happens to bear its name; a base that is not the one it was trained on is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.data.records import Dataset
from tensafe.errors import DataError, UsageError
from tensafe.files import write_text
from tensafe.screen.config import ScreenConfig
from tensafe.screen.judge import JudgeConfig, JudgeSignal
from tensafe.screen.records import ScreenReport
from tensafe.screen.screening import screen_adapter
from tensafe.screen.subject import Subject, open_subject
from tensafe.screen.user_suites import UserSuite, load_user_suites

if TYPE_CHECKING:
    from tinker_engine.connect import Connection

Notify = Callable[[str], None]


@dataclass(frozen=True)
class ScreenRequest:
    """What to screen and against what.

    `data` is the training data of an adapter that doesn't bring its own; `suites` are files or
    folders of the user's; `judge` is a model whose ratings of abuse are added.
    """

    path: Path
    out: Path | None = None
    engine: str | None = None
    base_model: str | None = None
    data: Path | None = None
    suites: tuple[Path, ...] = ()
    suite_items: int | None = None
    judge: JudgeConfig | None = None
    config: ScreenConfig = field(default_factory=ScreenConfig)


@dataclass(frozen=True)
class Screened:
    """The report, where its two files lie, and the base it was held against."""

    report: ScreenReport
    folder: Path
    base_model: str
    base_digest: str
    suites: tuple[UserSuite, ...]

    @property
    def report_file(self) -> Path:
        """The whole report."""
        return self.folder / "screening.json"

    @property
    def findings_file(self) -> Path:
        """One finding a line."""
        return self.folder / "findings.jsonl"


def screen_path(request: ScreenRequest, notify: Notify) -> Screened:
    """Screen what `request.path` names and write report and findings.

    Raises:
        UsageError: data is given for a run that has its own, or declared absent beside it.
        DataError: path, data or a suite can't be used, or the base is another one.
        VerificationError: a package that is not intact.
        EngineError: the engine can't load the base or the adapter.
    """
    from tinker_engine.connect import open_engine

    loaded = load_user_suites(request.suites, max_items=request.suite_items)
    for suite in loaded.suites:
        part = "" if suite.items == suite.available else f" of {suite.available}"
        notify(f"suite {suite.name} ({suite.layout}): {suite.items}{part} items")
    for name in loaded.left_out:
        notify(f"not a suite, left out: {name}")
    with tempfile.TemporaryDirectory() as scratch:
        subject = _with_data(open_subject(request.path, Path(scratch)), request, notify)
        with open_engine(
            request.engine, base_model=request.base_model or subject.base_model
        ) as engine:
            screened = _screen(engine, subject, request, loaded.suites, notify)
    write_text(screened.report_file, screened.report.to_json())
    write_text(screened.findings_file, screened.report.findings_jsonl())
    return screened


def _with_data(subject: Subject, request: ScreenRequest, notify: Notify) -> Subject:
    from tensafe.curate import curate_dataset

    if request.data is None:
        if subject.dataset is not None and request.config.without_training_data:
            raise UsageError(
                f"--without-training-data: {request.path} comes with the data it was trained on"
            )
        return subject
    if subject.kind == "run":
        raise UsageError(f"--data: the run {request.path} holds the data it was trained on")
    curated = curate_dataset(request.data)
    # All of it may have been learned: nothing says which side of a split an example stood on.
    examples = (*curated.train, *curated.test)
    if not examples:
        raise DataError(f"{request.data}: no examples in it; see `tensafe analyze`")
    notify(f"{len(examples)} examples of {request.data} taken as training data")
    return replace(subject, dataset=Dataset(examples, curated.test, curated.report))


def _screen(
    engine: Connection,
    subject: Subject,
    request: ScreenRequest,
    suites: Sequence[UserSuite],
    notify: Notify,
) -> Screened:
    from tinker_engine.connect import base_info, load_tokenizer, upload_adapter
    from tinker_engine.recipes.chat_format import ChatFormat
    from tinker_engine.recipes.chat_model import ChatModel

    base = base_info(engine)
    if subject.base_digest and subject.base_digest != base.digest:
        raise DataError(
            f"{request.path} was trained on the base {subject.base_model} with digest "
            f"{subject.base_digest[:16]}, the engine has {base.name} with digest "
            f"{base.digest[:16]}: name the right one with --base-model"
        )
    notify(f"{subject.kind} {subject.name} against {base.name}, digest {base.digest[:16]}")
    chat, service = ChatFormat(load_tokenizer(engine)), engine.service_client
    signal = JudgeSignal(request.judge) if request.judge else None
    if request.judge:
        notify(f"answers are also rated by {request.judge.model} at {request.judge.url}")
    path = upload_adapter(engine, subject.adapter_dir)
    adapter = ChatModel(
        service.create_sampling_client(model_path=path).result(), chat, subject.name
    )
    alone = ChatModel(
        service.create_sampling_client(base_model=base.name).result(), chat, base.name
    )
    report = screen_adapter(
        adapter,
        alone,
        subject.adapter_dir,
        subject.dataset,
        request.config,
        signal=signal,
        user_suites=suites,
    )
    folder = request.out or _default_folder(subject, request.path)
    return Screened(report, folder, base.name, base.digest, tuple(suites))


def _default_folder(subject: Subject, path: Path) -> Path:
    """In the run itself, else under `screened` here: an adapter's own folder stays as it is."""
    if subject.kind == "run":
        run = path if (path / "dataset").is_dir() else path.resolve().parent
        return run / "screened"
    return Path("screened") / subject.name
