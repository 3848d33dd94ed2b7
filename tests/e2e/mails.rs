//! Mails leave through a real SMTP client, at least once, in the language that is asked for; addresses stay in account-svc.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use chassis::config::Mail;
use chassis::status::reason_of;
use mailin::{Action, Handler, Response, SessionBuilder, response};
use secrecy::SecretString;
use tallystick_proto::account::v1::notification_service_client::NotificationServiceClient;
use tallystick_proto::account::v1::{MailParameter, MailTemplate, NotificationServiceSendRequest};
use tallystick_proto::common::v1::Language;
use tallystick_proto::workspace::v1::WorkspaceServiceUpdateRequest;
use tests::{PATIENCE, World};
use time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use uuid::Uuid;

use crate::bindings::id;
use crate::sessions::{channel, with_token};

/// What a mail server took.
#[derive(Debug, Clone, Default)]
struct Taken {
    to: String,
    data: String,
}

/// A mail server that may be told to refuse.
#[derive(Clone, Default)]
struct Server {
    taken: Arc<Mutex<Vec<Taken>>>,
    refusals: Arc<Mutex<u32>>,
    current: Taken,
}

impl Handler for Server {
    fn rcpt(&mut self, to: &str) -> Response {
        let mut refusals = self.refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            return response::INTERNAL_ERROR;
        }
        if to.contains("unwanted") {
            return response::NO_MAILBOX;
        }
        self.current = Taken { to: to.to_owned(), data: String::new() };
        response::OK
    }

    fn data_start(&mut self, _: &str, _: &str, _: bool, _: &[String]) -> Response {
        response::START_DATA
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current.data.push_str(&String::from_utf8_lossy(bytes));
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        self.taken.lock().unwrap().push(self.current.clone());
        response::OK
    }
}

async fn talk(stream: TcpStream, ip: IpAddr, server: Server) -> io::Result<()> {
    let mut session = SessionBuilder::new("test").build(ip, server);
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    write.write_all(&session.greeting().buffer()?).await?;
    let mut line = Vec::new();
    while read.read_until(b'\n', &mut line).await? > 0 {
        let answer = session.process(&line);
        line.clear();
        match answer.action {
            Action::NoReply => {}
            Action::Close => {
                write.write_all(&answer.buffer()?).await?;
                break;
            }
            Action::Reply | Action::UpgradeTls => write.write_all(&answer.buffer()?).await?,
        }
    }
    Ok(())
}

async fn listen(server: Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            tokio::spawn(talk(stream, from.ip(), server.clone()));
        }
    });
    address
}

fn unlocked(account_id: &str, number: u128, language: Language) -> NotificationServiceSendRequest {
    NotificationServiceSendRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number).to_string(),
        account_id: account_id.to_owned(),
        template: MailTemplate::Unlocked.into(),
        language: language.into(),
        parameters: vec![MailParameter { name: "workspace".to_owned(), value: "Ten hosts".to_owned() }],
        workspace_id: String::new(),
    }
}

async fn wait_for(server: &Server, count: usize) -> Vec<Taken> {
    let wait = async {
        loop {
            let taken = server.taken.lock().unwrap().clone();
            if taken.len() >= count {
                return taken;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the mail arrives")
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_leave_through_smtp_and_are_tried_again_while_the_server_is_busy() {
    let server = Server::default();
    *server.refusals.lock().unwrap() = 1;
    let url = format!("smtp://{}", listen(server.clone()).await);
    let mail =
        Mail::Smtp { url: SecretString::from(url), from: "Tallystick <no-reply@example.com>".to_owned() };
    let world = World::with_mail(Some(mail)).await.unwrap();
    let customer = world.customer_with_password("mailed").await.unwrap();
    let unwanted = world.customer_with_password("unwanted").await.unwrap();
    let mut notifications = NotificationServiceClient::new(channel(&world, "account-svc"));
    let token = world.stack.signers[3].token(&["account-svc"]).unwrap();
    let mut send = async |request| notifications.send(with_token(request, &token)).await;
    send(unlocked(&unwanted.registration.console_account_id, 1, Language::Zh)).await.unwrap();
    for (number, language) in [(2, Language::Zh), (3, Language::En)] {
        send(unlocked(&customer.registration.console_account_id, number, language)).await.unwrap();
    }
    let replay = send(unlocked(&customer.registration.console_account_id, 3, Language::En)).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    // The two, and one about its workspace.
    let taken = wait_for(&server, 3).await;
    assert!(taken.iter().all(|mail| mail.to == "mailed@example.com"), "{taken:?}");
    assert!(taken.iter().any(|mail| mail.data.contains("Ten hosts") && mail.data.contains("is unlocked")));
    assert!(taken.iter().any(|mail| mail.data.contains("charset=utf-8")));
    let mut admin = world.scratch.admin().await.unwrap();
    let wait = async {
        loop {
            let states: Vec<(String, i64)> =
                sqlx::query_as("select state, count(*) from account.mails group by 1 order by 1")
                    .fetch_all(&mut admin)
                    .await
                    .unwrap();
            if states == [("PARKED".to_owned(), 2), ("SENT".to_owned(), 3)] {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("those to one are refused for good, three are sent");
    assert_eq!(server.taken.lock().unwrap().len(), 3, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_written_is_refused() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer_with_password("picky").await.unwrap();
    let mut notifications = NotificationServiceClient::new(channel(&world, "account-svc"));
    let token = world.stack.signers[3].token(&["account-svc"]).unwrap();
    let good = unlocked(&customer.registration.console_account_id, 1, Language::En);
    let dump = world.dump().await.unwrap();
    type Break = fn(&mut NotificationServiceSendRequest);
    let bad: [(&str, Break, Code); 9] = [
        ("no workspace", |r| r.workspace_id = "x".into(), Code::InvalidArgument),
        (
            "a workspace twice",
            |r| r.workspace_id = format!("wksp_{}", Uuid::from_u128(1)),
            Code::InvalidArgument,
        ),
        ("a missing parameter", |r| r.parameters.clear(), Code::InvalidArgument),
        (
            "one too many",
            |r| r.parameters.push(MailParameter { name: "x".into(), value: "y".into() }),
            Code::InvalidArgument,
        ),
        ("a parameter twice", |r| r.parameters.push(r.parameters[0].clone()), Code::InvalidArgument),
        ("a line break", |r| r.parameters[0].value = "a\nBcc: b@c.de".into(), Code::InvalidArgument),
        ("no template", |r| r.template = 0, Code::InvalidArgument),
        ("an unknown language", |r| r.language = 9, Code::InvalidArgument),
        ("nobody", |r| r.account_id = format!("acnt_{}", Uuid::from_u128(1)), Code::NotFound),
    ];
    for (name, break_it, code) in bad {
        let mut request = good.clone();
        break_it(&mut request);
        let status = notifications.send(with_token(request, &token)).await.expect_err(name);
        assert_eq!(status.code(), code, "{name}: {status:?}");
    }
    assert_eq!(world.dump().await.unwrap(), dump);
    notifications.send(with_token(good.clone(), &token)).await.unwrap();
    let reused = NotificationServiceSendRequest { language: Language::Zh.into(), ..good };
    let status = notifications.send(with_token(reused, &token)).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("REQUEST_ID_REUSED"));
}

/// WS-5, DEC-47, REGI-9: the payer is mailed each bill that is worth something, once, under the workspace's name and in its language.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_is_mailed_every_bill_that_is_not_zero() {
    let world = World::new().await.unwrap();
    let own = world.customer("billed").await.unwrap();
    let rename = WorkspaceServiceUpdateRequest {
        request_id: id(1),
        workspace_id: own.workspace().to_owned(),
        name: "Ten hosts".to_owned(),
        language: Language::En.into(),
    };
    world.clients.workspaces.clone().update(rename).await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(2)).await.unwrap();
    own.journey.ingest(vec![own.record("one", 60, ("pv", "", "100000"))]).await.unwrap();
    world.clients.advance_to(own.day.end() + Duration::hours(2)).await.unwrap();
    for day in [own.day.plus_days(-1), own.day] {
        own.journey.seal(day).await.unwrap();
        own.journey.run_bills(day).await.unwrap();
    }
    world.journey("a second run").run_bills(own.day).await.unwrap();
    let mail = world.take_mail("billed@example.com", "A bill was made").await.unwrap();
    let told = format!("the bill of workspace Ten hosts for {} was made: 20.00 CNY", own.day);
    assert!(mail.contains(&told), "{mail}");
    world.quiet().await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    let mails: i64 = sqlx::query_scalar("select count(*) from account.mails where template = 'BILL_ISSUED'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(mails, 1, "none for the day without usage, and none for the second run");
}
