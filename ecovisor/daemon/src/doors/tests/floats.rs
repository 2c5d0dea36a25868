//! Doubles that come in: whatever field of whatever request is one, no method takes what is no number.

use super::*;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};
use std::collections::BTreeMap;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;

const NOT_ACCEPTED: [f64; 4] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];

struct Wire {
    messages: BTreeMap<String, DescriptorProto>,
    /// Path and request of every method.
    methods: Vec<(String, String)>,
}

impl Wire {
    fn new() -> Self {
        let mut wire = Self { messages: BTreeMap::new(), methods: Vec::new() };
        for file in FileDescriptorSet::decode(ecovisor_proto::FILE_DESCRIPTOR_SET).unwrap().file {
            let package = file.package().to_owned();
            for message in file.message_type {
                wire.messages.insert(format!(".{package}.{}", message.name()), message);
            }
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{package}.{}/{}", service.name(), method.name());
                    wire.methods.push((path, method.input_type().to_owned()));
                }
            }
        }
        wire
    }

    /// Every way to put `value` into a double of a message: the field's path, and the bytes.
    fn with(&self, message: &str, value: f64, depth: usize) -> Vec<(String, Vec<u8>)> {
        let Some(of) = self.messages.get(message).filter(|_| depth < 4) else { return Vec::new() };
        let mut ways = Vec::new();
        for field in &of.field {
            let number = u32::try_from(field.number()).unwrap();
            match field.r#type() {
                Type::Double => ways.push((field.name().to_owned(), double(number, value, field.label()))),
                Type::Float => panic!("{message}.{}: advice is double (docs: the wire)", field.name()),
                Type::Message => {
                    for (path, bytes) in self.with(field.type_name(), value, depth + 1) {
                        ways.push((format!("{}.{path}", field.name()), nested(number, &bytes)));
                    }
                }
                _ => {}
            }
        }
        ways
    }
}

fn double(number: u32, value: f64, label: Label) -> Vec<u8> {
    let mut bytes = Vec::new();
    match label {
        Label::Repeated => return nested(number, &value.to_le_bytes()),
        Label::Optional | Label::Required => encode_key(number, WireType::SixtyFourBit, &mut bytes),
    }
    bytes.extend(value.to_le_bytes());
    bytes
}

fn nested(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(u64::try_from(inner.len()).unwrap(), &mut bytes);
    bytes.extend(inner);
    bytes
}

#[tokio::test]
async fn a_double_that_is_no_number_is_refused_wherever_it_stands() {
    let (bench, wire) = (Bench::new().await, Wire::new());
    let (mut tried, mut taken) = (0, Vec::new());
    for (path, request) in &wire.methods {
        let of_operator = path.contains("Operator");
        let socket = if of_operator { bench.paths.operator_socket() } else { bench.socket("web") };
        for value in NOT_ACCEPTED {
            for (field, bytes) in wire.with(request, value, 0) {
                tried += 1;
                let channel = channel(socket.clone(), None).await.unwrap();
                let status = call(channel, path, bytes).await;
                if status.as_ref().is_none_or(|status| status.code() != Code::InvalidArgument) {
                    taken.push(format!("{path}: {field} = {value}: {status:?}"));
                }
            }
        }
    }
    println!("{tried} doubles that are no numbers");
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}

/// A message of any bytes.
#[derive(Clone, Debug, Default)]
struct Raw(Vec<u8>);

#[derive(Clone, Copy, Debug, Default)]
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = Raw;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = Raw;
    type Error = Status;
    fn encode(&mut self, Raw(bytes): Raw, into: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        use prost::bytes::BufMut as _;
        into.put_slice(&bytes);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = ();
    type Error = Status;
    fn decode(&mut self, from: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, Status> {
        use prost::bytes::Buf as _;
        from.advance(from.remaining());
        Ok(Some(()))
    }
}

async fn call(channel: Channel, path: &str, bytes: Vec<u8>) -> Option<Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    let call = client.server_streaming(Request::new(Raw(bytes)), path, RawCodec);
    tokio::time::timeout(Duration::from_secs(5), call).await.ok()?.err()
}

#[test]
fn the_way_to_a_double_is_found_at_any_depth() {
    let wire = Wire::new();
    let ways = wire.with(".ecovisor.v1.GetForecastReply", 2.0, 0);
    let names: Vec<&str> = ways.iter().map(|(path, _)| path.as_str()).collect();
    assert!(names.iter().any(|path| path.ends_with(".p10")), "{names:?}");
    let (_, bytes) = ways.iter().find(|(path, _)| path.ends_with("p10")).unwrap();
    let reply = v1::GetForecastReply::decode(bytes.as_slice()).unwrap();
    assert!(format!("{reply:?}").contains("p10: 2.0"), "{reply:?}");
}
