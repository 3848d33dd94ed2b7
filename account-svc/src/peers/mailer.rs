//! The mail server: SMTP; or, in the local profile, a folder where mails can be read.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::Mail;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

/// A mail as it leaves.
#[derive(Debug)]
pub struct Letter {
    /// Its id, which stands in its header too.
    pub mail_id: Uuid,
    /// Where to.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
}

/// Why a mail did not leave.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// Try again.
    #[error("{0}")]
    Later(String),
    /// The server, or the address, refuses it for good.
    #[error("{0}")]
    Never(String),
}

/// A mail server takes no longer.
const SMTP_TIMEOUT: Duration = Duration::from_secs(10);

enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

/// Takes mails where they are to go.
pub struct Mailer {
    way: Way,
    from: Mailbox,
}

impl Mailer {
    /// As the configuration says; SMTP connects when there is something to send.
    pub fn new(mail: &Mail) -> anyhow::Result<Self> {
        match mail {
            Mail::Smtp { url, from } => {
                let smtp = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret());
                let way = smtp.context("SMTP_URL")?.timeout(Some(SMTP_TIMEOUT)).build();
                Ok(Self { way: Way::Smtp(way), from: from.parse().context("MAIL_FROM")? })
            }
            Mail::Folder(folder) => {
                std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                let from = "Tallystick <tallystick@localhost.localdomain>".parse()?;
                Ok(Self { way: Way::Folder(folder.clone()), from })
            }
        }
    }

    /// Sends a mail.
    pub async fn send(&self, letter: &Letter) -> Result<(), NotSent> {
        let never = |error: &dyn std::fmt::Display| NotSent::Never(error.to_string());
        let to: Mailbox = letter.to.parse().map_err(|error| never(&error))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(&letter.subject)
            .message_id(Some(format!("<{}@tallystick>", letter.mail_id)))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.body.clone())
            .map_err(|error| never(&error))?;
        match &self.way {
            Way::Smtp(smtp) => match smtp.send(message).await {
                Ok(_) => Ok(()),
                Err(error) if refuses_mail(&error) => Err(NotSent::Never(error.to_string())),
                Err(error) => Err(NotSent::Later(format!("{:#}", anyhow::Error::new(error)))),
            },
            Way::Folder(folder) => {
                let text = format!("To: {}\nSubject: {}\n\n{}", letter.to, letter.subject, letter.body);
                let hidden = folder.join(format!(".{}", letter.mail_id));
                let file = folder.join(format!("{}.txt", letter.mail_id));
                let written = std::fs::write(&hidden, text).and_then(|()| std::fs::rename(&hidden, &file));
                written.map_err(|error| NotSent::Later(error.to_string()))
            }
        }
    }
}

/// Whether the server refuses this very mail for good: its recipient or its content. That it refuses us (a password that was changed, a policy) passes.
fn refuses_mail(error: &lettre::transport::smtp::Error) -> bool {
    error.status().is_some_and(|code| (550..=553).contains(&u16::from(code)))
}
