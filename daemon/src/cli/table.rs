//! Columns for eyes.

use std::fmt;

/// Rows of `N` cells; each column is as wide as its widest cell, the last one is free.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub fn new(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..N.saturating_sub(1)).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                match widths.get(column) {
                    Some(width) => line.push_str(&format!("{cell:<width$}  ")),
                    None => line.push_str(cell),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["A", "B"]);
        table.row(["long".into(), "x".into()]);
        table.row(["ü".into(), String::new()]);
        assert_eq!(table.to_string(), "A     B\nlong  x\nü\n");
    }
}
