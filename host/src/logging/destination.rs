//! Where the log goes: standard error, a file, the system's log.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tracing::Level;

use super::queue::{Lost, Sink};

/// The socket of the system's log (RFC 3164 over a local datagram).
const SYSLOG: &str = "/dev/log";

/// Value of `LOGFILE` that means it.
const SYSLOG_NAME: &str = "syslog";

/// How long a destination that was made non-blocking by somebody else may refuse bytes.
const PATIENCE: Duration = Duration::from_secs(1);

/// What `LOGFILE` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    StandardError,
    File(String),
    Syslog,
}

impl Target {
    pub(super) fn of(log_file: Option<&str>) -> Self {
        match log_file {
            None => Self::StandardError,
            Some(SYSLOG_NAME) => Self::Syslog,
            Some(path) => Self::File(path.to_owned()),
        }
    }

    /// What stands before a line of a level.
    pub(super) fn prefix(&self, level: Level) -> Vec<u8> {
        if *self != Self::Syslog {
            return Vec::new();
        }
        // Facility user; severities of RFC 3164 section 4.1.1.
        let severity = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        format!("<{}>iiphost[{}]: ", 8 + severity, std::process::id()).into_bytes()
    }

    /// Opens it.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(super) fn open(&self) -> Result<Destination, String> {
        let output = match self {
            Self::StandardError => Output::File(Lines::new(standard_error()?)),
            Self::File(path) => {
                let file = appended(Path::new(path)).map_err(|e| format!("cannot open {path}: {e}"))?;
                Output::File(Lines::new(file))
            }
            Self::Syslog => Output::Syslog(Syslog {
                path: Path::new(SYSLOG).to_owned(),
                socket: connected(Path::new(SYSLOG)).map_err(|e| format!("cannot reach {SYSLOG}: {e}"))?,
            }),
        };
        Ok(Destination {
            target: self.clone(),
            output,
        })
    }
}

/// Opens a file to append to. A pipe nobody reads is an error: opening it would wait for a reader, without a
/// word and before any request.
fn appended(path: &Path) -> io::Result<File> {
    let file = File::options()
        .append(true)
        .create(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    // Writing may wait: the log has a thread of its own.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// A descriptor of our own: the standard library's handle has a lock, and a panic elsewhere that wants to
/// print would wait for it as long as nobody reads.
fn standard_error() -> Result<File, String> {
    let fd = io::stderr().as_fd().try_clone_to_owned();
    fd.map(File::from).map_err(|e| format!("standard error: {e}"))
}

/// An open destination.
#[derive(Debug)]
pub(super) struct Destination {
    target: Target,
    output: Output,
}

#[derive(Debug)]
enum Output {
    File(Lines<File>),
    Syslog(Syslog),
}

/// A file of lines.
#[derive(Debug)]
struct Lines<W> {
    file: W,
    /// The last line was cut: the next one must not stand behind it.
    is_torn: bool,
}

impl Sink for Destination {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        match &mut self.output {
            Output::File(file) => file.write(lines),
            Output::Syslog(syslog) => syslog.send(lines),
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        if self.target != Target::StandardError {
            *self = self.target.open()?;
        }
        Ok(())
    }
}

impl<W: Write> Lines<W> {
    fn new(file: W) -> Self {
        Self { file, is_torn: false }
    }

    /// Writes as much as there is room for.
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        if self.is_torn && !lines.is_empty() {
            self.write_all(b"\n").map_err(|(_, reason)| lost(lines, reason))?;
            self.is_torn = false;
        }
        self.write_all(lines).map_err(|(written, reason)| {
            let (done, rest) = lines.split_at(written.min(lines.len()));
            self.is_torn = !done.is_empty() && !done.ends_with(b"\n");
            lost(rest, reason)
        })
    }

    /// # Errors
    /// How many bytes were written, and why no more.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        let mut refused_since = None;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    refused_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if refused_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                        return Err((written, error));
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }
}

fn lost(lines: &[u8], reason: io::Error) -> Lost {
    let lines = lines.iter().filter(|&&b| b == b'\n').count() as u64;
    Lost { lines, reason }
}

#[derive(Debug)]
struct Syslog {
    path: std::path::PathBuf,
    socket: UnixDatagram,
}

fn connected(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // A log daemon that hangs must not hold up the end of the process.
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

impl Syslog {
    /// One datagram a line.
    fn send(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut lost = None;
        for line in lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            if let Err(reason) = self.send_line(line) {
                lost.get_or_insert(Lost { lines: 0, reason }).lines += 1;
            }
        }
        lost.map_or(Ok(()), Err)
    }

    fn send_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.socket.send(line).is_ok() {
            return Ok(());
        }
        // A daemon that was restarted has a new socket at the old place.
        self.socket = connected(&self.path)?;
        self.socket.send(line).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        room: usize,
        bytes: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.bytes.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_nobody_reads_is_refused_and_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, fcntl_getfl, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(appended(&path).is_err());
        let _reader = File::options().read(true).write(true).open(&path).unwrap();
        let pipe = appended(&path).unwrap();
        assert!(!fcntl_getfl(&pipe).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_full_disk_costs_the_lines_that_do_not_fit() {
        let mut file = Lines::new(Disk {
            room: 6,
            bytes: Vec::new(),
        });
        let lost = file.write(b"one\ntwo\nthree\n").unwrap_err();
        assert_eq!((lost.lines, lost.reason.kind()), (2, io::ErrorKind::StorageFull));
        assert_eq!(file.write(b"four\n").unwrap_err().lines, 1);
        file.file.room = 100;
        file.write(b"five\n").unwrap();
        assert_eq!(file.file.bytes, b"one\ntw\nfive\n");
    }

    #[test]
    fn the_system_log_gets_a_datagram_a_line_and_may_be_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog {
            socket: connected(&path).unwrap(),
            path: path.clone(),
        };
        let receive = |daemon: &UnixDatagram| {
            let mut line = [0; 100];
            let len = daemon.recv(&mut line).unwrap();
            String::from_utf8(line[..len].to_vec()).unwrap()
        };
        let prefix = Target::Syslog.prefix(Level::WARN);
        syslog.send(&[&prefix, &b"one\n<14>two\n"[..]].concat()).unwrap();
        let first = receive(&daemon);
        assert_eq!(first, format!("<12>iiphost[{}]: one", std::process::id()));
        assert_eq!(receive(&daemon), "<14>two");
        drop(daemon);
        assert_eq!(syslog.send(b"a\nb\n").unwrap_err().lines, 2);
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.send(b"three\n").unwrap();
        assert_eq!(receive(&daemon), "three");
    }
}
