"""Whose model a round leads to where the task leaves it to the organization's word: what such a word is made by."""

from __future__ import annotations

from typing import Protocol

from network.store import ContentStore
from network.transfer import fetch
from organization.members import MemberModels
from processor.stated import Demand, is_stated
from protocol.errors import InvalidInput
from protocol.model import Model, decode_model
from protocol.task import Task
from protocol.types import Digest


class Student(Protocol):
    """Makes the model that the organization states (organization.distil)."""

    def check(self, model: Model) -> None:
        """Raise InvalidInput where it could make nothing of ``model``."""
        ...

    def __call__(self, demand: Demand, models: MemberModels) -> Model:
        """Return a model that fits ``demand``; raises StoreUnavailable."""
        ...


def require_student(store: ContentStore, head: Digest, task: Task, student: Student | None) -> None:
    """Refuse to go on with a task that distils where there is nothing to distil on, or nothing that fits the model.

    Args:
        head: The federation's head model, fetched only where the task distils.

    Raises:
        InvalidInput: There is no student, or the examples do not fit.
        ContentError, ArtifactRefused: The head cannot be had.
    """
    if not is_stated(task.merge.rule):
        return
    if student is None:
        raise InvalidInput(
            f"The task's merge rule {task.merge.rule} needs public examples.",
            "The organization distils the round's committee into one model on them.",
            "Name them with --public-data FILE, a .npz with x.",
        )
    student.check(decode_model(fetch(store, head, task.limits.model_bytes)))
