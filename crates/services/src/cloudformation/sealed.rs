//! What CloudFormation keeps, sealed: parameters that are not shown, and what became of them in a stack's resources.
//!
//! Invariant: states, owed work and change sets are written sealed for whom they are about (see [`crate::seal`]). Rows of
//! older servers are text and are read as they are, until they are written again.

use crate::seal::Sealer;
use crate::wire::ServiceError;
use rusqlite::types::{Type, ValueRef};

/// What is kept of `owner`, as it is written.
pub(super) fn seal(sealer: &Sealer, owner: &str, text: &str) -> Result<Vec<u8>, ServiceError> {
    sealer.seal(owner, text.as_bytes())
}

/// The text of a column; an error is the row's.
pub(super) fn open(
    sealer: &Sealer,
    owner: &str,
    column: usize,
    kept: ValueRef<'_>,
) -> rusqlite::Result<String> {
    let opened = match kept {
        ValueRef::Blob(sealed) => sealer.unseal(owner, sealed).map_err(|error| error.message),
        ValueRef::Text(text) => Ok(text.to_vec()),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Ok(Vec::new()),
    };
    let text = opened.and_then(|text| String::from_utf8(text).map_err(|error| error.to_string()));
    text.map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, error.into()))
}
