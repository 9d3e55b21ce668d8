"""Record batches of a Parquet file, checked: damage that the format could hide breaks off instead of losing rows."""

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from recprune.data.sources.csv_rows import MOST_COLUMNS


def open_parquet(file: IO[bytes]) -> Any:
    """Open a Parquet file; pages whose writer gave them a checksum are compared with it."""
    opened = pq.ParquetFile(file, page_checksum_verification=True)
    if opened.metadata.num_columns > MOST_COLUMNS:
        raise pa.ArrowInvalid(f"it has {opened.metadata.num_columns:,} columns; at most {MOST_COLUMNS:,} are read")
    return opened


def checked_batches(file: Any, batch_rows: int, **chosen: Any) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows, or those of the row groups that are chosen.

    Raises:
        pyarrow.ArrowInvalid: values do not fit their type, as text that is no UTF-8; or there are fewer rows than the
            file says.
    """
    groups = chosen.get("row_groups", range(file.num_row_groups))
    left = sum(file.metadata.row_group(group).num_rows for group in groups)
    if "row_groups" not in chosen and left != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"its row groups have {left:,} rows, the file says {file.metadata.num_rows:,}")
    for rows in file.iter_batches(batch_size=batch_rows, **chosen):
        rows.validate(full=True)
        left -= rows.num_rows
        yield rows
    if left:
        raise pa.ArrowInvalid(f"it has {left:,} rows fewer than it says")
