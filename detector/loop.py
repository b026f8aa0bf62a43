"""The training loop: steps, checkpoints, evaluations, and an end that loses nothing.

What is random follows from (seed, step), what was done from the checkpoint's step and the records on disk, so a
resumed run makes the same steps as one that was never stopped.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec
import torch

from detector import checkpoint
from detector.batch import AnyBatch
from detector.config import Train
from detector.control import Control
from detector.data.sampler import TrainSampler, input_size
from detector.errors import UserError
from detector.journal import Journal
from detector.learner import Learner
from detector.losses import LossLog
from detector.models.weights import initialise
from detector.pace import Pace
from detector.processes import Ranks, Vote
from detector.records import Evaluation, Metrics, headline
from detector.task import open_task
from detector.utilization import Utilization

# Behind so many broken steps fp16 has scaled its gradients down by a million.
_MOST_IN_A_ROW = 20
_CALM = "lower optim.lr, lengthen schedule.burn_in_steps, or look at those images"


class Trainer:
    """One run on one rank, from its config to its end."""

    def __init__(self, run: Path, config: Train, ranks: Ranks, control: Control) -> None:
        self.config, self.ranks, self.control = config, ranks, control
        self.checkpoints = run / "checkpoints"
        self.journal = Journal(run)
        self.task = open_task(config, ranks, self.journal)
        self.sampler = TrainSampler(images=self.task.images, config=config, rank=ranks.rank, world=ranks.world)
        self.learner, self.step = self._learner()
        self.vote = Vote(ranks)
        self.pace = Pace()
        self.losses = LossLog(ranks)
        self.bad: set[str] = set()
        self.writer = checkpoint.Writer()
        self.utilization = Utilization(self.learner, config)
        self.saved_at = time.monotonic()

    @property
    def epoch(self) -> int:
        """Epochs that are complete."""
        return self.step // self.sampler.steps_per_epoch

    def go(self) -> str:
        """Train to the end, `done`, or until any rank is told to stop, `stopped`; the last checkpoint is on disk then.

        Raises:
            UserError: training cannot go on; the last checkpoint is on disk then, too.
        """
        try:
            outcome = self._go()
        finally:
            self.writer.wait()
        if outcome == "stopped" and self.ranks.is_first:
            self.journal.event("stopped", step=self.step)
            self.journal.say(f"stopped at step {self.step}; its checkpoint is on disk")
        return outcome

    def _go(self) -> str:
        if self.config.epochs == 0:
            self._save()
        if self._at_epoch_end() and not self._evaluate_if_due():
            return "stopped"
        for batches, waited_s in self._batches():
            self.vote.ask(self.control.stop_requested)
            self._learn(batches, waited_s)
            stop, due = self.vote.answer(), time.monotonic() - self.saved_at > self.config.checkpoint.every_min * 60
            if stop or due or self._at_epoch_end():
                self._save()
            if stop or (self._at_epoch_end() and not self._evaluate_if_due()):
                return "stopped"
        return "done"

    def _learner(self) -> tuple[Learner, int]:
        """The model with its optimizer, fresh or as the last checkpoint has it, and the step it stands at."""
        torch.manual_seed(self.config.seed)
        model = self.task.model()
        state, complaint = checkpoint.resume(self.checkpoints)
        start = initialise(model, self.config.model.init) if state is None else f"resuming at step {state['step']}"
        learner = Learner(model, self.config, self.ranks, self.sampler.steps)
        if state is not None:
            learner.restore(state)
        if self.ranks.is_first:
            self._announce(complaint, start)
            if state is not None:
                self.journal.event("resumed", step=int(state["step"]), reason=complaint or None)
        return learner, int(state["step"]) if state else 0

    def _announce(self, complaint: str, start: str) -> None:
        config = self.config
        if complaint:
            self.journal.say(f"warning: {complaint}")
        self.journal.say(f"{config.model.name}: {start}")
        self.journal.say(
            f"{config.epochs} epochs of {self.sampler.steps_per_epoch} steps of {config.optim.batch_size} images, "
            f"{config.precision}, {self.ranks.world} processes on {self.ranks.device.type}"
        )

    def _batches(self) -> Iterator[tuple[list[AnyBatch], float]]:
        """This rank's micro-batches of each step that is left, and the seconds waited for them."""
        parts = self.learner.accumulate
        batches = iter(self.task.train_loader(self.step, parts))
        self.pace.reset()
        while True:
            asked = time.monotonic()
            micro_batches = list(islice(batches, parts))
            if not micro_batches:
                return
            yield micro_batches, time.monotonic() - asked

    def _learn(self, batches: list[AnyBatch], waited_s: float) -> None:
        parts, names = self.learner.step(batches, self.step)
        self.step += 1
        self.losses.add(self.step, parts, names, [batch.image_ids for batch in batches])
        self._note_bad(batches)
        self.pace.count(self.config.optim.batch_size, waited_s)
        self.control.beat()
        if self.step % self.config.log_every == 0 or self._at_epoch_end():
            self._log()

    def _note_bad(self, batches: list[AnyBatch]) -> None:
        for name in {name for batch in batches for name in batch.bad} - self.bad:
            self.journal.say(f"warning: cannot read {name}; a grey image stands in for it")
            self.bad.add(name)

    def _count_bad(self) -> int:
        """Files that no rank could read.

        Raises:
            UserError: there are more than the run puts up with.
        """
        bad = set().union(*self.ranks.gather_all(self.bad))
        if len(bad) > self.config.data.max_bad_images:
            some = ", ".join(sorted(bad)[:3])
            raise UserError(
                f"{len(bad)} images cannot be read, such as {some}",
                "mend them, or allow more: --set data.max_bad_images=N",
            )
        return len(bad)

    def _log(self) -> None:
        self._refuse_broken()
        losses, bad = self.losses.read(), self._count_bad()
        images_per_s, data_wait = self.pace.report()
        size = input_size(self.config.augment, self.config.data.image_size, self.config.seed, self.step - 1)
        if not self.ranks.is_first:
            return
        config, steps = self.config, self.sampler.steps
        done = -(-self.step // self.sampler.steps_per_epoch)
        evaluations = -(-config.epochs // config.eval.every) - self.epoch // config.eval.every
        self.journal.metrics(
            Metrics(
                t=time.time(),
                epoch=done,
                epochs=config.epochs,
                step=self.step,
                steps=steps,
                loss=sum(losses.values()) if losses else None,
                losses=losses,
                lr=self.learner.lr,
                images_per_s=images_per_s,
                data_wait=data_wait,
                image_size=size,
                mfu=self.utilization.at(images_per_s, size),
                skipped=int(self.learner.precision.left_out),
                bad_images=bad,
                gpu_mem_gib=self._gpu_mem_gib(),
                eta_s=self.pace.left_s(steps - self.step, evaluations),
            )
        )

    def _refuse_broken(self) -> None:
        """Stop at a loss from which training does not recover: mixed precision leaves out its step, but not for ever.

        Raises:
            UserError: a loss is inf or NaN, or so many steps in a row were left out.
        """
        in_a_row = int(self.learner.precision.in_a_row)
        if self.learner.precision.enabled and in_a_row < _MOST_IN_A_ROW:
            return
        broken = self.losses.first_broken()
        if in_a_row:
            broken = f"{broken or 'gradients overflow'}; {in_a_row} steps up to {self.step} were left out in a row"
        if broken:
            raise UserError(broken, _CALM)

    def _gpu_mem_gib(self) -> float | None:
        if self.ranks.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.ranks.device) / 2**30

    def _save(self) -> None:
        """Rank 0 has `last.pt` written; a model that is broken is not saved over one that is not."""
        self._refuse_broken()
        if name := self.learner.broken():
            raise UserError(f"weights are inf or NaN at step {self.step}, such as `{name}`: gradients overflow", _CALM)
        self.saved_at = time.monotonic()
        if self.ranks.is_first:
            state = self.learner.state() | {"step": self.step, "epoch": self.epoch, "classes": list(self.task.classes)}
            self.writer.save(self.checkpoints / "last.pt", state)

    def _at_epoch_end(self) -> bool:
        started = self.step > 0 or self.config.epochs == 0
        return started and self.step % self.sampler.steps_per_epoch == 0

    def _evaluate_if_due(self) -> bool:
        """Evaluate the epoch that just ended where it is due and not done; false where a stop came between."""
        due = self.epoch % self.config.eval.every == 0 or self.epoch == self.config.epochs
        if not due or self.ranks.from_first(self.ranks.is_first and self.journal.scored(self.epoch, self.step)):
            return True
        # The evaluation forks loader processes and names this checkpoint: no thread may be at work on it.
        self.writer.wait()
        started = time.monotonic()
        found = self.task.look(self.learner, self._go_on)
        if found is None:
            return False
        self._count_bad()
        whole = self.task.gathered(found)
        judge = partial(self.task.judge, whole, epoch=self.epoch, step=self.step, started=started)
        result = self.ranks.first_alone(judge, self.control.beat)
        if result is not None:
            self._keep(result)
        self.pace.evaluation_s = time.monotonic() - started
        self.pace.reset()
        return True

    def _keep(self, result: Evaluation) -> None:
        best, score = self.journal.best_before(self.epoch), headline(result.metrics)
        parameters = sum(weight.numel() for weight in self.learner.model.parameters())
        self.journal.evaluation(msgspec.structs.replace(result, parameters=parameters))
        if score is not None and score > best:
            checkpoint.keep_as_best(self.checkpoints)

    def _go_on(self, batch: AnyBatch | None) -> bool:
        """Whether no rank was told to stop; asked at every batch of an evaluation."""
        self.control.beat()
        if batch is not None:
            self._note_bad([batch])
        self.vote.ask(self.control.stop_requested)
        return not self.vote.answer()
