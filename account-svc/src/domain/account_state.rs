//! Whether an account can be used.

/// Open, or on its way to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    /// It can be used.
    Open,
    /// Its closing has begun and asks the other services.
    Closing,
    /// It is closed for good.
    Closed,
}

impl AccountState {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Closing => "CLOSING",
            Self::Closed => "CLOSED",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Closing, Self::Closed].into_iter().find(|state| state.word() == word)
    }
}
