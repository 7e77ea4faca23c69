//! How listings are printed.

use comfy_table::{Table, presets::NOTHING};

use crate::error::{Error, printable};

/// The most that one page of the admin API holds.
const LARGEST_PAGE: u32 = 1_000;

/// The page size that is worth asking for when `wanted` more rows are.
pub(crate) fn page_size(wanted: usize) -> u32 {
    u32::try_from(wanted).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE)
}

pub(crate) fn print_json(rows: &impl serde::Serialize) -> Result<(), Error> {
    println!("{}", serde_json::to_string_pretty(rows).map_err(Error::internal)?);
    Ok(())
}

/// Prints columns without lines, so that they can be cut and searched.
pub(crate) fn print_table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) {
    let mut table = Table::new();
    // A narrow terminal wraps by itself; a table that wraps cells cannot be searched.
    table
        .load_preset(NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| printable(&cell))));
    // The first column starts at the margin.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    println!("{}", table.trim_fmt());
}
