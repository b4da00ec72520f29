//! Records of FastCGI (FastCGI 1.0, section 3.3): cutting bytes into records, and writing records.

/// Length of a record's header.
pub(super) const HEADER_LEN: usize = 8;
/// The only version there is.
pub(super) const VERSION: u8 = 1;
/// Request id of management records.
pub(super) const MANAGEMENT: u16 = 0;

/// Record types (section 8).
pub(super) mod kind {
    pub(crate) const BEGIN_REQUEST: u8 = 1;
    pub(crate) const ABORT_REQUEST: u8 = 2;
    pub(crate) const END_REQUEST: u8 = 3;
    pub(crate) const PARAMS: u8 = 4;
    pub(crate) const STDIN: u8 = 5;
    pub(crate) const STDOUT: u8 = 6;
    pub(crate) const GET_VALUES: u8 = 9;
    pub(crate) const GET_VALUES_RESULT: u8 = 10;
    pub(crate) const UNKNOWN_TYPE: u8 = 11;
}

/// `protocolStatus` of END_REQUEST (section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtocolStatus {
    RequestComplete = 0,
    CantMultiplex = 1,
    UnknownRole = 3,
}

/// Bytes that are not FastCGI. The connection cannot go on: where the next record starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    /// A record of another version.
    #[error("record of version {0}, expected 1")]
    Version(u8),
    /// A BEGIN_REQUEST that is not eight bytes, or without a request id.
    #[error("malformed BEGIN_REQUEST")]
    Begin,
    /// A name or value that is longer than its stream.
    #[error("a parameter is longer than its stream")]
    Params,
    /// STDIN before the end of PARAMS.
    #[error("STDIN before the end of PARAMS")]
    Order,
    /// More bytes of GET_VALUES than its few names need.
    #[error("GET_VALUES of more than {limit_bytes} bytes", limit_bytes = super::connection::MAX_VALUES_BYTES)]
    Values,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) id: u16,
    pub(super) content_len: u16,
    pub(super) padding_len: u8,
}

impl Header {
    fn parse(
        [version, kind, id1, id0, len1, len0, padding_len, _]: [u8; HEADER_LEN],
    ) -> Result<Self, ProtocolError> {
        if version != VERSION {
            return Err(ProtocolError::Version(version));
        }
        Ok(Self {
            kind,
            id: u16::from_be_bytes([id1, id0]),
            content_len: u16::from_be_bytes([len1, len0]),
            padding_len,
        })
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [id1, id0] = self.id.to_be_bytes();
        let [len1, len0] = self.content_len.to_be_bytes();
        [VERSION, self.kind, id1, id0, len1, len0, self.padding_len, 0]
    }
}

/// A part of a record's content: as much of it as has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) header: Header,
    pub(super) content: &'a [u8],
    /// The content is complete with this piece.
    pub(super) ends: bool,
}

/// Cuts a stream of bytes into pieces of records, whatever portions it comes in. It keeps no content.
#[derive(Debug, Default)]
pub(super) struct RecordReader {
    partial: [u8; HEADER_LEN],
    partial_len: usize,
    current: Option<Header>,
    content_left: usize,
    padding_left: usize,
}

impl RecordReader {
    /// The next piece, cut off the front of `input`; `None` when more bytes are needed, `input` being
    /// empty then. Every record gives at least one piece, and exactly one that ends it.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ProtocolError> {
        if self.current.is_none() && !self.read_header(input)? {
            return Ok(None);
        }
        let Some(header) = self.current else {
            return Ok(None);
        };
        let content = take(input, self.content_left);
        if content.is_empty() && self.content_left > 0 {
            return Ok(None);
        }
        self.content_left -= content.len();
        let ends = self.content_left == 0;
        if ends {
            self.current = None;
            self.padding_left = usize::from(header.padding_len);
        }
        Ok(Some(Piece {
            header,
            content,
            ends,
        }))
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<bool, ProtocolError> {
        self.padding_left -= take(input, self.padding_left).len();
        let bytes = take(input, HEADER_LEN - self.partial_len);
        for (to, from) in self.partial.iter_mut().skip(self.partial_len).zip(bytes) {
            *to = *from;
        }
        self.partial_len += bytes.len();
        // The version is checked as soon as it is there: a client of another protocol may wait for a
        // reply after fewer than eight bytes.
        if self.partial_len > 0 && self.partial[0] != VERSION {
            return Err(ProtocolError::Version(self.partial[0]));
        }
        if self.partial_len < HEADER_LEN {
            return Ok(false);
        }
        let header = Header::parse(self.partial)?;
        self.partial_len = 0;
        self.content_left = usize::from(header.content_len);
        self.current = Some(header);
        Ok(true)
    }
}

/// Cuts up to `len` bytes off the front.
fn take<'a>(input: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(len.min(input.len()));
    *input = rest;
    front
}

/// Appends END_REQUEST (section 5.5).
pub(super) fn write_end_request(out: &mut Vec<u8>, id: u16, app_status: u32, status: ProtocolStatus) {
    let header = Header {
        kind: kind::END_REQUEST,
        id,
        content_len: 8,
        padding_len: 0,
    };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(&app_status.to_be_bytes());
    out.extend_from_slice(&[status as u8, 0, 0, 0]);
}

/// Appends UNKNOWN_TYPE (section 4.2).
pub(super) fn write_unknown_type(out: &mut Vec<u8>, unknown: u8) {
    let header = Header {
        kind: kind::UNKNOWN_TYPE,
        id: MANAGEMENT,
        content_len: 8,
        padding_len: 0,
    };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(&[unknown, 0, 0, 0, 0, 0, 0, 0]);
}

/// Appends one whole record with content of at most 65,535 bytes; what is more is left out, so a
/// caller must cut it before.
pub(super) fn write_record(out: &mut Vec<u8>, kind: u8, id: u16, content: &[u8]) {
    let content_len = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let padding_len = padding(usize::from(content_len));
    let header = Header {
        kind,
        id,
        content_len,
        padding_len,
    };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(content.get(..usize::from(content_len)).unwrap_or(content));
    out.resize(out.len() + usize::from(padding_len), 0);
}

/// Bytes that make a length a multiple of eight, as section 3.3 recommends.
pub(super) fn padding(content_len: usize) -> u8 {
    // In 0..8, so the conversion loses nothing.
    (content_len.wrapping_neg() & 7) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Record = (u8, u16, Vec<u8>);

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let content = prop::collection::vec(any::<u8>(), 0..300);
        prop::collection::vec((any::<u8>(), any::<u16>(), content), 0..8)
    }

    fn read_all(reader: &mut RecordReader, portions: &[&[u8]]) -> Result<Vec<Record>, ProtocolError> {
        let mut read = Vec::new();
        let mut content = Vec::new();
        for portion in portions {
            let mut input = *portion;
            while let Some(piece) = reader.next(&mut input)? {
                content.extend_from_slice(piece.content);
                if piece.ends {
                    read.push((piece.header.kind, piece.header.id, std::mem::take(&mut content)));
                }
            }
            assert!(input.is_empty());
        }
        Ok(read)
    }

    proptest! {
        #[test]
        fn records_are_read_as_written_in_any_portions(records in records(), portion in 1usize..40) {
            let mut bytes = Vec::new();
            for (kind, id, content) in &records {
                write_record(&mut bytes, *kind, *id, content);
            }
            prop_assert_eq!(bytes.len() % 8, 0);
            let portions: Vec<&[u8]> = bytes.chunks(portion).collect();
            prop_assert_eq!(read_all(&mut RecordReader::default(), &portions), Ok(records));
        }

        #[test]
        fn arbitrary_bytes_end_in_an_error_or_are_used_up(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = read_all(&mut RecordReader::default(), &[&bytes]);
        }
    }

    #[test]
    fn another_version_is_refused_at_its_first_byte() {
        let mut input: &[u8] = b"G";
        assert_eq!(
            RecordReader::default().next(&mut input),
            Err(ProtocolError::Version(b'G'))
        );
    }
}
