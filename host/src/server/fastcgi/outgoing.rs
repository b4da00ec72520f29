//! What is to be written to a connection, laid out so that one `writev` sends a whole usual reply.

use std::io::{IoSlice, Write as _};
use std::ops::Range;

use bytes::Bytes;

use super::record::{HEADER_LEN, Header, ProtocolStatus, kind, padding, write_end_request};
use crate::server::Response;

/// Content of a full STDOUT record: the largest multiple of eight a length field holds.
const MAX_CONTENT: usize = 65_528;

/// Bodies up to this size are copied behind their headers: one copy of 16 KiB costs less than two more
/// slices in the system call, and the buffer is used again.
const COPY_MAX: usize = 16 << 10;

/// The application's status of a reply that is complete; any other says that it is not.
pub(super) const COMPLETE: u32 = 0;

/// Slices given to one system call.
pub(super) const MAX_SLICES: usize = 64;

/// Bytes on their way to the client: own ones (headers, framing, small bodies) and those of one body.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    own: Vec<u8>,
    body: Bytes,
    /// What to send, in order.
    parts: Vec<Part>,
    /// Parts sent completely.
    sent_parts: usize,
    /// Bytes sent of the part after them.
    sent_bytes: usize,
}

#[derive(Clone, Debug)]
enum Part {
    Own(Range<usize>),
    Body(Range<usize>),
}

impl Outgoing {
    /// Whether all has been sent.
    pub(super) fn is_empty(&self) -> bool {
        self.sent_parts == self.parts.len()
    }

    /// Appends what `write` appends to the buffer.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.own.len();
        write(&mut self.own);
        self.add_own(start);
    }

    /// Appends a whole reply: STDOUT records with header block and body, the end of STDOUT, END_REQUEST.
    /// `head_only` is the reply to HEAD: the length of the body without the body. Where a rest of the body
    /// follows, no length is told and the end is left to [`write_end`](Self::write_end).
    ///
    /// One body is held at a time: a reply is appended only when the one before has been sent.
    pub(super) fn write_reply(&mut self, id: u16, response: &Response, head_only: bool) {
        debug_assert!(self.body.is_empty());
        let has_body = !matches!(response.status, 204 | 304);
        let is_whole = response.rest.is_none();
        let body = if has_body && !head_only {
            response.body.clone()
        } else {
            Bytes::new()
        };
        let start = self.own.len();
        // The header block is written where it will stand if it fits one record, which it nearly always does.
        let block_start = start + HEADER_LEN;
        self.own.resize(block_start, 0);
        write_header_block(&mut self.own, response, has_body && is_whole);
        let block_len = self.own.len() - block_start;
        if block_len > MAX_CONTENT {
            let block = self.own.split_off(block_start);
            self.own.truncate(start);
            for content in block.chunks(MAX_CONTENT) {
                super::record::write_record(&mut self.own, kind::STDOUT, id, content);
            }
            self.add_own(start);
            self.write_body(id, body, 0);
        } else {
            let first_len = body.len().min(MAX_CONTENT - block_len);
            let header = stdout(id, block_len + first_len);
            if let Some(place) = self.own.get_mut(start..block_start) {
                place.copy_from_slice(&header.to_bytes());
            }
            if body.len() <= COPY_MAX && first_len == body.len() {
                self.own.extend_from_slice(&body);
                self.add_padding(header);
                self.add_own(start);
                if is_whole {
                    self.write_end(id, COMPLETE);
                }
                return;
            }
            self.add_own(start);
            self.add_body(0..first_len);
            self.write(|own| own.resize(own.len() + usize::from(header.padding_len), 0));
            self.write_body(id, body, first_len);
        }
        if is_whole {
            self.write_end(id, COMPLETE);
        }
    }

    /// Appends a piece of the rest of a body, when everything before it has been sent.
    pub(super) fn write_piece(&mut self, id: u16, piece: Bytes) {
        debug_assert!(self.body.is_empty());
        self.write_body(id, piece, 0);
    }

    /// Ends a reply: the end of STDOUT, and END_REQUEST with the application's status.
    pub(super) fn write_end(&mut self, id: u16, app_status: u32) {
        self.write(|own| {
            own.extend_from_slice(&stdout(id, 0).to_bytes());
            write_end_request(own, id, app_status, ProtocolStatus::RequestComplete);
        });
    }

    /// The next slices to send, as many as fit.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        let mut skip = self.sent_bytes;
        let left = self.parts.get(self.sent_parts..).unwrap_or_default();
        for (slice, part) in slices.iter_mut().zip(left) {
            let bytes: &[u8] = match part {
                Part::Own(range) => self.own.get(range.clone()).unwrap_or_default(),
                Part::Body(range) => self.body.get(range.clone()).unwrap_or_default(),
            };
            *slice = IoSlice::new(bytes.get(skip..).unwrap_or_default());
            skip = 0;
            count += 1;
        }
        count
    }

    /// Notes that `count` bytes of the slices have been sent.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent_bytes += count;
        while let Some(Part::Own(range) | Part::Body(range)) = self.parts.get(self.sent_parts)
            && self.sent_bytes >= range.len()
        {
            self.sent_bytes -= range.len();
            self.sent_parts += 1;
        }
        if self.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.own.clear();
        // One reply of unusual size must not hold its memory for the life of the connection.
        self.own.shrink_to(2 * COPY_MAX);
        self.body = Bytes::new();
        self.parts.clear();
        self.parts.shrink_to(MAX_SLICES);
        self.sent_parts = 0;
        self.sent_bytes = 0;
    }

    fn write_body(&mut self, id: u16, body: Bytes, mut from: usize) {
        while from < body.len() {
            let to = body.len().min(from + MAX_CONTENT);
            let header = stdout(id, to - from);
            self.write(|own| own.extend_from_slice(&header.to_bytes()));
            self.add_body(from..to);
            let start = self.own.len();
            self.add_padding(header);
            self.add_own(start);
            from = to;
        }
        self.body = body;
    }

    fn add_padding(&mut self, header: Header) {
        self.own
            .resize(self.own.len() + usize::from(header.padding_len), 0);
    }

    /// Takes what stands in `own` from `start` on; joins it with own bytes just before.
    fn add_own(&mut self, start: usize) {
        let end = self.own.len();
        if start == end {
            return;
        }
        match self.parts.last_mut() {
            Some(Part::Own(range)) if range.end == start => range.end = end,
            _ => self.parts.push(Part::Own(start..end)),
        }
    }

    fn add_body(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.parts.push(Part::Body(range));
        }
    }
}

/// The header of a STDOUT record; `content_len` is at most [`MAX_CONTENT`].
fn stdout(id: u16, content_len: usize) -> Header {
    Header {
        kind: kind::STDOUT,
        id,
        content_len: u16::try_from(content_len).unwrap_or(u16::MAX),
        padding_len: padding(content_len),
    }
}

/// The header block of a CGI reply (RFC 3875, section 6.2.1). `Status` is always sent.
fn write_header_block(out: &mut Vec<u8>, response: &Response, has_length: bool) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "Status: {} {}\r\n",
        response.status,
        Response::reason(response.status)
    );
    for (name, value) in &response.headers {
        if name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if has_length {
        let _ = write!(out, "Content-Length: {}\r\n", response.body.len());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::RecordReader;
    use super::*;

    /// Sends everything in portions; gives the contents of STDOUT and of END_REQUEST.
    fn send(outgoing: &mut Outgoing, portion: usize) -> (Vec<u8>, Vec<u8>) {
        let mut wire = Vec::new();
        while !outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outgoing.slices(&mut slices);
            assert!(count > 0);
            let bytes: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|s| s.iter().copied())
                .take(portion)
                .collect();
            wire.extend_from_slice(&bytes);
            outgoing.advance(bytes.len());
        }
        assert_eq!(wire.len() % 8, 0);
        let mut reader = RecordReader::default();
        let (mut input, mut content, mut end) = (&wire[..], Vec::new(), Vec::new());
        while let Some(piece) = reader.next(&mut input).expect("what is written is well-formed") {
            assert_eq!(piece.header.id, 7);
            match piece.header.kind {
                kind::STDOUT => content.extend_from_slice(piece.content),
                kind::END_REQUEST => end.extend_from_slice(piece.content),
                other => panic!("record of type {other}"),
            }
        }
        (content, end)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_reply_of_any_size_arrives_whole_in_portions(len in prop_oneof![0usize..40_000, 60_000usize..70_000, 100_000usize..400_000], portion in 1000usize..200_000) {
            let body: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let response = Response::new(200).with("X", "y").body(body.clone());
            let mut outgoing = Outgoing::default();
            outgoing.write_reply(7, &response, false);
            let (content, end) = send(&mut outgoing, portion);
            let mut expected = format!("Status: 200 OK\r\nX: y\r\nContent-Length: {len}\r\n\r\n").into_bytes();
            expected.extend_from_slice(&body);
            prop_assert!(content == expected);
            prop_assert_eq!(end, vec![0; 8]);
        }
    }

    #[test]
    fn a_usual_reply_is_one_slice_and_a_larger_one_is_not_copied() {
        let mut outgoing = Outgoing::default();
        outgoing.write_reply(7, &Response::new(200).body(vec![1; 6000]), false);
        assert_eq!(outgoing.slices(&mut [IoSlice::new(&[]); MAX_SLICES]), 1);
        send(&mut outgoing, usize::MAX);
        let body = Bytes::from(vec![1; 60_000]);
        outgoing.write_reply(7, &Response::new(200).body(body.clone()), false);
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        assert_eq!(outgoing.slices(&mut slices), 3);
        assert_eq!(slices[1].as_ptr(), body.as_ptr());
    }

    #[test]
    fn a_header_block_larger_than_a_record_arrives_whole() {
        let mut outgoing = Outgoing::default();
        outgoing.write_reply(
            7,
            &Response::new(200).with("X", "v".repeat(100_000)).body("body"),
            false,
        );
        let (content, _) = send(&mut outgoing, 999);
        assert_eq!(
            content.len(),
            "Status: 200 OK\r\nX: \r\nContent-Length: 4\r\n\r\nbody".len() + 100_000
        );
        assert!(content.ends_with(b"\r\nContent-Length: 4\r\n\r\nbody"));
    }

    #[test]
    fn a_reply_with_a_rest_has_no_length_and_ends_when_it_is_told() {
        for (first, app_status) in [(0, COMPLETE), (5, 1), (100_000, COMPLETE)] {
            let mut outgoing = Outgoing::default();
            let (_writer, rest) = crate::server::rest();
            let mut response = Response::new(200).body(vec![1; first]);
            response.rest = Some(rest);
            outgoing.write_reply(7, &response, false);
            let (mut content, end) = send(&mut outgoing, 5000);
            assert!(end.is_empty());
            outgoing.write_piece(7, vec![1; 70_000].into());
            content.extend(send(&mut outgoing, 5000).0);
            outgoing.write_end(7, app_status);
            let (last, end) = send(&mut outgoing, 5000);
            assert!(last.is_empty());
            assert_eq!(end, [0, 0, 0, app_status as u8, 0, 0, 0, 0]);
            let expected = [&b"Status: 200 OK\r\n\r\n"[..], &vec![1; first + 70_000]].concat();
            assert!(content == expected);
        }
    }

    #[test]
    fn head_has_a_length_and_no_body_and_an_empty_status_has_neither() {
        let mut outgoing = Outgoing::default();
        outgoing.write_reply(7, &Response::new(200).body("four"), true);
        assert_eq!(
            send(&mut outgoing, usize::MAX).0,
            b"Status: 200 OK\r\nContent-Length: 4\r\n\r\n"
        );
        for (status, line) in [(204, "204 No Content"), (304, "304 Not Modified")] {
            outgoing.write_reply(7, &Response::new(status).body("none"), false);
            assert_eq!(
                send(&mut outgoing, usize::MAX).0,
                format!("Status: {line}\r\n\r\n").as_bytes()
            );
        }
    }
}
