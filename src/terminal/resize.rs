//! What a terminal's lines become when it has another size.
//!
//! On the first screen nothing is lost: lines are wrapped again, as in kitty, tmux and xterm.js, and those without room
//! go into the history or come back from it. Programs on the other screen draw again, so that is cut and filled.

use super::{
    cell::{Attributes, Cell},
    grid::{Grid, Line},
    screen::{Cursor, Saved},
    state::TerminalState,
};

/// Changes the size.
pub(super) fn resize(state: &mut TerminalState, rows: usize, columns: usize) {
    if (rows, columns) == (state.rows(), state.columns()) {
        return;
    }
    read_history(state);
    let is_first = state.settings.screen() == 0;
    // While the other screen is shown, the place that the first one is to be continued at is the saved one.
    let mut places = [state.cursor, state.screens[0].saved.cursor];
    if columns != state.columns() {
        wrap_anew(state, columns, &mut places);
    }
    let keep = if is_first { places[0].line } else { places[1].line };
    let moved = change_rows(state, rows, columns, keep);
    for place in &mut places {
        place.line = place.line.saturating_add_signed(moved).min(rows - 1);
    }
    let Saved { cursor, .. } = &mut state.screens[0].saved;
    *cursor = clamp(places[1], rows, columns);
    if is_first {
        state.cursor = clamp(places[0], rows, columns);
    } else {
        let excess = (state.cursor.line + 1).saturating_sub(rows);
        state.cursor.line -= excess;
        state.cursor = clamp(state.cursor, rows, columns);
        let other = &mut state.screens[1];
        other.grid.lines.drain(..excess);
        other.saved.cursor = clamp(other.saved.cursor, rows, columns);
    }
    let other = &mut state.screens[1].grid;
    other.lines.resize_with(rows, || Line::new(columns));
    for line in &mut other.lines {
        if columns < line.cells.len() {
            line.cut(columns, columns);
        }
        line.wraps &= columns == line.cells.len();
        line.cells.resize(columns, Cell::default());
    }
    other.columns = columns;
    state.reset_margins();
    state.last = None;
}

fn clamp(cursor: Cursor, rows: usize, columns: usize) -> Cursor {
    let column = cursor.column.min(columns - 1);
    Cursor { line: cursor.line.min(rows - 1), column, wraps: cursor.wraps && column == columns - 1 }
}

/// Takes apart the text in the history that was not.
pub(super) fn read_history(state: &mut TerminalState) {
    if !state.history.has_unread() {
        return;
    }
    let (rows, columns) = (state.rows(), state.columns());
    let mut history = std::mem::replace(&mut state.history, super::history::ScrolledLines::new(0));
    history.read_all(|unread| {
        // A screen that only this is shown on, and whose lines are all kept.
        let mut reader = TerminalState::new(1, columns, usize::MAX);
        reader.extras = std::mem::take(&mut state.extras);
        reader.pen = unread.pen;
        reader.tabs = state.tabs;
        // The line feed before the text made a new line of it.
        let blank = reader.pen.blank();
        reader.grid_mut().erase(0, 0, columns, blank, |_| false);
        super::parser::Parser::default().advance(&unread.text, &mut reader);
        state.extras = reader.extras;
        reader.history.lines().collect()
    });
    state.history = history;
    debug_assert_eq!((rows, columns), (state.rows(), state.columns()));
}

/// Gives the first screen other rows, which `keep` is to stay among. Returns by how much lines moved down.
fn change_rows(state: &mut TerminalState, rows: usize, columns: usize, keep: usize) -> isize {
    let TerminalState { screens: [first, _], history, .. } = state;
    let grid = &mut first.grid;
    let mut moved = 0;
    while grid.lines.len() > rows {
        let is_spare = |line: &Line| line.text().is_empty() && !line.wraps;
        if grid.lines.len() - 1 > keep.saturating_add_signed(moved) && grid.lines.back().is_some_and(is_spare)
        {
            grid.lines.pop_back();
        } else if let Some(line) = grid.lines.pop_front() {
            history.push(&line);
            moved -= 1;
        }
    }
    while grid.lines.len() < rows {
        if let Some(mut line) = history.pop() {
            line.cells.resize(columns, Cell::default());
            grid.lines.push_front(line);
            moved += 1;
        } else {
            grid.lines.push_back(Line::new(columns));
        }
    }
    moved
}

/// Wraps the lines of history and first screen at another width. Places on that screen go with their characters.
fn wrap_anew(state: &mut TerminalState, columns: usize, places: &mut [Cursor; 2]) {
    let before: Vec<Line> = state.history.lines().collect();
    let rows = state.rows();
    let offset = before.len();
    let first = &mut state.screens[0].grid;
    let was_columns = first.columns;
    let mut old: Vec<Line> = before;
    old.extend(first.lines.drain(..));
    // Blank lines below all text and places take part in nothing.
    let last_place = places.iter().map(|place| offset + place.line).max().unwrap_or(0);
    while old.len() > last_place + 1 && old.last().is_some_and(|line| line.text().is_empty() && !line.wraps) {
        old.pop();
    }
    let mut new: Vec<Line> = Vec::with_capacity(old.len());
    let mut found = [(0, 0, false); 2];
    let mut at = 0;
    while at < old.len() {
        let end = (at..old.len()).find(|index| !old[*index].wraps).map_or(old.len(), |index| index + 1);
        // One paragraph: lines at..end.
        let mut cells = Vec::new();
        let mut here = [None; 2];
        for (index, line) in old[at..end].iter().enumerate() {
            for (place, here) in places.iter().zip(&mut here) {
                if offset + place.line == at + index {
                    *here = Some(cells.len() + place.column + usize::from(place.wraps));
                }
            }
            if line.wraps {
                let full = line.cells.iter().take(was_columns).copied();
                let missing = was_columns.saturating_sub(line.cells.len());
                cells.extend(full.chain(std::iter::repeat_n(Cell::default(), missing)));
                // A wide character that found no room left a blank behind.
                let begins_wide = old.get(at + index + 1).and_then(|next| next.cells.first());
                let left_room = begins_wide.is_some_and(|cell| cell.attributes.has(Attributes::WIDE));
                if left_room && cells.last().is_some_and(Cell::is_blank) {
                    cells.pop();
                }
            } else {
                cells.extend_from_slice(line.text());
            }
        }
        let size = old[at].size;
        let starts = new.len();
        let mut from = 0;
        loop {
            let mut to = (from + columns).min(cells.len());
            if to < cells.len() && cells[to].attributes.has(Attributes::TAIL) && to > from + 1 {
                to -= 1;
            }
            let mut line = Line { cells: cells[from..to].to_vec(), wraps: to < cells.len(), size };
            line.cells.resize(columns, Cell::default());
            let line_number = new.len();
            for (here, found) in here.iter().zip(&mut found) {
                if let Some(column) = *here
                    && column >= from
                    && (column < to || to == cells.len())
                {
                    let column = column - from;
                    *found = match column.checked_sub(columns) {
                        None => (line_number, column, false),
                        Some(_) => (line_number, columns - 1, true),
                    };
                }
            }
            new.push(line);
            from = to;
            if from >= cells.len() {
                break;
            }
        }
        debug_assert!(new.len() > starts);
        at = end;
    }
    // The newest lines are the screen.
    let lowest = found.iter().map(|(line, ..)| line + 1).max().unwrap_or(0);
    let screen_from = new.len().max(lowest).saturating_sub(rows);
    let (mut history, grid) = (new, &mut state.screens[0].grid);
    let mut lines: std::collections::VecDeque<Line> =
        history.drain(screen_from.min(history.len())..).collect();
    lines.resize_with(rows, || Line::new(columns));
    *grid = Grid { lines, columns };
    state.history.clear();
    history.iter().for_each(|line| state.history.push(line));
    for (place, (line, column, wraps)) in places.iter_mut().zip(found) {
        *place = Cursor { line: line.saturating_sub(screen_from), column, wraps };
    }
}
