//! Which keys a section has, learnt from the type that reads it: a table that is given a key it does not know names
//! those that it does.

use std::collections::BTreeSet;
use std::{fmt, iter};

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// No table has a key of this name.
const UNKNOWN: &str = "?";

/// The keys of `T` and of the tables in it, with dots between their parts. A list of tables counts as one.
pub(crate) fn of<T: DeserializeOwned>() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    assert!(walk::<T>(&mut Vec::new(), &mut keys), "a section is a table");
    keys
}

/// Adds the keys below `path`; says whether there is a table.
fn walk<T: DeserializeOwned>(path: &mut Vec<&'static str>, keys: &mut BTreeSet<String>) -> bool {
    let Err(Answer::Table(names)) = T::deserialize(Probe(path)) else {
        return false;
    };
    for name in names {
        path.push(name);
        if !walk::<T>(path, keys) {
            keys.insert(path.join("."));
        }
        path.pop();
    }
    true
}

/// What stands at the end of a [`Probe`].
#[derive(Debug)]
enum Answer {
    Table(&'static [&'static str]),
    Value,
}

impl Error for Answer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Value
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::Table(known)
    }
}

impl std::error::Error for Answer {}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A document with one key in each table on the way, and [`UNKNOWN`] in the last.
#[derive(Clone, Copy)]
struct Probe<'a>(&'a [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Answer;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer::Value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Answer> {
        let (key, rest) = self.0.split_first().unwrap_or((&UNKNOWN, &[]));
        visitor.visit_map(MapDeserializer::new(iter::once((*key, Probe(rest)))))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Answer> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Answer> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Answer> {
        visitor.visit_seq(SeqDeserializer::new(iter::once(self)))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Answer> for Probe<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
