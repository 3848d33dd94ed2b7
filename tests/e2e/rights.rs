//! Every RPC, called by every role: the table of what is allowed is checked in. Nobody reads or moves what is not theirs.

use std::fmt::Write as _;
use std::path::Path;

use chassis::status::reason_of;
use http::uri::PathAndQuery;
use prost::bytes::{Buf as _, BufMut as _};
use tallystick_proto::access::{METHODS, MethodAccess};
use tallystick_proto::common::v1::Caller;
use tallystick_proto::workspace::v1::member::Role;
use tallystick_proto::workspace::v1::{
    MemberServiceRemoveRequest, MemberServiceReviewRequest, WorkspaceServiceTransferOwnershipRequest,
};
use tests::{PASSWORD, World};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::access::service_of;
use crate::sessions::{channel, console, payer, sign_in, with_token};
use crate::workspaces::{add_member, token_of};

/// Bytes as they are, so that any message of any RPC can be sent.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

/// Calls an RPC with these string fields filled and everything else empty.
async fn call(channel: &Channel, path: &'static str, fields: &[(u32, &str)], token: Option<&str>) -> Status {
    let mut message = Vec::new();
    for (number, text) in fields {
        prost::encoding::string::encode(*number, &(*text).to_owned(), &mut message);
    }
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let request = match token {
        Some(token) => with_token(message, token),
        None => tonic::Request::new(message),
    };
    match client.server_streaming(request, PathAndQuery::from_static(path), Raw).await {
        Err(status) => status,
        Ok(answer) => match answer.into_inner().message().await {
            Err(status) => status,
            Ok(_) => Status::ok("answered"),
        },
    }
}

fn verdict(status: &Status) -> &'static str {
    match status.code() {
        Code::Unauthenticated => "no token",
        Code::PermissionDenied => "denied",
        Code::NotFound => "not found",
        _ => "allowed",
    }
}

/// A customer with one of everything, and the tokens of its two accounts.
struct Party {
    ids: Vec<(&'static str, String)>,
    owner: String,
    payer: String,
    /// A member that may only look, and one that administers.
    members: [String; 2],
}

impl Party {
    async fn new(world: &World, name: &str) -> Self {
        let customer = world.customer_with_password(name).await.unwrap();
        world.clients.advance_to(customer.day.end() + time::Duration::MINUTE).await.unwrap();
        customer.journey.seal(customer.day).await.unwrap();
        customer.journey.run_bills(customer.day).await.unwrap();
        let bill = customer.journey.settled_bill(customer.workspace(), customer.day).await.unwrap();
        let registration = &customer.registration;
        let mut members = [String::new(), String::new()];
        for (token, role) in members.iter_mut().zip([Role::ReadOnly, Role::Administrator]) {
            let member_name = format!("{name}-{}", role.as_str_name().to_lowercase().replace('_', "-"));
            let member = world.customer_with_password(&member_name).await.unwrap();
            let pair = (customer.workspace(), member.registration.console_account_id.as_str());
            let number = u128::from_be_bytes(
                *uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, member_name.as_bytes()).as_bytes(),
            ) >> 70;
            let added = add_member(world, pair, role, false, number).await.unwrap();
            if added.review_pending {
                let review = MemberServiceReviewRequest {
                    request_id: crate::bindings::id(number),
                    workspace_id: customer.workspace().to_owned(),
                    console_account_id: pair.1.to_owned(),
                    approve: true,
                };
                world.clients.members.clone().review(review).await.unwrap();
            }
            *token = token_of(world, &member.journey.customer.email).await;
        }
        let owner = sign_in(world, console(&customer.journey.customer.email), PASSWORD).await.unwrap();
        let payer = sign_in(world, payer(&customer.journey.customer.username), PASSWORD).await.unwrap();
        Self {
            ids: vec![
                ("console_account_id", registration.console_account_id.clone()),
                ("owner_console_account_id", registration.console_account_id.clone()),
                ("billing_account_id", registration.billing_account_id.clone()),
                ("workspace_id", registration.workspace_id.clone()),
                ("registration_id", registration.registration_id.clone()),
                ("bill_id", bill.bill_id),
            ],
            owner: owner.access_token,
            payer: payer.access_token,
            members,
        }
    }

    fn id(&self, name: &str) -> &str {
        self.ids.iter().find(|(of, _)| *of == name).map(|(_, id)| id.as_str()).unwrap()
    }
}

fn ours() -> impl Iterator<Item = &'static MethodAccess> {
    METHODS.iter().filter(|method| method.path.starts_with("/tallystick."))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_rights_is_the_golden_one() {
    let world = World::new().await.unwrap();
    let own = Party::new(&world, "rights-own").await;
    let other = Party::new(&world, "rights-other").await;
    let mut table = String::from(
        "# Who may call what, found by calling. Objects are those of one customer; the others are another customer's accounts.\n\
         # rpc (object) | none | other owner | other payer | member | administrator | owner | payer | operator | account-svc workspace-svc billing-svc settlement-svc\n",
    );
    let mut rows = 0;
    for method in ours() {
        let service = service_of(method.path);
        let channel = channel(&world, service);
        let mut objects: Vec<Option<(&str, u32)>> =
            method.objects.iter().map(|object| Some(*object)).collect();
        if objects.is_empty() {
            objects.push(None);
        }
        for object in objects {
            let fields: Vec<(u32, &str)> =
                object.iter().map(|(name, number)| (*number, own.id(name))).collect();
            let mut cells = Vec::new();
            let operator = world.stack.operator.token(&[service]).unwrap();
            let [member, administrator] = &own.members;
            let users =
                [&other.owner, &other.payer, member, administrator, &own.owner, &own.payer, &operator];
            for token in std::iter::once(None).chain(users.into_iter().map(|token| Some(token.as_str()))) {
                cells.push(verdict(&call(&channel, method.path, &fields, token).await));
            }
            let mut services = Vec::new();
            for signer in &world.stack.signers {
                let token = signer.token(&[service]).unwrap();
                services.push(verdict(&call(&channel, method.path, &fields, Some(&token)).await));
            }
            let name = object.map(|(name, _)| format!(" ({name})")).unwrap_or_default();
            let path = method.path.trim_start_matches("/tallystick.");
            writeln!(table, "{path}{name} | {} | {}", cells.join(" | "), services.join(" ")).unwrap();
            rows += 1;
        }
    }
    assert!(rows > 40, "{rows}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/rights.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    assert_eq!(table, golden, "rights have changed: accept it with UPDATE_GOLDEN=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_customer_is_found_by_any_of_its_ids() {
    let world = World::new().await.unwrap();
    let own = Party::new(&world, "theirs").await;
    let other = Party::new(&world, "prying").await;
    let before = world.dump().await.unwrap();
    let mut tried = 0;
    for method in ours().filter(|method| method.callers.contains(&Caller::User)) {
        let channel = channel(&world, service_of(method.path));
        for token in [&other.owner, &other.payer] {
            for (name, number) in method.objects {
                for (_, id) in &own.ids {
                    let mut fields = vec![(*number, id.as_str())];
                    let refused = call(&channel, method.path, &fields, Some(token)).await;
                    assert_eq!(refused.code(), Code::NotFound, "{} {name}={id}: {refused:?}", method.path);
                    assert_eq!(reason_of(&refused).as_deref(), Some("OBJECT_NOT_FOUND"));
                    // Nor when something of one's own is named beside it, before or after.
                    for (beside, number) in method.objects.iter().filter(|(beside, _)| beside != name) {
                        fields.push((*number, other.id(beside)));
                    }
                    let refused = call(&channel, method.path, &fields, Some(token)).await;
                    assert_eq!(refused.code(), Code::NotFound, "{} {fields:?}", method.path);
                    // The field twice: what is checked is what is read.
                    let twice = [(*number, other.id(name)), (*number, id.as_str())];
                    let refused = call(&channel, method.path, &twice, Some(token)).await;
                    assert_eq!(refused.code(), Code::NotFound, "{} {twice:?}", method.path);
                    tried += 3;
                }
                let nothing = call(&channel, method.path, &[], Some(token)).await;
                assert_eq!(nothing.code(), Code::InvalidArgument, "{}: {nothing:?}", method.path);
                let malformed = call(&channel, method.path, &[(*number, "x")], Some(token)).await;
                assert_eq!(malformed.code(), Code::InvalidArgument, "{}: {malformed:?}", method.path);
            }
        }
    }
    assert!(tried > 300, "{tried}");
    assert_eq!(world.dump().await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_and_a_former_owner_loses_the_bills_within_seconds() {
    let world = World::new().await.unwrap();
    let own = Party::new(&world, "former").await;
    let workspace = channel(&world, "workspace-svc");
    let path = "/tallystick.workspace.v1.WorkspaceService/SetRetention";
    let fields = [(2, own.id("workspace_id"))];
    let denied = call(&workspace, path, &fields, Some(&own.payer)).await;
    assert_eq!(reason_of(&denied).as_deref(), Some("RIGHT_MISSING"), "{denied:?}");
    let billing = channel(&world, "billing-svc");
    let path = "/tallystick.billing.v1.BillService/List";
    let fields = [(1, own.id("workspace_id"))];
    let answered = call(&billing, path, &fields, Some(&own.owner)).await;
    assert_eq!(answered.code(), Code::Ok, "{answered:?}");
    let heir = world.customer_with_password("heir").await.unwrap();
    let pair = (own.id("workspace_id"), heir.registration.console_account_id.as_str());
    add_member(&world, pair, Role::Standard, false, 1).await.unwrap();
    let transfer = WorkspaceServiceTransferOwnershipRequest {
        request_id: crate::bindings::id(2),
        workspace_id: pair.0.to_owned(),
        new_owner_console_account_id: pair.1.to_owned(),
    };
    world.clients.workspaces.clone().transfer_ownership(transfer).await.unwrap();
    // It is an administrator now (WS-10), until it is removed.
    let remove = MemberServiceRemoveRequest {
        request_id: crate::bindings::id(3),
        workspace_id: pair.0.to_owned(),
        console_account_id: own.id("console_account_id").to_owned(),
    };
    world.clients.members.clone().remove(remove).await.unwrap();
    let get = "/tallystick.workspace.v1.WorkspaceService/Get";
    let at_once = call(&workspace, get, &[(1, own.id("workspace_id"))], Some(&own.owner)).await;
    assert_eq!(at_once.code(), Code::NotFound, "the owning service knows at once");
    let wait = async {
        while call(&billing, path, &fields, Some(&own.owner)).await.code() != Code::NotFound {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.expect("within 30 seconds");
}
