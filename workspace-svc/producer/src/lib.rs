//! Reports usage to Tallystick. A record is stored in a journal on disk, with its id and its time, before it is sent for the first
//! time; a background task delivers it over the acked stream of `UsageService` until it is counted or refused. Whatever breaks in
//! between (the network, the service, this process, the machine) it is sent again as it was, and the service counts an id once.
//!
//! ```no_run
//! # async fn report() -> Result<(), Box<dyn std::error::Error>> {
//! use tallystick_producer::{Producer, ProducerConfig, TokenFile, Usage, now};
//!
//! let config = ProducerConfig::new("/var/lib/my-collector/usage".into(), "http://127.0.0.1:50052");
//! let producer = Producer::open(config, TokenFile::new("/run/secrets/token".into())).await?;
//! let usage = Usage {
//!     workspace_id: "wksp_01900000-0000-7000-8000-000000000001".to_owned(),
//!     meter: "pv".to_owned(),
//!     dimension: String::new(),
//!     quantity: 12,
//!     event_time: now(),
//!     count_from_time: None,
//! };
//! producer.record(usage).await?; // It is on disk now.
//! producer.close(std::time::Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```

mod backoff;
mod clock;
mod config;
pub mod delivery;
mod journal;
mod producer;
mod pump;
mod refusal;
mod token;
mod usage;
mod window;
mod writer;

pub use clock::now;
pub use config::{InvalidConfig, ProducerConfig, limits};
pub use producer::{CloseError, OpenError, Producer, Standing, Stopped};
pub use refusal::{RefusalHandler, Refused};
pub use token::{FixedToken, TokenError, TokenFile, TokenFuture, TokenSource};
pub use usage::{EventId, InvalidUsage, Record, Usage};
pub use writer::RecordError;
