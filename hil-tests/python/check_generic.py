"""A client that knows nothing of the site but its address: health, and both versions of server reflection."""

import os

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICES = {"ecovisor.v1.EnergyService", "ecovisor.v1.OperatorService", "grpc.health.v1.Health"}


def reflected(channel, version):
    """The services that a version of reflection lists; both have the same messages."""
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (reply,) = call(iter([request]))
    return {service.name for service in reply.list_services_response.service}


def call_by_reflection(channel):
    """Calls a method whose messages are known only from the server."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("ecovisor.v1.EnergyService").FindMethodByName("GetEnergySystem")
    request, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=reply.FromString,
    )
    return call(request())


with grpc.insecure_channel(
    f"unix:{os.environ['ECOVISOR_SOCKET']}", options=[("grpc.default_authority", "localhost")]
) as channel:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "ecovisor.v1.EnergyService", "ecovisor.v1.OperatorService"):
        status = health.Check(health_pb2.HealthCheckRequest(service=service)).status
        assert status == health_pb2.HealthCheckResponse.SERVING, (service, status)
    for version in ("v1", "v1alpha"):
        services = reflected(channel, version)
        assert SERVICES <= services, (version, services)
    assert call_by_reflection(channel).app == "web"

print("ok")
