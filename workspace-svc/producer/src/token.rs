//! Where the token comes from that every stream begins with.

use std::path::PathBuf;
use std::pin::Pin;

/// A token on its way.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// There is no token now. The stream is tried again later, and the token is asked for again.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TokenError {
    /// What was tried.
    pub what: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Gives a bearer token. It is asked before each stream is opened, since tokens live for minutes: answer with a fresh one.
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is valid now, without the word "Bearer".
    fn token(&self) -> TokenFuture<'_>;
}

/// A token in a file that somebody else renews; it is read again for each stream.
#[derive(Debug, Clone)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The token in this file.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl TokenSource for TokenFile {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async {
            let path = self.0.clone();
            let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
            let text = read.map_err(|error| self.failed(error))?.map_err(|error| self.failed(error))?;
            Ok(text.trim().to_owned())
        })
    }
}

impl TokenFile {
    fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> TokenError {
        TokenError { what: format!("reading the token file {}", self.0.display()), source: Box::new(error) }
    }
}

/// A token that stays as it is: for tests, and for tokens that outlive the process.
#[derive(Clone)]
pub struct FixedToken(String);

impl FixedToken {
    /// This token.
    pub const fn new(token: String) -> Self {
        Self(token)
    }
}

impl TokenSource for FixedToken {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}
