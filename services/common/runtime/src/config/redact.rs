//! Printing a tree without its secrets.

use figment::value::{Dict, Value};

/// A key that ends so holds a secret, unless it names the file that does.
const SECRET_SUFFIXES: [&str; 5] = ["secret", "token", "password", "key", "credentials"];

pub(super) fn redacted(root: &Dict) -> String {
    let table: Dict = root
        .iter()
        .map(|(key, value)| (key.clone(), mask(key, value)))
        .collect();
    toml::to_string(&table).unwrap_or_else(|error| format!("# cannot be shown as TOML: {error}\n"))
}

fn mask(key: &str, value: &Value) -> Value {
    if SECRET_SUFFIXES.iter().any(|suffix| key.ends_with(suffix)) {
        return Value::from("***");
    }
    match value {
        Value::Dict(tag, inner) => Value::Dict(
            *tag,
            inner
                .iter()
                .map(|(key, value)| (key.clone(), mask(key, value)))
                .collect(),
        ),
        Value::Array(tag, items) => Value::Array(*tag, items.iter().map(|item| mask(key, item)).collect()),
        other => other.clone(),
    }
}
