"""What a prediction asks of a run; `test_local_job` compares its boxes with the evaluation's."""

from pathlib import Path

import pytest
from torchrun import prepare

from detector.errors import UserError
from detector.predict import predict


def test_a_run_without_an_evaluated_checkpoint_cannot_predict(tmp_path: Path, tiny: Path) -> None:
    run = prepare(tmp_path / "run", tiny)
    with pytest.raises(UserError, match="has no evaluated checkpoint yet"):
        predict(run, [tiny / "images" / "val" / "1.png"], tmp_path / "out", 0.3)
