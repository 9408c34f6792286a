//! No line of the code is over 120 columns; rustfmt leaves long strings and comments as they are.

use std::process::Command;

const WIDTH: usize = 120;

/// Names each line of a Rust file in git that is too long.
pub(crate) fn check() -> Result<(), String> {
    let listed = Command::new("git").args(["ls-files", "*.rs"]).output().map_err(|error| format!("git: {error}"))?;
    let files = String::from_utf8_lossy(&listed.stdout);
    if files.is_empty() {
        return Err(format!("git lists no file: {}", String::from_utf8_lossy(&listed.stderr).trim_end()));
    }
    let mut long = Vec::new();
    for file in files.lines() {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        long.extend(over(&text).map(|(line, columns)| format!("{file}:{line}: {columns} columns")));
    }
    match long.len() {
        0 => Ok(()),
        count => Err(format!("{count} lines are over {WIDTH} columns\n{}", long.join("\n"))),
    }
}

/// The lines that are too long, by number, with their columns.
fn over(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let columns = text.lines().map(|line| line.chars().count());
    (1..).zip(columns).filter(|(_, columns)| *columns > WIDTH)
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_characters_and_120_of_them_fit() {
        let text = format!("{}\n{}\n{}\n", "é".repeat(120), "é".repeat(121), "x".repeat(130));
        assert_eq!(super::over(&text).collect::<Vec<_>>(), [(2, 121), (3, 130)]);
    }
}
