"""One basin of CAMELS-US whose record is not what it should be: gaps, columns without a value, constant columns."""

from datetime import date, timedelta

import numpy as np
import pytest

from pipeline import tasks
from pipeline.core.errors import DataError
from pipeline.tasks.fulda_runoff import CAMELS, GAUGE, SHORTEST

BEGIN = date(1980, 10, 1)
WEATHER = ("prcp", "srad", "tmax", "tmin")
FLOW, FORCING = f"{GAUGE}_streamflow_qc.txt", f"{GAUGE}_lump_cida_forcing_leap.txt"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(days, *, begin=BEGIN, omitted=(), **series):
    """Both files of the basin; `series` replace columns that are otherwise random; days can be omitted from the weather."""
    random = np.random.default_rng(1)
    columns = {name: random.gamma(1, 10, days) for name in (*WEATHER, "discharge")} | series
    forcing, flow = [], []
    for n, (rain, sun, high, low, discharge) in enumerate(zip(*columns.values(), strict=True)):
        day = f"{BEGIN + timedelta(n):%Y %m %d}"
        if n not in omitted:
            forcing.append(
                f"{begin + timedelta(n):%Y %m %d} 12\t30172.51\t{rain:.2f}\t{sun:.2f}\t0.00\t{high:.2f}\t{low:.2f}\t171.69"
            )
        flow.append(f"{GAUGE} {day} {discharge:>8.2f} A")
    for path, lines in (
        (CAMELS / f"basin_mean_forcing/daymet/{GAUGE[:2]}" / FORCING, ["47.23", "250", "2252695900", "Year ...", *forcing]),
        (CAMELS / f"usgs_streamflow/{GAUGE[:2]}" / FLOW, flow),
    ):
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n")


def flow_of(days, missing, value=-999.0):
    """Discharges 1, 2, 3, ... with missing days."""
    flow = np.arange(1.0, days + 1)
    flow[list(missing)] = value
    return flow


def prepared():
    return tasks.get("fulda_runoff").prepare("fulda_runoff", "full", 1)


def refused():
    """The sentence with which the record is refused."""
    with pytest.raises(DataError) as raised:
        prepared()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("value", [-999.0, -0.01, np.nan, np.inf])
def test_the_longest_stretch_without_a_gap_is_used_and_named(value):
    write(1500, discharge=flow_of(1500, [0, 400, 401, 1100], value))  # what is left: 399, 698 and 399 days
    data = prepared()
    assert data.info.notes["days"] == 698
    assert data.info.source == "CAMELS-US, gauge 01013500, Daymet forcing, 1981-11-07 to 1983-10-05"  # days 402 to 1099
    mean, deviation = (data.info.notes["standardised_by"][k][-1] for k in ("mean", "std"))
    found = np.exp(data.arrays["train_targets"].astype(float) * deviation + mean)
    assert 403 - 0.1 < found.min() < found.max() < 1100 + 0.1


@pytest.mark.parametrize("column", WEATHER)
def test_weather_that_is_missing_is_a_gap(column):
    random = np.random.default_rng(2).gamma(1, 10, 1400)
    random[[100, 700]] = np.nan, -999
    write(1400, **{column: random}, omitted=[1390])
    assert prepared().info.notes["days"] == 689  # days 701 to 1389


@pytest.mark.parametrize(("days", "every", "gaps", "longest"), [(4380, 200, 22, 199), (4380, SHORTEST, 8, SHORTEST - 1)])
def test_a_record_full_of_gaps_is_refused_with_the_first_and_their_number(days, every, gaps, longest):
    write(days, discharge=flow_of(days, range(0, days, every)))
    assert refused() == (
        f"{FLOW}: discharge has no value from 1980-10-01 to 1980-10-01, the first gap of {gaps}, and the longest stretch "
        f"without one has {longest} days; at least 600 days without a gap are needed (10 blocks of 60); "
        "unpack CAMELS-US again, or set prepare.size to packaged"
    )


def test_the_first_gap_is_that_of_its_column():
    write(900, discharge=flow_of(900, range(450, 460)), omitted=[300, 301])
    assert refused().startswith(
        f"{FORCING}: prcp has no value from 1981-07-28 to 1981-07-29, the first gap of 2, and the longest"
    )


def test_a_record_without_a_gap_that_is_too_short_is_refused():
    write(SHORTEST - 1)
    assert refused().startswith(f"{FORCING} and {FLOW} have 599 days in common; at least 600 days")


def test_the_shortest_record_has_a_window_in_each_block():
    write(SHORTEST)
    assert prepared().info.sequences == {"train": 5, "validation": 3, "test": 2}


def test_files_of_different_years_are_refused():
    write(900, begin=date(1999, 1, 1))
    assert refused().startswith(f"{FORCING} and {FLOW} have 0 days in common; at least 600")


@pytest.mark.parametrize("column", [*WEATHER, "discharge"])
def test_a_column_without_a_value_is_refused_by_name(column):
    write(700, **{column: np.full(700, -999.0)})
    assert refused().startswith(
        f"{FLOW if column == 'discharge' else FORCING}: {column} has no value on any of 700 days; at least"
    )


@pytest.mark.parametrize("column", [*WEATHER, "discharge"])
def test_a_constant_column_is_refused_by_name(column):
    write(700, **{column: np.full(700, 200.1)})  # the deviation of 350 times 200.1 from its mean is 3e-14, not 0
    file = FLOW if column == "discharge" else FORCING
    assert refused().startswith(f"{file}: {column} is the same on all 350 training days; it should vary: unpack CAMELS-US")


def test_a_day_that_occurs_twice_is_refused():
    write(700)
    path = CAMELS / f"usgs_streamflow/{GAUGE[:2]}" / FLOW
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    assert "does not have the layout of CAMELS-US 1.2" in refused()
