"""Tables found from the ink of a page: those ruled by lines, and those whose columns stand under each other.

Of a ruled table the places of its rules make the finest grid; where no rule stands between two places of it, they are
one merged cell. A table without rules is three or more rows in which short pieces of text begin, end or are centred at
the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regard.apps.documents.ink import Array, Ink
from regard.apps.documents.ink_lines import InkLine, Rect, union

TOUCH_PX = 6  # rules this near to each other touch, and places this near are one
MAX_PLACES = 120  # rows or columns of one table; more is hatching
SHORT_EM = 14  # a piece of text of at most this width may be a cell
# How wide cells are on average at most; two columns of wider lines are columns of text.
MEAN_EM = {2: 7.0}
MEAN_EM_MORE = 9.0


@dataclass(frozen=True)
class InkCell:
    """A cell's first row and column, how many it covers, its box, and the lines in it."""

    row: int
    column: int
    num_rows: int
    num_columns: int
    box: Rect
    lines: tuple[InkLine, ...]


@dataclass(frozen=True)
class InkTable:
    """A table's box, its size, and its cells row by row."""

    box: Rect
    num_rows: int
    num_columns: int
    cells: tuple[InkCell, ...]


def ruled_tables(ink: Ink, lines: Sequence[InkLine]) -> list[InkTable]:
    """The tables that rules make, with the lines of text in their cells."""
    rows: list[Rect] = [_rect(rule) for rule in ink.rows_R4]
    columns: list[Rect] = [_rect(rule) for rule in ink.columns_R4]
    tables = []
    for group in _touching(rows + columns):
        chosen_rows = [rows[n] for n in group if n < len(rows)]
        chosen_columns = [columns[n - len(rows)] for n in group if n >= len(rows)]
        table = _ruled(chosen_rows, chosen_columns, lines)
        if table is not None:
            tables.append(table)
    return tables


def _rect(rule: Array) -> Rect:
    x1, y1, x2, y2 = (int(v) for v in rule)
    return x1, y1, x2, y2


def _touching(boxes: list[Rect]) -> list[list[int]]:
    """Groups of boxes that touch each other, by number."""
    groups: list[list[int]] = []
    left = set(range(len(boxes)))
    while left:
        group, edge = [], [left.pop()]
        while edge:
            number = edge.pop()
            group.append(number)
            x1, y1, x2, y2 = boxes[number]
            near = [
                n
                for n in left
                if boxes[n][0] <= x2 + TOUCH_PX
                and boxes[n][2] >= x1 - TOUCH_PX
                and boxes[n][1] <= y2 + TOUCH_PX
                and boxes[n][3] >= y1 - TOUCH_PX
            ]
            left.difference_update(near)
            edge += near
        groups.append(sorted(group))
    return sorted(groups)


def _places(values: list[float]) -> list[float]:
    """Values that are near to each other as one."""
    places: list[list[float]] = []
    for value in sorted(values):
        if places and value - places[-1][-1] <= TOUCH_PX:
            places[-1].append(value)
        else:
            places.append([value])
    return [sum(place) / len(place) for place in places]


def _ruled(rows: list[Rect], columns: list[Rect], lines: Sequence[InkLine]) -> InkTable | None:
    ys = _places([(rule[1] + rule[3]) / 2 for rule in rows])
    xs = _places([(rule[0] + rule[2]) / 2 for rule in columns])
    if len(ys) < 2 or len(xs) < 2 or (len(ys) - 1) * (len(xs) - 1) < 2 or max(len(xs), len(ys)) > MAX_PLACES:
        return None
    num_rows, num_columns = len(ys) - 1, len(xs) - 1

    def is_parted_right(row: int, column: int) -> bool:
        middle, low, high = xs[column + 1], ys[row], ys[row + 1]
        return _covered([(r[1], r[3]) for r in columns if abs((r[0] + r[2]) / 2 - middle) <= TOUCH_PX], low, high)

    def is_parted_below(row: int, column: int) -> bool:
        middle, low, high = ys[row + 1], xs[column], xs[column + 1]
        return _covered([(r[0], r[2]) for r in rows if abs((r[1] + r[3]) / 2 - middle) <= TOUCH_PX], low, high)

    taken: set[tuple[int, int]] = set()
    cells = []
    for row in range(num_rows):
        for column in range(num_columns):
            if (row, column) in taken:
                continue
            wide = 1
            while (
                column + wide < num_columns
                and (row, column + wide) not in taken
                and not is_parted_right(row, column + wide - 1)
            ):
                wide += 1
            high = 1
            while row + high < num_rows and not any(is_parted_below(row + high - 1, column + n) for n in range(wide)):
                high += 1
            taken.update((row + down, column + across) for down in range(high) for across in range(wide))
            box = (round(xs[column]), round(ys[row]), round(xs[column + wide]), round(ys[row + high]))
            cells.append(InkCell(row, column, high, wide, box, _within(lines, box)))
    if not any(cell.lines for cell in cells):
        return None
    box = (round(xs[0]), round(ys[0]), round(xs[-1]), round(ys[-1]))
    return InkTable(box, num_rows, num_columns, tuple(cells))


def _covered(spans: list[tuple[int, int]], low: float, high: float) -> bool:
    """Whether rules cover more than half of a stretch."""
    covered = sum(max(0.0, min(end, high) - max(start, low)) for start, end in spans)
    return covered > 0.5 * (high - low)


def _within(lines: Sequence[InkLine], box: Rect) -> tuple[InkLine, ...]:
    x1, y1, x2, y2 = box
    return tuple(
        line
        for line in lines
        if x1 <= (line.box[0] + line.box[2]) / 2 <= x2 and y1 <= (line.box[1] + line.box[3]) / 2 <= y2
    )


def aligned_tables(lines: Sequence[InkLine]) -> list[InkTable]:
    """Tables without upright rules, from rows of short pieces that keep to the same columns."""
    tables: list[InkTable] = []
    run: list[list[InkLine]] = []
    for row in [*_rows(lines), []]:
        if row and _goes_on(run, row):
            run.append(row)
            continue
        table = _aligned(run)
        if table is not None:
            tables.append(table)
        run = [row] if row and _is_row(row) else []
    return tables


def _rows(lines: Sequence[InkLine]) -> list[list[InkLine]]:
    """Lines that stand on the same level, from left to right."""
    rows: list[list[InkLine]] = []
    for line in sorted(lines, key=lambda line: (line.baseline, line.box[0])):
        if rows and line.baseline - rows[-1][0].baseline < 0.4 * min(line.em, rows[-1][0].em):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.box[0]) for row in rows]


def _is_row(row: list[InkLine]) -> bool:
    return len(row) >= 2 and all(line.box[2] - line.box[0] <= SHORT_EM * line.em for line in row)


def _goes_on(run: list[list[InkLine]], row: list[InkLine]) -> bool:
    if not run or not _is_row(row):
        return False
    em = row[0].em
    return row[0].box[1] - run[-1][0].box[3] < 1.6 * em and 0.75 < em / run[-1][0].em < 1.35


def _aligned(run: list[list[InkLine]]) -> InkTable | None:
    if len(run) < 3:
        return None
    # Columns are the stretches that no row leaves free.
    columns: list[list[int]] = []
    for start, end in sorted((line.box[0], line.box[2]) for row in run for line in row):
        if columns and start <= columns[-1][1]:
            columns[-1][1] = max(columns[-1][1], end)
        else:
            columns.append([start, end])
    if len(columns) < 2:
        return None
    widths = [(line.box[2] - line.box[0]) / line.em for row in run for line in row]
    if sum(widths) / len(widths) > MEAN_EM.get(len(columns), MEAN_EM_MORE):
        return None
    cells = []
    for number, row in enumerate(run):
        for line in row:
            column = next(n for n, (start, end) in enumerate(columns) if start <= line.box[0] <= end)
            cells.append(InkCell(number, column, 1, 1, line.box, (line,)))
    places = {(cell.row, cell.column) for cell in cells}
    if len(places) < len(cells) or len(cells) < 0.6 * len(run) * len(columns):
        return None
    return InkTable(union([cell.box for cell in cells]), len(run), len(columns), tuple(cells))
