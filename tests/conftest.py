"""Fixtures that several parts share."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import tiny_data
from command import Detrun
from disk import OnDisk, on_small_disk
from hypothesis import settings
from processes import end
from slurm_cluster import Cluster
from slurm_daemons import ClusterError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Tests train beside one another; threads that wait for work shall not take cores from the others' while they do.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A machine that is busy makes an example slow, and nothing wrong.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).resolve().parent.parent


def _lacking(reason: str) -> NoReturn:
    """Something of the outside world is not there: a failure in CI, a reason to skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def lacking() -> Callable[[str], NoReturn]:
    """For what only some tests need of the outside world."""
    return _lacking


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in two processes, one of them has all that need Slurm, the longest part and so the first.

    Files stay whole. pytest-xdist reads the groups in the same hook: this one must come before.
    """
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)
    for item in items:
        on_slurm = item.get_closest_marker("slurm") is not None
        item.add_marker(pytest.mark.xdist_group("slurm" if on_slurm else item.path.name))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and logs beside the checkout; in CI its absence is a failure."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        _lacking(f"{folder} is missing")
    return folder


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running private Slurm of two nodes with four fake GPUs each.

    `DETRUN_TEST_CLUSTER=DIR` lends the tests one that `make cluster` started. In CI a cluster that cannot start is a
    failure. Commands see it through `slurm.env`; mark the test `slurm`, and it leaves no job behind.
    """
    if lent := os.environ.get("DETRUN_TEST_CLUSTER"):
        yield Cluster(Path(lent))
        return
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
    except ClusterError as error:
        _lacking(f"the private Slurm cannot start: {error}")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """A headless Chromium that asks nobody for anything by itself; mark the test `browser`."""
    executable = shutil.which("chromium")
    if executable is None:
        _lacking("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    quiet = ("background-networking", "component-update", "sync")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that trains in seconds."""
    return tiny_data.write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def _signals() -> Iterator[None]:
    """A rank that a test has in its own process leaves it the signal handlers that it had."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of somebody else: recipes beside scripts that know nothing of detrun, and no git."""
    return shutil.copytree(ROOT / "tests" / "theirs", tmp_path / "project")


@pytest.fixture
def counting(project: Path) -> str:
    """The recipe of a script that only counts, in seconds and with hardly any CPU time."""
    return str(project / "count.toml")


@pytest.fixture
def detrun(tmp_path: Path, tiny: Path) -> Iterator[Detrun]:
    """The installed command; whatever it started is ended behind the test."""
    command = Detrun(tmp_path, tiny)
    yield command
    end(command.processes())


@pytest.fixture
def on_slurm(tmp_path: Path, tiny: Path, slurm: Cluster) -> Detrun:
    """The installed command on the private Slurm, which ends the jobs behind the test."""
    return Detrun(tmp_path, tiny, **slurm.env)


@pytest.fixture
def on_disk(detrun: Detrun) -> OnDisk:
    """A shell line on a disk that is too small, or read-only."""
    return partial(on_small_disk, detrun.environment)


@pytest.fixture(autouse=True)
def _slurm_as_new(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test marked `slurm`: every daemon up, no job, both nodes idle."""
    cluster: Cluster | None = request.getfixturevalue("slurm") if request.node.get_closest_marker("slurm") else None
    yield
    if cluster:
        cluster.reset()
