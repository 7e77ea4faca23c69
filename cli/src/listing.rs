//! How answers are printed: columns and lines for a person, JSON for a program.

use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;

use crate::{
    args::Output,
    error::{Error, printable},
};

/// The most that one page of the admin API holds.
const LARGEST_PAGE: u32 = 1_000;

/// Something that is listed and shown.
pub(crate) trait Shown {
    /// What stands above its columns.
    const COLUMNS: &'static [&'static str];

    /// Its columns.
    fn cells(&self) -> Vec<String>;

    /// All of it.
    fn json(&self) -> Value;
}

/// Reads pages until there are enough rows or no more pages. A page is asked for by its size and token, and gives its
/// rows and the next token.
pub(crate) async fn pages<T>(
    limit: usize,
    mut page: impl AsyncFnMut(u32, String) -> Result<(Vec<T>, String), Error>,
) -> Result<Vec<T>, Error> {
    let mut rows = Vec::new();
    let mut token = String::new();
    while rows.len() < limit {
        let wanted = u32::try_from(limit - rows.len()).unwrap_or(LARGEST_PAGE);
        let (more, next) = page(wanted.min(LARGEST_PAGE), token).await?;
        rows.extend(more);
        if next.is_empty() {
            break;
        }
        token = next;
    }
    rows.truncate(limit);
    Ok(rows)
}

/// Prints a listing.
pub(crate) fn print_all<T: Shown>(output: Output, rows: &[T]) -> Result<(), Error> {
    match output {
        Output::Json => print_json(&rows.iter().map(Shown::json).collect::<Vec<_>>()),
        Output::Table => {
            print_table(T::COLUMNS, rows.iter().map(Shown::cells));
            Ok(())
        }
    }
}

/// Prints one thing whole.
pub(crate) fn print_one<T: Shown>(output: Output, row: &T) -> Result<(), Error> {
    print_value(output, &row.json())
}

/// Prints one thing whole, given as JSON.
pub(crate) fn print_value(output: Output, value: &Value) -> Result<(), Error> {
    match output {
        Output::Json => print_json(value),
        Output::Table => {
            for line in lines(value) {
                println!("{line}");
            }
            Ok(())
        }
    }
}

/// Prints that something was done, which JSON says by an empty object and the exit code.
pub(crate) fn print_done(output: Output, sentence: &str) -> Result<(), Error> {
    match output {
        Output::Json => print_json(&Value::Object(serde_json::Map::new())),
        Output::Table => {
            println!("{}", printable(sentence));
            Ok(())
        }
    }
}

pub(crate) fn print_json(rows: &impl serde::Serialize) -> Result<(), Error> {
    println!("{}", serde_json::to_string_pretty(rows).map_err(Error::internal)?);
    Ok(())
}

/// Prints columns without lines, so that they can be cut and searched.
fn print_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    // A narrow terminal wraps by itself; a table that wraps cells cannot be searched.
    table
        .load_preset(NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    // The first column starts at the margin.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    println!("{}", table.trim_fmt());
}

/// An object as `key: value` lines. What is empty says nothing, and is left out.
fn lines(value: &Value) -> Vec<String> {
    let Value::Object(fields) = value else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (key, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
        let key = printable(key);
        match value {
            Value::Object(_) => {
                lines.push(format!("{key}:"));
                lines.extend(self::lines(value).into_iter().map(|line| format!("  {line}")));
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                lines.push(format!("{key}:"));
                lines.extend(items.iter().map(|item| format!("  - {}", in_line(item))));
            }
            _ => lines.push(format!("{key}: {}", in_line(value))),
        }
    }
    lines
}

/// A value on one line.
fn in_line(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(in_line).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !is_empty(value));
            let fields = fields.map(|(key, value)| format!("{} {}", printable(key), in_line(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lines;

    #[test]
    fn an_object_is_read_line_by_line() {
        let value = json!({
            "name": "acme/ci\u{1b}[2J",
            "nothing": null,
            "empty": "",
            "capabilities": ["repo.pull", "repo.list"],
            "rule": { "issuer": "https://a.example", "claims": { "ref": "main" } },
            "bindings": [{ "role": "owner", "conditions": [] }],
            "built_in": false,
        });
        assert_eq!(
            lines(&value),
            [
                "bindings:",
                "  - role owner",
                "built_in: false",
                "capabilities: repo.pull, repo.list",
                "name: acme/ci [2J",
                "rule:",
                "  claims:",
                "    ref: main",
                "  issuer: https://a.example",
            ]
        );
    }
}
