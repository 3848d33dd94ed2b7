//! Three lanes, never mixed: rejected (the caller's turn), transient (try again), fatal (our bug, or corrupt data).

/// Why a journey did not do what it was asked. Whichever it is, nothing was changed.
#[derive(Debug)]
pub enum Failure<R> {
    /// The business said no, with its reasons.
    Rejected(R),
    /// The request id was used before with another body.
    RequestIdReused(uuid::Uuid),
    /// A dependency did not answer; the same call may work later.
    Transient(anyhow::Error),
    /// This should not be possible.
    Fatal(anyhow::Error),
}

impl<R> Failure<R> {
    /// A fault of ours, in words.
    pub fn fatal(message: impl std::fmt::Display) -> Self {
        Self::Fatal(anyhow::anyhow!("{message}"))
    }

    /// Carries a rejection of a part over to the whole.
    pub fn map<S>(self, convert: impl FnOnce(R) -> S) -> Failure<S> {
        match self {
            Self::Rejected(rejection) => Failure::Rejected(convert(rejection)),
            Self::RequestIdReused(id) => Failure::RequestIdReused(id),
            Self::Transient(error) => Failure::Transient(error),
            Self::Fatal(error) => Failure::Fatal(error),
        }
    }
}

impl<R> From<sqlx::Error> for Failure<R> {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) {
            Self::Transient(anyhow::Error::new(error).context("database"))
        } else {
            Self::Fatal(anyhow::Error::new(error).context("database"))
        }
    }
}

/// A row that does not convert: someone or something has written what the code never writes.
#[derive(Debug, thiserror::Error)]
#[error("{table} {key}: {problem}")]
pub struct Corrupt {
    /// Which table.
    pub table: &'static str,
    /// Which row.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Corrupt {
    /// Names the row and what is wrong with it.
    pub fn new(table: &'static str, key: impl std::fmt::Display, problem: impl std::fmt::Display) -> Self {
        Self { table, key: key.to_string(), problem: problem.to_string() }
    }
}

impl From<Corrupt> for sqlx::Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::Decode(Box::new(corrupt))
    }
}

/// Lost connections, an exhausted pool, shutdown, deadlock and cancelled statements pass; everything else is ours.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            true
        }
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || ["40001", "40P01", "55P03", "25006", "25P03"].contains(&code.as_ref())
        }
        _ => false,
    }
}

/// A row that cannot be read, or that the database refuses: it fails whatever it is of each time, and nothing else.
pub fn is_about_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => true,
        // A value past its range, and one that a constraint refuses.
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            ["22", "23"].iter().any(|class| code.starts_with(class))
        }
        _ => false,
    }
}

/// The name of the constraint that a statement broke, if it broke one.
pub fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(database) => database.constraint(),
        _ => None,
    }
}

/// An invariant does not hold: panics in tests, so that none slips through; in production the one call fails.
#[macro_export]
macro_rules! bug {
    ($($message:tt)*) => {{
        if cfg!(debug_assertions) {
            #[allow(clippy::panic)]
            {
                panic!($($message)*)
            }
        }
        $crate::failure::Failure::fatal(format!($($message)*))
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_does_not_convert_is_about_data_and_an_outage_is_not() {
        let corrupt = sqlx::Error::from(Corrupt::new("bindings", 7, "currency"));
        assert!(is_about_data(&corrupt) && !is_transient(&corrupt));
        assert!(!is_about_data(&sqlx::Error::PoolTimedOut) && is_transient(&sqlx::Error::PoolTimedOut));
    }
}
