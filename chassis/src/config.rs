//! Configuration: the environment only, the same names in all four services. Everything is read and checked before anything
//! starts, and all that is wrong is said at once. No secret has a default.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use crate::auth::{Signer, TrustedKey};

/// Reads variables and remembers what is wrong with them.
pub struct Env {
    values: HashMap<String, String>,
    problems: Vec<String>,
    shown: Vec<(&'static str, String)>,
}

impl Env {
    /// The environment of this process.
    pub fn process() -> Self {
        Self::from_pairs(std::env::vars())
    }

    /// Variables from elsewhere, for tests.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: pairs.into_iter().collect(), problems: Vec::new(), shown: Vec::new() }
    }

    /// A variable that must be set.
    pub fn required<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        let Some(text) = self.values.get(name).cloned() else {
            self.problems.push(format!("{name} is not set"));
            return None;
        };
        self.parse(name, &text)
    }

    /// A variable that may be set.
    pub fn optional<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        let text = self.values.get(name).cloned().filter(|text| !text.is_empty())?;
        self.parse(name, &text)
    }

    /// A secret that may be set; it is never shown.
    pub fn optional_secret(&mut self, name: &'static str) -> Option<SecretString> {
        let value = self.values.get(name).cloned().filter(|value| !value.is_empty())?;
        self.shown.push((name, "(set)".to_owned()));
        Some(SecretString::from(value))
    }

    /// A secret that must be set; it is never shown.
    pub fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let value = self.values.get(name).cloned();
        match value {
            Some(value) if !value.is_empty() => {
                self.shown.push((name, "(set)".to_owned()));
                Some(SecretString::from(value))
            }
            _ => {
                self.problems.push(format!("{name} is not set"));
                None
            }
        }
    }

    /// Notes a problem that parsing alone does not show.
    pub fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// All problems at once, or none.
    pub fn finish(self) -> Result<Vec<(&'static str, String)>, Problems> {
        if self.problems.is_empty() { Ok(self.shown) } else { Err(Problems(self.problems)) }
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &'static str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => {
                self.shown.push((name, text.to_owned()));
                Some(value)
            }
            Err(error) => {
                self.problems.push(format!("{name}: {error}"));
                None
            }
        }
    }
}

/// Everything that is wrong with the environment.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::from("the configuration is not usable:");
        for problem in &self.0 {
            write!(text, "\n  {problem}")?;
        }
        f.write_str(&text)
    }
}

/// Where the other services are. A service needs only those that it calls.
#[derive(Debug, Clone, Default)]
pub struct PeerAddresses {
    /// `ACCOUNT_ADDR`
    pub account: Option<String>,
    /// `WORKSPACE_ADDR`
    pub workspace: Option<String>,
    /// `BILLING_ADDR`
    pub billing: Option<String>,
    /// `SETTLEMENT_ADDR`
    pub settlement: Option<String>,
}

/// How mails leave.
#[derive(Debug, Clone)]
pub enum Mail {
    /// `SMTP_URL`, such as `smtps://user:password@mail.example.com`, and `MAIL_FROM`, the sender's address.
    Smtp {
        /// The server.
        url: SecretString,
        /// The sender.
        from: String,
    },
    /// Into a folder, where they can be read: the local profile only, never read from the environment.
    Folder(std::path::PathBuf),
}

/// What every service needs to run.
#[derive(Clone)]
pub struct Config {
    /// `DATABASE_URL`: of the service's app role.
    pub database_url: SecretString,
    /// `DATABASE_CONNECTIONS_MAX`, 10 by default.
    pub database_connections_max: u32,
    /// `TOKEN_KEYS`: JSON list of the public keys that are trusted.
    pub trusted_keys: Vec<TrustedKey>,
    /// `TOKEN_KEY_ID` and `TOKEN_SIGNING_KEY`: this service's own key.
    pub signer: Signer,
    /// `SESSION_SECRET`: what account-svc derives the keys of users' tokens from; no other service has it.
    pub session_secret: Option<SecretString>,
    /// How mails leave; account-svc only.
    pub mail: Option<Mail>,
    /// The peers.
    pub peers: PeerAddresses,
    /// `DRAIN_DELAY_MS`, 5,000 by default: how long a service that is to stop goes on accepting.
    pub drain_delay: Duration,
    /// `CALLS_IN_FLIGHT_MAX`, 1,024 by default.
    pub calls_in_flight_max: usize,
    /// `WORKERS_PAUSED`: names of loops that do not run in this process, separated by commas; none by default. For maintenance.
    pub workers_paused: Vec<String>,
}

/// What a process needs around its service.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// `GRPC_LISTEN_ADDR`
    pub grpc_listen_addr: SocketAddr,
    /// `METRICS_LISTEN_ADDR`: Prometheus; none when unset.
    pub metrics_listen_addr: Option<SocketAddr>,
    /// `OTLP_ENDPOINT`: traces; none when unset.
    pub otlp_endpoint: Option<String>,
    /// `LOG_FILTER`, "info" by default.
    pub log_filter: String,
}

impl Config {
    /// Reads the service's part of the environment.
    pub fn read(env: &mut Env, service: &'static str) -> Option<Self> {
        let database_url = env.secret("DATABASE_URL");
        let database_connections_max = env.optional("DATABASE_CONNECTIONS_MAX").unwrap_or(10);
        let keys: Option<String> = env.required("TOKEN_KEYS");
        let trusted_keys = keys.and_then(|text| match serde_json::from_str::<Vec<TrustedKey>>(&text) {
            Ok(keys) if !keys.is_empty() => Some(keys),
            Ok(_) => {
                env.problem("TOKEN_KEYS: must name at least one key".to_owned());
                None
            }
            Err(error) => {
                env.problem(format!("TOKEN_KEYS: {error}"));
                None
            }
        });
        let kid: Option<String> = env.required("TOKEN_KEY_ID");
        let secret = env.secret("TOKEN_SIGNING_KEY");
        let signer = kid.zip(secret).and_then(|(kid, secret)| {
            use secrecy::ExposeSecret as _;
            match Signer::new(&kid, service, secret.expose_secret()) {
                Ok(signer) => Some(signer),
                Err(error) => {
                    env.problem(format!("TOKEN_SIGNING_KEY: {error:#}"));
                    None
                }
            }
        });
        let session_secret = env.optional_secret("SESSION_SECRET");
        if session_secret.as_ref().is_some_and(|secret| !is_strong(secret)) {
            env.problem("SESSION_SECRET: must be 32 random bytes or more in base64url".to_owned());
        }
        let mail = match (env.optional_secret("SMTP_URL"), env.optional::<String>("MAIL_FROM")) {
            (Some(url), Some(from)) => Some(Mail::Smtp { url, from }),
            (None, None) => None,
            _ => {
                env.problem("SMTP_URL and MAIL_FROM: both or none must be set".to_owned());
                None
            }
        };
        let peers = PeerAddresses {
            account: env.optional("ACCOUNT_ADDR"),
            workspace: env.optional("WORKSPACE_ADDR"),
            billing: env.optional("BILLING_ADDR"),
            settlement: env.optional("SETTLEMENT_ADDR"),
        };
        let drain_delay = Duration::from_millis(env.optional("DRAIN_DELAY_MS").unwrap_or(5_000));
        let calls_in_flight_max = env.optional("CALLS_IN_FLIGHT_MAX").unwrap_or(1_024);
        let workers_paused: Option<String> = env.optional("WORKERS_PAUSED");
        let names = |text: String| text.split(',').map(|name| name.trim().to_owned()).collect();
        let workers_paused = workers_paused.map(names).unwrap_or_default();
        Some(Self {
            workers_paused,
            database_url: database_url?,
            database_connections_max,
            trusted_keys: trusted_keys?,
            signer: signer?,
            session_secret,
            mail,
            peers,
            drain_delay,
            calls_in_flight_max,
        })
    }
}

/// Whoever can guess a secret that public keys are derived from can sign for every user: a phrase will not do.
fn is_strong(secret: &SecretString) -> bool {
    use base64::Engine as _;
    use secrecy::ExposeSecret as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(secret.expose_secret());
    bytes.is_ok_and(|bytes| bytes.len() >= 32)
}

impl ProcessConfig {
    /// Reads the process's part of the environment.
    pub fn read(env: &mut Env) -> Option<Self> {
        let grpc_listen_addr = env.required("GRPC_LISTEN_ADDR");
        let metrics_listen_addr = env.optional("METRICS_LISTEN_ADDR");
        let otlp_endpoint = env.optional("OTLP_ENDPOINT");
        let log_filter = env.optional("LOG_FILTER").unwrap_or_else(|| "info".to_owned());
        Some(Self { grpc_listen_addr: grpc_listen_addr?, metrics_listen_addr, otlp_endpoint, log_filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_said_at_once_and_no_secret_is_shown() {
        let pairs = [
            ("DATABASE_URL", "postgres://x:hunter2@h/d"),
            ("TOKEN_KEYS", "nonsense"),
            ("DRAIN_DELAY_MS", "-1"),
            ("SESSION_SECRET", "tallystick"),
        ];
        let mut env = Env::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(Config::read(&mut env, "billing-svc").is_none());
        assert!(ProcessConfig::read(&mut env).is_none());
        let problems = env.finish().unwrap_err().to_string();
        for name in [
            "SESSION_SECRET",
            "TOKEN_KEYS",
            "TOKEN_KEY_ID",
            "TOKEN_SIGNING_KEY",
            "DRAIN_DELAY_MS",
            "GRPC_LISTEN_ADDR",
        ] {
            assert!(problems.contains(name), "{name} in {problems}");
        }
        assert!(!problems.contains("hunter2"));
    }
}
