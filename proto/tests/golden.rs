//! The wire, byte for byte. Instances of every message are built from the descriptor set, so that no message can be
//! forgotten, and compared with the bytes checked in under `golden/`. Those change only with a version of the wire;
//! within one, lines may be added. A field that a message gained within version 1 is named in [`ADDED`] and has a line of
//! its own; the message's bytes stay those without it, which readers of either age understand.
#![allow(clippy::unwrap_used, reason = "a test")]

use prost::Message;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    Value,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const GOLDEN: &str = include_str!("golden/v1.txt");
const PACKAGE: &str = "ecovisor.v1";

/// Fields that messages of version 1 gained after it was first served.
const ADDED: &[&str] =
    &["ecovisor.v1.App.parent", "ecovisor.v1.CreateAppRequest.group", "ecovisor.v1.Site.overruns"];

/// What a line of the golden file names, and what it says of it.
type Lines = BTreeMap<String, String>;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(ecovisor_proto::FILE_DESCRIPTOR_SET).unwrap()
}

fn messages() -> Vec<MessageDescriptor> {
    pool()
        .all_messages()
        .filter(|message| message.package_name() == PACKAGE && !message.is_map_entry())
        .collect()
}

/// A value that no narrower type could carry and no other field has.
fn value(field: &FieldDescriptor) -> Value {
    let number = field.number();
    match field.kind() {
        Kind::Uint64 => Value::U64(u64::MAX - u64::from(number)),
        Kind::Uint32 => Value::U32(u32::MAX - number),
        Kind::Double => Value::F64(f64::from(number) + 0.5),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(field.name().to_string()),
        Kind::Bytes => Value::Bytes(field.name().as_bytes().to_vec().into()),
        Kind::Enum(kind) => Value::EnumNumber(kind.values().last().unwrap().number()),
        Kind::Message(message) => Value::Message(filled(&message, 0)),
        other => panic!("{} is a {other:?}, which the wire does not use", field.full_name()),
    }
}

/// An instance with every field set; of each oneof, the member at `variant`.
fn filled(message: &MessageDescriptor, variant: usize) -> DynamicMessage {
    let mut instance = DynamicMessage::new(message.clone());
    for field in message.fields() {
        if ADDED.contains(&field.full_name()) {
            continue;
        }
        let skipped = field.containing_oneof().is_some_and(|oneof| {
            let members = oneof.fields().count();
            oneof.fields().nth(variant % members).unwrap() != field
        });
        if skipped {
            continue;
        }
        let value = match (field.is_map(), field.is_list()) {
            (true, _) => Value::Map([(MapKey::String(String::from("key")), value(&field))].into()),
            (false, true) => Value::List(vec![value(&field), value(&field)]),
            (false, false) => value(&field),
        };
        instance.set_field(&field, value);
    }
    instance
}

/// An instance in which what may be absent is present and zero: tells `optional` from not.
fn zeros(message: &MessageDescriptor) -> DynamicMessage {
    let mut instance = DynamicMessage::new(message.clone());
    for field in message.fields().filter(|field| field.supports_presence()) {
        if !matches!(field.kind(), Kind::Message(_))
            && field.containing_oneof().is_none_or(|o| o.is_synthetic())
        {
            instance.set_field(&field, Value::default_value_for_field(&field));
        }
    }
    instance
}

fn instances() -> BTreeMap<String, DynamicMessage> {
    let mut all = BTreeMap::new();
    for message in messages() {
        let variants = message.oneofs().map(|oneof| oneof.fields().count()).max().unwrap_or(1);
        for variant in 0..variants {
            all.insert(
                format!("message {} filled.{variant:02}", message.full_name()),
                filled(&message, variant),
            );
        }
        all.insert(format!("message {} zeros", message.full_name()), zeros(&message));
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The wire as it is: bytes of all messages, numbers of all enum values, types of all methods.
fn wire() -> Lines {
    let mut lines: Lines =
        instances().into_iter().map(|(name, instance)| (name, hex(&instance.encode_to_vec()))).collect();
    for field in messages().iter().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        if ADDED.contains(&field.full_name()) {
            let said = format!("{} {:?} {:?}", field.number(), field.cardinality(), field.kind());
            lines.insert(format!("field {}", field.full_name()), said);
        }
    }
    for kind in pool().all_enums().filter(|kind| kind.package_name() == PACKAGE) {
        for value in kind.values() {
            lines.insert(format!("enum {} {}", kind.full_name(), value.name()), value.number().to_string());
        }
    }
    for service in pool().services() {
        for method in service.methods() {
            let streams = |is: bool| if is { "stream " } else { "" };
            let types = format!(
                "{}{} -> {}{}",
                streams(method.is_client_streaming()),
                method.input().name(),
                streams(method.is_server_streaming()),
                method.output().name()
            );
            lines.insert(format!("rpc {}", method.full_name()), types);
        }
    }
    lines
}

fn golden() -> Lines {
    let parse = |line: &str| line.split_once(" = ").map(|(name, said)| (name.to_string(), said.to_string()));
    GOLDEN.lines().map(|line| parse(line).unwrap()).collect()
}

#[test]
fn every_message_enum_and_method_is_what_version_1_says() {
    let (wire, golden) = (wire(), golden());
    let current: String = wire.iter().map(|(name, said)| format!("{name} = {said}\n")).collect();
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/v1.txt");
    std::fs::write(path, current).unwrap();
    let missing: Vec<_> = wire.keys().filter(|name| !golden.contains_key(*name)).collect();
    let gone: Vec<_> = golden.keys().filter(|name| !wire.contains_key(*name)).collect();
    let changed: Vec<_> =
        wire.iter().filter(|(n, said)| golden.get(*n).is_some_and(|was| was != *said)).collect();
    assert!(
        gone.is_empty() && changed.is_empty(),
        "version 1 was broken: gone {gone:?}, changed {changed:#?}"
    );
    assert!(missing.is_empty(), "not in golden/v1.txt: {missing:#?}\nthe whole wire as it is now: {path}");
}

#[test]
fn golden_bytes_decode_to_what_was_encoded() {
    let golden = golden();
    for (name, instance) in instances() {
        let bytes = unhex(&golden[&name]);
        let decoded = DynamicMessage::decode(instance.descriptor(), bytes.as_slice()).unwrap();
        assert!(decoded == instance, "{name} decodes to something else");
    }
}

#[test]
fn generated_types_read_and_write_the_golden_bytes() {
    use ecovisor_proto::v1;
    fn check<M: Message + Default>(name: &str) {
        let bytes = unhex(&golden()[&format!("message {PACKAGE}.{name} filled.00")]);
        assert_eq!(M::decode(bytes.as_slice()).unwrap().encode_to_vec(), bytes, "{name}");
    }
    check::<v1::EnergySystem>("EnergySystem");
    check::<v1::Tick>("Tick");
    check::<v1::Event>("Event");
    check::<v1::TickDone>("TickDone");
    check::<v1::QueryUsageReply>("QueryUsageReply");
    check::<v1::SiteTick>("SiteTick");
    check::<v1::LedgerRow>("LedgerRow");
}

#[test]
fn no_field_of_the_energy_service_says_who_the_caller_is() {
    let service = pool().get_service_by_name("ecovisor.v1.EnergyService").unwrap();
    for method in service.methods() {
        let named: Vec<_> =
            method.input().fields().filter(|f| ["app", "uid", "owner"].contains(&f.name())).collect();
        assert!(named.is_empty(), "{} lets the caller say who it is: {named:?}", method.full_name());
    }
}

#[test]
fn every_enum_has_zero_for_not_said() {
    for kind in pool().all_enums().filter(|kind| kind.package_name() == PACKAGE) {
        let zero = kind.get_value(0).unwrap();
        assert!(zero.name().ends_with("_UNSPECIFIED"), "{} is zero in {}", zero.name(), kind.full_name());
    }
}
