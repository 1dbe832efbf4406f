//! What goes into a statement and comes out of a row: numbers, text, and nothing.

use std::error::Error as StdError;

use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type};
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::{Fault, rows};
use crate::clock::Timestamp;
use crate::record::JobId;

/// A value for a statement. Numbers have 64 bits in both databases.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// A whole number, a moment, or yes (1) and no (0).
    Int(Option<i64>),
    /// Any number.
    Real(f64),
    /// Text or JSON.
    Text(Option<&'a str>),
}

impl Value<'_> {
    /// The same as the driver for PostgreSQL wants it.
    pub(crate) fn for_postgres(&self) -> &(dyn ToSql + Sync) {
        self
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        i64::try_from(value).unwrap_or(i64::MAX).into()
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        i64::from(value).into()
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(value: Timestamp) -> Self {
        value.as_ms().into()
    }
}

impl From<Option<Timestamp>> for Value<'_> {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_ms))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a JobId> for Value<'a> {
    fn from(value: &'a JobId) -> Self {
        value.0.as_str().into()
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Int(Some(value)) => ValueRef::Integer(value),
            Self::Real(value) => ValueRef::Real(value),
            Self::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Self::Int(None) | Self::Text(None) => ValueRef::Null,
        }))
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        // The bytes of another type would be read as something else.
        match (self, wanted) {
            (Self::Int(value), &Type::INT8) => value.to_sql(wanted, out),
            (Self::Real(value), &Type::FLOAT8) => value.to_sql(wanted, out),
            (Self::Text(value), &Type::TEXT) => value.to_sql(wanted, out),
            _ => Err(format!("{self:?} for a place of type {wanted}").into()),
        }
    }

    fn accepts(wanted: &Type) -> bool {
        [Type::INT8, Type::FLOAT8, Type::TEXT].contains(wanted)
    }

    postgres::types::to_sql_checked!();
}

/// The columns of a row, by name.
pub(crate) trait Columns {
    /// A whole number.
    fn int(&self, column: &str) -> Result<Option<i64>, Fault>;
    /// Any number.
    fn real(&self, column: &str) -> Result<Option<f64>, Fault>;
    /// Text.
    fn text(&self, column: &str) -> Result<Option<String>, Fault>;
}

impl Columns for rusqlite::Row<'_> {
    fn int(&self, column: &str) -> Result<Option<i64>, Fault> {
        self.get(column).map_err(|error| rows::damaged(column, error))
    }

    fn real(&self, column: &str) -> Result<Option<f64>, Fault> {
        self.get(column).map_err(|error| rows::damaged(column, error))
    }

    fn text(&self, column: &str) -> Result<Option<String>, Fault> {
        self.get(column).map_err(|error| rows::damaged(column, error))
    }
}

impl Columns for postgres::Row {
    fn int(&self, column: &str) -> Result<Option<i64>, Fault> {
        self.try_get(column).map_err(|error| rows::damaged(column, error))
    }

    fn real(&self, column: &str) -> Result<Option<f64>, Fault> {
        self.try_get(column).map_err(|error| rows::damaged(column, error))
    }

    fn text(&self, column: &str) -> Result<Option<String>, Fault> {
        self.try_get(column).map_err(|error| rows::damaged(column, error))
    }
}
