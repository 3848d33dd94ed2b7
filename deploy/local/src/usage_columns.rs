//! The columns of a file of usage records in CSV.

/// The columns of a CSV file; the last one may be missing. A file of refused lines has two more, which are not looked at.
pub const COLUMNS: [&str; 7] =
    ["workspace_id", "event_id", "event_time", "meter", "dimension", "quantity", "count_from_time"];
/// Without the one that may be missing.
pub const COLUMNS_MIN: usize = 6;
/// And those two.
pub const REFUSED_COLUMNS: [&str; 2] = ["reason", "message"];

/// What the header of a CSV file says of each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How many of `COLUMNS` it has.
    pub own: usize,
    /// And how many with those of a refused line.
    pub all: usize,
}

impl Layout {
    /// Of the names of its columns.
    pub fn of(header: &[&str]) -> Option<Self> {
        let own = header.strip_suffix(&REFUSED_COLUMNS).unwrap_or(header);
        let is_known = own.len() >= COLUMNS_MIN && COLUMNS.starts_with(own);
        is_known.then_some(Self { own: own.len(), all: header.len() })
    }

    /// A line's own values, as many as there are `COLUMNS`. A line with another number of values is one value: nobody knows which of them is which.
    pub fn row(self, line: &str) -> Vec<String> {
        let values = split(line).filter(|values| values.len() == self.all);
        let mut row = values.unwrap_or_else(|| vec![line.to_owned()]);
        row.truncate(self.own);
        row.resize(COLUMNS.len(), String::new());
        row
    }
}

/// The values of a CSV line; a value in quotes may have commas in it.
pub fn split(line: &str) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let record = reader.records().next()?.ok()?;
    Some(record.iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_its_header_says_or_one_value() {
        let layout = |header: &str| Layout::of(&header.split(',').collect::<Vec<_>>()).unwrap();
        let (six, seven) = (COLUMNS[..COLUMNS_MIN].join(","), COLUMNS.join(","));
        let refused = |header: &str| layout(&format!("{header},{}", REFUSED_COLUMNS.join(",")));
        assert_eq!(layout(&six).row("w,1,t,m,d,5"), ["w", "1", "t", "m", "d", "5", ""]);
        assert_eq!(layout(&seven).row("w,1,t,m,d,5,f"), ["w", "1", "t", "m", "d", "5", "f"]);
        assert_eq!(refused(&six).row("w,1,t,m,d,5,R,said"), ["w", "1", "t", "m", "d", "5", ""]);
        assert_eq!(refused(&seven).row("w,1,t,m,d,5,f,R,said"), ["w", "1", "t", "m", "d", "5", "f"]);
        // A quantity with commas must not come back as its first digit.
        for (layout, line) in [
            (layout(&six), "w,1,t,m,d,5,000"),
            (layout(&six), "w,1,t,m,d,5,000,000"),
            (layout(&seven), "w,1,t,m,d,5,000,f"),
            (refused(&seven), "w,1,t,m,d,5,R,said"),
            (refused(&six), "rubbish,1"),
        ] {
            assert_eq!(layout.row(line), [line, "", "", "", "", "", ""]);
        }
    }
}
