//! HTTP/2 by hand, for callers that no client library would be: they ask and never read.

/// RFC 9113, 3.4, and settings that allow the server to send as much as it likes (6.5.2: INITIAL_WINDOW_SIZE).
const GREETING: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x7f\xff\xff\xff";

/// The same for the connection as a whole (6.9).
const WINDOW: &[u8] = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\x00\xff\xff";

/// A message of no fields: gRPC's head alone.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// The bytes of a client that calls `path` with an empty message on that many streams.
#[must_use]
pub fn calls(path: &str, streams: u32) -> Vec<u8> {
    let mut bytes = [GREETING, WINDOW].concat();
    let headers = headers(path);
    for stream in (1..).step_by(2).zip(0..streams).map(|(stream, _)| stream) {
        bytes.extend(frame(1, 0x4, stream, &headers));
        bytes.extend(frame(0, 0x1, stream, EMPTY_MESSAGE));
    }
    bytes
}

/// RFC 9113, 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK without its tables (RFC 7541, 6.2.2); method and scheme are of the static one.
fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            // One byte holds lengths to 126, which no name and value here exceed.
            block.push(u8::try_from(text.len()).unwrap_or(126));
            block.extend(text.as_bytes());
        }
    }
    block
}
