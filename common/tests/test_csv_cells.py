import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.csv_cells import csv_lines, safe_cell


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_no_cell_is_taken_for_a_formula(start):
    assert safe_cell(f"{start}1+1").startswith("'")


def test_plain_cells_stay_as_they_are():
    assert [safe_cell(value) for value in ("plain", 12, None, "a=b")] == ["plain", "12", "", "a=b"]


@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))))
def test_what_is_written_can_be_read_back(cells):
    lines = "".join(csv_lines(["h"] * len(cells), [cells]))

    row = list(csv.reader(io.StringIO(lines, newline="")))[1:]
    read = [cell[1:] if cell.startswith("'") else cell for cell in (row[0] if row else [])]
    assert read == cells
