"""A standard gRPC client that knows nothing but a port and a token.

It lists the services by reflection, reads the comments, calls BillService/Get with messages built from the descriptors, and is refused by
every RPC without the token. Usage: check.py HOST:PORT TOKEN_FILE BILL_ID
"""

import sys

import grpc
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def call(channel, pool, service, method, body, token):
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    request = message_factory.GetMessageClass(descriptor.input_type)(**body)
    answer = message_factory.GetMessageClass(descriptor.output_type)
    path = f"/{service}/{method}"
    metadata = [("authorization", f"Bearer {token}")] if token else []
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    proto = descriptor_pb2.MethodDescriptorProto()
    descriptor.CopyToProto(proto)
    kind = (proto.client_streaming, proto.server_streaming)
    stub = kinds[kind](path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString)
    argument = iter([request]) if kind[0] else request
    result = stub(argument, metadata=metadata, timeout=10)
    return list(result) if kind[1] else [result]


def comments(channel, symbol):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    count = 0
    for answer in stub.ServerReflectionInfo(iter([request])):
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            count += sum(1 for location in file.source_code_info.location if location.leading_comments.strip())
    return count


def main():
    target, token_file, bill_id = sys.argv[1:]
    token = open(token_file, encoding="ascii").read().strip()
    channel = grpc.insecure_channel(target)
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    services = sorted(name for name in database.get_services() if name.startswith("tallystick."))
    print("services:", *services)
    assert "tallystick.billing.v1.BillService" in services, services

    count = comments(channel, "tallystick.billing.v1.Bill")
    print("comments in the file of Bill:", count)
    assert count > 30, count

    [answer] = call(channel, pool, "tallystick.billing.v1.BillService", "Get", {"bill_id": bill_id}, token)
    total = answer.bill.total
    print("bill:", answer.bill.bill_id, total.amount, total.currency_code, "lines:", len(answer.bill.lines))
    assert (total.amount, total.currency_code) == ("13.40", "CNY"), total

    refused = 0
    for service in services:
        for method in pool.FindServiceByName(service).methods:
            try:
                call(channel, pool, service, method.name, {}, None)
                raise AssertionError(f"{service}/{method.name} answered without a token")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAUTHENTICATED, (service, method.name, error.code())
                refused += 1
    print("refused without a token:", refused)
    assert refused >= 10, refused
    print("1 passed, 0 failed")


main()
