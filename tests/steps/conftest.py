from pathlib import Path

import pytest

from tests.steps.chain import copy_template, make_template


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after genesis; learned once."""
    folder = tmp_path_factory.mktemp("template") / "workspace"
    make_template(folder)
    return folder


@pytest.fixture
def genesis(template: Path, workspace: Path) -> Path:
    """A test's own workspace after genesis, its first day ready to be trained on."""
    copy_template(template, workspace)
    return workspace
