//! Who may call what: without a token nobody, with one only whom the contract names. A standard client finds everything by
//! reflection.

use std::str::FromStr;

use chassis::auth::{Holder, Signer};
use chassis::status::reason_of;
use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tallystick_proto::access::METHODS;
use tallystick_proto::common::v1::Caller;
use tests::World;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

/// The service that answers an RPC.
pub fn service_of(path: &str) -> &'static str {
    let package = path.trim_start_matches("/tallystick.").split('.').next().unwrap_or_default();
    match package {
        "account" => "account-svc",
        "workspace" => "workspace-svc",
        "settlement" => "settlement-svc",
        _ => "billing-svc",
    }
}

/// Calls any RPC with an empty message, as any client can.
async fn call(channel: &Channel, path: &'static str, token: Option<&str>) -> Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = client.server_streaming(request, PathAndQuery::from_static(path), codec).await;
    match answer {
        Err(status) => status,
        Ok(answer) => match answer.into_inner().message().await {
            Err(status) => status,
            Ok(_) => Status::ok("answered"),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_is_refused_without_a_token_and_to_whom_it_is_not_for() {
    let world = World::without_prices().await.unwrap();
    let stranger = Signer::new("stranger", "local", &Signer::generate_secret().unwrap()).unwrap();
    let mut channels = std::collections::HashMap::new();
    let mut checked = 0;
    for method in METHODS.iter().filter(|method| method.path.starts_with("/tallystick.")) {
        let service = service_of(method.path);
        let uri = world.stack.uri(service).unwrap();
        let channel =
            channels.entry(service).or_insert_with(|| Endpoint::from_str(&uri).unwrap().connect_lazy());
        let for_anyone = method.callers.contains(&Caller::Anyone);
        let refused = call(channel, method.path, None).await;
        let missing = reason_of(&refused).as_deref() == Some("TOKEN_MISSING");
        assert_eq!(missing, !for_anyone, "{}: {refused:?}", method.path);
        assert_eq!(refused.code() == Code::Unauthenticated, missing, "{}", method.path);
        let token = stranger.token(&[service]).unwrap();
        let refused = call(channel, method.path, Some(&token)).await;
        assert_eq!(reason_of(&refused).as_deref(), Some("TOKEN_INVALID"), "{}", method.path);
        for (name, signer) in
            ["account-svc", "workspace-svc", "billing-svc", "settlement-svc"].iter().zip(&world.stack.signers)
        {
            let answer = call(channel, method.path, Some(&signer.token(&[service]).unwrap())).await;
            let named = method.services.is_empty() || method.services.contains(name);
            let allowed = for_anyone || method.callers.contains(&Caller::Service) && named;
            assert_eq!(
                answer.code() != Code::PermissionDenied,
                allowed,
                "{} by {name}: {answer:?}",
                method.path
            );
            assert_ne!(answer.code(), Code::Unauthenticated, "{} by {name}: {answer:?}", method.path);
        }
        let answer = call(channel, method.path, Some(&world.stack.operator.token(&[service]).unwrap())).await;
        let allowed = for_anyone || method.callers.contains(&Caller::Operator);
        assert_eq!(
            answer.code() != Code::PermissionDenied,
            allowed,
            "{} by an operator: {answer:?}",
            method.path
        );
        let elsewhere = world.stack.operator.token(&["another-svc"]).unwrap();
        let refused = call(channel, method.path, Some(&elsewhere)).await;
        assert_eq!(refused.code(), Code::Unauthenticated, "{}", method.path);
        checked += 1;
    }
    assert!(checked > 40, "{checked} RPCs");
    let holder = Holder::Service("billing-svc".to_owned());
    assert!(world.stack.keys.iter().any(|key| key.holder == holder));
}

async fn ask(
    client: &mut ServerReflectionClient<Channel>,
    question: MessageRequest,
) -> ServerReflectionResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let answer = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    answer.into_inner().message().await.unwrap().unwrap()
}

/// Port and token are enough: services by reflection, comments in the descriptors, and a call built from them.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_only_port_and_token_finds_and_calls_everything() {
    let world = World::new().await.unwrap();
    let played = local::demonstration::play(&world.clients).await.unwrap();
    let channel = Endpoint::from_str(&world.stack.uri("billing-svc").unwrap()).unwrap().connect_lazy();
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let answer = ask(&mut reflection, MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"tallystick.billing.v1.BillService"), "{names:?}");
    assert!(
        names.contains(&"grpc.health.v1.Health") || names.contains(&"tallystick.ops.v1.ClockService"),
        "{names:?}"
    );
    assert!(!names.contains(&"tallystick.settlement.v1.WalletService"), "{names:?}");

    let symbol = MessageRequest::FileContainingSymbol("tallystick.billing.v1.BillService".to_owned());
    let answer = ask(&mut reflection, symbol).await;
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let mut pool = DescriptorPool::new();
    let mut wanted: Vec<Vec<u8>> = files.file_descriptor_proto;
    while let Some(file) = wanted.pop() {
        let parsed: prost_types::FileDescriptorProto = prost::Message::decode(file.as_slice()).unwrap();
        let missing = parsed.dependency.iter().find(|name| pool.get_file_by_name(name).is_none()).cloned();
        if let Some(missing) = missing {
            wanted.push(file);
            let answer = ask(&mut reflection, MessageRequest::FileByFilename(missing)).await;
            let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
                panic!("{answer:?}")
            };
            wanted.extend(files.file_descriptor_proto);
        } else if pool.get_file_by_name(parsed.name()).is_none() {
            let comments = parsed.source_code_info.as_ref().map_or(0, |info| {
                info.location.iter().filter(|location| location.leading_comments.is_some()).count()
            });
            assert!(
                comments > 0 || !parsed.name().starts_with("tallystick/"),
                "{} has no comments",
                parsed.name()
            );
            pool.add_file_descriptor_proto(parsed).unwrap();
        }
    }
    let method = pool.get_service_by_name("tallystick.billing.v1.BillService").unwrap();
    let method = method.methods().find(|method| method.name() == "Get").unwrap();
    let mut message = DynamicMessage::new(method.input());
    message.set_field_by_name("bill_id", prost_reflect::Value::String(played.bill_id.clone()));
    let bytes = prost::Message::encode_to_vec(&message);
    let request = tallystick_proto::billing::v1::BillServiceGetRequest::default();
    let request =
        <tallystick_proto::billing::v1::BillServiceGetRequest as prost::Message>::decode(bytes.as_slice())
            .unwrap_or(request);
    let bill = world.clients.bills.clone().get(request).await.unwrap().into_inner().bill.unwrap();
    assert_eq!(bill.bill_id, played.bill_id);
}
