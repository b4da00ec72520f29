//! The rules of FastCGI for one connection, without any socket: bytes in, events and bytes out.

use bytes::Bytes;

use super::outgoing::{COMPLETE, Outgoing};
use super::params::{Pairs, value_len_of, write_pair};
use super::record::{
    MANAGEMENT, Piece, ProtocolError, ProtocolStatus, RecordReader, kind, write_end_request, write_record,
    write_unknown_type,
};
use super::request::{BodyLen, read_head};
use crate::error::Error;
use crate::server::{IntakeLimits, Method, Request, Response};

/// `FCGI_RESPONDER`, the only role there is a use for.
const RESPONDER: u16 = 1;
/// The application's status of a reply that broke off.
const INCOMPLETE: u32 = 1;
/// `FCGI_KEEP_CONN`.
const KEEP_CONN: u8 = 1;
/// Content of GET_VALUES: three names are known, and a web server asks for no others.
pub(super) const MAX_VALUES_BYTES: usize = 1024;

/// Something the server must act on.
#[derive(Debug)]
pub(super) enum Event {
    /// A request is complete, and waits for [`Connection::reply`].
    Request(Request),
    /// A request is refused before it was complete; it waits for its reply too. What was known of it
    /// comes with it.
    Refused(Option<Box<Request>>, Error),
    /// The request that waited for its reply is aborted. It has been ended already.
    Aborted,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    limits: IntakeLimits,
    max_connections: usize,
    records: RecordReader,
    /// Content of a record that is read whole: BEGIN_REQUEST, GET_VALUES.
    content: Vec<u8>,
    params: Vec<u8>,
    active: Option<Active>,
    begun: u64,
    /// The client has said it sends no more of the last request.
    input_ended: bool,
    closing: bool,
    /// What is to be sent. The owner of the socket sends it before it gives new input.
    pub(super) outgoing: Outgoing,
}

/// The request in work.
#[derive(Debug)]
struct Active {
    id: u16,
    keep: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Parameters arrive.
    Params,
    /// The body arrives.
    Body {
        request: Box<Request>,
        /// Bytes to come in all; unknown = until STDIN ends.
        expected: Option<usize>,
    },
    /// The answer is being made.
    Answering { head_only: bool },
}

impl Connection {
    /// A connection on which nothing has happened. `max_connections` is what GET_VALUES tells.
    pub(super) fn new(limits: IntakeLimits, max_connections: usize) -> Self {
        Self {
            limits,
            max_connections,
            records: RecordReader::default(),
            content: Vec::new(),
            params: Vec::new(),
            active: None,
            begun: 0,
            input_ended: true,
            closing: false,
            outgoing: Outgoing::default(),
        }
    }

    /// Whether a request has begun to arrive and is not complete.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.state(), Some(State::Params | State::Body { .. }))
    }

    /// Whether a request has been answered and the client keeps the connection for the next.
    pub(super) fn is_kept(&self) -> bool {
        self.begun > 0 && self.active.is_none() && !self.closing
    }

    /// How many requests have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether the connection is to be closed once everything has been sent.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether the client has sent all of its last request. Closing a TCP connection with bytes unread
    /// resets it, and the reply may be lost.
    pub(super) fn input_ended(&self) -> bool {
        self.input_ended
    }

    /// Takes bytes off the front of `input` up to the next event; without one, all of them.
    ///
    /// # Errors
    /// When the bytes are not FastCGI. The connection is of no use then.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Event>, ProtocolError> {
        while let Some(piece) = self.records.next(input)? {
            if self.closing {
                // Only the end of what was sent is of interest.
                self.input_ended |= is_end_of(kind::STDIN, &piece);
            } else if let Some(event) = self.take(&piece)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Lays out the reply to the request that waits for it. Where a rest of the body follows, the request stays
    /// active until [`end_reply`](Self::end_reply).
    pub(super) fn reply(&mut self, response: &Response) {
        let Some(active) = &self.active else { return };
        let head_only = matches!(active.state, State::Answering { head_only: true });
        self.outgoing.write_reply(active.id, response, head_only);
        if response.rest.is_none() {
            self.closing |= !active.keep;
            self.active = None;
        }
    }

    /// Whether the reply to the active request is to have no body.
    pub(super) fn is_head_only(&self) -> bool {
        matches!(self.state(), Some(State::Answering { head_only: true }))
    }

    /// Lays out a piece of the rest of a body; what was laid out before must have been sent.
    pub(super) fn reply_piece(&mut self, piece: Bytes) {
        if let Some(active) = &self.active {
            self.outgoing.write_piece(active.id, piece);
        }
    }

    /// Ends a reply with a rest. One that is not whole says so, and takes the connection along: there are web
    /// servers that look at nothing else.
    pub(super) fn end_reply(&mut self, is_whole: bool) {
        if let Some(Active { id, keep, .. }) = self.active.take() {
            self.outgoing
                .write_end(id, if is_whole { COMPLETE } else { INCOMPLETE });
            self.closing |= !keep || !is_whole;
        }
    }

    fn take(&mut self, piece: &Piece<'_>) -> Result<Option<Event>, ProtocolError> {
        let header = piece.header;
        if header.kind == kind::BEGIN_REQUEST {
            self.take_begin(piece)?;
            return Ok(None);
        }
        if header.id == MANAGEMENT {
            self.take_management(piece)?;
            return Ok(None);
        }
        if self.active.as_ref().is_none_or(|active| active.id != header.id) {
            // Records of a request that is not active are ignored (section 3.3): mostly the rest of one
            // that was refused.
            self.input_ended |= self.active.is_none() && is_end_of(kind::STDIN, piece);
            return Ok(None);
        }
        match header.kind {
            kind::ABORT_REQUEST if piece.ends => Ok(self.abort()),
            kind::PARAMS => self.take_params(piece),
            kind::STDIN => self.take_stdin(piece),
            _ => Ok(None),
        }
    }

    fn take_begin(&mut self, piece: &Piece<'_>) -> Result<(), ProtocolError> {
        if piece.header.content_len != 8 || piece.header.id == MANAGEMENT {
            return Err(ProtocolError::Begin);
        }
        self.content.extend_from_slice(piece.content);
        if piece.ends {
            self.begin(piece.header.id)?;
        }
        Ok(())
    }

    fn take_management(&mut self, piece: &Piece<'_>) -> Result<(), ProtocolError> {
        if piece.header.kind != kind::GET_VALUES {
            if piece.ends {
                self.outgoing
                    .write(|out| write_unknown_type(out, piece.header.kind));
            }
            return Ok(());
        }
        self.content.extend_from_slice(piece.content);
        if self.content.len() > MAX_VALUES_BYTES {
            return Err(ProtocolError::Values);
        }
        if piece.ends {
            self.answer_values()?;
        }
        Ok(())
    }

    fn begin(&mut self, id: u16) -> Result<(), ProtocolError> {
        let [role1, role0, flags, ..] = *self.content.as_slice() else {
            return Err(ProtocolError::Begin);
        };
        self.content.clear();
        let keep = flags & KEEP_CONN != 0;
        let refuse = |outgoing: &mut Outgoing, status| {
            outgoing.write(|out| write_end_request(out, id, 0, status));
        };
        if self.active.is_some() {
            // The connection stays: the request before this one is still to be answered on it.
            refuse(&mut self.outgoing, ProtocolStatus::CantMultiplex);
        } else if u16::from_be_bytes([role1, role0]) != RESPONDER {
            refuse(&mut self.outgoing, ProtocolStatus::UnknownRole);
            self.closing |= !keep;
            self.input_ended = false;
        } else {
            self.input_ended = false;
            self.begun += 1;
            self.active = Some(Active {
                id,
                keep,
                state: State::Params,
            });
        }
        Ok(())
    }

    /// Ends the active request without a reply; the server hears of it if it is working on it.
    fn abort(&mut self) -> Option<Event> {
        let active = self.active.take()?;
        self.outgoing
            .write(|out| write_end_request(out, active.id, 0, ProtocolStatus::RequestComplete));
        self.closing |= !active.keep;
        self.forget_params();
        // A web server sends nothing more of a request it has aborted.
        self.input_ended = true;
        matches!(active.state, State::Answering { .. }).then_some(Event::Aborted)
    }

    /// GET_VALUES (section 4.1): the values of the names asked for.
    fn answer_values(&mut self) -> Result<(), ProtocolError> {
        let content = std::mem::take(&mut self.content);
        let number = self.max_connections.to_string();
        let mut values = Vec::new();
        for pair in Pairs::new(&content) {
            let (name, _) = pair?;
            match name {
                b"FCGI_MAX_CONNS" | b"FCGI_MAX_REQS" => write_pair(&mut values, name, number.as_bytes()),
                b"FCGI_MPXS_CONNS" => write_pair(&mut values, name, b"0"),
                _ => {}
            }
        }
        self.outgoing
            .write(|out| write_record(out, kind::GET_VALUES_RESULT, MANAGEMENT, &values));
        Ok(())
    }

    fn take_params(&mut self, piece: &Piece<'_>) -> Result<Option<Event>, ProtocolError> {
        if !matches!(self.state(), Some(State::Params)) {
            // After their end: of a request that was refused for them.
            return Ok(None);
        }
        if is_end_of(kind::PARAMS, piece) {
            return self.params_complete();
        }
        if self.params.len() + piece.content.len() <= self.limits.max_head_bytes {
            self.params.extend_from_slice(piece.content);
            return Ok(None);
        }
        let query_len = [&b"QUERY_STRING"[..], b"REQUEST_URI"]
            .iter()
            .filter_map(|name| value_len_of(&self.params, name))
            .max()
            .unwrap_or(0);
        self.forget_params();
        let error = if query_len > self.limits.max_query_bytes {
            self.query_too_long()
        } else {
            Error::bad_request(format!(
                "parameters of more than {} bytes",
                self.limits.max_head_bytes
            ))
        };
        Ok(Some(self.refuse(None, error)))
    }

    fn params_complete(&mut self) -> Result<Option<Event>, ProtocolError> {
        let head = read_head(&self.params)?;
        self.forget_params();
        let request = Box::new(head.request);
        let max_body_bytes = self.limits.max_body_bytes;
        if request.query.len() > self.limits.max_query_bytes {
            let error = self.query_too_long();
            return Ok(Some(self.refuse(Some(request), error)));
        }
        let expected = match head.body_len {
            BodyLen::Malformed => {
                let error = Error::bad_request("CONTENT_LENGTH is not a number");
                return Ok(Some(self.refuse(Some(request), error)));
            }
            BodyLen::Bytes(len) => match usize::try_from(len) {
                Ok(len) if len <= max_body_bytes => Some(len),
                _ => {
                    let error = self.body_too_large();
                    return Ok(Some(self.refuse(Some(request), error)));
                }
            },
            // Web servers that pass on a body in chunks cannot know its length.
            BodyLen::Absent if matches!(request.method, Method::Post | Method::Other(_)) => None,
            BodyLen::Absent => Some(0),
        };
        if expected == Some(0) {
            return Ok(Some(self.complete(*request)));
        }
        self.set_state(State::Body { request, expected });
        Ok(None)
    }

    fn take_stdin(&mut self, piece: &Piece<'_>) -> Result<Option<Event>, ProtocolError> {
        let is_end = is_end_of(kind::STDIN, piece);
        self.input_ended |= is_end;
        let max_body_bytes = self.limits.max_body_bytes;
        let Some(active) = self.active.as_mut() else {
            return Ok(None);
        };
        match &mut active.state {
            State::Params => return Err(ProtocolError::Order),
            // More than the body has, or the end of one that is complete.
            State::Answering { .. } => return Ok(None),
            State::Body { request, expected } => {
                let room = expected.unwrap_or(max_body_bytes.saturating_add(1));
                let wanted = room.saturating_sub(request.body.len());
                let taken = piece.content.get(..wanted).unwrap_or(piece.content);
                request.body.extend_from_slice(taken);
                let is_complete = match *expected {
                    Some(expected) => request.body.len() >= expected,
                    None => is_end || request.body.len() > max_body_bytes,
                };
                if !is_complete && !is_end {
                    return Ok(None);
                }
            }
        }
        let State::Body {
            mut request,
            expected,
        } = std::mem::replace(&mut active.state, State::Params)
        else {
            return Ok(None);
        };
        let len = request.body.len();
        let error = match expected {
            Some(expected) if len < expected => {
                Error::bad_request(format!("the body ended after {len} of {expected} bytes"))
            }
            None if len > max_body_bytes => self.body_too_large(),
            _ => return Ok(Some(self.complete(*request))),
        };
        request.body = Vec::new();
        Ok(Some(self.refuse(Some(request), error)))
    }

    fn complete(&mut self, request: Request) -> Event {
        self.set_state(State::Answering {
            head_only: request.method == Method::Head,
        });
        Event::Request(request)
    }

    fn refuse(&mut self, request: Option<Box<Request>>, error: Error) -> Event {
        let head_only = request.as_ref().is_some_and(|r| r.method == Method::Head);
        self.set_state(State::Answering { head_only });
        Event::Refused(request, error)
    }

    /// Keeps the buffer for the next request, unless this one was of unusual size.
    fn forget_params(&mut self) {
        self.params.clear();
        self.params.shrink_to(16 << 10);
    }

    fn state(&self) -> Option<&State> {
        self.active.as_ref().map(|active| &active.state)
    }

    fn set_state(&mut self, state: State) {
        if let Some(active) = self.active.as_mut() {
            active.state = state;
        }
    }

    fn query_too_long(&self) -> Error {
        Error::QueryTooLong {
            limit_bytes: self.limits.max_query_bytes as u64,
        }
    }

    fn body_too_large(&self) -> Error {
        Error::BodyTooLarge {
            limit_bytes: self.limits.max_body_bytes as u64,
        }
    }
}

/// Whether a record is the empty one that ends a stream.
fn is_end_of(kind: u8, piece: &Piece<'_>) -> bool {
    piece.header.kind == kind && piece.header.content_len == 0
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use proptest::prelude::*;

    use super::super::outgoing::MAX_SLICES;
    use super::*;

    fn connection() -> Connection {
        Connection::new(IntakeLimits::default(), 512)
    }

    fn begin(out: &mut Vec<u8>, id: u16, role: u8, flags: u8) {
        write_record(out, kind::BEGIN_REQUEST, id, &[0, role, flags, 0, 0, 0, 0, 0]);
    }

    fn params(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        let mut stream = Vec::new();
        for (name, value) in pairs {
            write_pair(&mut stream, name.as_bytes(), value);
        }
        stream
    }

    fn stream(out: &mut Vec<u8>, kind: u8, id: u16, content: &[u8], record_len: usize) {
        for content in content.chunks(record_len) {
            write_record(out, kind, id, content);
        }
        write_record(out, kind, id, &[]);
    }

    fn request(pairs: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out, 1, 1, KEEP_CONN);
        stream(&mut out, kind::PARAMS, 1, &params(pairs), 60_000);
        stream(&mut out, kind::STDIN, 1, body, 60_000);
        out
    }

    /// What a connection made of bytes given in portions; every request is replied to at once.
    fn run(connection: &mut Connection, bytes: &[u8], portion: usize) -> Result<Vec<String>, ProtocolError> {
        let mut log = Vec::new();
        for portion in bytes.chunks(portion.max(1)) {
            let mut input = portion;
            loop {
                match connection.receive(&mut input)? {
                    None => break,
                    Some(Event::Request(r)) => {
                        log.push(format!(
                            "{:?} {} {} {}",
                            r.method,
                            r.path,
                            r.query.escape_ascii(),
                            r.body.escape_ascii()
                        ));
                        connection.reply(&Response::new(200));
                    }
                    Some(Event::Refused(_, error)) => {
                        log.push(format!("{} {error}", error.status()));
                        connection.reply(&Response::new(error.status()));
                    }
                    Some(Event::Aborted) => log.push("aborted".into()),
                }
                sent(connection);
            }
        }
        Ok(log)
    }

    /// The records that were to be sent, as type and content.
    fn sent(connection: &mut Connection) -> Vec<(u8, Vec<u8>)> {
        let mut bytes = Vec::new();
        while !connection.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = connection.outgoing.slices(&mut slices);
            let part: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            connection.outgoing.advance(part.len());
            bytes.extend(part);
        }
        let (mut reader, mut input) = (RecordReader::default(), &bytes[..]);
        let (mut records, mut content) = (Vec::new(), Vec::new());
        while let Some(piece) = reader.next(&mut input).expect("what is written is well-formed") {
            content.extend_from_slice(piece.content);
            if piece.ends {
                records.push((piece.header.kind, std::mem::take(&mut content)));
            }
        }
        records
    }

    #[test]
    fn a_request_is_read_and_the_connection_kept() {
        let mut connection = connection();
        let bytes = request(&[("QUERY_STRING", b"a=b"), ("REQUEST_URI", b"/x?a=b")], b"");
        assert_eq!(
            run(&mut connection, &bytes, usize::MAX),
            Ok(vec!["Get /x a=b ".into()])
        );
        assert!(!connection.is_closing() && connection.input_ended() && !connection.is_receiving());
        assert_eq!(run(&mut connection, &bytes, 1), Ok(vec!["Get /x a=b ".into()]));
    }

    #[test]
    fn a_body_is_read_to_its_length_and_a_short_one_is_refused() {
        let post: (&str, &[u8]) = ("REQUEST_METHOD", b"POST");
        let with_len = |len: &'static [u8], body: &[u8]| {
            run(
                &mut connection(),
                &request(&[post, ("CONTENT_LENGTH", len)], body),
                7,
            )
        };
        assert_eq!(with_len(b"4", b"FIF="), Ok(vec!["Post   FIF=".into()]));
        assert_eq!(with_len(b"4", b"FIF=more"), Ok(vec!["Post   FIF=".into()]));
        assert_eq!(with_len(b"", b"FIF="), Ok(vec!["Post   FIF=".into()]));
        assert_eq!(
            with_len(b"5", b"FIF="),
            Ok(vec!["400 the body ended after 4 of 5 bytes".into()])
        );
        assert_eq!(
            with_len(b"x", b"FIF="),
            Ok(vec!["400 CONTENT_LENGTH is not a number".into()])
        );
        let too_large = Ok(vec!["413 request body larger than 65536 bytes".into()]);
        assert_eq!(with_len(b"2147483648", b"FIF="), too_large);
        assert_eq!(with_len(b"", &vec![b'x'; 70_000]), too_large);
    }

    #[test]
    fn a_refused_request_is_answered_before_its_input_ends() {
        let mut out = Vec::new();
        begin(&mut out, 1, 1, 0);
        stream(
            &mut out,
            kind::PARAMS,
            1,
            &params(&[("CONTENT_LENGTH", b"99999999")]),
            100,
        );
        let mut connection = connection();
        assert_eq!(run(&mut connection, &out, 9).map(|log| log.len()), Ok(1));
        assert!(connection.is_closing() && !connection.input_ended());
    }

    #[test]
    fn queries_and_parameters_over_the_limit_are_refused_once() {
        let long = vec![b'q'; 70_000];
        let log = run(&mut connection(), &request(&[("QUERY_STRING", &long)], b""), 4096);
        assert_eq!(log, Ok(vec!["414 query longer than 65536 bytes".into()]));
        let huge = vec![b'q'; 300_000];
        let log = run(
            &mut connection(),
            &request(&[("A", b"b"), ("QUERY_STRING", &huge)], b""),
            4096,
        );
        assert_eq!(log, Ok(vec!["414 query longer than 65536 bytes".into()]));
        let log = run(&mut connection(), &request(&[("HTTP_COOKIE", &huge)], b""), 4096);
        assert_eq!(log, Ok(vec!["400 parameters of more than 262144 bytes".into()]));
    }

    #[test]
    fn twenty_thousand_parameters_are_just_a_request() {
        let mut stream_bytes = params(&[("QUERY_STRING", b"a=b")]);
        for i in 0..20_000 {
            write_pair(&mut stream_bytes, format!("P{i}").as_bytes(), b"v");
        }
        let mut out = Vec::new();
        begin(&mut out, 9, 1, 0);
        stream(&mut out, kind::PARAMS, 9, &stream_bytes, 8000);
        stream(&mut out, kind::STDIN, 9, b"", 8000);
        let mut connection = connection();
        assert_eq!(run(&mut connection, &out, 1000), Ok(vec!["Get  a=b ".into()]));
        assert!(connection.is_closing());
    }

    #[test]
    fn an_abort_ends_the_request_with_its_id() {
        for upto in [16, usize::MAX] {
            let mut connection = connection();
            let bytes = request(&[("QUERY_STRING", b"a")], b"");
            let mut input = &bytes[..bytes.len().min(upto)];
            let event = connection.receive(&mut input);
            assert_eq!(matches!(event, Ok(Some(Event::Request(_)))), upto > 16);
            let mut abort = Vec::new();
            write_record(&mut abort, kind::ABORT_REQUEST, 2, &[]);
            write_record(&mut abort, kind::ABORT_REQUEST, 1, &[]);
            let event = connection.receive(&mut &abort[..]);
            assert_eq!(matches!(event, Ok(Some(Event::Aborted))), upto > 16);
            assert_eq!(sent(&mut connection), [(kind::END_REQUEST, vec![0; 8])]);
            assert!(!connection.is_closing() && !connection.is_receiving());
            assert_eq!(run(&mut connection, &bytes, 5), Ok(vec!["Get  a ".into()]));
        }
    }

    #[test]
    fn a_second_request_and_other_roles_are_ended_with_their_status() {
        let mut connection = connection();
        let mut bytes = Vec::new();
        begin(&mut bytes, 1, 1, KEEP_CONN);
        begin(&mut bytes, 2, 1, KEEP_CONN);
        assert!(matches!(connection.receive(&mut &bytes[..]), Ok(None)));
        assert_eq!(
            sent(&mut connection),
            [(kind::END_REQUEST, vec![0, 0, 0, 0, 1, 0, 0, 0])]
        );
        assert!(connection.is_receiving());

        for (role, flags) in [(2, 0), (3, KEEP_CONN)] {
            let mut connection = self::connection();
            let mut bytes = Vec::new();
            begin(&mut bytes, 1, role, flags);
            assert!(matches!(connection.receive(&mut &bytes[..]), Ok(None)));
            assert_eq!(
                sent(&mut connection),
                [(kind::END_REQUEST, vec![0, 0, 0, 0, 3, 0, 0, 0])]
            );
            assert_eq!(connection.is_closing(), flags == 0);
        }
    }

    #[test]
    fn management_records_are_answered_at_any_time() {
        let mut bytes = Vec::new();
        let names = params(&[
            ("FCGI_MAX_CONNS", b""),
            ("FCGI_MAX_REQS", b""),
            ("FCGI_MPXS_CONNS", b""),
            ("X", b""),
        ]);
        write_record(&mut bytes, kind::GET_VALUES, 0, &names);
        write_record(&mut bytes, 77, 0, b"what");
        let values = params(&[
            ("FCGI_MAX_CONNS", b"512"),
            ("FCGI_MAX_REQS", b"512"),
            ("FCGI_MPXS_CONNS", b"0"),
        ]);
        let expected = [
            (kind::GET_VALUES_RESULT, values),
            (kind::UNKNOWN_TYPE, vec![77, 0, 0, 0, 0, 0, 0, 0]),
        ];
        let mut connection = connection();
        for _ in 0..2 {
            assert!(matches!(connection.receive(&mut &bytes[..]), Ok(None)));
            assert_eq!(sent(&mut connection), expected);
            let start = request(&[], b"");
            let _ = connection.receive(&mut &start[..]);
        }
    }

    #[test]
    fn what_is_not_fastcgi_is_an_error() {
        let error = |bytes: &[u8]| connection().receive(&mut { bytes }).err();
        assert_eq!(error(b"GET / HTTP/1.1\r\n"), Some(ProtocolError::Version(b'G')));
        assert_eq!(error(&[1, 1, 0, 1, 0, 7, 0, 0]), None);
        assert_eq!(error(&[1, 1, 0, 1, 0, 7, 0, 0, 0]), Some(ProtocolError::Begin));
        let mut bytes = Vec::new();
        write_record(&mut bytes, kind::GET_VALUES, 0, &[0; 2000]);
        assert_eq!(error(&bytes), Some(ProtocolError::Values));
        let mut bytes = Vec::new();
        begin(&mut bytes, 1, 1, 0);
        let begun = bytes.len();
        stream(
            &mut bytes,
            kind::PARAMS,
            1,
            &[0xff, 0xff, 0xff, 0xff, 1, b'a'],
            10,
        );
        assert_eq!(error(&bytes), Some(ProtocolError::Params));
        bytes.truncate(begun);
        write_record(&mut bytes, kind::STDIN, 1, b"x");
        assert_eq!(error(&bytes), Some(ProtocolError::Order));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn any_portions_give_the_same_requests(
            queries in prop::collection::vec("[a-z=&]{0,200}", 1..4),
            body in prop::collection::vec(any::<u8>(), 0..300),
            record_len in 1usize..100,
            portion in 1usize..300,
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for query in &queries {
                begin(&mut bytes, 3, 1, KEEP_CONN);
                let len = body.len().to_string();
                let pairs = [("REQUEST_METHOD", &b"POST"[..]), ("QUERY_STRING", query.as_bytes()), ("CONTENT_LENGTH", len.as_bytes())];
                stream(&mut bytes, kind::PARAMS, 3, &params(&pairs), record_len);
                stream(&mut bytes, kind::STDIN, 3, &body, record_len);
                expected.push(format!("Post  {query} {}", body.escape_ascii()));
            }
            prop_assert_eq!(run(&mut connection(), &bytes, portion), Ok(expected));
        }

        #[test]
        fn records_of_any_kind_leave_memory_bounded(
            records in prop::collection::vec((0u8..13, 0u16..3, prop::collection::vec(any::<u8>(), 0..3000)), 0..60),
            portion in 1usize..5000,
        ) {
            let limits = IntakeLimits { max_head_bytes: 4000, max_query_bytes: 1000, max_body_bytes: 1000 };
            let mut bytes = Vec::new();
            begin(&mut bytes, 1, 1, KEEP_CONN);
            for (kind, id, content) in &records {
                write_record(&mut bytes, *kind, *id, content);
            }
            let mut connection = Connection::new(limits, 1);
            let _ = run(&mut connection, &bytes, portion);
            prop_assert!(connection.params.len() <= 4000);
            prop_assert!(connection.content.len() <= MAX_VALUES_BYTES + 3000);
            if let Some(State::Body { request, .. }) = connection.state() {
                prop_assert!(request.body.len() <= 1001);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), portion in 1usize..50) {
            let mut with_version = bytes.clone();
            for header in with_version.chunks_mut(16) {
                header[0] = 1;
            }
            let _ = run(&mut connection(), &bytes, portion);
            let _ = run(&mut connection(), &with_version, portion);
        }
    }
}
